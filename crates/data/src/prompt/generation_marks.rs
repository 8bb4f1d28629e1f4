//! Marks around what a chat template says the assistant generates. They are put into the text while
//! it is rendered, and taken out of it again with their places.

use std::ops::Range;

/// Begins with a code point that is no character, so that no text holds it.
const START: &str = "\u{10fffe}\u{fdd0}";
const END: &str = "\u{10fffe}\u{fdd1}";

/// The filter of `{% generation %}`.
pub(crate) fn marked(generated: String) -> String {
    format!("{START}{generated}{END}")
}

/// Whether a text holds a mark, which would be taken for one of a template.
pub(crate) fn holds_mark(text: &str) -> bool {
    text.contains(START) || text.contains(END)
}

/// A text without its marks, and what they were around. `None` if they are not in pairs.
pub(crate) fn without_marks(marked: &str) -> Option<(String, Vec<Range<usize>>)> {
    let (mut text, mut ranges) = (String::with_capacity(marked.len()), Vec::new());
    let mut rest = marked;
    while let Some((before, after)) = rest.split_once(START) {
        let (generated, behind) = after.split_once(END)?;
        if holds_mark(before) || holds_mark(generated) {
            return None;
        }
        text.push_str(before);
        let start = text.len();
        text.push_str(generated);
        ranges.push(start..text.len());
        rest = behind;
    }
    text.push_str(rest);
    (!holds_mark(rest)).then_some((text, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_out_with_their_places() {
        let text = format!("a{}b{}", marked("é".to_owned()), marked(String::new()));
        assert_eq!(
            without_marks(&text),
            Some(("aéb".to_owned(), vec![1..3, 4..4]))
        );
        assert_eq!(without_marks("plain"), Some(("plain".to_owned(), vec![])));
        for text in [
            marked(marked(String::new())),
            format!("{END}a"),
            START.to_owned(),
        ] {
            assert_eq!(without_marks(&text), None, "{text:?}");
        }
    }
}
