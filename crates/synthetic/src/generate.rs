//! The synthetic data set: passages with their questions, split by split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plw_data::{Question, Split, write_questions};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::{Level, SyntheticConfig};
use crate::error::SyntheticError;
use crate::fact::{Attribute, Facts};
use crate::layout::{check_folder, question_file};
use crate::passage::{Share, passage_of};
use crate::question::{Kind, ask};

/// The questions of a split and level: 3 or 4 on each passage, each of another kind. Among every
/// four questions each letter is right once.
///
/// # Errors
/// [`SyntheticError::Setting`].
pub fn generate(
    config: &SyntheticConfig,
    split: Split,
    level: Level,
) -> Result<impl Iterator<Item = Question> + use<>, SyntheticError> {
    config.check()?;
    let passages = config.passages(split, level);
    let settings = config.level(level).clone();
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    // Each split and level has its own stream: the size of one does not change the rows of another.
    rng.set_stream(2 * split as u64 + level as u64);
    let file = question_file(level, split);
    let mut letters: Vec<usize> = Vec::new();
    let mut row = 0;
    Ok((0..passages).flat_map(move |number| {
        let [least, greatest] = settings.facts;
        let (facts, passage) = passage_of(&mut rng, Share::Questions(split), level, |rng| {
            let attributes = Attribute::draw(rng, settings.attributes);
            let count = rng.random_range(least..=greatest);
            Facts::draw(rng, count, attributes)
        });
        let count = rng.random_range(3..=4);
        let kinds = kinds(&mut rng, &facts, count);
        let mut examples = Vec::new();
        for kind in kinds {
            if letters.is_empty() {
                letters = (0..4).collect();
                letters.shuffle(&mut rng);
            }
            let answer = letters.pop().unwrap_or_default();
            let question = ask(&mut rng, &facts, kind, settings.difficulty);
            examples.push(Question {
                file: file.as_str().into(),
                row,
                example_id: format!("{level}{number}.txt"),
                level: level.name().to_owned(),
                article: Some(passage.clone()),
                options: question.options(answer),
                question: question.question,
                answer,
                columns: BTreeMap::new(),
            });
            row += 1;
        }
        examples
    }))
}

/// Draws `count` different kinds of question.
fn kinds(rng: &mut ChaCha8Rng, facts: &Facts, count: usize) -> Vec<Kind> {
    let mut kinds = vec![Kind::Who, Kind::First, Kind::NotTrue];
    kinds.extend(facts.attributes.iter().copied().map(Kind::Attribute));
    let mut kinds: Vec<Kind> = kinds.sample(rng, count).copied().collect();
    kinds.shuffle(rng);
    kinds
}

/// Writes the questions of every split and level under `directory`, as
/// `{middle,high}/{train,validation,test}-00000-of-00001.parquet`, and returns the files with their
/// numbers of rows.
///
/// # Errors
/// [`SyntheticError`].
pub fn write_synthetic(
    directory: &Path,
    config: &SyntheticConfig,
) -> Result<Vec<(PathBuf, u64)>, SyntheticError> {
    check_folder(directory)?;
    let mut written = Vec::new();
    for level in Level::ALL {
        for split in Split::ALL {
            let path = directory.join(question_file(level, split));
            let rows = write_questions(&path, generate(config, split, level)?)?;
            written.push((path, rows));
        }
    }
    Ok(written)
}
