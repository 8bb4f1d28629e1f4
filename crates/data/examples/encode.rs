//! Writes two questions, loads them as examples and prints their tokens, one JSON line for each:
//! `cargo run --release --example encode`.
//!
//! With arguments it prints the first LIMIT training questions of a data set of yours:
//! `cargo run --release --example encode -- MODEL_DIR SOURCE LIMIT [CHAT_TEMPLATE]`.
//! MODEL_DIR holds the tokenizer; SOURCE is a parquet file, a folder of them or `hub:owner/name`.

use std::error::Error;
use std::path::Path;

use plw_batch::Role;
use plw_data::{
    ColumnOptions, DataSource, DatasetStatistics, PromptEncoder, PromptSettings, Question,
    ReadOptions, Source, Split, WriteError, load_examples, write_questions,
};
use plw_hub::Hub;

/// Longer questions are left out.
const MAX_LENGTH: usize = 2048;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir()?;
    let (model, source, limit, chat_template) = match arguments.as_slice() {
        [] => {
            write_own_questions(&folder.path().join("train.parquet"))?;
            ("assets", Source::from(folder.path()), 2, "none")
        }
        [model, source, limit] => (*model, source.parse()?, limit.parse()?, "model"),
        [model, source, limit, chat] => (*model, source.parse()?, limit.parse()?, *chat),
        _ => return Err("give MODEL_DIR SOURCE LIMIT [CHAT_TEMPLATE], or nothing".into()),
    };
    let settings = PromptSettings {
        chat_template: chat_template.to_owned().try_into()?,
        ..PromptSettings::default()
    };
    let options = ReadOptions {
        limit: Some(limit),
        ..ReadOptions::default()
    };
    let encoder = PromptEncoder::from_directory(model.as_ref(), settings)?;
    let source = DataSource {
        files: &source.files(Split::Train, Hub::from_env)?,
        columns: &ColumnOptions::default(),
        options: &options,
        encoder: &encoder,
        cache: None,
        progress: &|| (),
    };
    let dataset = load_examples(&source, MAX_LENGTH)?;
    for (sequence, key) in dataset
        .examples
        .sequences
        .iter()
        .zip(&dataset.examples.keys)
    {
        let answer = sequence.answer.as_ref();
        let line = serde_json::json!({
            "row": key.row,
            "token_ids": sequence.token_ids,
            "prompt_tokens": sequence.tokens_of(Role::Prompt),
            "answer_position": answer.map(|answer| answer.position),
            "option_tokens": answer.map(|answer| &answer.option_tokens),
            "group": sequence.group,
        });
        println!("{line}");
    }
    let statistics = DatasetStatistics::of(&dataset.examples).total;
    println!(
        "questions {}, passages {}, prompt tokens {}, completion tokens {}",
        statistics.examples,
        statistics.passages,
        statistics.prompt_tokens,
        statistics.completion_tokens
    );
    Ok(())
}

fn write_own_questions(path: &Path) -> Result<u64, WriteError> {
    let question = |row, question: &str, options: [&str; 3], answer| Question {
        file: "train.parquet".into(),
        row,
        example_id: "middle1.txt".into(),
        level: "middle".into(),
        article: Some("On Monday Anna bought six lamps in Oslo.".into()),
        question: question.into(),
        options: options.map(str::to_owned).into(),
        answer,
        columns: Default::default(),
    };
    write_questions(
        path,
        [
            question(0, "Who bought lamps?", ["Carl", "Anna", "Olga"], 1),
            question(1, "Where did Anna buy lamps?", ["Oslo", "Rome", "Paris"], 0),
        ],
    )
}
