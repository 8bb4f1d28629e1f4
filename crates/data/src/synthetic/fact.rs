//! What a passage tells, before it is put into words.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::vocabulary::{
    AMOUNTS, CAUSES, DAYS, MEN, MONTHS, OBJECTS, TOWNS, VERBS, Verb, WOMEN, YEARS,
};

/// What a fact may tell beside who did what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Attribute {
    Place,
    Time,
    Amount,
    Cause,
}

impl Attribute {
    pub(super) const ALL: [Self; 4] = [Self::Place, Self::Time, Self::Amount, Self::Cause];

    /// So many of them, drawn and in no order.
    pub(super) fn draw(rng: &mut ChaCha8Rng, count: usize) -> Vec<Self> {
        Self::ALL.sample(rng, count).copied().collect()
    }
}

/// Somebody did something. Within a passage no two facts share a word of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) person: &'static str,
    pub(super) verb: Verb,
    pub(super) object: &'static str,
    pub(super) place: &'static str,
    pub(super) time: &'static str,
    pub(super) amount: &'static str,
    pub(super) cause: &'static str,
}

impl Fact {
    /// The word that an attribute is told by.
    pub(super) fn word(&self, attribute: Attribute) -> &'static str {
        match attribute {
            Attribute::Place => self.place,
            Attribute::Time => self.time,
            Attribute::Amount => self.amount,
            Attribute::Cause => self.cause,
        }
    }

    /// The event without attributes: `Anna bought lamps`.
    pub(super) fn event(&self) -> String {
        event(self.person, self.verb, self.object)
    }
}

/// `Anna bought lamps`.
pub(super) fn event(person: &str, verb: Verb, object: &str) -> String {
    format!("{person} {} {object}", verb.past)
}

/// A passage's facts in the order in which they happened, and what they tell.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) facts: Vec<Fact>,
    pub(super) attributes: Vec<Attribute>,
    /// The times that theirs are among, in order.
    pub(super) times: &'static [&'static str],
}

impl Facts {
    /// Draws facts that have all attributes, of which a passage tells `attributes`.
    pub(super) fn draw(rng: &mut ChaCha8Rng, count: usize, attributes: Vec<Attribute>) -> Self {
        // Three wrong times outside the passage must be left.
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
    pub(super) fn when(&self, fact: &Fact) -> String {
        let preposition = if self.times == DAYS { "on" } else { "in" };
        format!("{preposition} {}", fact.time)
    }

    /// Whether the passage tells an attribute.
    pub(super) fn tell(&self, attribute: Attribute) -> bool {
        self.attributes.contains(&attribute)
    }

    /// Every word that could stand where an attribute's does.
    pub(super) fn words(&self, attribute: Attribute) -> &'static [&'static str] {
        match attribute {
            Attribute::Place => TOWNS,
            Attribute::Time => self.times,
            Attribute::Amount => AMOUNTS,
            Attribute::Cause => CAUSES,
        }
    }
}

/// Everybody's name.
pub(super) fn people() -> Vec<&'static str> {
    [WOMEN, MEN].concat()
}

/// Different words of a list, in no order.
pub(super) fn draw(
    rng: &mut ChaCha8Rng,
    words: &[&'static str],
    count: usize,
) -> Vec<&'static str> {
    let mut drawn: Vec<&'static str> = words.sample(rng, count).copied().collect();
    drawn.shuffle(rng);
    drawn
}
