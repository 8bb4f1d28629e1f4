//! The settings of the synthetic data set: how many passages, how long and how hard.

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
        Ok(())
    }
}
