//! Digests of the files that a run's settings name, so that other data or weights under an old path
//! are noticed when a run is resumed or a sweep reused.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::Builder;

use miette::{IntoDiagnostic, Result};
use plw_data::{ChatTemplateChoice, Source, Split};
use plw_files::{FileError, digest_file};
use plw_record::{DIGESTS, RunConfig};
use toml::{Table, Value};

use crate::downloads::files;
use crate::settings::Settings;
use crate::tokenizer_files::{companions, tokenizer_directory};

/// Digits of a file's digest that are kept.
const DIGITS: usize = 12;

/// Digests of files, each file read once.
#[derive(Default)]
pub(crate) struct Inputs {
    known: HashMap<PathBuf, String>,
}

impl Inputs {
    /// Everything that decides a run's result: its settings, and digests of the files they name.
    pub(crate) fn resolved(&mut self, settings: &Settings) -> Result<RunConfig> {
        let source = &settings.source;
        let data = [
            ("train_data", &source.train_data, Split::Train),
            ("text", &source.text, Split::Train),
            ("eval_data", &source.eval_data, Split::Validation),
            ("test_data", &source.test_data, Split::Test),
        ];
        let digests = self.digests(settings, &data)?;
        Ok(with(settings.resolved()?, digests))
    }

    /// Everything that decides the result of an evaluation of `split`, likewise.
    pub(crate) fn resolved_evaluation(
        &mut self,
        settings: &Settings,
        split: Split,
    ) -> Result<RunConfig> {
        let data = [("eval_data", &settings.source.eval_data, split)];
        let digests = self.digests(settings, &data)?;
        Ok(with(settings.resolved_evaluation()?, digests))
    }

    fn digests(
        &mut self,
        settings: &Settings,
        data: &[(&str, &Option<String>, Split)],
    ) -> Result<Table> {
        let source = &settings.source;
        let mut digests = Table::new();
        let mut add = |name: &str, paths: Vec<PathBuf>| -> Result<()> {
            if !paths.is_empty() {
                digests.insert(name.to_string(), Value::from(self.of(&paths)?.join(" ")));
            }
            Ok(())
        };
        for &(name, data, split) in data {
            let Some(data) = data else { continue };
            let place: Source = data.parse().into_diagnostic()?;
            let files = files(&place, split)?;
            add(name, files.into_iter().map(|file| file.path).collect())?;
        }
        for (name, directory) in [
            ("model", &source.model),
            ("init_adapter", &source.init_adapter),
        ] {
            if let Some(directory) = directory {
                add(name, weights(directory))?;
            }
        }
        if let ChatTemplateChoice::File(file) = &settings.prompt.chat_template {
            add("chat_template", vec![file.clone()])?;
        }
        add("init_config", source.init_config.iter().cloned().collect())?;
        add("tokenizer", companions(&tokenizer_directory(settings)?))?;
        Ok(digests)
    }

    /// The files' digests, in their order.
    fn of(&mut self, paths: &[PathBuf]) -> Result<Vec<String>> {
        let is_new = |path: &&PathBuf| !self.known.contains_key(*path);
        let new: Vec<&PathBuf> = paths.iter().filter(is_new).collect();
        for (path, digest) in new.iter().zip(digests_side_by_side(&new)) {
            let mut digest = digest.into_diagnostic()?;
            digest.truncate(DIGITS);
            self.known.insert(path.to_path_buf(), digest);
        }
        Ok(paths.iter().map(|path| self.known[path].clone()).collect())
    }
}

/// Digests of files, as many at a time as there are processors: the shards of a large model have
/// gigabytes. rayon's threads would do, but how many there are is decided later.
fn digests_side_by_side(paths: &[&PathBuf]) -> Vec<Result<String, FileError>> {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    let together = |paths: &[&PathBuf]| -> Vec<_> {
        std::thread::scope(|scope| {
            let start = |path| Builder::new().spawn_scoped(scope, move || digest_file(path));
            let started: Vec<_> = paths.iter().map(|&path| (path, start(path))).collect();
            let digests = started.into_iter().map(|(path, thread)| match thread {
                Ok(thread) => thread.join().expect("it only reads"),
                // Where no more threads are to be had.
                Err(_) => digest_file(path),
            });
            digests.collect()
        })
    };
    paths.chunks(at_once).flat_map(together).collect()
}

/// The data to evaluate on that has a file of the training data.
pub(crate) fn trained_on(config: &RunConfig) -> Vec<&'static str> {
    let digests = config.table.get(DIGESTS);
    let files = |name: &str| -> Vec<&str> {
        let files = digests.and_then(|digests| digests.get(name)?.as_str());
        files.unwrap_or_default().split_whitespace().collect()
    };
    let trained = files("train_data");
    ["eval_data", "test_data"]
        .into_iter()
        .filter(|data| files(data).iter().any(|file| trained.contains(file)))
        .collect()
}

fn with(mut config: RunConfig, digests: Table) -> RunConfig {
    let digests = Value::Table(digests);
    config.table.insert(DIGESTS.to_string(), digests);
    config
}

/// The files that decide what a model or an adapter computes, in the order of their names. A
/// missing file is reported where the weights are read.
fn weights(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            path.extension().is_some_and(|end| end == "safetensors")
                || matches!(name, Some("config.json" | "adapter_config.json"))
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_weights_or_data_under_the_same_path_make_another_run() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        for name in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "rows.parquet",
        ] {
            write(name, name);
        }
        let mut settings = Settings::default();
        settings.source.model = Some(folder.path().to_path_buf());
        settings.source.train_data = Some(folder.path().join("rows.parquet").display().to_string());
        let now = || {
            Inputs::default()
                .resolved(&settings)
                .expect("the files are there")
        };
        let before = now();
        assert_eq!(before.difference(&now()), None);
        assert!(trained_on(&before).is_empty());
        for (file, digest) in [
            ("rows.parquet", "the files of `train_data` have changed"),
            ("config.json", "the files of `model` have changed"),
            ("model.safetensors", "the files of `model` have changed"),
            ("tokenizer.json", "the files of `tokenizer` have changed"),
        ] {
            write(file, "other");
            let difference = before.difference(&now()).expect("it differs");
            assert!(difference.starts_with(digest), "{difference}");
            write(file, file);
        }
        // Of a copy, too, the model has seen every question.
        write("copy.parquet", "rows.parquet");
        settings.source.eval_data = Some(folder.path().join("copy.parquet").display().to_string());
        let config = Inputs::default().resolved(&settings).expect("all there");
        assert_eq!(trained_on(&config), ["eval_data"]);
    }
}
