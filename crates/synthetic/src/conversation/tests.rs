//! The answers of conversations, worked out again from the text of the prompt.

use plw_data::Split;

use super::*;
use crate::fact::{Fact, people};
use crate::vocabulary::{AMOUNTS, CAUSES, DAYS, MONTHS, OBJECTS, TOWNS, VERBS, Verb, YEARS};

/// The first word of a list that a sentence says.
fn said(sentence: &str, words: &[&'static str]) -> Option<&'static str> {
    let is_said = |word: &&str| {
        sentence
            .split(|c: char| !c.is_alphanumeric())
            .any(|w| w == *word)
    };
    words.iter().copied().find(is_said)
}

/// Reads a passage: the sentences of each fact, then its words. A sentence without a person
/// continues the fact before it, or is a remark.
fn read(passage: &str) -> Facts {
    let mut told: Vec<String> = Vec::new();
    for sentence in passage.split_inclusive('.') {
        match told.last_mut() {
            _ if said(sentence, &people()).is_some() => told.push(sentence.to_owned()),
            Some(last) => last.push_str(sentence),
            None => {}
        }
    }
    let kinds = [DAYS, MONTHS, YEARS];
    let is_used = |times: &&&[&'static str]| said(passage, times).is_some();
    let times = *kinds.iter().find(is_used).unwrap_or(&DAYS);
    let pasts: Vec<&'static str> = VERBS.iter().map(|verb| verb.past).collect();
    let fact = |told: &String| -> Fact {
        let past = said(told, &pasts).expect("a fact has a verb");
        Fact {
            person: said(told, &people()).expect("a fact has a person"),
            verb: Verb { past, base: "" },
            object: said(told, OBJECTS).expect("a fact has an object"),
            place: said(told, TOWNS).unwrap_or_default(),
            time: said(told, times).unwrap_or_default(),
            amount: said(told, AMOUNTS).unwrap_or_default(),
            cause: said(told, CAUSES).unwrap_or_default(),
        }
    };
    let mut facts: Vec<Fact> = told.iter().map(fact).collect();
    let when = |fact: &Fact| times.iter().position(|&time| time == fact.time);
    facts.sort_by_key(when);
    let is_told = |attribute: &Attribute| !facts[0].word(*attribute).is_empty();
    let attributes = Attribute::ALL.into_iter().filter(is_told).collect();
    Facts {
        facts,
        attributes,
        times,
    }
}

/// The requests that a question can stand for.
fn requests(facts: &Facts, question: &str) -> Vec<Request> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let all = Request::answerable(facts, true).into_iter();
    all.filter(|request| (0..64).any(|_| request.question(&mut rng, facts) == question))
        .collect()
}

#[test]
fn the_prompt_alone_decides_the_answer() {
    let mut answered = [0; 6];
    for seed in [1, 2, 3] {
        let config = SyntheticConfig {
            seed,
            conversations: Some(ConversationConfig {
                train_rows: 1500,
                facts: [1, 4],
                attributes: [1, 4],
                high_share: 0.5,
                second_question_share: 0.5,
                ..ConversationConfig::default()
            }),
            ..SyntheticConfig::default()
        };
        for row in conversations(&config, Split::Train).expect("settings within their bounds") {
            let mut passage = None;
            let turns: Vec<&Turn> = row
                .messages
                .iter()
                .filter(|turn| turn.role != TurnRole::System)
                .collect();
            for pair in turns.chunks(2) {
                let [user, assistant] = pair else {
                    panic!("a question without an answer: {row:#?}");
                };
                let (before, question) = user
                    .content
                    .split_once('\n')
                    .map_or((None, user.content.as_str()), |(p, q)| (Some(p), q));
                passage = before.or(passage);
                let facts = read(passage.expect("the first question follows a passage"));
                let requests = requests(&facts, question);
                assert_eq!(requests.len(), 1, "{requests:?}: {row:#?}");
                assert_eq!(requests[0].answer(&facts), assistant.content, "{row:#?}");
                answered[requests[0] as usize] += 1;
            }
        }
    }
    assert!(answered.iter().all(|&count| count > 300), "{answered:?}");
}

#[test]
fn facts_in_another_order_are_the_same_set() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut facts = Facts::draw(&mut rng, 3, Attribute::ALL.to_vec());
    let set = told(&facts);
    facts.facts.reverse();
    assert_eq!(told(&facts), set);
    facts.attributes.pop();
    assert_ne!(told(&facts), set);
}
