//! All sequences of a data set in little memory. A [`Sequence`] is made of it where a batch needs
//! one.
//!
//! Knows that most vocabularies need 16 bits a token, that most sequences are a prompt and a
//! completion, and that questions share their options' tokens. Tokens are in blocks that never
//! move, so that growing takes no second copy.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Answer, Role, RoleTargets, Segment, Sequence};

/// Values of a block. A longer sequence has a block of its own.
const BLOCK: usize = 1 << 18;

/// The sequences of a data set. A token takes two bytes, or four in a sequence with a token beyond
/// 65535.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sequences {
    entries: Vec<Entry>,
    narrow: Blocks<u16>,
    wide: Blocks<u32>,
    /// The segments of conversations.
    segments: Blocks<Segment>,
    /// The distinct option tokens of answers.
    options: Vec<Arc<[u32]>>,
    /// The index of each in `options`.
    known_options: HashMap<Arc<[u32]>, u32>,
    largest_token: Option<u32>,
}

/// A sequence without its tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    group: u32,
    is_wide: bool,
    tokens: Place,
    roles: Roles,
    answer: Option<AnswerEntry>,
}

/// Which tokens are prompt and which completion.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Roles {
    /// A prompt of so many tokens, and a completion.
    Prompt(u32),
    /// Any segments.
    Segments(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AnswerEntry {
    position: u32,
    /// Index in [`Sequences::options`].
    options: u32,
    correct: u32,
}

impl Sequences {
    /// Adds a sequence. Its number here becomes its `example`.
    pub fn push(&mut self, sequence: Sequence) {
        let Sequence {
            group,
            token_ids,
            segments,
            answer,
            ..
        } = sequence;
        let option_tokens = answer.iter().flat_map(|answer| &answer.option_tokens);
        let largest = token_ids.iter().chain(option_tokens).copied().max();
        self.largest_token = self.largest_token.max(largest);
        let narrow: Option<Vec<u16>> = token_ids
            .iter()
            .map(|&token| u16::try_from(token).ok())
            .collect();
        let tokens = match &narrow {
            Some(token_ids) => self.narrow.push(token_ids),
            None => self.wide.push(&token_ids),
        };
        let roles = match Segment::prompt_of_two_parts(&segments, token_ids.len()) {
            Some(prompt) => Roles::Prompt(prompt),
            None => Roles::Segments(self.segments.push(&segments)),
        };
        let answer = answer.map(|answer| AnswerEntry {
            position: answer.position,
            options: self.options_index(answer.option_tokens),
            correct: answer.correct,
        });
        self.entries.push(Entry {
            group,
            is_wide: narrow.is_none(),
            tokens,
            roles,
            answer,
        });
    }

    fn options_index(&mut self, option_tokens: Vec<u32>) -> u32 {
        if let Some(&index) = self.known_options.get(option_tokens.as_slice()) {
            return index;
        }
        let index = self.options.len() as u32;
        let option_tokens: Arc<[u32]> = option_tokens.into();
        self.options.push(option_tokens.clone());
        self.known_options.insert(option_tokens, index);
        index
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A sequence.
    ///
    /// # Panics
    ///
    /// If there is none of this number, as in all functions that take one.
    pub fn get(&self, number: u32) -> Sequence {
        let entry = &self.entries[number as usize];
        let token_ids = match entry.is_wide {
            true => self.wide.get(entry.tokens).to_vec(),
            false => {
                let narrow = self.narrow.get(entry.tokens).iter();
                narrow.map(|&token| token.into()).collect()
            }
        };
        Sequence {
            example: number,
            group: entry.group,
            token_ids,
            segments: self.segments(entry),
            answer: entry.answer.map(|answer| Answer {
                position: answer.position,
                option_tokens: self.options[answer.options as usize].to_vec(),
                correct: answer.correct,
            }),
        }
    }

    /// All sequences, each made when its turn comes.
    pub fn iter(&self) -> impl Iterator<Item = Sequence> {
        (0..self.len() as u32).map(|number| self.get(number))
    }

    /// Number of tokens of a sequence.
    pub fn length(&self, number: u32) -> usize {
        self.entries[number as usize].tokens.length as usize
    }

    /// The group of a sequence: [`Sequence::group`].
    pub fn group(&self, number: u32) -> u32 {
        self.entries[number as usize].group
    }

    /// Number of prompt tokens of a sequence.
    pub fn prompt_length(&self, number: u32) -> usize {
        let entry = &self.entries[number as usize];
        match entry.roles {
            Roles::Prompt(length) => length as usize,
            Roles::Segments(place) => Segment::tokens_of(self.segments.get(place), Role::Prompt),
        }
    }

    /// What of a sequence is predicted, in the order of [`Role::ALL`]: all tokens but the first.
    pub fn role_targets(&self, number: u32) -> [RoleTargets; 2] {
        Segment::role_targets(&self.segments(&self.entries[number as usize]))
    }

    fn segments(&self, entry: &Entry) -> Vec<Segment> {
        match entry.roles {
            Roles::Prompt(prompt) => {
                Segment::prompt_and_completion(prompt as usize, entry.tokens.length as usize)
            }
            Roles::Segments(place) => self.segments.get(place).to_vec(),
        }
    }

    /// Number of tokens of all sequences.
    pub fn tokens(&self) -> u64 {
        let lengths = self
            .entries
            .iter()
            .map(|entry| u64::from(entry.tokens.length));
        lengths.sum()
    }

    /// The greatest token of any sequence or option.
    pub fn largest_token(&self) -> Option<u32> {
        self.largest_token
    }

    /// Memory that they take, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let entries = size_of_val(self.entries.as_slice()) as u64;
        let tokens = self.narrow.memory_bytes() + self.wide.memory_bytes();
        entries + tokens + self.segments.memory_bytes()
    }
}

impl FromIterator<Sequence> for Sequences {
    fn from_iter<I: IntoIterator<Item = Sequence>>(sequences: I) -> Self {
        let mut all = Self::default();
        for sequence in sequences {
            all.push(sequence);
        }
        all
    }
}

/// Values in blocks. No sequence spans two.
#[derive(Debug, Clone, PartialEq)]
struct Blocks<T>(Vec<Vec<T>>);

/// Where a sequence's values are.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    block: u32,
    /// Of the first value in the block.
    start: u32,
    length: u32,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Blocks<T> {
    /// Appends values, and returns where they are.
    fn push(&mut self, values: &[T]) -> Place {
        let has_room = |block: &Vec<T>| block.capacity() - block.len() >= values.len();
        if !self.0.last().is_some_and(has_room) {
            self.0.push(Vec::with_capacity(values.len().max(BLOCK)));
        }
        let number = self.0.len() - 1;
        let block = &mut self.0[number];
        let start = block.len();
        block.extend_from_slice(values);
        Place {
            block: number as u32,
            start: start as u32,
            length: values.len() as u32,
        }
    }

    fn get(&self, place: Place) -> &[T] {
        &self.0[place.block as usize][place.start as usize..][..place.length as usize]
    }

    fn memory_bytes(&self) -> u64 {
        let blocks = self.0.iter();
        blocks
            .map(|block| size_of_val(block.as_slice()) as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sequence(example: u32, token_ids: Vec<u32>) -> Sequence {
        let answer = (!token_ids.is_empty()).then(|| Answer {
            position: 0,
            option_tokens: vec![7, 8, 70_000][..1 + example as usize % 3].to_vec(),
            correct: example % 2,
        });
        Sequence {
            example,
            group: example / 2,
            segments: segments(example, token_ids.len()),
            token_ids,
            answer,
        }
    }

    /// A prompt and a completion, every third time with a weight, every fourth a turn each token.
    fn segments(example: u32, length: usize) -> Vec<Segment> {
        let mut segments = Segment::prompt_and_completion(length / 2, length);
        if example % 4 == 3 {
            let turn = |end| Segment {
                role: Role::ALL[end as usize % 2],
                weight: 1.0,
                end,
            };
            segments = (1..=length as u32).map(turn).collect();
        }
        if let Some(first) = segments.first_mut().filter(|_| example % 3 == 2) {
            first.weight = 0.25;
        }
        segments
    }

    proptest! {
        #[test]
        fn what_is_pushed_comes_back(
            tokens in prop::collection::vec(prop::collection::vec(0u32..70_000, 0..9), 0..40),
        ) {
            let pushed: Vec<Sequence> = (0..).zip(tokens).map(|(i, t)| sequence(i, t)).collect();
            let sequences: Sequences = pushed.iter().cloned().collect();
            prop_assert_eq!(sequences.iter().collect::<Vec<_>>(), pushed.clone());
            for (number, sequence) in (0..).zip(&pushed) {
                prop_assert_eq!(sequences.length(number), sequence.len());
                prop_assert_eq!(sequences.group(number), sequence.group);
                let prompt = sequence.tokens_of(Role::Prompt);
                prop_assert_eq!(sequences.prompt_length(number), prompt);
                prop_assert_eq!(sequences.role_targets(number), sequence.role_targets());
            }
            let all = pushed.iter().flat_map(|s| {
                let options = s.answer.iter().flat_map(|answer| &answer.option_tokens);
                s.token_ids.iter().chain(options)
            });
            prop_assert_eq!(sequences.largest_token(), all.max().copied());
            let count: usize = pushed.iter().map(Sequence::len).sum();
            prop_assert_eq!(sequences.tokens(), count as u64);
        }
    }

    #[test]
    fn a_token_takes_two_bytes_and_a_sequence_fifty_two_more() {
        let few = |count: u32| -> Sequences {
            (0..count)
                .map(|example| sequence(12 * example, vec![65_535; 137]))
                .collect()
        };
        let a_thousand = few(2000).memory_bytes() - few(1000).memory_bytes();
        assert!(a_thousand <= 1000 * (2 * 137 + 52), "{a_thousand} bytes");
        let wide: Sequences = [sequence(0, vec![65_536; 137])].into_iter().collect();
        assert!(wide.memory_bytes() <= 4 * 137 + 52);
        // A sequence that is longer than a block.
        let long: Sequences = [sequence(0, vec![1; BLOCK + 1])].into_iter().collect();
        assert_eq!(long.get(0).len(), BLOCK + 1);
    }
}
