//! A data set as training and evaluation see it.

use plw_batch::Sequence;
use plw_record::ExampleKey;

/// Tokenised examples, and which rows they came from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// The examples, in file order.
    pub sequences: Vec<Sequence>,
    /// Where each came from: `keys[sequence.example]`.
    pub keys: Vec<ExampleKey>,
    /// Examples left out for their length.
    pub dropped: u64,
    /// Bad rows left out.
    pub skipped_rows: u64,
}

impl Examples {
    /// The key of a sequence's example.
    pub fn key(&self, example: u32) -> &ExampleKey {
        &self.keys[example as usize]
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }
}
