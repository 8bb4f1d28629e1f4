//! The source of a chat template, changed where minijinja lacks what a template needs. Knows tags;
//! renders nothing.

/// The filter that every assigned value goes through.
pub(crate) const SHALLOW: &str = "plw_shallow";

/// The filter of values that are assigned to a namespace.
pub(crate) const WITHOUT_NAMESPACE: &str = "plw_without_namespace";

/// The filter of what is between `{% generation %}` and `{% endgeneration %}`.
pub(crate) const GENERATION: &str = "plw_generation";

/// Whether a template marks what the assistant generates.
pub(crate) fn marks_generation(source: &str) -> bool {
    converted(source).contains(GENERATION)
}

/// Converts the tags that minijinja cannot take as they are. Its tags cannot be extended.
///
/// `{% generation %}` of transformers marks the assistant's tokens and prints nothing: it becomes a
/// filter of what it holds, with the same whitespace control. The value of `{% set %}` goes through
/// a filter that bounds its nesting.
pub(crate) fn converted(source: &str) -> String {
    let mut rest = source;
    let mut converted = String::new();
    while let Some(start) = rest.find("{%") {
        // What looks like a tag in a comment is none.
        if let Some((comment, after)) = comment_before(rest, start) {
            converted.push_str(comment);
            rest = after;
            continue;
        }
        let (before, after) = rest.split_at(start + 2);
        let Some(length) = length_of_tag(after) else {
            break;
        };
        let tag = &after[..length];
        converted.push_str(before);
        match tag.trim_matches(['-', '+']).trim() {
            "generation" => {
                let filter = format!("filter {GENERATION}");
                converted.push_str(&tag.replace("generation", &filter));
            }
            "endgeneration" => converted.push_str(&tag.replace("endgeneration", "endfilter")),
            _ => converted.push_str(&filtered_assignment(tag).unwrap_or_else(|| tag.to_owned())),
        }
        rest = &after[length..];
    }
    converted + rest
}

/// The text up to the end of a comment that begins before `end`, and what follows.
fn comment_before(text: &str, end: usize) -> Option<(&str, &str)> {
    let start = text[..end].find("{#")?;
    let length = text[start..].find("#}")?;
    Some(text.split_at(start + length + 2))
}

/// The length of a tag up to its `%}`, which is not in a string.
fn length_of_tag(tag: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in tag.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(of) if c == of => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if tag[at..].starts_with("%}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The tag `set TARGET = VALUE` with a filter behind the value.
fn filtered_assignment(tag: &str) -> Option<String> {
    let (target, value) = tag.split_once('=')?;
    let name = target.trim_start_matches(['-', '+']).trim_start();
    let name = name.strip_prefix("set")?;
    let is_target = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.,()".contains(c);
    if !name.starts_with(char::is_whitespace) || !name.chars().all(is_target) {
        return None;
    }
    let filter = match name.contains('.') {
        true => WITHOUT_NAMESPACE,
        false => SHALLOW,
    };
    // Whitespace control stays at the end.
    let end = value.trim_end_matches(['-', '+']).len();
    let (value, control) = value.split_at(end);
    Some(format!("{target}=({value})|{filter}{control}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_converted_and_all_else_stays() {
        let cases = [
            ("a {% b %} c", "a {% b %} c"),
            (
                "{%- generation -%}x{% endgeneration +%}",
                "{%- filter plw_generation -%}x{% endfilter +%}",
            ),
            ("{% set a = 1 %}", "{% set a =( 1 )|plw_shallow%}"),
            (
                "{%- set a, b = 1, 2 -%}",
                "{%- set a, b =( 1, 2 )|plw_shallow-%}",
            ),
            (
                "{%set n.a=[n.a]%}",
                "{%set n.a=([n.a])|plw_without_namespace%}",
            ),
            (
                "{% set n.a = '%}' ~ \"'=\" %}b",
                "{% set n.a =( '%}' ~ \"'=\" )|plw_without_namespace%}b",
            ),
            ("{% set a %}b=c{% endset %}", "{% set a %}b=c{% endset %}"),
            ("{% set a | f(b='.') %}", "{% set a | f(b='.') %}"),
            (
                "{% if a == b %}{% settle = 1 %}",
                "{% if a == b %}{% settle = 1 %}",
            ),
            (
                "{# {% don't #}{% set a=1%}",
                "{# {% don't #}{% set a=(1)|plw_shallow%}",
            ),
            ("{%}", "{%}"),
            ("{%", "{%"),
            ("a {% 'b %} c", "a {% 'b %} c"),
        ];
        for (source, expected) in cases {
            assert_eq!(converted(source), expected);
        }
    }
}
