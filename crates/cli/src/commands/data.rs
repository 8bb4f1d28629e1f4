//! `plw data`: makes synthetic data, and a tokenizer for it.

use std::path::Path;
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_data::{ReadOptions, Source, Split, read_text, write_text};
use plw_files::write_json_atomic;
use plw_synthetic::{
    PretrainingStage, SyntheticConfig, pretraining_text, train_tokenizer, write_synthetic,
    write_tokenizer,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::flags::{DataCommand, DataFlags};
use crate::output::print;
use crate::settings::read_toml;

pub(crate) fn run(flags: &DataFlags) -> Result<ExitCode> {
    match &flags.command {
        DataCommand::Synth {
            output_dir: folder,
            config,
            seed,
        } => {
            let mut settings: SyntheticConfig = config
                .as_deref()
                .map(read_toml)
                .transpose()?
                .unwrap_or_default();
            settings.seed = seed.unwrap_or(settings.seed);
            once(folder, &settings, || {
                let written = write_synthetic(folder, &settings).into_diagnostic()?;
                let lines = written
                    .iter()
                    .map(|(path, rows)| format!("{}: {rows} questions\n", path.display()));
                Ok(lines.collect())
            })?;
        }
        DataCommand::PretrainingText {
            config,
            output_dir: folder,
        } => {
            let stage: PretrainingStage = read_toml(config)?;
            once(folder, &stage, || {
                let path = folder.join("train-00000-of-00001.parquet");
                let rows = pretraining_text(&stage).into_diagnostic()?;
                write_text(&path, rows).into_diagnostic()?;
                Ok(format!("{}: {} texts\n", path.display(), stage.rows))
            })?;
        }
        DataCommand::Tokenizer {
            text,
            also_text,
            vocab_size,
            output_dir: folder,
        } => {
            check_new(folder)?;
            let source: Source = text.parse().into_diagnostic()?;
            let texts = read_text(&source, Split::Train, "text", &ReadOptions::default())
                .into_diagnostic()?;
            // Read as a whole, since reading may fail and training a tokenizer takes no failures.
            let mut texts: Vec<String> = texts.collect::<Result<_, _>>().into_diagnostic()?;
            texts.extend(also_text.iter().cloned());
            let tokenizer = train_tokenizer(&texts, *vocab_size).into_diagnostic()?;
            write_tokenizer(folder, &tokenizer).into_diagnostic()?;
            let tokens = tokenizer.get_vocab_size(true);
            print(&format!("{}: {tokens} tokens\n", folder.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes data in a new folder and prints what `make` says of it. Leaves a folder alone that holds
/// what the same plw has made of the same settings.
fn once(
    folder: &Path,
    settings: &impl Serialize,
    make: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let path = folder.join("made-of.json");
    let settings = serde_json::to_value(settings).into_diagnostic()?;
    let made_of = json!({"plw": env!("CARGO_PKG_VERSION"), "settings": settings});
    let found = std::fs::read(&path).ok();
    if found.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) == Some(made_of.clone()) {
        tracing::info!("{} holds this data already", folder.display());
        return Ok(());
    }
    check_new(folder)?;
    let made = make()?;
    write_json_atomic(&path, &made_of).into_diagnostic()?;
    print(&made)?;
    Ok(())
}

/// Refuses a folder that is not empty: real data has files of the same names.
fn check_new(folder: &Path) -> Result<()> {
    let holds_something =
        std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if folder.is_file() || holds_something {
        return Err(miette!(
            help = "choose another folder with --output-dir, or remove this one",
            "{} exists already and would be overwritten",
            folder.display()
        ));
    }
    Ok(())
}
