//! The settings of the synthetic data set: how many passages and conversations, how long and how
//! hard.

use std::fmt;

use plw_data::Split;
use serde::{Deserialize, Serialize};

use crate::error::{SyntheticError, check_range, check_share};

/// How long and how hard a passage is; named after RACE's folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Facts in the order in which they happened, a sentence each.
    Middle,
    /// More facts, told in any order, some in two sentences with a pronoun.
    High,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 2] = [Self::Middle, Self::High];

    /// Its name: the name of its folder, and the prefix of its examples' identifiers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Middle => "middle",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One level of the synthetic data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelConfig {
    /// Training passages, with 3 or 4 questions each.
    pub train_passages: usize,
    /// Validation passages.
    pub validation_passages: usize,
    /// Test passages.
    pub test_passages: usize,
    /// Least and greatest number of facts in a passage, within 4 and 8: the three wrong options of
    /// a question need other facts to name.
    pub facts: [usize; 2],
    /// How many of place, time, amount and cause a passage tells; which ones is drawn for each.
    pub attributes: usize,
    /// Share of wrong options that occur in the passage, in [0, 1]. The wrong options of "Which is
    /// NOT true?" are true statements and always occur there; of those questions, this is the share
    /// whose right option is made of the passage's own words.
    pub difficulty: f64,
}

/// Conversations: facts told by a user, and asked for in another order or in other words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationConfig {
    /// Rows to train on.
    pub train_rows: usize,
    /// Rows to validate on.
    pub validation_rows: usize,
    /// Rows to test on.
    pub test_rows: usize,
    /// Least and greatest number of facts of a row, within 1 and 8.
    pub facts: [usize; 2],
    /// Least and greatest number of their attributes (place, time, amount, cause), within 1 and 4.
    pub attributes: [usize; 2],
    /// Share of rows whose facts are told as in level `high`, in [0, 1].
    pub high_share: f64,
    /// Share of rows with a second question on the same facts, in [0, 1].
    pub second_question_share: f64,
    /// Share of rows that begin with a system turn, the same in all of them, in [0, 1].
    pub system_share: f64,
}

impl Default for ConversationConfig {
    fn default() -> Self {
        Self {
            train_rows: 4000,
            validation_rows: 400,
            test_rows: 400,
            facts: [2, 3],
            attributes: [2, 4],
            high_share: 0.2,
            second_question_share: 0.4,
            system_share: 0.5,
        }
    }
}

impl ConversationConfig {
    /// Number of rows of a split.
    pub fn rows(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train_rows,
            Split::Validation => self.validation_rows,
            Split::Test => self.test_rows,
        }
    }

    fn check(&self) -> Result<(), SyntheticError> {
        check_range("conversations.facts", self.facts, 1..=8)?;
        check_range("conversations.attributes", self.attributes, 1..=4)?;
        let shares = [
            ("conversations.high_share", self.high_share),
            (
                "conversations.second_question_share",
                self.second_question_share,
            ),
            ("conversations.system_share", self.system_share),
        ];
        shares
            .iter()
            .try_for_each(|&(name, value)| check_share(name, value))
    }
}

/// The synthetic data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// The seed: the same seed gives the same rows.
    pub seed: u64,
    /// The level `middle`.
    pub middle: LevelConfig,
    /// The level `high`.
    pub high: LevelConfig,
    /// Conversations beside the questions; none unless this is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversations: Option<ConversationConfig>,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        let middle = LevelConfig {
            train_passages: 500,
            validation_passages: 60,
            test_passages: 60,
            facts: [4, 4],
            attributes: 3,
            difficulty: 0.1,
        };
        let high = LevelConfig {
            facts: [5, 6],
            attributes: 4,
            difficulty: 0.4,
            ..middle.clone()
        };
        Self {
            seed: 1,
            middle,
            high,
            conversations: None,
        }
    }
}

impl SyntheticConfig {
    /// The settings of a level.
    pub fn level(&self, level: Level) -> &LevelConfig {
        match level {
            Level::Middle => &self.middle,
            Level::High => &self.high,
        }
    }

    /// Number of passages of a split and level.
    pub fn passages(&self, split: Split, level: Level) -> usize {
        let level = self.level(level);
        match split {
            Split::Train => level.train_passages,
            Split::Validation => level.validation_passages,
            Split::Test => level.test_passages,
        }
    }

    /// Checks the bounds that types do not express.
    ///
    /// # Errors
    /// [`SyntheticError::Setting`], for the first setting outside its bounds.
    pub fn check(&self) -> Result<(), SyntheticError> {
        for level in Level::ALL {
            let config = self.level(level);
            check_range(&format!("{level}.facts"), config.facts, 4..=8)?;
            check_range(
                &format!("{level}.attributes"),
                [config.attributes; 2],
                1..=4,
            )?;
            check_share(&format!("{level}.difficulty"), config.difficulty)?;
        }
        self.conversations
            .as_ref()
            .map_or(Ok(()), ConversationConfig::check)
    }
}
