//! A data set as training and evaluation use it: every kept example's tokens, and where it came from.

use std::collections::HashMap;
use std::sync::Arc;

use plw_batch::Sequence;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Example;
use crate::encode::{PromptEncoder, PromptError};
use crate::model_tokenizer::{ModelTokenizer, TokenizeError};

/// Examples that are encoded at once, by all threads together: all that is held of them besides tokens and keys.
const CHUNK: usize = 512;

/// The level of plain texts, which have none of their own.
const TEXT_LEVEL: &str = "text";

/// A data set's sequences, in the order of its rows, and what was left out.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// The kept examples. `sequences[i].example` is `i`; `group` numbers the distinct articles by first appearance,
    /// so that an article's questions share it wherever they stand. A plain text is a group of its own.
    pub sequences: Vec<Sequence>,
    /// Where each comes from: `keys[sequence.example]`.
    pub keys: Vec<ExampleKey>,
    /// The examples that are too long, in the order of the rows. They are left out whole, never cut.
    pub dropped: Vec<DroppedExample>,
}

/// Where an example comes from. File and row are its key: RACE's `example_id` names the article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleKey {
    /// The file it was read from.
    pub file: Arc<str>,
    /// Its row there, from 0.
    pub row: u64,
    /// The data set's own identifier.
    pub example_id: String,
    /// `high`, `middle`, or the folder's name.
    pub level: Arc<str>,
    /// Index of the right option; `None` for a plain text.
    pub answer: Option<usize>,
}

/// An example that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedExample {
    /// Which.
    pub key: ExampleKey,
    /// Its number of tokens.
    pub tokens: usize,
}

/// Why a data set cannot be built; `E` is the reader's error.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError<E: std::error::Error + 'static> {
    /// A row cannot be read.
    #[error(transparent)]
    Read(E),
    /// A question cannot be encoded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A text cannot be tokenised.
    #[error("{file}, text {number}: {cause}")]
    Text {
        /// The texts' source.
        file: Arc<str>,
        /// Which of its texts, from 0.
        number: u64,
        /// Why.
        cause: TokenizeError,
    },
}

/// An encoded example before it has a number.
struct Row {
    key: ExampleKey,
    sequence: Sequence,
    /// What decides its group: a digest of its article, since keeping every article would not be bounded.
    article: Option<[u8; 32]>,
}

impl Dataset {
    /// Encodes questions, leaving out those of more than `max_length` tokens. Reads in chunks, encodes each on all
    /// threads, and keeps the order.
    ///
    /// # Errors
    /// The reader's first error, or the first question's that cannot be encoded.
    pub fn from_examples<E: std::error::Error + Send + 'static>(
        examples: impl IntoIterator<Item = Result<Example, E>>,
        encoder: &PromptEncoder,
        max_length: usize,
    ) -> Result<Self, DatasetError<E>> {
        Self::build(examples, max_length, |_, example| {
            encode_example(encoder, example).map_err(DatasetError::Prompt)
        })
    }

    /// Tokenises plain texts for pretraining, every token a completion, leaving out those of more than `max_length`
    /// tokens. `file` is what their keys call their source; a key's row is the text's number.
    ///
    /// # Errors
    /// The reader's first error, or the tokenizer's.
    pub fn from_texts<E: std::error::Error + Send + 'static>(
        file: &str,
        texts: impl IntoIterator<Item = Result<String, E>>,
        tokenizer: &ModelTokenizer,
        max_length: usize,
    ) -> Result<Self, DatasetError<E>> {
        let (file, level): (Arc<str>, Arc<str>) = (file.into(), TEXT_LEVEL.into());
        Self::build(texts, max_length, |number, text| {
            let encoded = tokenizer.encode_text(&text);
            let sequence = encoded.map_err(|cause| DatasetError::Text {
                file: file.clone(),
                number,
                cause,
            })?;
            let (file, level) = (file.clone(), level.clone());
            let key = ExampleKey {
                file,
                row: number,
                example_id: String::new(),
                level,
                answer: None,
            };
            Ok(Row {
                key,
                sequence,
                article: None,
            })
        })
    }

    fn build<T: Send, E: std::error::Error + Send + 'static>(
        rows: impl IntoIterator<Item = Result<T, E>>,
        max_length: usize,
        encode: impl Fn(u64, T) -> Result<Row, DatasetError<E>> + Sync,
    ) -> Result<Self, DatasetError<E>> {
        let mut dataset = Self::default();
        let mut groups = Groups::default();
        let mut rows = rows
            .into_iter()
            .zip(0u64..)
            .map(|(row, number)| row.map(|row| (number, row)));
        loop {
            // A reader's error in the middle of a chunk comes after the rows before it, whose errors come first.
            let mut failed = None;
            let chunk: Vec<(u64, T)> = rows
                .by_ref()
                .take(CHUNK)
                .map_while(|row| row.map_err(|error| failed = Some(error)).ok())
                .collect();
            if chunk.is_empty() && failed.is_none() {
                return Ok(dataset);
            }
            dataset.add_all(chunk, max_length, &mut groups, &encode)?;
            if let Some(error) = failed {
                return Err(DatasetError::Read(error));
            }
        }
    }

    fn add_all<T: Send, E: Send>(
        &mut self,
        chunk: Vec<(u64, T)>,
        max_length: usize,
        groups: &mut Groups,
        encode: &(impl Fn(u64, T) -> Result<Row, E> + Sync),
    ) -> Result<(), E> {
        let encoded: Vec<Result<Row, E>> = chunk
            .into_par_iter()
            .map(|(number, row)| encode(number, row))
            .collect();
        for row in encoded {
            let Row {
                key,
                mut sequence,
                article,
            } = row?;
            if sequence.len() > max_length {
                self.dropped.push(DroppedExample {
                    key,
                    tokens: sequence.len(),
                });
                continue;
            }
            sequence.example = self.sequences.len() as u32;
            sequence.group = groups.number(article);
            self.sequences.push(sequence);
            self.keys.push(key);
        }
        Ok(())
    }
}

fn encode_example(encoder: &PromptEncoder, example: Example) -> Result<Row, PromptError> {
    let sequence = encoder.encode(&example)?.into_sequence(0, 0);
    let article = Some(Sha256::digest(&example.article).into());
    let key = ExampleKey {
        file: example.file,
        row: example.row,
        example_id: example.example_id,
        level: example.level.into(),
        answer: Some(example.answer),
    };
    Ok(Row {
        key,
        sequence,
        article,
    })
}

/// Numbers articles by first appearance.
#[derive(Default)]
struct Groups {
    by_article: HashMap<[u8; 32], u32>,
    next: u32,
}

impl Groups {
    fn number(&mut self, article: Option<[u8; 32]>) -> u32 {
        let number = match article {
            Some(article) => *self.by_article.entry(article).or_insert(self.next),
            None => self.next,
        };
        self.next = self.next.max(number + 1);
        number
    }
}
