//! Conversations and instructions in every shape of row that is known.

use plw_data::{ColumnOptions, Example, ReadOptions, Source, Split, read_examples};
use serde_json::{Value, json};

use crate::cases::{column_options, folder, lines, read_all, skipping, write};

/// The conversations that a row is, as one text: `role: content` for each turn, with a star at a
/// completion and its weight where it is not 1. A line of dashes is between two conversations.
fn turns(examples: &[Example]) -> String {
    let conversation = |example: &Example| {
        let Example::Conversation(conversation) = example else {
            panic!("a conversation, not {example:?}")
        };
        let turns = conversation.turns.iter().map(|turn| {
            let star = if turn.is_completion { "*" } else { "" };
            let weight = match turn.weight {
                1.0 => String::new(),
                weight => format!(" ({weight})"),
            };
            format!("{}{star}{weight}: {}", turn.role(), turn.message["content"])
        });
        turns.collect::<Vec<_>>().join("\n")
    };
    let conversations: Vec<String> = examples.iter().map(conversation).collect();
    conversations.join("\n---\n").replace('"', "")
}

/// A row, what it is called, and its turns.
fn cases() -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (
            json!({"messages": [
                {"role": "developer", "content": "s"},
                {"role": "User", "content": "a", "loss_weight": 0},
                {"role": "model", "content": "b", "weight": 2.5},
                {"role": "ipython", "content": "c"},
            ], "source": "x", "text": "not read"}),
            "chat messages",
            "developer: s\nuser (0): a\nassistant* (2.5): b\nipython: c",
        ),
        (
            // Either spelling of the keys.
            json!({"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}),
            "chat messages",
            "user: a\nassistant*: b",
        ),
        (
            json!({"system": "s", "conversations": [
                {"from": "human", "value": "a"},
                {"from": "function_call", "value": "{}"},
                {"from": "observation", "value": "1"},
                {"from": "gpt", "value": "b"},
                {"from": "user", "value": "c"},
                {"from": "chatgpt", "value": "d"},
                {"from": "function_response", "value": "e"},
                {"from": "bard", "value": "f"},
                {"from": "tool", "value": "g"},
                {"from": "bing", "value": "h"},
                {"from": "function", "value": "i"},
                {"from": "assistant", "value": "j"},
            ]}),
            "ShareGPT conversations",
            "system: s\nuser: a\nassistant*: {}\ntool: 1\nassistant*: b\nuser: c\nassistant*: d\n\
             tool: e\nassistant*: f\ntool: g\nassistant*: h\ntool: i\nassistant*: j",
        ),
        (
            json!({"system": " \n", "conversations": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
            ]}),
            "ShareGPT conversations",
            "system: s\nuser: a\nassistant*: b",
        ),
        (
            json!({"instruction": "a", "input": "", "output": "b"}),
            "Alpaca",
            "user: a\nassistant*: b",
        ),
        (
            json!({"instruction": "a", "input": " i ", "output": "b ", "system": "s",
                "history": [["c", "d"], ["e", "f"]]}),
            "Alpaca",
            "system: s\nuser: c\nassistant*: d\nuser: e\nassistant*: f\nuser: a\\n i \n\
             assistant*: b ",
        ),
        (
            json!({"instruction": "a", "output": "b", "input": null, "history": null}),
            "Alpaca",
            "user: a\nassistant*: b",
        ),
        (
            json!({"instruction": "a", "instances": [
                {"input": "", "output": "b"},
                {"input": "c", "output": "d"},
            ]}),
            "Alpaca with instances",
            "user: a\nassistant*: b\n---\nuser: a\\nc\nassistant*: d",
        ),
        (
            json!({"instruction": "a", "context": "c", "response": "b"}),
            "Dolly",
            "user: a\\nc\nassistant*: b",
        ),
        (
            json!({"instruction": "a", "context": "", "response": "b"}),
            "Dolly",
            "user: a\nassistant*: b",
        ),
        (
            json!({"prompt": " a ", "completion": " b"}),
            "prompts and completions",
            "user:  a \nassistant*:  b",
        ),
        (
            json!({"prompt": "a", "response": "b"}),
            "prompts and responses",
            "user: a\nassistant*: b",
        ),
        (
            json!({
                "prompt": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                    {"role": "user", "content": "c"},
                ],
                "completion": [{"role": "assistant", "content": "d"}],
            }),
            "prompts and completions",
            "user: a\nassistant: b\nuser: c\nassistant*: d",
        ),
        (
            json!({"id": "o", "system_prompt": "s", "question": "a", "response": "b"}),
            "OpenOrca",
            "system: s\nuser: a\nassistant*: b",
        ),
        (
            json!({"system_prompt": "", "question": "a", "response": "b"}),
            "OpenOrca",
            "user: a\nassistant*: b",
        ),
        (
            json!({"question": "a", "answer": "b"}),
            "questions and answers",
            "user: a\nassistant*: b",
        ),
        (
            json!({"dialogue": "A: hi", "summary": "b"}),
            "SAMSum",
            "user: Summarize this dialogue:\\nA: hi\nassistant*: b",
        ),
        (
            json!({"document": "d", "summary": "b"}),
            "XSum",
            "user: Summarize this article:\\nd\nassistant*: b",
        ),
    ]
}

#[test]
fn every_shape_is_recognized_by_its_columns() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    for (row, name, expected) in cases() {
        write(&path, lines(std::slice::from_ref(&row)));
        let source = Source::Path(path.clone());
        let (columns, options) = (ColumnOptions::default(), ReadOptions::default());
        let mut reader =
            read_examples(&source, Split::Train, &columns, &options).expect("a known shape");
        let examples: Result<Vec<Example>, _> = reader.by_ref().collect();
        let examples = examples.unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(turns(&examples), expected, "{row}");
        assert_eq!(reader.shapes(), [name], "{row}");
    }
}

/// A row is what its own columns say, whatever the rows before it are.
#[test]
fn a_file_may_hold_rows_of_different_shapes() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    let cases = cases();
    let mut orders: Vec<Vec<usize>> = vec![(0..cases.len()).collect()];
    orders.push((0..cases.len()).rev().collect());
    // Each shape behind each other.
    for step in 2..cases.len() {
        orders.push(
            (0..cases.len())
                .map(|index| index * step % cases.len())
                .collect(),
        );
    }
    for order in orders {
        let rows: Vec<Value> = order.iter().map(|&index| cases[index].0.clone()).collect();
        write(&path, lines(&rows));
        let columns = ColumnOptions::default();
        let (examples, _) =
            read_all(&path, Split::Train, &columns, &ReadOptions::default()).expect("known shapes");
        let expected: Vec<&str> = order.iter().map(|&index| cases[index].2).collect();
        assert_eq!(turns(&examples), expected.join("\n---\n"));
    }
    // A question with options is none without them, in either order.
    let free = json!({"question": "a", "answer": "b"});
    let choice = json!({"question": "a", "options": ["x", "b"], "answer": "B"});
    for (rows, kinds) in [
        ([&free, &choice], [false, true]),
        ([&choice, &free], [true, false]),
    ] {
        write(&path, lines(&rows.map(Value::clone)));
        let columns = ColumnOptions::default();
        let (examples, _) =
            read_all(&path, Split::Train, &columns, &ReadOptions::default()).expect("known shapes");
        let found: Vec<bool> = examples
            .iter()
            .map(|example| matches!(example, Example::Question(_)))
            .collect();
        assert_eq!(found, kinds);
    }
}

#[test]
fn tools_and_ids_come_with_conversations() {
    let folder = folder();
    let path = folder.path().join("data/rows.jsonl");
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let rows = [
        json!({"messages": messages, "tools": tools}),
        json!({"messages": messages, "tools": tools.to_string(), "id": 7}),
        json!({"messages": messages, "tools": [], "example_id": "high3"}),
        json!({"messages": messages, "tools": " "}),
        json!({"prompt": [messages[0]], "completion": [messages[1]], "tools": tools}),
        json!({"id": null, "instruction": "i", "instances": [
            {"input": "", "output": "1"}, {"input": "", "output": "2"},
        ]}),
    ];
    write(&path, lines(&rows));
    let columns = ColumnOptions::default();
    let (examples, _) =
        read_all(&path, Split::Train, &columns, &ReadOptions::default()).expect("known shapes");
    let expected = [
        ("rows-0", "data", true),
        ("7", "data", true),
        ("high3", "high", false),
        ("rows-3", "data", false),
        ("rows-4", "data", true),
        ("rows-5-0", "data", false),
        ("rows-5-1", "data", false),
    ];
    assert_eq!(examples.len(), expected.len());
    for (example, (id, level, has_tools)) in examples.iter().zip(expected) {
        assert_eq!((example.example_id(), example.level()), (id, level));
        let Example::Conversation(conversation) = example else {
            panic!("a conversation")
        };
        assert_eq!(conversation.tools, has_tools.then(|| tools.clone()), "{id}");
    }
}

#[test]
fn instructions_have_fields_for_templates() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    let row = json!({"instruction": "a", "input": "i", "output": "b", "year": 1, "good": true,
        "list": [1], "none": null});
    write(&path, lines(&[row]));
    let (columns, options) = (ColumnOptions::default(), ReadOptions::default());
    let (examples, _) = read_all(&path, Split::Train, &columns, &options).expect("a good row");
    let Example::Conversation(conversation) = &examples[0] else {
        panic!("a conversation")
    };
    let expected = json!({"instruction": "a", "input": "i", "output": "b", "year": "1",
        "good": "true", "prompt": "a\ni", "completion": "b"});
    assert_eq!(json!(conversation.fields), expected);
}

#[test]
fn columns_of_other_names_are_renamed_first() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    let row = json!({"q": "a", "a": "b", "text": "c", "chat": [
        {"from": "human", "value": "d"}, {"from": "gpt", "value": "e"},
    ]});
    for (columns, expected) in [
        ("prompt=q,completion=a", "user: a\nassistant*: b"),
        ("question = q, answer = a", "user: a\nassistant*: b"),
        (
            "instruction=q,output=a,input=text",
            "user: a\\nc\nassistant*: b",
        ),
        ("conversations=chat", "user: d\nassistant*: e"),
        (
            "messages=chat,system=text",
            "system: c\nuser: d\nassistant*: e",
        ),
    ] {
        // The second row has none of these columns, and is what its own say.
        let other = json!({"prompt": "x", "completion": "y"});
        write(&path, lines(&[row.clone(), other]));
        let columns = column_options(json!({"column": columns}));
        let (examples, skipped) =
            read_all(&path, Split::Train, &columns, &skipping()).expect("a good row");
        let expected = format!("{expected}\n---\nuser: x\nassistant*: y");
        assert_eq!((turns(&examples), skipped.rows), (expected, 0));
    }
    let columns = column_options(json!({"column": {"prompt": "query"}}));
    let told = read_all(&path, Split::Train, &columns, &skipping()).expect_err("no such column");
    let told = told.to_string();
    for part in [
        "rows.jsonl has no column `query`",
        "the setting `column` names",
        "`q` (Utf8)",
    ] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
}
