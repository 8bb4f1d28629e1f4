//! How pretraining text words a question and its answer: as quizzes do, never as the default's prompt does.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::fact::{Attribute, Facts, draw, people};
use super::passage::join;
use super::question::Question;
use super::vocabulary::{AMOUNTS, CAUSES, MONTHS, OBJECTS, TOWNS, YEARS};

const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In words; no options are shown.
    Words,
    /// In words, after the options.
    WordsOfOptions,
    /// In words, then by the option's letter.
    WordsThenLetter,
    /// By the letter alone.
    Letter,
}

impl Form {
    /// In the order of [`super::PretrainingStage::forms`].
    pub(super) const ALL: [Self; 4] = [
        Self::Words,
        Self::WordsOfOptions,
        Self::WordsThenLetter,
        Self::Letter,
    ];
}

/// A question with its answer.
pub(super) fn quiz(rng: &mut ChaCha8Rng, question: &Question, form: Form) -> String {
    let place = rng.random_range(0..LETTERS.len());
    let (asked, right, letter) = (&question.question, &question.right, LETTERS[place]);
    let options = list(rng, &question.options(place));
    match form {
        Form::Words => format!("Quiz: {asked} Reply: {right}."),
        Form::WordsOfOptions => format!("Quiz: {asked} {options} In words: {right}."),
        Form::WordsThenLetter => {
            format!("Quiz: {asked} {options} In words and letter: {right}, {letter}.")
        }
        Form::Letter => format!("Quiz: {asked} {options} Letter: {letter}."),
    }
}

/// The facts once more, in another order and with at most one attribute each.
pub(super) fn recap(rng: &mut ChaCha8Rng, facts: &Facts) -> String {
    let told: Vec<String> = facts
        .facts
        .sample(rng, facts.facts.len())
        .map(|fact| {
            let amount = if facts.tell(Attribute::Amount) {
                fact.amount
            } else {
                ""
            };
            let core = join(&[fact.person, fact.verb.past, amount, fact.object]);
            match facts
                .attributes
                .choose(rng)
                .filter(|_| rng.random_bool(0.75))
            {
                Some(Attribute::Place) => format!("{core} in {}", fact.place),
                Some(Attribute::Time) => format!("{core} {}", facts.when(fact)),
                Some(Attribute::Cause) => format!("{core} because of {}", fact.cause),
                Some(Attribute::Amount) | None => core,
            }
        })
        .collect();
    format!("Recap: {}.", told.join("; "))
}

/// An exercise without a passage: options are named by their letters, or the one that stands in a short list is found.
pub(super) fn exercise(rng: &mut ChaCha8Rng, naming_share: f64) -> String {
    let kinds = [
        &people()[..],
        TOWNS,
        OBJECTS,
        CAUSES,
        AMOUNTS,
        MONTHS,
        YEARS,
    ];
    let kind = kinds[rng.random_range(0..kinds.len())];
    let words = draw(rng, kind, LETTERS.len());
    let options = list(rng, &words);
    if rng.random_bool(naming_share) {
        let named: Vec<String> = (0..6)
            .map(|_| rng.random_range(0..LETTERS.len()))
            .map(|place| format!("{} is {}", words[place], LETTERS[place]))
            .collect();
        return format!("Key: {options} {}.", named.join(", "));
    }
    let place = rng.random_range(0..LETTERS.len());
    let (right, letter) = (words[place], LETTERS[place]);
    let count = rng.random_range(1..=5);
    let mut named = draw(rng, &kinds.concat(), count);
    named.retain(|word| !words.contains(word));
    named.insert(rng.random_range(0..=named.len()), right);
    let named = named.join(", ");
    let answer = if rng.random_bool(0.5) {
        format!("In words and letter: {right}, {letter}.")
    } else {
        format!("Letter: {letter}.")
    };
    format!("Named: {named}. Quiz: Which was named? {options} {answer}")
}

/// Options with their letters, in one of four wordings.
fn list<S: AsRef<str>>(rng: &mut ChaCha8Rng, options: &[S]) -> String {
    let wording = rng.random_range(0..4);
    let option = |(option, letter): (&S, &char)| {
        let option = option.as_ref();
        match wording {
            0 => format!("({letter}) {option}"),
            1 => format!("{letter}) {option}"),
            2 => format!("{letter}: {option}"),
            _ => format!("{letter} = {option}"),
        }
    };
    let options: Vec<String> = options.iter().zip(&LETTERS).map(option).collect();
    match wording {
        0 | 1 => options.join(" "),
        2 => options.join("; ") + ".",
        _ => options.join(", ") + ".",
    }
}
