//! Facts told in sentences, and the share of passages that a text belongs to.

use plw_data::Split;
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::config::Level;
use crate::fact::{Attribute, Fact, Facts};
use crate::vocabulary::{REMARKS, WOMEN};

/// The use of a passage, decided by its text alone. Of 16 passages 8 are for pretraining, 6 for
/// training, 1 for validation and 1 for testing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Pretraining text.
    Pretraining,
    /// A split of the questions.
    Questions(Split),
}

impl Share {
    /// The share that a passage belongs to: FNV-1a of its bytes, modulo 16.
    pub fn of(passage: &str) -> Self {
        let fold =
            |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = passage.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        // The upper half: the lowest bits of FNV depend on the lowest bits of the bytes only.
        match (hash >> 32) % 16 {
            0..8 => Self::Pretraining,
            8..14 => Self::Questions(Split::Train),
            14 => Self::Questions(Split::Validation),
            _ => Self::Questions(Split::Test),
        }
    }
}

/// Draws facts with `facts` and tells them, until the text belongs to `share`.
pub(crate) fn passage_of(
    rng: &mut ChaCha8Rng,
    share: Share,
    level: Level,
    mut facts: impl FnMut(&mut ChaCha8Rng) -> Facts,
) -> (Facts, String) {
    loop {
        let facts = facts(rng);
        let text = tell(rng, &facts, level);
        if Share::of(&text) == share {
            return (facts, text);
        }
    }
}

/// Tells facts in sentences.
fn tell(rng: &mut ChaCha8Rng, facts: &Facts, level: Level) -> String {
    let timed = facts.tell(Attribute::Time);
    let mut told: Vec<&Fact> = facts.facts.iter().collect();
    // Without times the order of the sentences is all that tells what happened first.
    if level == Level::High && timed && rng.random_bool(0.5) {
        told.shuffle(rng);
    }
    let last = told.len() - 1;
    let mut sentences: Vec<String> = Vec::new();
    for (index, fact) in told.into_iter().enumerate() {
        let connective = match index {
            _ if timed => "",
            0 => "First, ",
            _ if index == last => "Finally, ",
            _ => ["Then ", "After that, ", "Later ", "Next, "][rng.random_range(0..4)],
        };
        let sentence = sentence(rng, facts, fact, level);
        sentences.push(capitalized(&format!("{connective}{sentence}.")));
    }
    let remarks = match level {
        Level::High => 2,
        Level::Middle => usize::from(rng.random_bool(0.5)),
    };
    for remark in REMARKS.sample(rng, remarks) {
        // A remark never separates the two sentences of a fact: they are one string here.
        let place = match level {
            Level::High => rng.random_range(0..=sentences.len()),
            Level::Middle => sentences.len() * usize::from(rng.random_bool(0.5)),
        };
        sentences.insert(place, (*remark).to_owned());
    }
    sentences.join(" ")
}

/// One fact in words, without its period.
fn sentence(rng: &mut ChaCha8Rng, facts: &Facts, fact: &Fact, level: Level) -> String {
    let told = |attribute, text: String| {
        if facts.tell(attribute) {
            text
        } else {
            String::new()
        }
    };
    let time = told(Attribute::Time, facts.when(fact));
    let place = told(Attribute::Place, format!("in {}", fact.place));
    let cause = told(Attribute::Cause, format!("because of {}", fact.cause));
    let amount = if facts.tell(Attribute::Amount) {
        fact.amount
    } else {
        ["some", "several", "a few"][rng.random_range(0..3)]
    };
    let deed = format!("{} {amount} {}", fact.verb.past, fact.object);
    let person = fact.person;
    let core = format!("{person} {deed}");
    let forms = match level {
        Level::Middle => 6,
        Level::High => 8,
    };
    match rng.random_range(0..forms) {
        0 if !time.is_empty() => join(&[&format!("{time},"), &core, &place, &cause]),
        1 if !place.is_empty() => join(&[&format!("{place},"), &core, &time, &cause]),
        2 if !cause.is_empty() => join(&[&format!("{cause},"), &core, &place, &time]),
        3 => join(&[&core, &time, &place, &cause]),
        6 if !place.is_empty() => {
            let pronoun = if WOMEN.contains(&person) { "she" } else { "he" };
            let arrival = join(&[person, "was", &place, &time]);
            format!("{arrival}. {}", join(&["There", pronoun, &deed, &cause]))
        }
        7 if !cause.is_empty() => format!(
            "{}. The reason was {}",
            join(&[&core, &place, &time]),
            fact.cause
        ),
        _ => join(&[&core, &place, &time, &cause]),
    }
}

/// Joins the parts that are not empty with spaces.
pub(crate) fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" ")
}

/// The sentence with its first letter in upper case.
pub(crate) fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    let first = characters
        .next()
        .map(|c| c.to_uppercase().collect::<String>());
    first.unwrap_or_default() + characters.as_str()
}
