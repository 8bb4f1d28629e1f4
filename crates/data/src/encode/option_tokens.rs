//! The token that each option would put in place of the answer, found by tokenizing the text with
//! the letter of each option.

use std::ops::Range;

use plw_batch::option_letter;

use super::difference::difference;
use crate::tokenizer::TokenizeError;

/// One conversation, rendered with the letter of each option as the answer.
#[derive(Debug)]
pub(crate) struct Renderings {
    /// One text for each option, in order.
    pub(crate) texts: Vec<String>,
    /// The index of the right option.
    pub(crate) correct: usize,
}

/// The token of each option, and the index at which they replace one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptionTokens {
    pub(crate) index: usize,
    pub(crate) tokens: Vec<u32>,
}

/// Why the options do not differ in one token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionTokenError {
    /// The text holds the letter nowhere, or more than once.
    #[error(
        "the texts with answers {first} and {other} do not differ in one letter: {{answer}} must \
         stand once in completion_template, and the chat template must print it"
    )]
    Text {
        /// The first option's letter.
        first: char,
        /// The other option's letter.
        other: char,
    },
    /// Two letters give token sequences that differ in several tokens, or in none.
    #[error(
        "answers {first} and {other} do not differ in exactly one token: {differing_first:?} \
         against {differing_other:?}; put a space or a line break around {{answer}} in \
         completion_template or the chat template"
    )]
    Tokens {
        /// The first option's letter.
        first: char,
        /// The other option's letter.
        other: char,
        /// The differing tokens of the first.
        differing_first: Vec<u32>,
        /// The differing tokens of the other.
        differing_other: Vec<u32>,
    },
    /// The token that differs is not the one that covers the letter, or has none before it.
    #[error(
        "answer {0} is not where the tokens differ, or no token before it predicts it; put text \
         before {{answer}} in completion_template"
    )]
    Place(char),
    /// The tokenizer fails.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
}

/// The place of the answer's letter, the same in every rendering.
pub(crate) fn answer_letter(renderings: &Renderings) -> Result<Range<usize>, OptionTokenError> {
    let first = &renderings.texts[0];
    let mut letter = None;
    for (option, text) in renderings.texts.iter().enumerate().skip(1) {
        let one_letter = difference(first, text)
            .filter(|(left, right)| left == right && left.len() == 1)
            .filter(|(left, _)| {
                first[left.clone()] == option_letter(0).to_string()
                    && text[left.clone()] == option_letter(option).to_string()
            });
        match (one_letter, &letter) {
            (Some((range, _)), None) => letter = Some(range),
            (Some((range, _)), Some(known)) if range == *known => {}
            _ => {
                return Err(OptionTokenError::Text {
                    first: 'A',
                    other: option_letter(option),
                });
            }
        }
    }
    letter.ok_or(OptionTokenError::Text {
        first: 'A',
        other: 'A',
    })
}

/// The one index at which the options' tokens differ, all of them from one another.
pub(crate) fn differing_token(options: &[Vec<u32>]) -> Result<OptionTokens, OptionTokenError> {
    let first = &options[0];
    let mut index = None;
    for (option, other) in options.iter().enumerate().skip(1) {
        let differing: Vec<usize> = (0..first.len().min(other.len()))
            .filter(|&i| first[i] != other[i])
            .collect();
        match (differing.as_slice(), index) {
            (&[at], None) if first.len() == other.len() => index = Some(at),
            (&[at], Some(known)) if first.len() == other.len() && at == known => {}
            _ => return Err(more_than_one_token(options, 0, option)),
        }
    }
    let Some(index) = index else {
        return Err(more_than_one_token(options, 0, 0));
    };
    let tokens: Vec<u32> = options.iter().map(|ids| ids[index]).collect();
    for (option, token) in tokens.iter().enumerate() {
        if let Some(same) = tokens[..option].iter().position(|earlier| earlier == token) {
            return Err(more_than_one_token(options, same, option));
        }
    }
    Ok(OptionTokens { index, tokens })
}

fn more_than_one_token(options: &[Vec<u32>], first: usize, other: usize) -> OptionTokenError {
    let (left, right) = (&options[first], &options[other]);
    let start = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let ends = left[start..].iter().rev().zip(right[start..].iter().rev());
    let end = ends.take_while(|(a, b)| a == b).count();
    OptionTokenError::Tokens {
        first: option_letter(first),
        other: option_letter(other),
        differing_first: left[start..left.len() - end].to_vec(),
        differing_other: right[start..right.len() - end].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_differ_in_exactly_one_token() {
        type Case<'a> = (&'a [&'a [u32]], Option<(usize, &'a [u32])>);
        let cases: [Case; 6] = [
            (&[&[1, 5, 2], &[1, 6, 2], &[1, 7, 2]], Some((1, &[5, 6, 7]))),
            (&[&[1, 5, 2], &[1, 6, 6, 2]], None),
            (&[&[1, 5, 2], &[1, 6, 3]], None),
            (&[&[1, 5, 2], &[1, 5, 2]], None),
            (&[&[1, 5, 2], &[1, 6, 2], &[1, 5, 3]], None),
            (&[&[1, 5, 2], &[1, 6, 2], &[1, 6, 2]], None),
        ];
        for (options, expected) in cases {
            let options: Vec<Vec<u32>> = options.iter().map(|ids| ids.to_vec()).collect();
            let expected = expected.map(|(index, tokens)| OptionTokens {
                index,
                tokens: tokens.to_vec(),
            });
            assert_eq!(differing_token(&options).ok(), expected, "{options:?}");
        }
    }

    #[test]
    fn every_text_holds_the_letter_once() {
        let cases: [(&[&str], Option<Range<usize>>); 5] = [
            (&["x A.", "x B.", "x C."], Some(2..3)),
            (&["A A", "B B"], None),
            (&["x", "x"], None),
            (&["x a", "x b"], None),
            (&["x A.", "x B.", "C x."], None),
        ];
        for (texts, expected) in cases {
            let renderings = Renderings {
                texts: texts.iter().map(ToString::to_string).collect(),
                correct: 0,
            };
            assert_eq!(answer_letter(&renderings).ok(), expected, "{texts:?}");
        }
    }
}
