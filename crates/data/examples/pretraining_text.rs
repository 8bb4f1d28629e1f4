//! Writes the parquet files of pretraining stages, and a tokenizer that has their words and those of the default prompt:
//! `cargo run --release -p plw-data --example pretraining_text OUT_DIR STAGE.json...`

use std::error::Error;
use std::path::PathBuf;

use plw_data::{
    Level, PretrainingStage, Split, SyntheticConfig, generate, pretraining_text, train_tokenizer,
    write_text, write_tokenizer,
};

/// Room for every word of synthetic text; fewer tokens come out.
const VOCABULARY: usize = 1024;
/// Rows of each source that the tokenizer counts words in: enough to meet every word.
const COUNTED: usize = 5000;
/// The words that the default prompt adds to a question.
const PROMPT: &str = "Read the passage. Passage: Question: Answer: A. B. C. D.";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments
        .next()
        .ok_or("give a folder to write to, then the stages' JSON files")?;
    let mut texts = vec![PROMPT.to_owned()];
    for path in arguments {
        let stage: PretrainingStage = serde_json::from_slice(&std::fs::read(&path)?)?;
        let name = path.file_stem().ok_or("a stage's file needs a name")?;
        let parquet = directory.join(name).with_extension("parquet");
        let rows = write_text(&parquet, pretraining_text(&stage)?)?;
        println!("{rows} rows: {}", parquet.display());
        texts.extend(pretraining_text(&stage)?.take(COUNTED));
    }
    for level in Level::ALL {
        let examples = generate(&SyntheticConfig::default(), Split::Train, level)?.take(COUNTED);
        texts.extend(examples.map(|example| {
            [example.article, example.question, example.options.join(" ")].join(" ")
        }));
    }
    let tokenizer = train_tokenizer(texts, VOCABULARY)?;
    write_tokenizer(&directory, &tokenizer)?;
    println!(
        "{} tokens: {}",
        tokenizer.get_vocab_size(true),
        directory.join("tokenizer.json").display()
    );
    Ok(())
}
