//! `plw data`: makes data, and a tokenizer for it.

use std::path::Path;
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_data::{
    PretrainingStage, ReadOptions, Source, Split, SyntheticConfig, pretraining_text, read_text,
    train_tokenizer, write_synthetic, write_text, write_tokenizer,
};
use serde::de::DeserializeOwned;

use crate::flags::{DataCommand, DataFlags};

pub(crate) fn run(flags: &DataFlags) -> Result<ExitCode> {
    match &flags.command {
        DataCommand::Synth { out, config, seed } => {
            let mut settings: SyntheticConfig =
                config.as_deref().map(read).transpose()?.unwrap_or_default();
            settings.seed = seed.unwrap_or(settings.seed);
            for (path, rows) in write_synthetic(out, &settings).into_diagnostic()? {
                println!("{}: {rows} questions", path.display());
            }
        }
        DataCommand::PretrainingText { config, out } => {
            let stage: PretrainingStage = read(config)?;
            let path = out.join("train-00000-of-00001.parquet");
            let rows = pretraining_text(&stage).into_diagnostic()?;
            write_text(&path, rows).into_diagnostic()?;
            println!("{}: {} texts", path.display(), stage.rows);
        }
        DataCommand::Tokenizer {
            text,
            vocab_size,
            out,
        } => {
            let source: Source = text.parse().into_diagnostic()?;
            let texts = read_text(&source, Split::Train, "text", &ReadOptions::default())
                .into_diagnostic()?;
            // A tokenizer's words are counted in one pass; only an error needs the texts to be held back.
            let texts: Vec<String> = texts.collect::<Result<_, _>>().into_diagnostic()?;
            let tokenizer = train_tokenizer(&texts, *vocab_size).into_diagnostic()?;
            write_tokenizer(out, &tokenizer).into_diagnostic()?;
            println!(
                "{}: {} tokens",
                out.display(),
                tokenizer.get_vocab_size(true)
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a TOML file of settings.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} does not fit", path.display()))
}
