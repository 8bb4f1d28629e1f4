//! Examples and texts become sequences: encoded on all threads, numbered, and grouped by passage.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plw_batch::{DroppedExample, ExampleKey, Examples, Sequence};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::encode::{PromptEncoder, PromptError};
use crate::rows::Text;
use crate::shapes::Example;
use crate::tokenizer::{ModelTokenizer, TokenizeError};

/// Rows that are encoded at once, by all threads together. Only these are in memory as text.
const CHUNK: usize = 512;

/// Bytes of text that end a chunk before it has that many rows. Tokenizing a byte takes about 250.
const CHUNK_BYTES: usize = 8 << 20;

/// The level of plain texts, which have none of their own.
const TEXT_LEVEL: &str = "text";

/// Why examples cannot be made; `E` is the error of the reader.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError<E: std::error::Error + 'static> {
    /// A row cannot be read.
    #[error(transparent)]
    Read(E),
    /// An example cannot be encoded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A text cannot be tokenized.
    #[error("{file}, row {row} (the first is 0): {cause}")]
    Text {
        /// The file of the text.
        file: Arc<str>,
        /// Its row there, from 0.
        row: u64,
        /// Why.
        cause: TokenizeError,
    },
}

/// Encodes examples, and leaves out those of more than `max_length` tokens; none is truncated.
/// Reads in chunks, encodes each chunk on all threads, and keeps the order.
///
/// The group of a sequence is the number of its passage, by first appearance: questions on one
/// passage share a group wherever they are. An example without a passage is a group of its own. [`Examples::skipped_rows`] is 0: only the reader knows
/// it.
///
/// # Errors
/// The first error of the reader, or the first example that cannot be encoded.
pub fn encode_examples<E: std::error::Error + Send + 'static>(
    examples: impl IntoIterator<Item = Result<Example, E>>,
    encoder: &PromptEncoder,
    max_length: usize,
) -> Result<Examples, ExamplesError<E>> {
    encode_all(examples, Example::bytes, max_length, |example| {
        encode_example(encoder, example).map_err(ExamplesError::Prompt)
    })
}

/// Tokenizes plain texts for pretraining, and leaves out those of more than `max_length` tokens.
/// Every token is completion, and each text is a group of its own.
///
/// # Errors
/// The first error of the reader, or the first text that cannot be tokenized.
pub fn encode_texts<E: std::error::Error + Send + 'static>(
    texts: impl IntoIterator<Item = Result<Text, E>>,
    tokenizer: &ModelTokenizer,
    max_length: usize,
) -> Result<Examples, ExamplesError<E>> {
    let level: Arc<str> = TEXT_LEVEL.into();
    let bytes = |text: &Text| text.text.len();
    encode_all(texts, bytes, max_length, |Text { file, row, text }| {
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
        Ok(Encoded {
            key,
            sequence,
            passage: None,
        })
    })
}

/// An encoded row, before it has a number.
struct Encoded {
    key: ExampleKey,
    sequence: Sequence,
    /// A digest of the passage, which decides the group: the passages themselves would take
    /// unbounded memory.
    passage: Option<[u8; 16]>,
}

fn encode_example(encoder: &PromptEncoder, example: Example) -> Result<Encoded, PromptError> {
    let sequence = encoder.encode(&example)?.into_sequence(0, 0);
    let key = ExampleKey {
        file: example.file().clone(),
        row: example.row(),
        example_id: example.example_id().to_owned(),
        level: example.level().into(),
        answer: None,
    };
    let Example::Question(question) = example else {
        return Ok(Encoded {
            key,
            sequence,
            passage: None,
        });
    };
    let passage = question.article.as_ref().and_then(|article| {
        let digest: [u8; 32] = Sha256::digest(article).into();
        digest.first_chunk().copied()
    });
    Ok(Encoded {
        key: ExampleKey {
            answer: Some(question.answer_letter()),
            ..key
        },
        sequence,
        passage,
    })
}

fn encode_all<T: Send, E: std::error::Error + Send + 'static>(
    rows: impl IntoIterator<Item = Result<T, E>>,
    bytes: impl Fn(&T) -> usize,
    max_length: usize,
    encode: impl Fn(T) -> Result<Encoded, ExamplesError<E>> + Sync,
) -> Result<Examples, ExamplesError<E>> {
    let mut examples = Examples::default();
    let (mut groups, mut levels) = (Groups::default(), Levels::default());
    let mut rows = rows.into_iter();
    loop {
        // A reader's error comes after the rows before it, whose own errors come first.
        let mut failed = None;
        let mut chunk = Vec::new();
        let mut chunk_bytes = 0;
        while chunk.len() < CHUNK && chunk_bytes < CHUNK_BYTES {
            match rows.next() {
                Some(Ok(row)) => {
                    chunk_bytes += bytes(&row);
                    chunk.push(row);
                }
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        if chunk.is_empty() && failed.is_none() {
            return Ok(examples);
        }
        let encoded: Vec<Result<Encoded, ExamplesError<E>>> =
            chunk.into_par_iter().map(&encode).collect();
        for row in encoded {
            let mut row = row?;
            row.key.level = levels.share(row.key.level);
            add(&mut examples, &mut groups, row, max_length);
        }
        if let Some(error) = failed {
            return Err(ExamplesError::Read(error));
        }
    }
}

/// Numbers an encoded row and adds it, unless it is too long.
fn add(examples: &mut Examples, groups: &mut Groups, row: Encoded, max_length: usize) {
    let Encoded {
        key,
        mut sequence,
        passage,
    } = row;
    let tokens = sequence.len();
    if tokens > max_length {
        examples.dropped.push(DroppedExample { key, tokens });
        return;
    }
    sequence.group = groups.number(passage);
    examples.sequences.push(sequence);
    examples.keys.push(key);
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
