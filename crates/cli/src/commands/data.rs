//! `plw data`: makes synthetic data, and a tokenizer for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_data::{ReadOptions, Source, Split, read_text, write_text};
use plw_files::{
    MOST_SETTINGS, digest_file, read_bounded, remove_partial, write_atomic, write_json_atomic,
};
use plw_record::DirectoryLock;
use plw_synthetic::{
    PretrainingStage, SyntheticConfig, pretraining_text, train_tokenizer, write_conversations,
    write_synthetic, write_tokenizer,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flags::{DataCommand, DataFlags};
use crate::output::print;
use crate::settings::read_toml;

pub(crate) fn run(flags: &DataFlags) -> Result<ExitCode, Failure> {
    match &flags.command {
        DataCommand::Synth {
            output_dir: folder,
            config,
            seed,
        } => {
            let mut settings: SyntheticConfig = config
                .as_deref()
                .map(read_toml)
                .transpose()
                .map_err(Failure::never)?
                .unwrap_or_default();
            settings.seed = seed.unwrap_or(settings.seed);
            once(folder, "plw data synth", &settings, || {
                let questions = write_synthetic(folder, &settings).into_diagnostic()?;
                let conversations = write_conversations(folder, &settings).into_diagnostic()?;
                let lines = |written: &[(PathBuf, u64)], rows_are: &str| -> String {
                    let line = |(path, rows): &(PathBuf, u64)| {
                        format!("{}: {rows} {rows_are}\n", path.display())
                    };
                    written.iter().map(line).collect()
                };
                Ok(lines(&questions, "questions") + &lines(&conversations, "conversations"))
            })?;
        }
        DataCommand::PretrainingText {
            config,
            output_dir: folder,
        } => {
            let stage: PretrainingStage = read_toml(config).map_err(Failure::never)?;
            once(folder, "plw data pretraining-text", &stage, || {
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
            let _lock = DirectoryLock::take(folder).into_diagnostic()?;
            let making = Making::start(folder, "plw data tokenizer")?;
            let source: Source = text.parse().into_diagnostic()?;
            let texts = read_text(&source, Split::Train, "text", &ReadOptions::default())
                .into_diagnostic()?;
            // Read as a whole, since reading may fail and training a tokenizer takes no failures.
            let texts = texts.map(|text| text.map(|text| text.text));
            let mut texts: Vec<String> = texts.collect::<Result<_, _>>().into_diagnostic()?;
            texts.extend(also_text.iter().cloned());
            let tokenizer = train_tokenizer(&texts, *vocab_size).into_diagnostic()?;
            write_tokenizer(folder, &tokenizer).into_diagnostic()?;
            making.finish()?;
            let tokens = tokenizer.get_vocab_size(true);
            print(&format!("{}: {tokens} tokens\n", folder.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes data in a new folder and prints what `make` says of it. Leaves a folder alone that holds
/// what the same command of the same plw has made of the same settings.
fn once(
    folder: &Path,
    command: &str,
    settings: &impl Serialize,
    make: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let path = folder.join("made-of.json");
    let settings = serde_json::to_value(settings).into_diagnostic()?;
    let plw = env!("CARGO_PKG_VERSION");
    let made_of = |files| json!({"plw": plw, "settings": settings, "files": files});
    let _lock = DirectoryLock::take(folder).into_diagnostic()?;
    let found = read_bounded(&path, MOST_SETTINGS).ok();
    let found = found.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if found.is_some() && found == Some(made_of(digests(folder)?)) {
        // A kill may have come between the last file and the end.
        if let Some(making) = Making::stopped(folder, command) {
            making.finish()?;
        }
        tracing::info!("{} holds this data already", folder.display());
        return Ok(());
    }
    let making = Making::start(folder, command)?;
    let made = make()?;
    write_json_atomic(&path, &made_of(digests(folder)?)).into_diagnostic()?;
    making.finish()?;
    print(&made)?;
    Ok(())
}

/// The digests of the data files below a folder, by their paths in it.
fn digests(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_diagnostic()? {
            let path = entry.into_diagnostic()?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "parquet" || extension == "jsonl")
            {
                let name = path
                    .strip_prefix(folder)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                found.insert(name, digest_file(&path).into_diagnostic()?);
            }
        }
    }
    Ok(found)
}

/// A folder that is being filled. Until it is complete, a file in it says so, and by which command:
/// one that was stopped can then be started again.
struct Making {
    unfinished: PathBuf,
}

impl Making {
    /// What the same command has left in a folder when it was stopped.
    fn stopped(folder: &Path, command: &str) -> Option<Self> {
        let unfinished = folder.join(".unfinished");
        let by = read_bounded(&unfinished, MOST_SETTINGS).ok()?;
        (by == command.as_bytes()).then_some(Self { unfinished })
    }

    /// Refuses a folder that is not empty, unless the same command was stopped in it: real data has
    /// files of the same names.
    fn start(folder: &Path, command: &str) -> Result<Self> {
        let stopped = Self::stopped(folder, command);
        if folder.is_dir() {
            remove_partial(folder).into_diagnostic()?;
        }
        let mut entries = std::fs::read_dir(folder).into_iter().flatten();
        if stopped.is_none() && (folder.is_file() || entries.next().is_some()) {
            return Err(miette!(
                help = "choose another folder with --output-dir, or remove this one",
                "{} exists already and would be overwritten",
                folder.display()
            ));
        }
        let unfinished = folder.join(".unfinished");
        write_atomic(&unfinished, command).into_diagnostic()?;
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
