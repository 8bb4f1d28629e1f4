//! The tokens of options, found once for all texts that are certain to give the same.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use plw_batch::option_letter;
use tokenizers::{ModelWrapper, NormalizerWrapper, Tokenizer};

use super::option_tokens::{
    OptionTokenError, OptionTokens, Renderings, answer_letter, differing_token,
};
use crate::tokenizer::TokenizeError;

/// Bytes of the longest ending that is remembered: a longer one would rarely recur.
const LONGEST_ENDING: usize = 256;

/// Bytes before the letter that must recur where neighbors decide.
const NEAR: usize = 4;

/// Finds the tokens of options, and remembers them where they are certain to be the same again.
///
/// Equal endings give equal tokens behind an *anchor*: an added token at which every tokenizer
/// splits the text before anything else. What follows an anchor is tokenized by itself, whatever
/// stands before it.
///
/// Byte-pair encoding of a text that is not split into words is decided by neighbors: tokens are
/// the encoding of their text exactly if each two that follow each other are that of theirs
/// (Berglund and van der Merwe 2023, arXiv 2309.08715). An option's token that stood between two
/// tokens can therefore stand between them again.
#[derive(Debug)]
pub(crate) struct OptionTokenCache {
    anchors: HashMap<u32, String>,
    by_ending: RwLock<HashMap<Ending, Remembered>>,
    /// Whether neighbors decide.
    neighbors_decide: bool,
    by_neighbors: RwLock<HashMap<Neighbors, Vec<u32>>>,
}

/// What stands around the answer's letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Neighbors {
    /// The tokens before and behind the letter's.
    tokens: [Option<u32>; 2],
    /// The text before the letter in a few bytes, and all behind it: added tokens stand there
    /// alike.
    before: String,
    after: String,
    /// The bytes of the letter's token before and behind the letter.
    within: [usize; 2],
    options: usize,
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
            neighbors_decide: neighbors_decide(tokenizer),
            by_neighbors: RwLock::default(),
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
        let known = ending
            .as_ref()
            .and_then(|ending| read(&self.by_ending).get(ending).cloned());
        let known = known.and_then(|Remembered { from_end, tokens }| {
            let index = token_ids.len().checked_sub(from_end)?;
            let is_there = index > 0 && token_ids.get(index) == tokens.get(renderings.correct);
            is_there.then_some(OptionTokens { index, tokens })
        });
        let near = self.near(renderings, &letter, token_ids, offsets);
        let known = known.or_else(|| {
            let (index, neighbors) = near.as_ref()?;
            let by_neighbors = read(&self.by_neighbors);
            let tokens = by_neighbors.get(neighbors)?.clone();
            let is_there = token_ids.get(*index) == tokens.get(renderings.correct);
            is_there.then_some(OptionTokens {
                index: *index,
                tokens,
            })
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
            write(&self.by_ending).insert(ending, remembered);
        }
        if let Some((_, neighbors)) = near.filter(|(index, _)| *index == found.index) {
            write(&self.by_neighbors).insert(neighbors, found.tokens.clone());
        }
        Ok(found)
    }

    /// The index of the letter's token and what stands around it, if that decides and is short.
    fn near(
        &self,
        renderings: &Renderings,
        letter: &Range<usize>,
        token_ids: &[u32],
        offsets: &[(usize, usize)],
    ) -> Option<(usize, Neighbors)> {
        let text = &renderings.texts[renderings.correct];
        if !self.neighbors_decide || text.len() - letter.end > LONGEST_ENDING {
            return None;
        }
        let holds_letter =
            |&(start, end): &(usize, usize)| start <= letter.start && end >= letter.end;
        let index = offsets
            .iter()
            .rposition(holds_letter)
            .filter(|&index| index > 0)?;
        let (start, end) = offsets[index];
        let first = letter.start.saturating_sub(NEAR).min(start);
        let first = (first..=start).find(|&at| text.is_char_boundary(at))?;
        Some((
            index,
            Neighbors {
                tokens: [
                    token_ids.get(index - 1).copied(),
                    token_ids.get(index + 1).copied(),
                ],
                before: text[first..letter.start].to_owned(),
                after: text[letter.end..].to_owned(),
                within: [letter.start - start, end - letter.end],
                options: renderings.texts.len(),
            },
        ))
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

/// Whether the encoding is that of byte pairs, over a text that is not split and whose characters
/// are normalized one by one.
fn neighbors_decide(tokenizer: &Tokenizer) -> bool {
    let is_pure = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => {
            let no_dropout = model.dropout.is_none_or(|dropout| dropout == 0.0);
            let no_parts = model.continuing_subword_prefix.is_none();
            no_dropout && no_parts && model.end_of_word_suffix.is_none() && !model.ignore_merges
        }
        _ => false,
    };
    let by_character = tokenizer.get_normalizer().is_none_or(is_by_character);
    is_pure && by_character && tokenizer.get_pre_tokenizer().is_none()
}

/// Whether a normalizer changes each space alike, and puts something before the text.
fn is_by_character(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::Prepend(_) => true,
        NormalizerWrapper::Replace(replace) => {
            let replace = serde_json::to_value(replace).unwrap_or_default();
            replace["pattern"]["String"] == " "
        }
        NormalizerWrapper::Sequence(sequence) => sequence.as_ref().iter().all(is_by_character),
        _ => false,
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
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

    /// The tokenizer of a SentencePiece model, whose only anchor is before the prompt: what is
    /// remembered by neighbors is what tokenizing every option's text gives.
    #[test]
    fn neighbors_decide_where_text_is_not_split() {
        let json = include_str!("../../tests/fixtures/sentence_piece.tokenizer.json");
        let tokenizer: Tokenizer = json.parse().expect("the fixture is a tokenizer");
        let cache = OptionTokenCache::new(&tokenizer);
        assert!(cache.neighbors_decide);
        let mut tokenized_in_all = 0;
        let prompts = [
            "Anna saw",
            "the cat ",
            "Options:['a', 'b']",
            "[/INST]",
            "1 2 3 ",
            "é",
            "A",
        ];
        for first in prompts {
            for last in prompts {
                for ending in [" ? ", "\n?", " ?</s>", "?."] {
                    let text = format!("{first} {last}{ending}");
                    let (found, tokenized) = find(&cache, &tokenizer, &text);
                    let fresh = find(&OptionTokenCache::new(&tokenizer), &tokenizer, &text);
                    assert_eq!(found, fresh.0, "{text}");
                    tokenized_in_all += tokenized;
                }
            }
        }
        // Of 2 * 196 texts of other options, each neighborhood's once.
        assert!(tokenized_in_all <= 120, "{tokenized_in_all}");
    }
}
