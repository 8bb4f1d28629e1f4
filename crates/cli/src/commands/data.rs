//! `plw data`: makes synthetic data, and a tokenizer for it.

use std::path::Path;
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_data::{ReadOptions, Source, Split, read_text, write_text};
use plw_synthetic::{
    PretrainingStage, SyntheticConfig, pretraining_text, train_tokenizer, write_synthetic,
    write_tokenizer,
};

use crate::flags::{DataCommand, DataFlags};
use crate::settings::read_toml;

pub(crate) fn run(flags: &DataFlags) -> Result<ExitCode> {
    let (DataCommand::Synth { out, .. }
    | DataCommand::PretrainingText { out, .. }
    | DataCommand::Tokenizer { out, .. }) = &flags.command;
    check_new(out)?;
    match &flags.command {
        DataCommand::Synth { out, config, seed } => {
            let mut settings: SyntheticConfig = config
                .as_deref()
                .map(read_toml)
                .transpose()?
                .unwrap_or_default();
            settings.seed = seed.unwrap_or(settings.seed);
            for (path, rows) in write_synthetic(out, &settings).into_diagnostic()? {
                println!("{}: {rows} questions", path.display());
            }
        }
        DataCommand::PretrainingText { config, out } => {
            let stage: PretrainingStage = read_toml(config)?;
            let path = out.join("train-00000-of-00001.parquet");
            let rows = pretraining_text(&stage).into_diagnostic()?;
            write_text(&path, rows).into_diagnostic()?;
            println!("{}: {} texts", path.display(), stage.rows);
        }
        DataCommand::Tokenizer {
            text,
            also_text,
            vocab_size,
            out,
        } => {
            let source: Source = text.parse().into_diagnostic()?;
            let texts = read_text(&source, Split::Train, "text", &ReadOptions::default())
                .into_diagnostic()?;
            // Read as a whole, since reading may fail and training a tokenizer takes no failures.
            let texts = texts.map(|text| text.map(|text| text.text));
            let mut texts: Vec<String> = texts.collect::<Result<_, _>>().into_diagnostic()?;
            texts.extend(also_text.iter().cloned());
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

/// Refuses a folder that is not empty: real data has files of the same names.
fn check_new(out: &Path) -> Result<()> {
    let holds_something = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if out.is_file() || holds_something {
        return Err(miette!(
            help = "choose another folder with --out, or remove this one",
            "{} exists already and would be overwritten",
            out.display()
        ));
    }
    Ok(())
}
