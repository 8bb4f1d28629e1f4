//! Text from data, made safe to print.

/// The text with its control characters written out, such as `\u001b` for an escape: raw ones in a
/// name or a passage could recolor, move or rewrite what a terminal shows. Line ends and tabs stay.
/// JSON stays the same JSON.
pub fn printable(text: &str) -> String {
    let is_plain = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    let mut printed = String::with_capacity(text.len());
    for character in text.chars() {
        match is_plain(character) {
            true => printed.push(character),
            false => printed.push_str(&format!("\\u{:04x}", u32::from(character))),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        for (text, printed) in [
            ("plain, é 字\n\tline", "plain, é 字\n\tline"),
            ("\u{1b}[31mred", "\\u001b[31mred"),
            ("over\rwritten", "over\\u000dwritten"),
            ("\u{7f}\u{9b}2J", "\\u007f\\u009b2J"),
        ] {
            assert_eq!(printable(text), printed);
        }
    }
}
