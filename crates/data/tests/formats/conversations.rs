//! Conversations as tokens: which of them are completions, and what they weigh.

use std::path::Path;

use plw_batch::Role;
use plw_data::{
    ChatTemplate, Conversation, Encoded, ModelTokenizer, PromptEncoder, PromptSettings,
    PromptTemplate, SpecialTokens, Turn,
};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

const TOKENS: [(&str, &str); 2] = [("bos_token", "<s>"), ("eos_token", "</s>")];

/// Prints each turn as a line that begins with its role.
const SIMPLE: &str = "{% for m in messages %}{{ m.role + ':' + m.content + '\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";

/// The same, with the assistant's text marked.
const MARKED: &str = "{% for m in messages %}{{ m.role + ':' }}{% if m.role == 'assistant' %}\
    {% generation %}{{ m.content + '\\n' }}{% endgeneration %}\
    {% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}";

pub(crate) fn encoder(settings: Value, tokenizer: &str, chat: ChatTemplate) -> PromptEncoder {
    let path = format!(
        "{}/tests/fixtures/{tokenizer}.tokenizer.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let tokenizer = ModelTokenizer::new(
        Tokenizer::from_file(Path::new(&path)).expect("the fixture is a tokenizer"),
        SpecialTokens::from(TOKENS),
    );
    let settings: PromptSettings = serde_json::from_value(settings).expect("settings");
    PromptEncoder::new(settings, tokenizer, chat).expect("settings that go together")
}

pub(crate) fn jinja(source: &str) -> ChatTemplate {
    ChatTemplate::from_jinja(source, TOKENS, None).expect("a template")
}

pub(crate) fn conversation(turns: Vec<Turn>) -> Conversation {
    Conversation {
        file: "made-up.jsonl".into(),
        row: 3,
        example_id: "one".into(),
        level: "data".into(),
        turns,
        tools: None,
        fields: None,
    }
}

fn turn(role: &str, content: &str, weight: f64) -> Turn {
    Turn {
        weight,
        ..Turn::new(role, content)
    }
}

/// The text in parts that count alike: a star at completions, and the weight where it is not 1. A
/// token that holds bytes of two parts counts as a whole.
fn parts(encoded: &Encoded) -> Vec<String> {
    let mut start = 0;
    let mut parts = Vec::new();
    for segment in &encoded.segments {
        let end = encoded.offsets[segment.end as usize - 1].1;
        let star = if segment.role == Role::Completion {
            "*"
        } else {
            ""
        };
        let weight = match segment.weight {
            1.0 => String::new(),
            weight => format!("{weight} "),
        };
        parts.push(format!("{star}{weight}{}", &encoded.text[start..end]));
        start = end;
    }
    parts
}

#[test]
fn turns_weigh_as_the_data_says() {
    let turns = || {
        vec![
            turn("system", "1", 0.25),
            turn("user", "2", 1.0),
            turn("assistant", "3", 0.0),
            turn("user", "4", 2.0),
            turn("assistant", "5", 1.0),
            turn("assistant", "6", 0.5),
        ]
    };
    let encode = |settings: Value, source: &str, turns: Vec<Turn>| {
        let encoder = encoder(settings, "byte_level", jinja(source));
        encoder
            .encode(&conversation(turns).into())
            .map_err(|error| error.to_string())
    };
    let all = encode(json!({}), SIMPLE, turns()).expect("it can be encoded");
    assert_eq!(
        parts(&all),
        [
            "0.25 system:1\n",
            "user:2\nassistant:",
            "*0 3\n",
            "2 user:4\n",
            "assistant:",
            "*5\n",
            "assistant:",
            "*0.5 6\n",
        ]
    );
    let last = encode(json!({"loss_turns": "last"}), SIMPLE, turns()).expect("it can be encoded");
    assert_eq!(
        parts(&last),
        [
            "0.25 system:1\n",
            "user:2\nassistant:",
            "0 3\n",
            "2 user:4\n",
            "assistant:5\nassistant:",
            "*0.5 6\n",
        ]
    );
    // Marks tell the assistant's turns; those of others are found by rendering.
    let marked = encode(json!({}), MARKED, turns()).expect("it can be encoded");
    assert_eq!(parts(&marked), parts(&all));
    let assistants = || {
        let mut turns = turns();
        turns
            .iter_mut()
            .filter(|turn| !turn.is_completion)
            .for_each(|turn| turn.weight = 1.0);
        turns
    };
    let marked = encode(json!({}), MARKED, assistants()).expect("it can be encoded");
    assert_eq!(
        parts(&marked),
        [
            "system:1\nuser:2\nassistant:",
            "*0 3\n",
            "user:4\nassistant:",
            "*5\n",
            "assistant:",
            "*0.5 6\n",
        ]
    );
    // A mark for each turn is needed to tell them apart.
    let first = MARKED.replace("m.role == 'assistant'", "m.content == '3'");
    let error = encode(json!({}), &first, assistants()).expect_err("two turns without a mark");
    assert!(
        error.contains("marks 1 part(s)") && error.contains("3 turn(s)"),
        "{error}"
    );
    let plain = assistants()
        .into_iter()
        .map(|turn| Turn {
            weight: 1.0,
            ..turn
        })
        .collect();
    let marked = encode(json!({}), &first, plain).expect("it can be encoded");
    assert_eq!(
        parts(&marked),
        [
            "system:1\nuser:2\nassistant:",
            "*3\n",
            "user:4\nassistant:5\nassistant:6\n"
        ]
    );
}

#[test]
fn turns_of_a_prompt_are_no_completions() {
    let mut turns: Vec<Turn> = [
        ("user", "1"),
        ("assistant", "2"),
        ("user", "3"),
        ("assistant", "4"),
    ]
    .map(|(role, content)| Turn::new(role, content))
    .into();
    turns[1].is_completion = false;
    for source in [SIMPLE, MARKED] {
        let encoder = encoder(json!({}), "byte_level", jinja(source));
        let encoded = encoder
            .encode(&conversation(turns.clone()).into())
            .expect("a conversation");
        assert_eq!(
            parts(&encoded),
            ["user:1\nassistant:2\nuser:3\nassistant:", "*4\n"]
        );
        let counts = encoder.count_characters(&conversation(turns.clone()).into());
        assert_eq!(counts.expect("a conversation"), [36, 2]);
    }
}

#[test]
fn without_a_template_a_completion_follows_its_prompt() {
    let encode = |tokenizer: &str, settings: Value, turns: Vec<Turn>| {
        let encoder = encoder(settings, tokenizer, ChatTemplate::none());
        encoder
            .encode(&conversation(turns).into())
            .map_err(|error| error.to_string())
    };
    let turns = vec![turn("user", "What?", 1.0), turn("assistant", " yes", 1.0)];
    let encoded = encode("byte_level", json!({}), turns.clone()).expect("two turns");
    assert_eq!(parts(&encoded), ["What?", "* yes</s>"]);
    assert_eq!(encoded.token_ids.last(), Some(&2));
    let encoded = encode("byte_level", json!({"append_eos": false}), turns.clone());
    assert_eq!(parts(&encoded.expect("two turns")), ["What?", "* yes"]);
    // The tokenizer's own beginning is prompt.
    let encoded = encode("sentence_piece", json!({}), turns.clone()).expect("two turns");
    assert_eq!((encoded.token_ids[0], encoded.offsets[0]), (1, (0, 0)));
    assert_eq!(parts(&encoded), ["What?", "* yes</s>"]);
    let weighed = vec![
        turn("system", "Short.", 0.0),
        turn("user", "What?", 3.0),
        turn("assistant", "yes", 0.5),
    ];
    let encoded = encode("byte_level", json!({}), weighed).expect("three turns");
    assert_eq!(
        parts(&encoded),
        ["0 Short.", "\n\n", "3 What?", "*0.5 yes</s>"]
    );
    for turns in [
        vec![turn("assistant", "yes", 1.0)],
        vec![turn("user", "What?", 1.0), turn("user", "yes", 1.0)],
        vec![
            turn("user", "a", 1.0),
            turn("user", "b", 1.0),
            turn("assistant", "c", 1.0),
        ],
        [turns.clone(), turns].concat(),
    ] {
        let error = encode("byte_level", json!({}), turns).expect_err("other turns");
        for part in ["made-up.jsonl, row 3: ", "set chat_template to "] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn templates_make_the_turns_of_instructions() {
    let fields = [("prompt", "p"), ("completion", "c"), ("year", "1")];
    let example = Conversation {
        fields: Some(fields.map(|(name, text)| (name.into(), text.into())).into()),
        ..conversation(vec![
            turn("system", "s", 1.0),
            turn("user", "p", 1.0),
            turn("assistant", "c", 1.0),
        ])
    };
    let encode = |settings: Value, example: &Conversation| {
        let encoder = encoder(settings, "byte_level", jinja(SIMPLE));
        encoder
            .encode(&example.clone().into())
            .map_err(|error| error.to_string())
    };
    let prompt = PromptTemplate::parse("{year}: {prompt}").expect("a template");
    for (settings, expected) in [
        (json!({}), ["system:s\nuser:p\nassistant:", "*c\n"]),
        (
            json!({"prompt_template": prompt}),
            ["system:s\nuser:1: p\nassistant:", "*c\n"],
        ),
        (
            json!({"completion_template": "<{completion}>"}),
            ["system:s\nuser:p\nassistant:", "*<c>\n"],
        ),
    ] {
        assert_eq!(
            parts(&encode(settings, &example).expect("an instruction")),
            expected
        );
    }
    let error = encode(json!({"prompt_template": "{input}"}), &example).expect_err("no such field");
    assert!(
        error.contains("made-up.jsonl, row 3: the template asks for {input}"),
        "{error}"
    );
    // Lists of messages are rendered as they are.
    let example = Conversation {
        fields: None,
        ..example
    };
    let encoded = encode(json!({"prompt_template": "{input}"}), &example).expect("messages");
    assert_eq!(parts(&encoded), ["system:s\nuser:p\nassistant:", "*c\n"]);
}

/// A text that holds what marks a generation would move the completions.
#[test]
fn marks_in_the_data_are_refused() {
    let marks = ["\u{10fffe}\u{fdd0}", "\u{10fffe}\u{fdd1}"];
    let text = format!("{}x{}", marks[0], marks[1]);
    let encoder = encoder(json!({}), "byte_level", jinja(MARKED));
    let mut nested = Turn::new("user", "a");
    nested
        .message
        .insert("other".to_owned(), json!([{"text": text}]));
    for first in [
        Turn::new("user", &text),
        Turn::new("user", marks[0]),
        nested,
    ] {
        let turns = vec![first, Turn::new("assistant", "b")];
        let error = encoder
            .encode(&conversation(turns).into())
            .expect_err("marks")
            .to_string();
        assert!(error.contains("take them out of the data"), "{error}");
    }
    let tools = Conversation {
        tools: Some(json!([text])),
        ..conversation(vec![Turn::new("user", "a"), Turn::new("assistant", "b")])
    };
    let error = encoder
        .encode(&tools.into())
        .expect_err("marks")
        .to_string();
    assert!(error.contains("take them out of the data"), "{error}");
}

#[test]
fn templates_that_render_turns_otherwise_are_errors() {
    // The last turn alone is printed whole.
    let source = "{% for m in messages %}{{ m.role + ':' }}{{ m.content if loop.last else 'x' }}\
        {% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
    let encoder = encoder(json!({}), "byte_level", jinja(source));
    let turns = vec![turn("user", "What?", 1.0), turn("assistant", "yes", 1.0)];
    let error = encoder
        .encode(&conversation(turns).into())
        .expect_err("no prefix")
        .to_string();
    for part in [
        "made-up.jsonl, row 3: ",
        "differ from byte 5 on",
        "{% generation %}",
    ] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
}

/// Of two turns of the assistant behind each other, the line end belongs to the first alone.
#[test]
fn turns_that_end_behind_the_beginning_of_the_next_are_counted_once() {
    let source = "{% for m in messages %}{{ m.role + ':' + m.content }}\
        {{ '\\n' if not (add_generation_prompt and loop.last) }}{% endfor %}";
    let encoder = encoder(json!({}), "byte_level", jinja(source));
    let turns = [("user", "a"), ("assistant", "x"), ("assistant", "y")];
    let turns = turns.map(|(role, content)| Turn::new(role, content));
    let example = conversation(turns.into()).into();
    let encoded = encoder.encode(&example).expect("a conversation");
    assert_eq!(parts(&encoded), ["user:a", "*\nassistant:x\nassistant:y\n"]);
    let counts = encoder.count_characters(&example).expect("a conversation");
    assert_eq!(counts, [6, encoded.text.len() - 6]);
}
