//! The readers of other people's data as plain functions of bytes, for property tests and for
//! fuzzers: each reads all of its input, as the program does, and may fail but not panic. The
//! results say whether the input passed the first check of its format.

use std::path::Path;
use std::sync::LazyLock;

use plw_data::{
    ChatTemplate, ColumnOptions, Conversation, Example, Fields, ModelTokenizer, OnBadRow,
    PromptEncoder, PromptSettings, PromptTemplate, Question, ReadOptions, Source, SpecialTokens,
    Split, Turn, read_examples, read_text,
};

/// The tokenizer that encodes what is read.
const TOKENIZER: &str = include_str!("../fixtures/byte_level.tokenizer.json");

/// A template that prints everything that a conversation may hold.
const CHAT_TEMPLATE: &str = "{{ tools | tojson if tools }}{% for m in messages %}\
    {{ m.role }}:{{ m.content }}{{ m | tojson }}\n{% endfor %}\
    {{ 'assistant:' if add_generation_prompt }}";

static ENCODER: LazyLock<PromptEncoder> = LazyLock::new(|| encoder(CHAT_TEMPLATE).expect("one"));

fn encoder(chat_template: &str) -> Option<PromptEncoder> {
    let tokens = SpecialTokens::from([("bos_token", "<s>"), ("eos_token", "</s>")]);
    let chat = ChatTemplate::from_jinja(chat_template, tokens.iter(), Some("2024-07-06")).ok()?;
    let tokenizer = TOKENIZER.parse().expect("the fixture is a tokenizer");
    let tokenizer = ModelTokenizer::new(tokenizer, tokens);
    PromptEncoder::new(PromptSettings::default(), tokenizer, chat).ok()
}

/// Rows of a parquet file, as questions and as texts; in `folder`, which must exist.
pub(crate) fn rows(folder: &Path, bytes: &[u8]) -> bool {
    rows_of(folder, "train.parquet", bytes)
}

/// Rows of a file whose name tells its format, as examples that are encoded and as texts.
pub(crate) fn rows_of(folder: &Path, name: &str, bytes: &[u8]) -> bool {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    let source = Source::Path(path);
    let options = ReadOptions {
        on_bad_row: OnBadRow::Skip,
        // Damaged bytes may say that a row is repeated for ever.
        limit: Some(1000),
        ..ReadOptions::default()
    };
    if let Ok(texts) = read_text(&source, Split::Train, "article", &options) {
        texts.for_each(drop);
    }
    match read_examples(&source, Split::Train, &ColumnOptions::default(), &options) {
        Ok(examples) => {
            let examples = examples.map_while(Result::ok);
            examples.for_each(|example| encode(&ENCODER, &example));
            true
        }
        Err(error) => {
            let told = error.to_string();
            let first_checks = ["is not a parquet file", "is not text", "it holds no schema"];
            !first_checks.iter().any(|check| told.contains(check))
        }
    }
}

/// Encodes an example; what is encoded must fit together.
fn encode(encoder: &PromptEncoder, example: &Example) {
    if let Ok([prompt, completion]) = encoder.count_characters(example) {
        assert!(prompt + completion < 100_000_000);
    }
    let Ok(encoded) = encoder.encode(example) else {
        return;
    };
    let spans = encoder.spans(&encoded);
    assert_eq!(spans.len(), encoded.token_ids.len());
    let text: String = spans.iter().map(|span| span.text.as_str()).collect();
    assert_eq!(text, encoded.text);
    let ends = encoded.segments.iter().map(|segment| segment.end as usize);
    assert_eq!(ends.max(), Some(spans.len()));
    assert!(
        spans
            .iter()
            .all(|span| span.weight >= 0.0 && span.weight.is_finite())
    );
}

/// A chat template that marks what the assistant generates, and conversations that it renders.
pub(crate) fn marked_template(source: &str) -> bool {
    let Some(encoder) = encoder(source) else {
        return false;
    };
    let turn = |role: &str, weight: f64| Turn {
        weight,
        ..Turn::new(role, "Anna's boat é")
    };
    for weight in [1.0, 0.5] {
        let turns = ["system", "user", "assistant", "user", "assistant"];
        let conversation = Conversation {
            file: "made-up.jsonl".into(),
            row: 0,
            example_id: "one".into(),
            level: "data".into(),
            turns: turns
                .map(|role| turn(role, if role == "assistant" { weight } else { 1.0 }))
                .into(),
            tools: None,
            fields: None,
        };
        encode(&encoder, &conversation.into());
    }
    true
}

/// A source as a user writes it, and the files that it stands for in `folder`.
pub(crate) fn source(folder: &Path, text: &str) -> bool {
    let Ok(source) = text.parse::<Source>() else {
        return false;
    };
    let Source::Path(path) = source else {
        return true;
    };
    // From the root a pattern would read the whole machine.
    let text = path.to_string_lossy().replace("..", ".");
    let inside = text.split(',').map(|part| {
        let part = part.trim().trim_start_matches('/');
        folder.join(part).display().to_string()
    });
    let source = Source::Path(inside.collect::<Vec<_>>().join(",").into());
    let no_hub = || panic!("a path needs no hub");
    if let Ok(files) = source.files(Split::Train, no_hub) {
        assert!(files.iter().all(|file| file.path.starts_with(folder)));
    }
    true
}

/// A tokenizer.json, and a text that it tokenizes; in `folder`, which must exist.
pub(crate) fn tokenizer(folder: &Path, bytes: &[u8]) -> bool {
    let path = folder.join("tokenizer.json");
    std::fs::write(path, bytes).expect("a temporary file");
    let is_json = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    let Ok(tokenizer) = ModelTokenizer::from_directory(folder) else {
        return is_json;
    };
    let settings = PromptSettings {
        append_eos: false,
        ..PromptSettings::default()
    };
    if let Ok(encoder) = PromptEncoder::new(settings, tokenizer, ChatTemplate::none()) {
        let _ = encoder
            .tokenizer()
            .encode_text(" Anna's boat\n is 12 € <s>");
        if let Ok(encoded) = encoder.encode(&question().into()) {
            let spans = encoder.spans(&encoded);
            assert_eq!(spans.len(), encoded.token_ids.len());
        }
    }
    is_json
}

/// A chat template, and a conversation that it renders.
pub(crate) fn chat_template(source: &str) -> bool {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let Ok(template) = ChatTemplate::from_jinja(source, tokens, Some("2024-07-06")) else {
        return false;
    };
    let _ = template.render_prompt("What is it? ");
    let _ = template.render_conversation("What is it? ", "B");
    true
}

/// A prompt template, and a text that it makes.
pub(crate) fn prompt_template(source: &str) -> bool {
    let Ok(template) = PromptTemplate::parse(source) else {
        return false;
    };
    let fields = Fields::from([("article", "Anna {left}.".into()), ("answer", "B".into())]);
    if let Ok(text) = template.render(&fields) {
        assert!(text.len() <= source.len() * 12);
    }
    assert_eq!(template.source(), source);
    true
}

fn question() -> Question {
    Question {
        file: "made-up.parquet".into(),
        row: 0,
        example_id: "middle1.txt".into(),
        level: "middle".into(),
        article: Some("Anna has a boat. It's blue: 日本語 😀.".into()),
        question: "What colour?".into(),
        options: vec!["red".into(), "blue".into(), "it's \"x\"".into()],
        answer: 1,
        columns: Default::default(),
    }
}
