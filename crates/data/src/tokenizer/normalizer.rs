//! What the normalizer of a tokenizer.json does to memory. The tokenizers library believes what it
//! says, so it is checked before.

use serde::Deserialize;
use serde_json::Value;

/// How many times as long a normalizer may make a text. A usual one writes `▁`, three bytes, for
/// each space.
const MOST_GROWTH: usize = 64;

/// The part of a tokenizer.json that is looked at.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
}

/// Checks the normalizer of a tokenizer.json; says what is wrong with it.
pub(crate) fn check_normalizer(json: &str) -> Result<(), String> {
    let parts: Parts = serde_json::from_str(json).map_err(|error| error.to_string())?;
    match growth(&parts.normalizer)? {
        growth if growth > MOST_GROWTH => Err(format!(
            "its normalizer may make a text {growth} times as long, and at most {MOST_GROWTH} \
             times are allowed"
        )),
        _ => Ok(()),
    }
}

/// How many times as long a normalizer, or a sequence of them, may make a text.
fn growth(normalizer: &Value) -> Result<usize, String> {
    if let Some(parts) = normalizer["normalizers"].as_array() {
        let mut of_parts = parts.iter().map(growth);
        return of_parts.try_fold(1usize, |product, part| Ok(product.saturating_mul(part?)));
    }
    if let Some(map) = normalizer["precompiled_charsmap"].as_str() {
        let claimed = claimed_length(map).unwrap_or(0);
        if claimed > map.len() {
            return Err("its precompiled_charsmap is shorter than it says".to_owned());
        }
    }
    let length = |text: &Value| text.as_str().map_or(1, str::len).max(1);
    let (content, pattern) = (&normalizer["content"], &normalizer["pattern"]["String"]);
    Ok(length(content).div_ceil(length(pattern)))
}

/// The length that a map claims: its first four bytes, which base64 writes as six characters.
fn claimed_length(base64: &str) -> Option<usize> {
    let mut bits = 0u64;
    for digit in base64.as_bytes().first_chunk::<6>()? {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(digit);
    }
    Some(((bits >> 4) as u32).swap_bytes() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizers_that_take_too_much_are_refused() {
        let replace = |pattern: &str, content: &str| -> Value {
            serde_json::json!({"type": "Replace", "pattern": {"String": pattern},
                "content": content})
        };
        let map = |base64: &str| -> Value {
            serde_json::json!({"type": "Precompiled", "precompiled_charsmap": base64})
        };
        let sequence = |parts: Vec<Value>| -> Value {
            serde_json::json!({"type": "Sequence", "normalizers": parts})
        };
        let cases = [
            (Value::Null, None),
            (replace(" ", "▁"), None),
            (replace("aaaa", "bbbbbbbb"), None),
            (sequence(vec![replace("a", "aa"), replace("", "bb")]), None),
            (replace("a", &"b".repeat(65)), Some("65 times as long")),
            (
                sequence(vec![replace("a", "aa"); 7]),
                Some("128 times as long"),
            ),
            (
                sequence(vec![sequence(vec![replace("a", "aa"); 99])]),
                Some("times as long"),
            ),
            // 4 bytes, as it says.
            (map("BAAAAAAAAAA="), None),
            (map("/////w=="), Some("shorter than it says")),
            (
                sequence(vec![map("AAAAQAA=")]),
                Some("shorter than it says"),
            ),
            (map("AA"), None),
        ];
        for (normalizer, expected) in cases {
            let json = serde_json::json!({"version": "1.0", "normalizer": normalizer}).to_string();
            match (check_normalizer(&json), expected) {
                (Ok(()), None) => {}
                (Err(told), Some(part)) => assert!(told.contains(part), "{told}"),
                (told, expected) => panic!("{json}: {told:?}, expected {expected:?}"),
            }
        }
        assert!(check_normalizer(r#"{"normalizer": null, "normalizer": {}}"#).is_err());
        assert!(check_normalizer("{}").is_ok());
    }
}
