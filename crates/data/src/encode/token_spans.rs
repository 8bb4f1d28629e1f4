//! An encoded example for display: its text in pieces, one for each token.

use plw_batch::Role;

use super::encoder::{Encoded, PromptEncoder};

/// One token of an encoded example, for display.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSpan {
    /// Its piece of the text. All pieces together are the text; a token that the tokenizer added
    /// has none.
    pub text: String,
    /// The token as it is written in the vocabulary.
    pub token: String,
    /// Its id.
    pub token_id: u32,
    /// Its role.
    pub role: Role,
    /// What the loss weight of its role is multiplied by.
    pub weight: f64,
    /// Whether it is the letter of the answer.
    pub is_answer: bool,
}

impl PromptEncoder {
    /// Cuts the text of an encoded example into one piece for each token, in order.
    pub fn spans(&self, encoded: &Encoded) -> Vec<TokenSpan> {
        let answer = encoded
            .answer
            .as_ref()
            .map(|answer| answer.position as usize + 1);
        let pieces = pieces(&encoded.text, &encoded.offsets);
        let mut segments = encoded.segments.iter().peekable();
        let mut segment_of = |index: usize| {
            while segments
                .next_if(|segment| segment.end as usize <= index)
                .is_some()
            {}
            **segments.peek().expect("every token is in a segment")
        };
        let tokens = encoded.token_ids.iter().zip(pieces).enumerate();
        tokens
            .map(|(index, (&token_id, piece))| (index, token_id, piece, segment_of(index)))
            .map(|(index, token_id, piece, segment)| TokenSpan {
                text: piece.to_owned(),
                token: self
                    .tokenizer()
                    .tokenizer()
                    .id_to_token(token_id)
                    .unwrap_or_default(),
                token_id,
                role: segment.role,
                weight: segment.weight,
                is_answer: Some(index) == answer,
            })
            .collect()
    }
}

/// Cuts a text into one piece for each token, leaving nothing out. What is between two tokens goes
/// to the later one, what follows the last to the last, and a character of several tokens to the
/// first that ends in it.
fn pieces<'a>(text: &'a str, offsets: &[(usize, usize)]) -> Vec<&'a str> {
    let mut cursor = 0;
    let mut pieces = Vec::with_capacity(offsets.len());
    for (index, &(_, end)) in offsets.iter().enumerate() {
        let end = if index + 1 == offsets.len() {
            text.len()
        } else {
            end.max(cursor)
        };
        let end = (end..=text.len())
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(text.len());
        pieces.push(&text[cursor..end]);
        cursor = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        type Case<'a> = (&'a str, &'a [(usize, usize)], &'a [&'a str]);
        let cases: [Case; 5] = [
            ("the cat", &[(0, 3), (4, 7)], &["the", " cat"]),
            ("<s>a", &[(0, 0), (0, 3), (3, 4)], &["", "<s>", "a"]),
            ("é!", &[(0, 1), (1, 2), (2, 3)], &["é", "", "!"]),
            ("é!", &[(0, 2), (0, 2), (2, 3)], &["é", "", "!"]),
            ("end  ", &[(0, 3), (0, 0)], &["end", "  "]),
        ];
        for (text, offsets, expected) in cases {
            assert_eq!(pieces(text, offsets), expected);
            assert_eq!(pieces(text, offsets).concat(), text);
        }
    }
}
