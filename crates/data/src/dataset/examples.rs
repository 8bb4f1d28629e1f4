//! Examples and texts become sequences: encoded on all threads, numbered, and grouped by passage.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plw_batch::{DroppedExample, ExampleKey, Examples};

use super::encode_rows::{ExamplesError, encode_rows};
use super::encoded_row::{EncodedRow, encode_example};
use crate::encode::PromptEncoder;
use crate::rows::Text;
use crate::shapes::Example;
use crate::tokenizer::ModelTokenizer;

/// The level of plain texts, which have none of their own.
const TEXT_LEVEL: &str = "text";

/// Encodes examples, and leaves out those of more than `max_length` tokens; none is truncated.
/// Reads in chunks, encodes each chunk on all threads, and keeps the order.
///
/// The group of a sequence is the number of its passage, by first appearance: questions on one
/// passage share a group wherever they are. An example without a passage is a group of its own.
/// [`Examples::skipped_rows`] is 0: only the reader knows it.
///
/// # Errors
/// The first error of the reader, or the first example that cannot be encoded.
pub fn encode_examples<E: std::error::Error + Send + 'static>(
    examples: impl IntoIterator<Item = Result<Example, E>, IntoIter: Send>,
    encoder: &PromptEncoder,
    max_length: usize,
) -> Result<Examples, ExamplesError<E>> {
    let mut collected = Collector::new(max_length);
    let encode = |example| encode_example(encoder, example).map_err(ExamplesError::Prompt);
    encode_rows(examples.into_iter(), Example::bytes, encode, |row| {
        collected.add(row)
    })?;
    Ok(collected.examples)
}

/// Tokenizes plain texts for pretraining, and leaves out those of more than `max_length` tokens.
/// Every token is completion, and each text is a group of its own.
///
/// # Errors
/// The first error of the reader, or the first text that cannot be tokenized.
pub fn encode_texts<E: std::error::Error + Send + 'static>(
    texts: impl IntoIterator<Item = Result<Text, E>, IntoIter: Send>,
    tokenizer: &ModelTokenizer,
    max_length: usize,
) -> Result<Examples, ExamplesError<E>> {
    let level: Arc<str> = TEXT_LEVEL.into();
    let bytes = |text: &Text| text.text.len();
    let mut collected = Collector::new(max_length);
    let encode = |Text { file, row, text }| {
        let sequence = match tokenizer.encode_text(&text) {
            Ok(sequence) => sequence,
            Err(cause) => return Err(ExamplesError::Text { file, row, cause }),
        };
        let key = ExampleKey {
            file,
            row,
            example_id: String::new(),
            level: level.clone(),
            answer: None,
        };
        Ok(EncodedRow {
            key,
            sequence,
            passage: None,
        })
    };
    encode_rows(texts.into_iter(), bytes, encode, |row| collected.add(row))?;
    Ok(collected.examples)
}

/// Encoded rows as the examples of a data set.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) examples: Examples,
    groups: Groups,
    levels: Levels,
    max_length: usize,
}

impl Collector {
    /// Of rows of at most `max_length` tokens.
    pub(crate) fn new(max_length: usize) -> Self {
        Self {
            max_length,
            ..Self::default()
        }
    }

    /// Numbers a row and adds it, unless it is too long.
    pub(crate) fn add(&mut self, row: EncodedRow) {
        let EncodedRow {
            mut key,
            mut sequence,
            passage,
        } = row;
        key.level = self.levels.share(key.level);
        let tokens = sequence.len();
        if tokens > self.max_length {
            self.examples.dropped.push(DroppedExample { key, tokens });
            return;
        }
        sequence.group = self.groups.number(passage);
        self.examples.sequences.push(sequence);
        self.examples.keys.push(key);
    }
}

/// The levels so far. Rows share the memory of equal ones, if they are few.
#[derive(Default)]
struct Levels(HashSet<Arc<str>>);

impl Levels {
    fn share(&mut self, level: Arc<str>) -> Arc<str> {
        if let Some(known) = self.0.get(&level) {
            return known.clone();
        }
        if self.0.len() < 1000 {
            self.0.insert(level.clone());
        }
        level
    }
}

/// Numbers passages by first appearance.
#[derive(Default)]
struct Groups {
    by_passage: HashMap<[u8; 16], u32>,
    next: u32,
}

impl Groups {
    /// The number of a passage; a new one for a text without a passage.
    fn number(&mut self, passage: Option<[u8; 16]>) -> u32 {
        let number = match passage {
            Some(passage) => *self.by_passage.entry(passage).or_insert(self.next),
            None => self.next,
        };
        self.next = self.next.max(number + 1);
        number
    }
}
