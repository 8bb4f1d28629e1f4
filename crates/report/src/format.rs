//! How numbers are written, and text in HTML and Markdown.

use crate::printable::printable;

/// A weight as short as it can be written; `all` for runs without one.
pub(crate) fn weight_label(weight: Option<f64>) -> String {
    weight.map_or("all".to_string(), |weight| weight.to_string())
}

/// A share as a percentage with one decimal: `62.1`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// A difference of shares in percentage points, with its sign: `+4.2`.
pub(crate) fn points(difference: f64) -> String {
    // Adding 0 turns a negative zero into a positive one.
    format!("{:+.1}", (1000.0 * difference).round() / 10.0 + 0.0)
}

/// An interval, `58.2 to 66.0`; a dash where there is none.
pub(crate) fn interval(bounds: Option<[f64; 2]>, number: impl Fn(f64) -> String) -> String {
    bounds.map_or("-".to_string(), |[low, high]| {
        format!("{} to {}", number(low), number(high))
    })
}

/// A p-value with two significant digits; below 0.001 only that bound.
pub(crate) fn p_value(p: f64) -> String {
    match p {
        p if p < 0.001 => "< 0.001".to_string(),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// A loss in nats with four decimals: `1.2345`.
pub(crate) fn nats(loss: f64) -> String {
    format!("{loss:.4}")
}

/// A difference of losses in nats, with its sign: `-0.0123`.
pub(crate) fn nats_difference(difference: f64) -> String {
    // Adding 0 turns a negative zero into a positive one.
    format!("{:+.4}", (1e4 * difference).round() / 1e4 + 0.0)
}

/// A loss in nats; a dash where there is none.
pub(crate) fn loss(loss: Option<f64>) -> String {
    loss.map_or("-".to_string(), nats)
}

/// A perplexity with four significant digits, as far as they are decimals: `3.435`, `21.7`, `1204`.
pub(crate) fn perplexity(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.3}"),
        value if value < 1000.0 => format!("{value:.1}"),
        value if value < 1e6 => format!("{value:.0}"),
        value => format!("{value:.2e}"),
    }
}

/// A number with three significant digits: `0.0123`, `1.50`, `213`; `1.2e-7` where small.
pub(crate) fn significant(number: f64) -> String {
    let exponent = number.abs().log10().floor();
    match exponent {
        _ if number == 0.0 => "0".to_string(),
        exponent if exponent < -4.0 => format!("{number:.1e}"),
        exponent => format!("{number:.*}", (2.0 - exponent).max(0.0) as usize),
    }
}

/// A count with its thousands set apart: `12 345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// Seconds as `1 h 02 min`, `3 min 04 s` or `5.6 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Text escaped for HTML and its attributes.
pub(crate) fn escape(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Text within a line of Markdown: what would begin a tag, an entity or a link is escaped.
pub(crate) fn markdown_text(text: &str) -> String {
    let text = printable(text).replace('\n', " ");
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '[' => escaped.push_str("\\["),
            // Followed by anything else it begins no tag: `p < 0.001` stays as it is.
            '<' if characters.peek().is_some_and(|next| !next.is_whitespace()) => {
                escaped.push_str("&lt;");
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0, 0.01, 1.0].map(|weight| weight_label(Some(weight))),
            ["0", "0.01", "1"]
        );
        assert_eq!(
            [0.0421, -0.0001, -0.02].map(points),
            ["+4.2", "+0.0", "-2.0"]
        );
        assert_eq!(
            [0.0123, -0.00001, -0.02].map(nats_difference),
            ["+0.0123", "+0.0000", "-0.0200"]
        );
        assert_eq!(
            [3.43512, 21.66, 1203.7, 2e9].map(perplexity),
            ["3.435", "21.7", "1204", "2.00e9"]
        );
        assert_eq!(
            [0.00002, 0.0123, 0.5].map(p_value),
            ["< 0.001", "0.012", "0.50"]
        );
        assert_eq!(
            [0.0, 0.012345, 1.5, 213.4, 1e5, 0.0000001234].map(significant),
            ["0", "0.0123", "1.50", "213", "100000", "1.2e-7"]
        );
        assert_eq!([7, 1234, 1234567].map(count), ["7", "1 234", "1 234 567"]);
        assert_eq!(
            [5.62, 184.2, 3725.0].map(duration),
            ["5.6 s", "3 min 04 s", "1 h 02 min"]
        );
        assert_eq!(interval(Some([0.582, 0.66]), percent), "58.2 to 66.0");
        assert_eq!(
            escape("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
        for (text, markdown) in [
            ("p < 0.001", "p < 0.001"),
            ("<img src=x>\n&amp;", "&lt;img src=x> &amp;amp;"),
            ("[here](javascript:alert())", "\\[here](javascript:alert())"),
            ("\u{1b}[31m", "\\u001b\\[31m"),
        ] {
            assert_eq!(markdown_text(text), markdown);
        }
    }
}
