//! A data set as training and evaluation see it: tokenized examples and the row that each is from.

use std::sync::Arc;

use crate::Sequences;

/// Tokenized examples, and the row of a data file that each is from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// The examples, in the order of their rows.
    pub sequences: Sequences,
    /// The key of each example: `keys[sequence.example]`.
    pub keys: Vec<ExampleKey>,
    /// The examples left out because they are too long, in the order of their rows.
    pub dropped: Vec<DroppedExample>,
    /// Number of bad rows left out.
    pub skipped_rows: u64,
}

/// The row of a data file that an example is from. File, row and id identify it: a row may be
/// several examples.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExampleKey {
    /// The name of the data file.
    pub file: Arc<str>,
    /// The row in that file, from 0.
    pub row: u64,
    /// The data set's own id. In RACE it is the id of the passage, which its questions share.
    pub example_id: String,
    /// `middle`, `high`, or another level that the data has.
    pub level: Arc<str>,
    /// The letter of the right option; `None` for a plain text.
    pub answer: Option<char>,
}

/// An example left out because it is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedExample {
    /// Its key.
    pub key: ExampleKey,
    /// Its number of tokens.
    pub tokens: usize,
}

impl Examples {
    /// The key of an example.
    pub fn key(&self, example: u32) -> &ExampleKey {
        &self.keys[example as usize]
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Memory that they take, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let ids = self.keys.iter().map(|key| key.example_id.len() as u64);
        let keys = size_of_val(self.keys.as_slice()) as u64;
        let dropped = size_of_val(self.dropped.as_slice()) as u64;
        self.sequences.memory_bytes() + keys + ids.sum::<u64>() + dropped
    }

    /// The number of examples of more than `tokens` tokens, and the length of the longest.
    pub fn longer_than(&self, tokens: usize) -> (usize, usize) {
        let lengths = (0..self.len() as u32).map(|example| self.sequences.length(example));
        let longer = lengths.filter(|&length| length > tokens);
        longer.fold((0, 0), |(count, longest), length| {
            (count + 1, longest.max(length))
        })
    }
}

/// The letter of an option: `A` for 0. A question has at most 26 options.
pub fn option_letter(option: usize) -> char {
    char::from(b'A' + option as u8)
}
