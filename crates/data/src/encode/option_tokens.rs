//! The token that each option would put in place of the answer, found by tokenizing the text with
//! the letter of each option.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::RwLock;

use plw_batch::option_letter;
use tokenizers::Tokenizer;

use super::difference::difference;
use crate::tokenizer::TokenizeError;

/// Bytes of the longest ending that is remembered: a longer one would rarely recur.
const LONGEST_ENDING: usize = 256;

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

/// Finds the tokens of options, and remembers them by the end of the text if equal endings are
/// certain to give equal tokens.
///
/// They are behind an *anchor*: an added token at which every tokenizer splits the text before
/// anything else. What follows an anchor is tokenized by itself, whatever stands before it.
#[derive(Debug)]
pub(crate) struct OptionTokenCache {
    anchors: HashMap<u32, String>,
    by_ending: RwLock<HashMap<Ending, Remembered>>,
}

/// The text behind the anchor with the answer's letter taken out, and the number of options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Ending {
    before: String,
    after: String,
    options: usize,
}

/// The options' tokens, and how many tokens there are from the answer's to the end.
#[derive(Debug, Clone)]
struct Remembered {
    from_end: usize,
    tokens: Vec<u32>,
}

impl OptionTokenCache {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Self {
        let added = tokenizer.get_added_tokens_decoder();
        // If another token contains this one, the text is split at the longer token instead.
        let stands_alone = |content: &str| {
            added
                .values()
                .filter(|other| other.content.contains(content))
                .count()
                == 1
        };
        let anchors = added
            .iter()
            .filter(|(_, token)| {
                !token.normalized && !token.single_word && !token.lstrip && !token.rstrip
            })
            .filter(|(_, token)| {
                !tokenizer.get_encode_special_tokens() && stands_alone(&token.content)
            })
            .map(|(&id, token)| (id, token.content.clone()))
            .collect();
        Self {
            anchors,
            by_ending: RwLock::default(),
        }
    }

    /// The options' tokens in the text of the right option, whose tokens and offsets are given.
    /// Tokenizes the other options' texts unless the ending is known.
    pub(crate) fn find(
        &self,
        renderings: &Renderings,
        token_ids: &[u32],
        offsets: &[(usize, usize)],
        tokenize: impl Fn(&str) -> Result<Vec<u32>, TokenizeError>,
    ) -> Result<OptionTokens, OptionTokenError> {
        let letter = answer_letter(renderings)?;
        let text = &renderings.texts[renderings.correct];
        let ending = self.ending(renderings, &letter, token_ids, offsets);
        let known = ending.as_ref().and_then(|ending| {
            let by_ending = self
                .by_ending
                .read()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            by_ending.get(ending).cloned()
        });
        let known = known.and_then(|Remembered { from_end, tokens }| {
            let index = token_ids.len().checked_sub(from_end)?;
            let is_there = index > 0 && token_ids.get(index) == tokens.get(renderings.correct);
            is_there.then_some(OptionTokens { index, tokens })
        });
        if let Some(found) = known {
            return Ok(found);
        }
        let texts = renderings.texts.iter();
        let tokenized: Result<Vec<Vec<u32>>, TokenizeError> = texts
            .map(|other| {
                if other == text {
                    Ok(token_ids.to_vec())
                } else {
                    tokenize(other)
                }
            })
            .collect();
        let found = differing_token(&tokenized?)?;
        let (start, end) = offsets[found.index];
        if found.index == 0 || end <= letter.start || start >= letter.end {
            return Err(OptionTokenError::Place(option_letter(renderings.correct)));
        }
        if let Some(ending) = ending {
            let remembered = Remembered {
                from_end: token_ids.len() - found.index,
                tokens: found.tokens.clone(),
            };
            self.by_ending
                .write()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .insert(ending, remembered);
        }
        Ok(found)
    }

    /// The text behind the last anchor before the answer, if it is short.
    fn ending(
        &self,
        renderings: &Renderings,
        letter: &Range<usize>,
        token_ids: &[u32],
        offsets: &[(usize, usize)],
    ) -> Option<Ending> {
        let text = &renderings.texts[renderings.correct];
        let is_anchor = |id: &u32, start: usize, end: usize| {
            self.anchors
                .get(id)
                .is_some_and(|content| text.get(start..end) == Some(content.as_str()))
        };
        let (_, &(_, start)) = token_ids
            .iter()
            .zip(offsets)
            .rfind(|&(id, &(start, end))| end <= letter.start && is_anchor(id, start, end))?;
        (text.len() - start <= LONGEST_ENDING).then(|| Ending {
            before: text[start..letter.start].to_owned(),
            after: text[letter.end..].to_owned(),
            options: renderings.texts.len(),
        })
    }
}

/// The place of the answer's letter, the same in every rendering.
fn answer_letter(renderings: &Renderings) -> Result<Range<usize>, OptionTokenError> {
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
fn differing_token(options: &[Vec<u32>]) -> Result<OptionTokens, OptionTokenError> {
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

    /// What the cache finds for a text with `?` for the answer, and how many texts it had tokenized
    /// for it.
    fn find(cache: &OptionTokenCache, tokenizer: &Tokenizer, text: &str) -> (OptionTokens, usize) {
        let texts = ["A", "B", "C"]
            .map(|letter| text.replace('?', letter))
            .to_vec();
        let renderings = Renderings { texts, correct: 1 };
        let encode = |text: &str| tokenizer.encode(text, false).expect("a text");
        let encoding = encode(&renderings.texts[1]);
        let tokenized = std::cell::Cell::new(0);
        let tokenize = |text: &str| {
            tokenized.set(tokenized.get() + 1);
            Ok(encode(text).get_ids().to_vec())
        };
        let found = cache.find(
            &renderings,
            encoding.get_ids(),
            encoding.get_offsets(),
            tokenize,
        );
        (found.expect("one token for each letter"), tokenized.get())
    }

    #[test]
    fn equal_endings_behind_an_anchor_are_tokenized_once() {
        let json = include_str!("../../tests/fixtures/byte_level.tokenizer.json");
        let tokenizer: Tokenizer = json.parse().expect("the fixture is a tokenizer");
        let cache = OptionTokenCache::new(&tokenizer);
        let cases = [
            ("red<|im_start|>bot: ?<|im_end|>", 2),
            ("blue, no<|im_start|>bot: ?<|im_end|>", 0),
            ("blue, no<|im_start|>you: ?<|im_end|>", 2),
            ("blue, no<|im_start|>bot: ?", 2),
            ("bot: ?<|im_end|>", 2),
            ("bot: ?<|im_end|>", 2),
        ];
        for (text, tokenized) in cases {
            let (found, count) = find(&cache, &tokenizer, text);
            let fresh = find(&OptionTokenCache::new(&tokenizer), &tokenizer, text);
            assert_eq!((&found, count), (&fresh.0, tokenized), "{text}");
        }
    }

    #[test]
    fn a_token_that_another_contains_is_no_anchor() {
        let json = include_str!("../../tests/fixtures/byte_level.tokenizer.json");
        let mut tokenizer: Tokenizer = json.parse().expect("the fixture is a tokenizer");
        let added = |content: &str| tokenizers::AddedToken::from(content, true);
        tokenizer
            .add_special_tokens([added("<s>A"), added("<left>").lstrip(true)])
            .expect("new tokens");
        let mut anchors: Vec<String> = OptionTokenCache::new(&tokenizer)
            .anchors
            .into_values()
            .collect();
        anchors.sort();
        assert_eq!(
            anchors,
            ["</s>", "<s>A", "<unk>", "<|im_end|>", "<|im_start|>"]
        );
    }

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
