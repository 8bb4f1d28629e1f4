//! Prints questions as tokens, one JSON line a question, to be compared with another program's:
//! `cargo run --release -p plw-data --example encode -- MODEL_DIR SOURCE LIMIT [CHAT_TEMPLATE]`.

use std::error::Error;
use std::time::Instant;

use plw_data::{Dataset, PromptEncoder, PromptSettings, ReadOptions, Source, Split, read_examples};

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
    let options = ReadOptions {
        limit: Some(limit.parse()?),
        ..Default::default()
    };
    let examples = read_examples(&source.parse::<Source>()?, Split::Train, &options)?;
    let start = Instant::now();
    let dataset = Dataset::from_examples(examples, &encoder, usize::MAX)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{seconds:.2} s, {:.0} questions a second",
        dataset.sequences.len() as f64 / seconds
    );
    eprintln!("{:#?}", dataset.statistics());
    for (sequence, key) in dataset.sequences.iter().zip(&dataset.keys) {
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
    Ok(())
}
