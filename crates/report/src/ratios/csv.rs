//! Generation ratios as CSV (RFC 4180), a line for each data set.

use plw_ratio::{Estimate, Unit};

use super::report::{NamedRatios, RatioReport, one_line};
use crate::printable::printable;

/// The columns. An empty field is a number that there is not.
pub(crate) const HEADER: &str = "\
name,unit,examples,without_prompt,empty_completions,prompt_units,completion_units,\
mean,mean_low,mean_high,trimmed_mean,trimmed_mean_low,trimmed_mean_high,\
geometric_mean,geometric_mean_low,geometric_mean_high,median,percentile_10,percentile_90,\
smallest,largest,share_above_one,resamples,seed";

/// The report as CSV with a header, numbers with all their digits.
pub fn ratio_csv(report: &RatioReport) -> String {
    let lines = report
        .datasets
        .iter()
        .map(|dataset| line(dataset, report.unit));
    std::iter::once(HEADER.to_string())
        .chain(lines)
        .map(|line| line + "\r\n")
        .collect()
}

fn line(dataset: &NamedRatios, unit: Unit) -> String {
    let statistics = &dataset.analysis.statistics;
    let unit = match unit {
        Unit::Tokens => "tokens",
        Unit::Chars => "chars",
    };
    let mut fields = vec![field(&dataset.name), unit.to_string()];
    fields.extend(
        [
            statistics.examples,
            statistics.without_prompt,
            statistics.empty_completions,
            statistics.prompt_units,
            statistics.completion_units,
        ]
        .map(|count| count.to_string()),
    );
    let ratio = statistics.ratio.as_ref();
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for estimate in [
        ratio.map(|ratio| ratio.mean),
        ratio.map(|ratio| ratio.trimmed_mean),
        ratio.and_then(|ratio| ratio.geometric_mean),
    ] {
        let interval = estimate.and_then(|Estimate { interval, .. }| interval);
        fields.push(number(estimate.map(|estimate| estimate.value)));
        fields.push(number(interval.map(|[low, _]| low)));
        fields.push(number(interval.map(|[_, high]| high)));
    }
    fields.extend(
        [
            ratio.map(|ratio| ratio.median),
            ratio.map(|ratio| ratio.deciles[0]),
            ratio.map(|ratio| ratio.deciles[8]),
            ratio.map(|ratio| ratio.smallest),
            ratio.map(|ratio| ratio.largest),
            ratio.map(|ratio| ratio.share_above_one),
        ]
        .map(number),
    );
    let counts = [
        ratio.map(|ratio| ratio.resamples),
        ratio.map(|ratio| ratio.seed),
    ];
    fields.extend(counts.map(|count| count.map_or(String::new(), |count| count.to_string())));
    fields.join(",")
}

/// Text as a field. Spreadsheets would run what begins like a formula, so an apostrophe stands
/// before it, which they take for the mark of text.
fn field(text: &str) -> String {
    let text = printable(&one_line(text));
    let text = match text.trim_start().starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text,
    };
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fields_whatever_they_are() {
        for (name, written) in [
            ("alpaca", "alpaca"),
            ("a, \"b\"", "\"a, \"\"b\"\"\""),
            ("two\nlines", "two lines"),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("\u{1b}[31m", "\\u001b[31m"),
        ] {
            assert_eq!(field(name), written);
        }
    }
}
