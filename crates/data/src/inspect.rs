//! A question's tokens as a person reads them: pieces of the text, each with its token and whose it is.

use plw_batch::Role;

use crate::encode::{Encoded, PromptEncoder};

/// One token of an encoded question, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpan {
    /// Its piece of the text. All pieces together are the text; a token that the tokenizer added has none.
    pub text: String,
    /// The token as the vocabulary writes it.
    pub token: String,
    /// Its number.
    pub token_id: u32,
    /// Whose it is.
    pub role: Role,
    /// Whether it is the answer's letter.
    pub is_answer: bool,
}

impl PromptEncoder {
    /// Cuts an encoded question's text into one piece a token, in order.
    pub fn spans(&self, encoded: &Encoded) -> Vec<TokenSpan> {
        let answer = encoded
            .answer
            .as_ref()
            .map(|answer| answer.position as usize + 1);
        let pieces = pieces(&encoded.text, &encoded.offsets);
        let tokens = encoded.token_ids.iter().zip(pieces).enumerate();
        tokens
            .map(|(index, (&token_id, piece))| TokenSpan {
                text: piece.to_owned(),
                token: self
                    .tokenizer()
                    .tokenizer()
                    .id_to_token(token_id)
                    .unwrap_or_default(),
                token_id,
                role: if index < encoded.completion_start {
                    Role::Prompt
                } else {
                    Role::Completion
                },
                is_answer: Some(index) == answer,
            })
            .collect()
    }
}

/// The text in one piece a token, nothing left out: what stands between two tokens goes to the later one, what stands
/// after the last to the last, and a character of several tokens to the first that ends in it.
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
