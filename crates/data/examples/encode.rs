//! Prints the questions of a data set as tokens, one JSON line for each, and the statistics:
//! `cargo run --release --example encode -- MODEL_DIR SOURCE LIMIT [CHAT_TEMPLATE]`.
//!
//! MODEL_DIR holds the tokenizer; SOURCE is a parquet file, a folder of them or `hub:owner/name`.

use std::error::Error;

use plw_data::{
    DatasetStatistics, PromptEncoder, PromptSettings, ReadOptions, Source, Split, load_questions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, source, limit, chat @ ..] = arguments.as_slice() else {
        return Err("give MODEL_DIR SOURCE LIMIT [CHAT_TEMPLATE]".into());
    };
    let mut settings = PromptSettings::default();
    if let [chat] = chat {
        settings.chat_template = chat.clone().try_into()?;
    }
    let encoder = PromptEncoder::from_directory(model.as_ref(), settings)?;
    let source: Source = source.parse()?;
    let options = ReadOptions {
        limit: Some(limit.parse()?),
        ..Default::default()
    };
    let dataset = load_questions(&source, Split::Train, &options, &encoder, usize::MAX)?;
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
            "completion_start": sequence.completion_start,
            "answer_position": answer.map(|answer| answer.position),
            "option_tokens": answer.map(|answer| &answer.option_tokens),
            "group": sequence.group,
        });
        println!("{line}");
    }
    eprintln!("{:#?}", DatasetStatistics::of(&dataset.examples));
    Ok(())
}
