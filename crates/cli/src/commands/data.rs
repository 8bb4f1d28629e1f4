//! `plw data`: makes synthetic data, and a tokenizer for it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_data::{ReadOptions, Source, Split, read_text, write_text};
use plw_files::{remove_partial, write_atomic};
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
    let making = Making::start(out, &flags.command)?;
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
    making.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// A folder that is being filled. Until it is complete, a file in it says so, and by which command:
/// one that was stopped can then be started again.
struct Making {
    unfinished: PathBuf,
}

impl Making {
    /// Refuses a folder that is not empty, unless the same command was stopped in it: real data has
    /// files of the same names.
    fn start(out: &Path, command: &DataCommand) -> Result<Self> {
        let made = match command {
            DataCommand::Synth { .. } => "plw data synth",
            DataCommand::PretrainingText { .. } => "plw data pretraining-text",
            DataCommand::Tokenizer { .. } => "plw data tokenizer",
        };
        let unfinished = out.join(".unfinished");
        let is_restart = std::fs::read_to_string(&unfinished).is_ok_and(|by| by == made);
        if out.is_dir() {
            remove_partial(out).into_diagnostic()?;
        }
        let mut entries = std::fs::read_dir(out).into_iter().flatten();
        if !is_restart && (out.is_file() || entries.next().is_some()) {
            return Err(miette!(
                help = "choose another folder with --out, or remove this one",
                "{} exists already and would be overwritten",
                out.display()
            ));
        }
        write_atomic(&unfinished, made).into_diagnostic()?;
        Ok(Self { unfinished })
    }

    /// The folder is complete. What a stopped command left half-written goes.
    fn finish(self) -> Result<()> {
        if let Some(folder) = self.unfinished.parent() {
            remove_partial(folder).into_diagnostic()?;
            for entry in std::fs::read_dir(folder).into_diagnostic()?.flatten() {
                if entry.path().is_dir() {
                    remove_partial(entry.path()).into_diagnostic()?;
                }
            }
        }
        std::fs::remove_file(&self.unfinished)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot remove {}", self.unfinished.display()))
    }
}
