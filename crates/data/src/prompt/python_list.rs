//! Python's `repr` of a list of strings, which the article's own script prints for the options.

use rustpython_literal::escape::UnicodeEscape;

/// Prints strings as Python prints a `list` of `str`: `['a', "b's", 'c\n']`.
pub fn python_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| python_string(item)).collect();
    format!("[{}]", items.join(", "))
}

fn python_string(text: &str) -> String {
    UnicodeEscape::new_repr(text.as_ref())
        .str_repr()
        .to_string()
        .unwrap_or_else(|| {
            // Only a string whose escaped length overflows `isize` has no escaped form.
            unreachable!("a string of {} bytes has an escaped form", text.len())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixture is made by `xtask/fixtures/prompts.py` with CPython's own `str`.
    #[test]
    fn lists_print_as_cpython_prints_them() {
        let cases: Vec<(Vec<String>, String)> =
            serde_json::from_str(include_str!("../../tests/fixtures/python_list.json"))
                .expect("the fixture is JSON");
        assert!(cases.len() > 20);
        for (items, printed) in cases {
            assert_eq!(python_list(&items), printed);
        }
    }
}
