//! Conversations: a user tells a few facts and asks for all of them in another order or in other
//! words. The answer is about as long as the prompt.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use plw_data::{Split, WriteError};
use plw_files::{FileError, write_atomic_with};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::{ConversationConfig, Level, SyntheticConfig};
use crate::error::SyntheticError;
use crate::fact::{Attribute, Facts};
use crate::layout::{check_folder, conversation_file};
use crate::passage::{Share, passage_of};
use crate::request::{Request, told};

#[cfg(test)]
mod tests;

/// The system turn of all rows that have one.
const SYSTEM: &str = "Read the passage. Reply in the words of the story.";

/// The first stream of conversations; those below are the questions'.
const FIRST_STREAM: u64 = 0x100;

/// Who takes a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnRole {
    /// Instructions for the whole conversation.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who takes it.
    pub role: TurnRole,
    /// What is said.
    pub content: String,
}

/// A row: a system turn in some, then one or two questions on the same facts with their answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Names the row in all splits, as `train-17`.
    pub id: String,
    /// The turns, in order.
    pub messages: Vec<Turn>,
}

/// The conversations of a split; none where [`SyntheticConfig::conversations`] is not given.
///
/// An answer follows from the turns before it, and is the only one that they have. No set of facts
/// is told in two splits, and no passage in two splits, in another split's questions or in
/// pretraining text, whatever the seeds.
///
/// # Errors
/// [`SyntheticError::Setting`].
pub fn conversations(
    config: &SyntheticConfig,
    split: Split,
) -> Result<impl Iterator<Item = Conversation> + use<>, SyntheticError> {
    config.check()?;
    let settings = config.conversations.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    // As with questions, the size of one split does not change the rows of another.
    rng.set_stream(FIRST_STREAM + split as u64);
    Ok(settings.into_iter().flat_map(move |settings| {
        let mut rng = rng.clone();
        (0..settings.rows(split)).map(move |number| Conversation {
            id: format!("{split}-{number}"),
            messages: turns(&mut rng, &settings, split),
        })
    }))
}

fn turns(rng: &mut ChaCha8Rng, settings: &ConversationConfig, split: Split) -> Vec<Turn> {
    let share = Share::Questions(split);
    let level = if rng.random_bool(settings.high_share) {
        Level::High
    } else {
        Level::Middle
    };
    let (facts, passage) = passage_of(rng, share, level, |rng| {
        loop {
            let [fewest, most] = settings.attributes;
            let attributes = rng.random_range(fewest..=most);
            let attributes = Attribute::draw(rng, attributes);
            let [least, greatest] = settings.facts;
            let count = rng.random_range(least..=greatest);
            let facts = Facts::draw(rng, count, attributes);
            // The passage alone is not enough: the same facts can be told in many ways.
            if Share::of(&told(&facts)) == share {
                break facts;
            }
        }
    });
    let in_order_of_time = level == Level::Middle || !facts.tell(Attribute::Time);
    let questions = 1 + usize::from(rng.random_bool(settings.second_question_share));
    let answerable = Request::answerable(&facts, in_order_of_time);
    let requests: Vec<Request> = answerable.sample(rng, questions).copied().collect();

    let turn = |role, content| Turn { role, content };
    let mut turns = Vec::new();
    if rng.random_bool(settings.system_share) {
        turns.push(turn(TurnRole::System, SYSTEM.to_owned()));
    }
    for (index, request) in requests.into_iter().enumerate() {
        let question = request.question(rng, &facts);
        let asked = if index == 0 {
            format!("{passage}\n{question}")
        } else {
            question
        };
        turns.push(turn(TurnRole::User, asked));
        turns.push(turn(TurnRole::Assistant, request.answer(&facts)));
    }
    turns
}

/// Writes the conversations of every split under `directory`, as
/// `conversations/{train,validation,test}.jsonl`, and returns the files with their numbers of rows.
/// Writes nothing where [`SyntheticConfig::conversations`] is not given.
///
/// # Errors
/// [`SyntheticError`].
pub fn write_conversations(
    directory: &Path,
    config: &SyntheticConfig,
) -> Result<Vec<(PathBuf, u64)>, SyntheticError> {
    if config.conversations.is_none() {
        return Ok(Vec::new());
    }
    check_folder(directory)?;
    let mut written = Vec::new();
    for split in Split::ALL {
        let path = directory.join(conversation_file(split));
        let rows = write_rows(&path, conversations(config, split)?)?;
        written.push((path, rows));
    }
    Ok(written)
}

fn write_rows(path: &Path, rows: impl Iterator<Item = Conversation>) -> Result<u64, WriteError> {
    let failed = |error: io::Error| FileError::cannot("write", path)(error);
    write_atomic_with(path, |file| {
        let mut written = 0;
        for row in rows {
            serde_json::to_writer(&mut *file, &row).map_err(|error| failed(error.into()))?;
            file.write_all(b"\n").map_err(failed)?;
            written += 1;
        }
        Ok(written)
    })
}
