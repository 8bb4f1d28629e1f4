//! Conversations as tokens, compared with transformers: `xtask/fixtures/prompts.py` makes the
//! cases.

use plw_batch::Role;
use plw_data::{Conversation, Encoded, Turn};
use serde_json::{Map, Value, json};

use crate::conversations::{conversation, encoder, jinja};

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    tokenizer: String,
    template: String,
    messages: Vec<Map<String, Value>>,
    tools: Option<Value>,
    text: String,
    token_ids: Vec<u32>,
    all_turns: Vec<u8>,
    last_turn: Option<Vec<u8>>,
}

/// For each token whether it is completion.
fn roles(encoded: &Encoded) -> Vec<u8> {
    let mut roles = Vec::new();
    for segment in &encoded.segments {
        roles.resize(
            segment.end as usize,
            u8::from(segment.role == Role::Completion),
        );
    }
    roles
}

#[test]
fn tokens_and_completions_equal_those_of_transformers() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../fixtures/conversations.json")).expect("JSON");
    assert_eq!(cases.len(), 20);
    for case in cases {
        let turns = case.messages.into_iter().map(|message| Turn {
            is_completion: message["role"] == "assistant",
            message,
            weight: 1.0,
        });
        let example = Conversation {
            tools: case.tools,
            ..conversation(turns.collect())
        };
        let example = example.into();
        let encode = |loss_turns: &str| {
            let settings = json!({"loss_turns": loss_turns});
            let encoder = encoder(settings, &case.tokenizer, jinja(&case.template));
            encoder
                .encode(&example)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name))
        };
        let all = encode("all");
        assert_eq!(all.text, case.text, "{}", case.name);
        assert_eq!(all.token_ids, case.token_ids, "{}", case.name);
        assert_eq!(roles(&all), case.all_turns, "{}", case.name);
        let completion = case.all_turns.iter().filter(|&&mark| mark == 1).count();
        assert_eq!(all.tokens_of(Role::Completion), completion);
        let last = encode("last");
        assert_eq!(last.token_ids, case.token_ids);
        match case.last_turn {
            Some(expected) => assert_eq!(roles(&last), expected, "{}", case.name),
            // Of those that the template marks, the last run.
            None => {
                let end = case
                    .all_turns
                    .iter()
                    .rposition(|&mark| mark == 1)
                    .expect("one");
                let start = case.all_turns[..end].iter().rposition(|&mark| mark == 0);
                let start = start.expect("a prompt") + 1;
                let expected: Vec<u8> = (0..case.all_turns.len())
                    .map(|at| u8::from((start..=end).contains(&at)))
                    .collect();
                assert_eq!(roles(&last), expected, "{}", case.name);
            }
        }
    }
}
