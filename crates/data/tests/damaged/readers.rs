//! The readers of other people's data as plain functions of bytes, for property tests and for
//! fuzzers: each reads all of its input, as the program does, and may fail but not panic. The
//! results say whether the input passed the first check of its format.

use std::path::Path;

use plw_data::{
    ChatTemplate, ColumnOptions, Fields, ModelTokenizer, OnBadRow, PromptEncoder, PromptSettings,
    PromptTemplate, Question, ReadOptions, Source, Split, read_examples, read_text,
};

/// Rows of a parquet file, as questions and as texts; in `folder`, which must exist.
pub(crate) fn rows(folder: &Path, bytes: &[u8]) -> bool {
    let path = folder.join("train.parquet");
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
        Ok(questions) => {
            questions.for_each(drop);
            true
        }
        Err(error) => !error.to_string().contains("is not a parquet file"),
    }
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
