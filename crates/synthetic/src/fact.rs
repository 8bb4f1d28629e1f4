//! The facts of a passage, before they are told in words.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::vocabulary::{
    AMOUNTS, CAUSES, DAYS, MEN, MONTHS, OBJECTS, TOWNS, VERBS, Verb, WOMEN, YEARS,
};

/// What a fact may tell besides who did what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    Place,
    Time,
    Amount,
    Cause,
}

impl Attribute {
    pub(crate) const ALL: [Self; 4] = [Self::Place, Self::Time, Self::Amount, Self::Cause];

    /// Draws `count` different attributes.
    pub(crate) fn draw(rng: &mut ChaCha8Rng, count: usize) -> Vec<Self> {
        Self::ALL.sample(rng, count).copied().collect()
    }
}

/// Somebody did something. No two facts of a passage share a word of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) person: &'static str,
    pub(crate) verb: Verb,
    pub(crate) object: &'static str,
    pub(crate) place: &'static str,
    pub(crate) time: &'static str,
    pub(crate) amount: &'static str,
    pub(crate) cause: &'static str,
}

impl Fact {
    /// The word that tells an attribute.
    pub(crate) fn word(&self, attribute: Attribute) -> &'static str {
        match attribute {
            Attribute::Place => self.place,
            Attribute::Time => self.time,
            Attribute::Amount => self.amount,
            Attribute::Cause => self.cause,
        }
    }

    /// The event without attributes: `Anna bought lamps`.
    pub(crate) fn event(&self) -> String {
        event(self.person, self.verb, self.object)
    }
}

/// `Anna bought lamps`.
pub(crate) fn event(person: &str, verb: Verb, object: &str) -> String {
    format!("{person} {} {object}", verb.past)
}

/// The facts of a passage, in the order in which they happened.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) facts: Vec<Fact>,
    /// What the passage tells of each.
    pub(crate) attributes: Vec<Attribute>,
    /// The kind of time that they have: all its words, in order.
    pub(crate) times: &'static [&'static str],
}

impl Facts {
    /// Draws `count` facts. Each has every attribute; the passage tells `attributes`.
    pub(crate) fn draw(rng: &mut ChaCha8Rng, count: usize, attributes: Vec<Attribute>) -> Self {
        // A question needs three wrong times that do not occur in the passage.
        let kinds: Vec<&'static [&'static str]> = [DAYS, MONTHS, YEARS]
            .into_iter()
            .filter(|times| times.len() >= count + 3)
            .collect();
        let times = kinds[rng.random_range(0..kinds.len())];
        let mut when: Vec<usize> = (0..times.len()).collect();
        when.shuffle(rng);
        when.truncate(count);
        when.sort_unstable();
        let persons = draw(rng, &people(), count);
        let verbs: Vec<Verb> = VERBS.sample(rng, count).copied().collect();
        let objects = draw(rng, OBJECTS, count);
        let places = draw(rng, TOWNS, count);
        let amounts = draw(rng, AMOUNTS, count);
        let causes = draw(rng, CAUSES, count);
        let fact = |i: usize| Fact {
            person: persons[i],
            verb: verbs[i],
            object: objects[i],
            place: places[i],
            time: times[when[i]],
            amount: amounts[i],
            cause: causes[i],
        };
        Self {
            facts: (0..count).map(fact).collect(),
            attributes,
            times,
        }
    }

    /// When a fact happened: `on Monday`, `in May`.
    pub(crate) fn when(&self, fact: &Fact) -> String {
        let preposition = if self.times == DAYS { "on" } else { "in" };
        format!("{preposition} {}", fact.time)
    }

    /// Whether the passage tells an attribute.
    pub(crate) fn tell(&self, attribute: Attribute) -> bool {
        self.attributes.contains(&attribute)
    }

    /// Every word that could stand for an attribute.
    pub(crate) fn words(&self, attribute: Attribute) -> &'static [&'static str] {
        match attribute {
            Attribute::Place => TOWNS,
            Attribute::Time => self.times,
            Attribute::Amount => AMOUNTS,
            Attribute::Cause => CAUSES,
        }
    }
}

/// All names of people.
pub(crate) fn people() -> Vec<&'static str> {
    [WOMEN, MEN].concat()
}

/// Draws `count` different words of a list.
pub(crate) fn draw(
    rng: &mut ChaCha8Rng,
    words: &[&'static str],
    count: usize,
) -> Vec<&'static str> {
    let mut drawn: Vec<&'static str> = words.sample(rng, count).copied().collect();
    drawn.shuffle(rng);
    drawn
}
