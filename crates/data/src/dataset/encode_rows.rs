//! Rows are encoded on all threads while the next ones are read, and keep their order.

use std::sync::Arc;

use rayon::prelude::*;

use crate::encode::PromptError;
use crate::tokenizer::TokenizeError;

/// Rows that are encoded at once, by all threads together. Only these and the next ones are in
/// memory as text.
const CHUNK: usize = 512;

/// Bytes of text that end a chunk before it has that many rows. Tokenizing a byte takes about 250.
const CHUNK_BYTES: usize = 8 << 20;

/// Why examples cannot be made; `E` is the error of the reader.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError<E: std::error::Error + 'static> {
    /// A row cannot be read.
    #[error(transparent)]
    Read(E),
    /// An example cannot be encoded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Kept tokens were whole and cannot be read any more.
    #[error("the token cache was changed while it was read: {0}; start again")]
    Cache(std::io::Error),
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

/// Encodes rows and hands them to `take` in their order.
///
/// # Errors
/// The first error of the reader or of `encode`, in the order of the rows.
pub(crate) fn encode_rows<T: Send, U: Send, E: std::error::Error + Send + 'static>(
    mut rows: impl Iterator<Item = Result<T, E>> + Send,
    bytes: impl Fn(&T) -> usize + Sync,
    encode: impl Fn(T) -> Result<U, ExamplesError<E>> + Sync,
    mut take: impl FnMut(U),
) -> Result<(), ExamplesError<E>> {
    let mut chunk = Chunk::read(&mut rows, &bytes);
    while !chunk.is_last() {
        let Chunk {
            rows: current,
            failed,
        } = chunk;
        let encode = || current.into_par_iter().map(&encode).collect::<Vec<_>>();
        let read = || match failed {
            // A reader's error comes after the rows before it, whose own errors come first.
            Some(failed) => Chunk {
                rows: Vec::new(),
                failed: Some(failed),
            },
            None => Chunk::read(&mut rows, &bytes),
        };
        let (encoded, next) = rayon::join(encode, read);
        for row in encoded {
            take(row?);
        }
        chunk = next;
    }
    match chunk.failed {
        Some(error) => Err(ExamplesError::Read(error)),
        None => Ok(()),
    }
}

/// Rows that are encoded together.
struct Chunk<T, E> {
    rows: Vec<T>,
    /// The reader's error behind them.
    failed: Option<E>,
}

impl<T, E> Chunk<T, E> {
    fn read(rows: &mut impl Iterator<Item = Result<T, E>>, bytes: impl Fn(&T) -> usize) -> Self {
        let mut chunk = Self {
            rows: Vec::new(),
            failed: None,
        };
        let mut chunk_bytes = 0;
        while chunk.rows.len() < CHUNK && chunk_bytes < CHUNK_BYTES {
            match rows.next() {
                Some(Ok(row)) => {
                    chunk_bytes += bytes(&row);
                    chunk.rows.push(row);
                }
                Some(Err(error)) => {
                    chunk.failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        chunk
    }

    fn is_last(&self) -> bool {
        self.rows.is_empty()
    }
}
