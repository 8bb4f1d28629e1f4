//! Pretraining text: passages of its own, with quizzes, recaps and exercises.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::Level;
use crate::error::SyntheticError;
use crate::fact::{Attribute, Facts};
use crate::passage::{Share, passage_of};
use crate::question::{Kind, ask};
use crate::quiz::{Form, exercise, quiz, recap};
use crate::stage::PretrainingStage;

/// The rows of a stage, for the column `text` ([`plw_data::write_text`]). None of their passages
/// occurs in a split of [`crate::generate`], whatever the seeds, and no row has the form of the
/// default prompt.
///
/// # Errors
/// [`SyntheticError::Setting`].
pub fn pretraining_text(
    stage: &PretrainingStage,
) -> Result<impl Iterator<Item = String> + use<>, SyntheticError> {
    stage.check()?;
    let stage = stage.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(stage.seed);
    Ok((0..stage.rows).map(move |_| row(&mut rng, &stage)))
}

fn row(rng: &mut ChaCha8Rng, stage: &PretrainingStage) -> String {
    if rng.random_bool(stage.exercises.share) {
        let exercises: Vec<String> = (0..stage.exercises.count)
            .map(|_| exercise(rng, stage))
            .collect();
        return exercises.join(" ");
    }
    let level = if rng.random_bool(stage.high_share) {
        Level::High
    } else {
        Level::Middle
    };
    let (facts, passage) = passage_of(rng, Share::Pretraining, level, |rng| {
        let [least, greatest] = if level == Level::High {
            [5, 6]
        } else {
            stage.facts
        };
        let [fewest, most] = if level == Level::High {
            [4, 4]
        } else {
            stage.attributes
        };
        let (count, attributes) = (
            rng.random_range(least..=greatest),
            rng.random_range(fewest..=most),
        );
        let attributes = Attribute::draw(rng, attributes);
        Facts::draw(rng, count, attributes)
    });
    let mut parts = vec![passage];
    if rng.random_bool(stage.recap_share) {
        parts.push(recap(rng, &facts));
    }
    for _ in 0..stage.questions {
        let difficulty = if rng.random_bool(stage.hard_share) {
            stage.difficulty
        } else {
            0.0
        };
        let kind = kind(rng, &facts, stage.event_share);
        let question = ask(rng, &facts, kind, difficulty);
        let form = Form::draw(rng, &stage.forms);
        parts.push(quiz(rng, &question, form, stage.wordings));
    }
    parts.join(" ")
}

fn kind(rng: &mut ChaCha8Rng, facts: &Facts, event_share: f64) -> Kind {
    // "Which is NOT true?" needs three true statements.
    if facts.facts.len() >= 3 && rng.random_bool(event_share) {
        return if rng.random_bool(0.5) {
            Kind::First
        } else {
            Kind::NotTrue
        };
    }
    match rng.random_range(0..=facts.attributes.len()) {
        0 => Kind::Who,
        index => Kind::Attribute(facts.attributes[index - 1]),
    }
}
