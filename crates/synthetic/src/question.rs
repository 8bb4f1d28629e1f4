//! Questions on a passage's facts, with one right option and three wrong ones.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::fact::{Attribute, Fact, Facts, draw, event, people};
use crate::vocabulary::{OBJECTS, VERBS};

/// Wrong options of a question.
const WRONG: usize = 3;

/// What a question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Who did something.
    Who,
    /// Where, when, how many or why.
    Attribute(Attribute),
    /// Which event came before the others.
    First,
    /// Which statement the passage does not make.
    NotTrue,
}

/// A question, its right option and its three wrong ones, all different.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The text, with its names filled in.
    pub(crate) question: String,
    pub(crate) right: String,
    pub(crate) wrong: Vec<String>,
}

impl Question {
    /// The options with the right one at `place`, the others in the order they were drawn.
    pub(crate) fn options(&self, place: usize) -> Vec<String> {
        let mut options = self.wrong.clone();
        options.insert(place, self.right.clone());
        options
    }
}

/// Asks a question of `kind`. Each wrong option occurs in the passage with probability
/// `difficulty`, as far as the passage has other words of its kind. The exception is "Which is NOT
/// true?": there the right option is made of the passage's words with that probability.
pub(crate) fn ask(rng: &mut ChaCha8Rng, facts: &Facts, kind: Kind, difficulty: f64) -> Question {
    let standing = (0..WRONG).filter(|_| rng.random_bool(difficulty)).count();
    match kind {
        Kind::Who => {
            let asked = rng.random_range(0..facts.facts.len());
            let words: Vec<_> = facts.facts.iter().map(|fact| fact.person).collect();
            one_word(rng, kind, facts, asked, &words, &people(), standing)
        }
        Kind::Attribute(attribute) => {
            let asked = rng.random_range(0..facts.facts.len());
            let words: Vec<_> = facts
                .facts
                .iter()
                .map(|fact| fact.word(attribute))
                .collect();
            one_word(
                rng,
                kind,
                facts,
                asked,
                &words,
                facts.words(attribute),
                standing,
            )
        }
        Kind::First => first(rng, facts, standing),
        Kind::NotTrue => not_true(rng, facts, difficulty),
    }
}

/// A question on the fact at `asked`; `words` are the facts' words, of which its own is right.
fn one_word(
    rng: &mut ChaCha8Rng,
    kind: Kind,
    facts: &Facts,
    asked: usize,
    words: &[&'static str],
    all: &[&'static str],
    standing: usize,
) -> Question {
    let right = words[asked];
    let others: Vec<_> = words
        .iter()
        .copied()
        .filter(|&word| word != right)
        .collect();
    let outside: Vec<_> = all
        .iter()
        .copied()
        .filter(|word| !words.contains(word))
        .collect();
    let standing = standing.min(others.len());
    let mut wrong = draw(rng, &others, standing);
    wrong.extend(draw(rng, &outside, WRONG - standing));
    wrong.shuffle(rng);
    let text = wordings(kind)[rng.random_range(0..2)];
    Question {
        question: filled(text, &facts.facts[asked]),
        right: right.to_owned(),
        wrong: wrong.into_iter().map(str::to_owned).collect(),
    }
}

fn first(rng: &mut ChaCha8Rng, facts: &Facts, standing: usize) -> Question {
    let (earliest, later) = facts.facts.split_first().expect("a passage has facts");
    let standing = standing.min(later.len());
    let mut wrong: Vec<String> = later.sample(rng, standing).map(Fact::event).collect();
    wrong.extend(outside_events(rng, facts, WRONG - standing));
    wrong.shuffle(rng);
    let text = wordings(Kind::First)[rng.random_range(0..2)];
    Question {
        question: text.to_owned(),
        right: earliest.event(),
        wrong,
    }
}

fn not_true(rng: &mut ChaCha8Rng, facts: &Facts, difficulty: f64) -> Question {
    let wrong: Vec<String> = facts.facts.sample(rng, WRONG).map(Fact::event).collect();
    let right = if rng.random_bool(difficulty) {
        let pair: Vec<&Fact> = facts.facts.sample(rng, 2).collect();
        event(pair[0].person, pair[1].verb, pair[1].object)
    } else {
        outside_events(rng, facts, 1).remove(0)
    };
    let text = wordings(Kind::NotTrue)[rng.random_range(0..2)];
    Question {
        question: text.to_owned(),
        right,
        wrong,
    }
}

/// Events of people and things that the passage does not name.
fn outside_events(rng: &mut ChaCha8Rng, facts: &Facts, count: usize) -> Vec<String> {
    let named = |word: &str| {
        facts
            .facts
            .iter()
            .any(|f| f.person == word || f.object == word)
    };
    let others: Vec<_> = people()
        .into_iter()
        .filter(|person| !named(person))
        .collect();
    let things: Vec<_> = OBJECTS
        .iter()
        .copied()
        .filter(|object| !named(object))
        .collect();
    let (persons, objects) = (draw(rng, &others, count), draw(rng, &things, count));
    let pairs = persons.into_iter().zip(objects);
    pairs
        .map(|(person, object)| event(person, VERBS[rng.random_range(0..VERBS.len())], object))
        .collect()
}

/// The two wordings of a kind. PERSON, PAST, BASE and OBJECT stand for words of the fact that it
/// asks for.
fn wordings(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::Who => ["Who PAST OBJECT?", "Which person PAST OBJECT?"],
        Kind::Attribute(Attribute::Place) => [
            "Where did PERSON BASE OBJECT?",
            "In which town did PERSON BASE OBJECT?",
        ],
        Kind::Attribute(Attribute::Time) => [
            "When did PERSON BASE OBJECT?",
            "At what time did PERSON BASE OBJECT?",
        ],
        Kind::Attribute(Attribute::Amount) => [
            "How many OBJECT did PERSON BASE?",
            "What number of OBJECT did PERSON BASE?",
        ],
        Kind::Attribute(Attribute::Cause) => [
            "Why did PERSON BASE OBJECT?",
            "For what reason did PERSON BASE OBJECT?",
        ],
        Kind::First => ["Which happened first?", "What happened first?"],
        Kind::NotTrue => ["Which is NOT true?", "Which sentence is NOT true?"],
    }
}

fn filled(wording: &str, fact: &Fact) -> String {
    wording
        .replace("PERSON", fact.person)
        .replace("PAST", fact.verb.past)
        .replace("BASE", fact.verb.base)
        .replace("OBJECT", fact.object)
}
