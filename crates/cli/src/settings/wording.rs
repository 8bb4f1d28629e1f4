//! Settings in words: what a value should have been, and which name was meant.

use serde_json::{Map, Value};

/// What a setting must be, in a user's words where serde has Rust's.
pub(super) fn expectation(name: &str, value: &Value, error: &serde_json::Error) -> String {
    let message = error.to_string();
    let is_of_type = ["invalid type: ", "invalid value: "]
        .iter()
        .any(|beginning| message.starts_with(beginning));
    let expected = message.rsplit_once(", expected ").map(|(_, kind)| kind);
    let words = match expected.filter(|_| is_of_type) {
        Some("usize" | "u64" | "u32" | "u16" | "u8") => "a whole number of at least 0",
        Some("f64" | "f32") => "a number",
        Some("a boolean") => "true or false",
        Some("a string" | "path string") => "text, in quotes",
        Some("a sequence") => "a list",
        _ => return message,
    };
    let unquoted = value.as_str().filter(|text| match words {
        "true or false" => text.parse::<bool>().is_ok(),
        "a list" | "text, in quotes" => false,
        _ => text.parse::<f64>().is_ok(),
    });
    match unquoted {
        Some(text) => format!("it must be {words}, without quotes: {name} = {text}"),
        None => format!("it must be {words}"),
    }
}

/// The setting that a misspelled name may mean: the nearest, if at least half of the name agrees.
pub(crate) fn nearest<'a>(known: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let distances = known.keys().map(|known| (distance(known, name), known));
    let (distance, known) = distances.min()?;
    (2 * distance <= name.len()).then_some(known)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
