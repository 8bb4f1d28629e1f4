//! What synthetic data is to be like.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{SourceError, Split, WriteError};

/// How long and how hard a passage is, as RACE's folders say it.
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

    /// Its name, that of its folder and of the beginning of its examples' identifiers.
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
    /// Passages to train on, with 3 or 4 questions each.
    pub train_passages: usize,
    /// Passages to validate on.
    pub validation_passages: usize,
    /// Passages to test on.
    pub test_passages: usize,
    /// Least and greatest number of facts a passage, within 4 and 8: three wrong options must find others to name.
    pub facts: [usize; 2],
    /// Which of place, time, amount and cause a passage tells: so many, drawn for each passage.
    pub attributes: usize,
    /// Share of wrong options that stand in the passage, in [0, 1]. Of a question which statement is not true, the
    /// wrong options stand there by nature: this share of those questions has a right option made of the passage's
    /// own words.
    pub difficulty: f64,
}

/// The synthetic data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Same seed, same rows.
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

    /// Checks what no type can.
    ///
    /// # Errors
    /// [`SyntheticError::Setting`], for the first setting that makes no sense.
    pub fn check(&self) -> Result<(), SyntheticError> {
        for level in Level::ALL {
            let config = self.level(level);
            within(&format!("{level}.facts"), config.facts, 4..=8)?;
            within(
                &format!("{level}.attributes"),
                [config.attributes; 2],
                1..=4,
            )?;
            share(&format!("{level}.difficulty"), config.difficulty)?;
        }
        Ok(())
    }
}

/// Exercises without a passage, in naming options by their letters.
///
/// A small model that meets passages first stays at chance: an answer by letter takes three skills at once (to find the
/// letter before an option, to match a word with itself, to tell which option was named), and one without the others
/// earns nothing. Here each earns something by itself, the first on few words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exercises {
    /// Share of rows that are exercises.
    pub share: f64,
    /// Exercises such a row.
    pub count: usize,
    /// Share of exercises that tell the letters of options one after the other; in the others the option that stands in
    /// a short list is found.
    pub naming_share: f64,
    /// Share of the exercises in naming that have the same few words and one wording of the options.
    pub few_words_share: f64,
    /// Least and greatest number of words beside the right one in a list to find it in, at most 6. None is an option.
    pub others: [usize; 2],
}

/// Rows of one stage of pretraining: each holds a passage and a quiz on it, or exercises without a passage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainingStage {
    /// Same seed, same rows.
    pub seed: u64,
    /// Rows.
    pub rows: usize,
    /// Exercises among the rows.
    pub exercises: Exercises,
    /// In how many ways, of 4, options are listed with their letters.
    pub wordings: usize,
    /// Share of the passages that are of level `high`, with 5 or 6 facts and every attribute.
    pub high_share: f64,
    /// Least and greatest number of facts of a passage of level `middle`, within 1 and 8.
    pub facts: [usize; 2],
    /// Least and greatest number of its attributes (place, time, amount, cause).
    pub attributes: [usize; 2],
    /// Questions a passage.
    pub questions: usize,
    /// Share of questions on events: which happened first, which is NOT true.
    pub event_share: f64,
    /// Share of questions that have `difficulty`; the others' wrong options all stand outside the passage.
    pub hard_share: f64,
    /// Share of a hard question's wrong options that stand in the passage.
    pub difficulty: f64,
    /// Share of passages that are followed by a shuffled recap of their facts.
    pub recap_share: f64,
    /// How often a question is answered in words without options, in words after options, in words and then by the
    /// letter, by the letter alone: relative weights. Exercises have the last three.
    pub forms: [f64; 4],
}

impl PretrainingStage {
    /// Checks what no type can.
    ///
    /// # Errors
    /// [`SyntheticError::Setting`], for the first setting that makes no sense.
    pub fn check(&self) -> Result<(), SyntheticError> {
        let shares = [
            ("exercises.share", self.exercises.share),
            ("exercises.naming_share", self.exercises.naming_share),
            ("exercises.few_words_share", self.exercises.few_words_share),
            ("high_share", self.high_share),
            ("event_share", self.event_share),
            ("hard_share", self.hard_share),
            ("difficulty", self.difficulty),
            ("recap_share", self.recap_share),
        ];
        shares
            .iter()
            .try_for_each(|&(name, value)| share(name, value))?;
        within("exercises.others", self.exercises.others, 0..=6)?;
        within("wordings", [self.wordings; 2], 1..=4)?;
        within("facts", self.facts, 1..=8)?;
        within("attributes", self.attributes, 1..=4)?;
        let usable = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        if !self.forms.iter().all(usable) || self.forms.iter().sum::<f64>() <= 0.0 {
            return Err(SyntheticError::Setting {
                name: "forms".to_owned(),
                value: format!("{:?}", self.forms),
                wanted: "four weights that are not negative and not all zero".to_owned(),
            });
        }
        Ok(())
    }
}

/// Why synthetic data could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// A setting makes no sense.
    #[error("synthetic data: {name} is {value}; it must be {wanted}")]
    Setting {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
        /// What it may be.
        wanted: String,
    },
    /// The folder holds a split's file that is not of this data set: a reader of the folder would take it for one.
    #[error("{folder} holds {file}, which is no file of this data set; choose an empty folder", folder = folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// A file in it.
        file: String,
    },
    /// A folder could not be listed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn share(name: &str, value: f64) -> Result<(), SyntheticError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(SyntheticError::Setting {
        name: name.to_owned(),
        value: value.to_string(),
        wanted: "a share between 0 and 1".to_owned(),
    })
}

fn within(
    name: &str,
    [least, greatest]: [usize; 2],
    bounds: RangeInclusive<usize>,
) -> Result<(), SyntheticError> {
    if least <= greatest && bounds.contains(&least) && bounds.contains(&greatest) {
        return Ok(());
    }
    Err(SyntheticError::Setting {
        name: name.to_owned(),
        value: format!("{least} to {greatest}"),
        wanted: format!("within {} and {}", bounds.start(), bounds.end()),
    })
}
