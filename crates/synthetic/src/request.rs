//! What a user asks of told facts, and the one answer in words.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::fact::{Attribute, Fact, Facts};
use crate::passage::{capitalized, join};
use crate::vocabulary::WOMEN;

/// A question on all facts at once. Each answer tells every fact with all that the passage tells of
/// it, in the order in which they happened, and nothing else: facts and request decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// What happened first, and what later.
    Story,
    /// When what happened.
    Timeline,
    /// Who was where, and did what there.
    Towns,
    /// What happened, each with its reason.
    Reasons,
    /// Who did what, with each attribute in a sentence.
    Deeds,
    /// A question and its answer for each attribute.
    Interview,
}

impl Request {
    const ALL: [Self; 6] = [
        Self::Story,
        Self::Timeline,
        Self::Towns,
        Self::Reasons,
        Self::Deeds,
        Self::Interview,
    ];

    /// The requests that a passage with these facts can answer; at least two. Only the first two
    /// ask for the order of time. A passage in another order has an answer to no other request:
    /// nothing would say in which order that tells the facts.
    pub(crate) fn answerable(facts: &Facts, in_order_of_time: bool) -> Vec<Self> {
        let several = facts.facts.len() > 1;
        let in_order = in_order_of_time || !several;
        let answers = |request: &Self| match request {
            Self::Story => several,
            Self::Timeline => facts.tell(Attribute::Time),
            Self::Towns => in_order && facts.tell(Attribute::Place),
            Self::Reasons => in_order && facts.tell(Attribute::Cause),
            Self::Deeds | Self::Interview => in_order,
        };
        Self::ALL.into_iter().filter(answers).collect()
    }

    /// The question, in one of two wordings.
    pub(crate) fn question(self, rng: &mut ChaCha8Rng, facts: &Facts) -> String {
        let wordings = match self {
            Self::Story => [
                "What happened first, and what happened later?",
                "What was first, what was later, and what was in the end?",
            ],
            Self::Timeline => [
                "What was the time, and what happened?",
                "Which time was it, and what happened?",
            ],
            Self::Towns => [
                "What happened in which town?",
                "Which person was in which town, and what happened?",
            ],
            Self::Reasons => [
                "What happened because of what?",
                "What happened, and what was the reason?",
            ],
            Self::Deeds => ["Which person did what?", "Who did what in the story?"],
            Self::Interview => ["Who did what?", "Which person did what?"],
        };
        let wording = rng.random_range(0..2);
        let question = wordings[wording];
        if self != Self::Interview {
            return question.to_owned();
        }
        let asked = attributes(facts).map(|attribute| match (attribute, wording) {
            (Attribute::Amount, 0) => "How many?",
            (Attribute::Amount, _) => "What number?",
            (Attribute::Place, 0) => "Where?",
            (Attribute::Place, _) => "In which town?",
            (Attribute::Time, 0) => "When?",
            (Attribute::Time, _) => "At what time?",
            (Attribute::Cause, 0) => "Why?",
            (Attribute::Cause, _) => "For what reason?",
        });
        std::iter::once(question)
            .chain(asked)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The answer.
    pub(crate) fn answer(self, facts: &Facts) -> String {
        let last = facts.facts.len() - 1;
        let answers = facts.facts.iter().enumerate().map(|(index, fact)| {
            let connective = match index {
                0 => "First",
                _ if index == last => "Finally",
                _ => "Then",
            };
            self.answer_for(facts, fact, connective)
        });
        answers.collect::<Vec<_>>().join(" ")
    }

    /// The part of an answer that tells a fact. `connective` says when among the others.
    fn answer_for(self, facts: &Facts, fact: &Fact, connective: &str) -> String {
        let told = |attribute| {
            facts
                .tell(attribute)
                .then(|| phrase(facts, fact, attribute))
        };
        let told = |attribute| told(attribute).unwrap_or_default();
        let [place, time, cause] = [Attribute::Place, Attribute::Time, Attribute::Cause].map(told);
        let person = fact.person;
        let deed = join(&[fact.verb.past, &told(Attribute::Amount), fact.object]);
        match self {
            Self::Story => {
                let opening = [connective, &time]
                    .into_iter()
                    .filter(|part| !part.is_empty());
                let opening: String = opening.map(|part| format!("{part}, ")).collect();
                format!("{opening}{person} {deed}.{}", sentences(&[place, cause]))
            }
            Self::Timeline => {
                let event = join(&[person, &deed, &place, &cause]);
                format!("What happened {time}? {event}.")
            }
            Self::Towns => {
                let pronoun = if WOMEN.contains(&person) { "she" } else { "he" };
                let there = join(&["There", pronoun, &deed, &time, &cause]);
                format!("{person} was {place}. {there}.")
            }
            Self::Reasons => {
                let event = join(&[person, &deed, &place, &time]);
                format!("{event}. The reason was {}.", fact.cause)
            }
            Self::Deeds => format!("{person} {deed}.{}", sentences(&[place, time, cause])),
            Self::Interview => {
                let replies = attributes(facts).map(|attribute| {
                    let reply = phrase(facts, fact, attribute);
                    match attribute {
                        Attribute::Amount => format!(" How many? {reply}."),
                        Attribute::Place => format!(" Where? {}.", capitalized(&reply)),
                        Attribute::Time => format!(" When? {}.", capitalized(&reply)),
                        Attribute::Cause => format!(" Why? {}.", capitalized(&reply)),
                    }
                });
                let replies: String = replies.collect();
                format!("Who {} {}? {person}.{replies}", fact.verb.past, fact.object)
            }
        }
    }
}

/// What a passage tells of each fact, in the order in which an interview asks.
fn attributes(facts: &Facts) -> impl Iterator<Item = Attribute> {
    [
        Attribute::Amount,
        Attribute::Place,
        Attribute::Time,
        Attribute::Cause,
    ]
    .into_iter()
    .filter(|&attribute| facts.tell(attribute))
}

/// An attribute in words: `two`, `in Oslo`, `on Monday`, `because of rain`.
fn phrase(facts: &Facts, fact: &Fact, attribute: Attribute) -> String {
    match attribute {
        Attribute::Amount => fact.amount.to_owned(),
        Attribute::Place => format!("in {}", fact.place),
        Attribute::Time => facts.when(fact),
        Attribute::Cause => format!("because of {}", fact.cause),
    }
}

/// A sentence for each phrase that is not empty.
fn sentences(phrases: &[String]) -> String {
    let phrases = phrases.iter().filter(|phrase| !phrase.is_empty());
    phrases.map(|phrase| format!(" It was {phrase}.")).collect()
}

/// The facts as a set: all that a passage tells, whatever the words and the order.
pub(crate) fn told(facts: &Facts) -> String {
    let tell = |fact: &Fact| {
        let attributes = attributes(facts).map(|attribute| phrase(facts, fact, attribute));
        let attributes: Vec<String> = attributes.collect();
        format!("{} {}", fact.event(), attributes.join(" "))
    };
    let mut told: Vec<String> = facts.facts.iter().map(tell).collect();
    told.sort_unstable();
    told.join("; ")
}
