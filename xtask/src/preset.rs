//! Presets: the experiments that `experiments/NAME.toml` describes. Every key is a setting of plw,
//! but for the table `[sweep]`, which lists the values that the runs of the experiment go through.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use toml::{Table, Value};

use crate::read::read_toml;

/// Below this folder lies what `plw data synth` makes.
const SYNTHETIC_DATA: &str = "runs/data/";

/// An experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preset {
    /// Its file's name without the extension.
    pub(crate) name: String,
    /// Its file.
    pub(crate) path: PathBuf,
    /// Its settings and its table `[sweep]`.
    pub(crate) settings: Table,
}

impl Preset {
    /// The preset of this name.
    pub(crate) fn find(experiments: &Path, name: &str) -> Result<Self> {
        let mut presets = all(experiments)?;
        match presets.iter().position(|preset| preset.name == name) {
            Some(index) => Ok(presets.swap_remove(index)),
            None => {
                let names: Vec<&str> = presets.iter().map(|preset| preset.name.as_str()).collect();
                Err(miette!(
                    help = format!("there are {}", names.join(", ")),
                    "{} has no preset `{name}`",
                    experiments.display()
                ))
            }
        }
    }

    /// The synthetic data sets that its runs read, by name.
    pub(crate) fn synthetic_data(&self) -> BTreeSet<String> {
        ["train_data", "eval_data", "test_data"]
            .iter()
            .filter_map(|setting| {
                self.settings
                    .get(*setting)?
                    .as_str()?
                    .strip_prefix(SYNTHETIC_DATA)
            })
            .filter_map(|below| below.split('/').next())
            .map(str::to_string)
            .collect()
    }

    /// The values that the runs go through for a setting, where they are numbers.
    pub(crate) fn swept(&self, setting: &str) -> Vec<f64> {
        let sweep = self.settings.get("sweep").and_then(Value::as_table);
        let values = sweep.and_then(|sweep| sweep.get(setting)?.as_array());
        let number = |value: &Value| match value {
            Value::Integer(value) => Some(*value as f64),
            value => value.as_float(),
        };
        values.into_iter().flatten().filter_map(number).collect()
    }

    /// A setting that is text.
    pub(crate) fn text(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).and_then(Value::as_str)
    }
}

/// Every preset of a folder, by name. Files without a table `[sweep]` describe something else.
fn all(experiments: &Path) -> Result<Vec<Preset>> {
    let entries = std::fs::read_dir(experiments).into_diagnostic();
    let entries = entries.wrap_err_with(|| format!("cannot list {}", experiments.display()))?;
    let mut presets = Vec::new();
    for entry in entries {
        let path = entry.into_diagnostic()?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let settings: Table = read_toml(&path)?;
        if settings.get("sweep").is_some_and(Value::is_table) {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            presets.push(Preset {
                name,
                path,
                settings,
            });
        }
    }
    presets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(presets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn presets_are_files_with_a_sweep() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written")
        };
        write(
            "small.toml",
            "train_data = 'runs/data/tiny'\neval_data = 'runs/data/other/high'\n\
             [sweep]\nseeds = 1\nprompt_loss_weight = [0, 0.5]\n",
        );
        write("large.toml", "train_data = '/data/race'\n[sweep]\n");
        write("pretrain.toml", "[[stage]]\nname = 'first'\n");
        write("notes.md", "none");
        let small = Preset::find(directory.path(), "small").expect("it is there");
        assert_eq!(Vec::from_iter(small.synthetic_data()), ["other", "tiny"]);
        assert_eq!(small.text("train_data"), Some("runs/data/tiny"));
        assert_eq!(small.swept("prompt_loss_weight"), [0.0, 0.5]);
        let large = Preset::find(directory.path(), "large").expect("it is there");
        assert!(large.synthetic_data().is_empty());
        let report = format!(
            "{:?}",
            Preset::find(directory.path(), "pretrain").expect_err("it is none")
        );
        assert!(
            report.contains("`pretrain`") && report.contains("large, small"),
            "{report}"
        );
    }

    #[test]
    fn the_committed_presets_are_complete() {
        let workspace = Workspace::find();
        let presets = all(&workspace.path("experiments")).expect("they can be read");
        let names: Vec<&str> = presets.iter().map(|preset| preset.name.as_str()).collect();
        for name in [
            "conversations",
            "default",
            "instructions",
            "race-llama2-7b",
            "race-llama2-7b-qlora",
            "race-smollm2",
            "race-smollm2-lora",
            "smoke",
        ] {
            assert!(names.contains(&name), "{name} is missing");
        }
        for preset in &presets {
            for data in preset.synthetic_data() {
                let settings = workspace.path(format!("experiments/data/{data}.toml"));
                assert!(
                    settings.is_file(),
                    "{} is missing for {}",
                    settings.display(),
                    preset.name
                );
            }
        }
    }
}
