//! The settings of one stage of pretraining text.

use serde::{Deserialize, Serialize};

use crate::error::{SyntheticError, check_range, check_share};

/// Exercises without a passage, in naming options by their letters.
///
/// A small model that starts with passages stays at chance. An answer by letter takes three skills:
/// to find the letter before an option, to match a word with itself, and to tell which option was
/// named. One of them without the others lowers no loss there; here each lowers the loss by itself,
/// the first one on few words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exercises {
    /// Share of rows that are exercises.
    pub share: f64,
    /// Exercises in such a row.
    pub count: usize,
    /// Share of exercises that tell the letters of options one after the other; the others ask for
    /// the option that occurs in a short list.
    pub naming_share: f64,
    /// Share of the naming exercises that use the same few words and one wording of the options.
    pub few_words_share: f64,
    /// Least and greatest number of other words in the list that names the right option, at most 6.
    /// None of them is an option.
    pub others: [usize; 2],
}

/// One stage of pretraining: each row holds a passage and a quiz on it, or exercises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainingStage {
    /// The seed: the same seed gives the same rows.
    pub seed: u64,
    /// Number of rows.
    pub rows: usize,
    /// The rows that are exercises.
    pub exercises: Exercises,
    /// How many of the 4 ways of listing options with their letters occur.
    pub wordings: usize,
    /// Share of passages of level `high`, with 5 or 6 facts and every attribute.
    pub high_share: f64,
    /// Least and greatest number of facts of a passage of level `middle`, within 1 and 8.
    pub facts: [usize; 2],
    /// Least and greatest number of its attributes (place, time, amount, cause).
    pub attributes: [usize; 2],
    /// Questions on a passage.
    pub questions: usize,
    /// Share of questions on events: which happened first, which is NOT true.
    pub event_share: f64,
    /// Share of questions that have `difficulty`; no wrong option of the others occurs in the
    /// passage.
    pub hard_share: f64,
    /// Share of a hard question's wrong options that occur in the passage.
    pub difficulty: f64,
    /// Share of passages that are followed by a shuffled recap of their facts.
    pub recap_share: f64,
    /// Relative weights of the forms of an answer: in words without options, in words after
    /// options, in words and then by the letter, by the letter alone. Exercises have the last
    /// three.
    pub forms: [f64; 4],
}

impl PretrainingStage {
    /// Checks the bounds that types do not express.
    ///
    /// # Errors
    /// [`SyntheticError::Setting`], for the first setting outside its bounds.
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
            .try_for_each(|&(name, value)| check_share(name, value))?;
        check_range("exercises.others", self.exercises.others, 0..=6)?;
        check_range("wordings", [self.wordings; 2], 1..=4)?;
        check_range("facts", self.facts, 1..=8)?;
        check_range("attributes", self.attributes, 1..=4)?;
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
