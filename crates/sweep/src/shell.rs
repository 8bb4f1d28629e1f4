//! Words as sh reads them.

/// A word, quoted for sh where it needs to be.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=,+:@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sh_reads_a_quoted_word_back() {
        for (word, printed) in [
            ("runs/plw-0.1", "runs/plw-0.1"),
            ("my runs", "'my runs'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), printed);
        }
    }
}
