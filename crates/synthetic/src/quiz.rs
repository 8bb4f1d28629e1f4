//! Questions and answers of pretraining text: worded as a quiz, never as the default prompt is.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::fact::{Attribute, Facts, draw, people};
use crate::passage::join;
use crate::question::Question;
use crate::stage::PretrainingStage;
use crate::vocabulary::{AMOUNTS, CAUSES, DAYS, MONTHS, OBJECTS, TOWNS, YEARS};

const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

/// Number of words of the first exercises: so few that each often recurs.
const FEW_WORDS: usize = 8;

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
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
    /// In the order of [`crate::PretrainingStage::forms`].
    pub(crate) const ALL: [Self; 4] = [
        Self::Words,
        Self::WordsOfOptions,
        Self::WordsThenLetter,
        Self::Letter,
    ];

    /// Draws a form, with weights in the order of [`Form::ALL`].
    pub(crate) fn draw(rng: &mut ChaCha8Rng, weights: &[f64]) -> Self {
        let mut left = rng.random_range(0.0..weights.iter().sum::<f64>());
        for (form, weight) in Self::ALL.into_iter().zip(weights) {
            if left < *weight {
                return form;
            }
            left -= weight;
        }
        Self::Letter
    }
}

/// A question with its answer; its options are in one of the first `wordings` wordings.
pub(crate) fn quiz(
    rng: &mut ChaCha8Rng,
    question: &Question,
    form: Form,
    wordings: usize,
) -> String {
    let place = rng.random_range(0..LETTERS.len());
    let options = list(rng, &question.options(place), wordings);
    let asked = &question.question;
    match form {
        Form::Words => format!("Quiz: {asked} Reply: {}.", question.right),
        _ => format!(
            "Quiz: {asked} {options} {}",
            answer(form, &question.right, LETTERS[place])
        ),
    }
}

/// The answer to a question that shows options. A letter follows its word at once, so that the word
/// itself predicts it.
fn answer(form: Form, right: &str, letter: char) -> String {
    match form {
        Form::Words | Form::WordsOfOptions => format!("In words: {right}."),
        Form::WordsThenLetter => format!("In words and letter: {right} {letter}."),
        Form::Letter => format!("Letter: {letter}."),
    }
}

/// The facts told again, in another order and with at most one attribute each.
pub(crate) fn recap(rng: &mut ChaCha8Rng, facts: &Facts) -> String {
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

/// An exercise without a passage: it tells the letters of options, or asks for the option that
/// occurs in a short list.
pub(crate) fn exercise(rng: &mut ChaCha8Rng, stage: &PretrainingStage) -> String {
    if rng.random_bool(stage.exercises.naming_share) {
        if rng.random_bool(stage.exercises.few_words_share) {
            return naming(rng, &MONTHS[..FEW_WORDS], 1);
        }
        let kind = kind(rng, LETTERS.len());
        return naming(rng, &kind, stage.wordings);
    }
    let [least, greatest] = stage.exercises.others;
    let others = rng.random_range(least..=greatest);
    let kind = kind(rng, LETTERS.len() + others);
    let mut words = draw(rng, &kind, LETTERS.len() + others);
    let mut named = words.split_off(LETTERS.len());
    let place = rng.random_range(0..LETTERS.len());
    let right = words[place];
    named.insert(rng.random_range(0..=named.len()), right);
    let named = named.join(", ");
    let options = list(rng, &words, stage.wordings);
    // An exercise asks nothing that could be answered without options.
    let [_, forms @ ..] = stage.forms;
    let answer = answer(
        Form::draw(rng, &[[0.0].as_slice(), &forms].concat()),
        right,
        LETTERS[place],
    );
    format!("Named: {named}. Quiz: Which was named? {options} {answer}")
}

/// Four options of a kind, then six times an option with its letter.
fn naming(rng: &mut ChaCha8Rng, kind: &[&'static str], wordings: usize) -> String {
    let words = draw(rng, kind, LETTERS.len());
    let options = list(rng, &words, wordings);
    let named: Vec<String> = (0..6)
        .map(|_| rng.random_range(0..LETTERS.len()))
        .map(|place| format!("{} {}", words[place], LETTERS[place]))
        .collect();
    format!("Key: {options} {}.", named.join(", "))
}

/// The words of a kind that has at least `count`.
fn kind(rng: &mut ChaCha8Rng, count: usize) -> Vec<&'static str> {
    let people = people();
    let kinds = [
        &people[..],
        TOWNS,
        OBJECTS,
        CAUSES,
        AMOUNTS,
        DAYS,
        MONTHS,
        YEARS,
    ];
    let kinds: Vec<_> = kinds.iter().filter(|kind| kind.len() >= count).collect();
    kinds[rng.random_range(0..kinds.len())].to_vec()
}

/// Options with their letters, in one of the first `wordings` of four wordings.
fn list<S: AsRef<str>>(rng: &mut ChaCha8Rng, options: &[S], wordings: usize) -> String {
    let wording = rng.random_range(0..wordings);
    let option = |(option, letter): (&S, &char)| {
        let option = option.as_ref();
        match wording {
            0 => format!("{letter}: {option}"),
            1 => format!("({letter}) {option}"),
            2 => format!("{letter}) {option}"),
            _ => format!("{letter} = {option}"),
        }
    };
    let options: Vec<String> = options.iter().zip(&LETTERS).map(option).collect();
    match wording {
        0 => options.join("; ") + ".",
        1 | 2 => options.join(" "),
        _ => options.join(", ") + ".",
    }
}
