//! A row as tokens, before it has a number among the examples of a data set.

use plw_batch::{ExampleKey, Sequence};
use sha2::{Digest, Sha256};

use crate::encode::{PromptEncoder, PromptError};
use crate::shapes::Example;

/// An encoded row. Its sequence has neither a number nor a group yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncodedRow {
    pub(crate) key: ExampleKey,
    pub(crate) sequence: Sequence,
    /// A digest of the passage, which decides the group: the passages themselves would take
    /// unbounded memory.
    pub(crate) passage: Option<[u8; 16]>,
}

/// Encodes an example.
pub(crate) fn encode_example(
    encoder: &PromptEncoder,
    example: Example,
) -> Result<EncodedRow, PromptError> {
    let sequence = encoder.encode(&example)?.into_sequence(0, 0);
    let key = ExampleKey {
        file: example.file().clone(),
        row: example.row(),
        example_id: example.example_id().to_owned(),
        level: example.level().into(),
        answer: None,
    };
    let Example::Question(question) = example else {
        return Ok(EncodedRow {
            key,
            sequence,
            passage: None,
        });
    };
    let passage = question.article.as_ref().and_then(|article| {
        let digest: [u8; 32] = Sha256::digest(article).into();
        digest.first_chunk().copied()
    });
    Ok(EncodedRow {
        key: ExampleKey {
            answer: Some(question.answer_letter()),
            ..key
        },
        sequence,
        passage,
    })
}
