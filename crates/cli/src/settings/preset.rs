//! A TOML file of settings, and where its relative paths lead.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_data::ChatTemplateChoice;
use plw_files::{MOST_SETTINGS, read_text};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::source::is_on_hub;

/// The table of a preset with the values that the runs of a sweep go through.
const SWEEP: &str = "sweep";

/// The table of a preset with what a sweep's runs ask of a cluster.
const CLUSTER: &str = "cluster";

/// The settings that are paths. So are a `chat_template` that is a file, and data that is not on
/// the hub.
pub(super) const PATHS: [&str; 9] = [
    "model",
    "init_config",
    "init_adapter",
    "tokenizer",
    "train_data",
    "text",
    "eval_data",
    "test_data",
    "chat_template",
];

/// A TOML file of settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preset {
    pub(crate) path: PathBuf,
    /// The settings, with paths that lead from the working directory.
    pub(crate) settings: Table,
    /// The settings as they are written.
    pub(crate) written: Table,
    /// The table `sweep`, as it is written.
    pub(crate) sweep: Option<Value>,
    /// The table `cluster`, as it is written.
    pub(crate) cluster: Option<Value>,
}

impl Preset {
    /// Reads a preset. A relative path in it leads from the preset's folder where something is
    /// there, and else from the working directory.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(miette!(
                help = "give the path of a TOML file",
                "there is no file {}",
                path.display()
            ));
        }
        let mut settings: Table = read_toml(path)?;
        let sweep = settings.remove(SWEEP);
        let cluster = settings.remove(CLUSTER);
        let mut preset = Self {
            path: path.to_path_buf(),
            settings: Table::new(),
            written: settings.clone(),
            sweep,
            cluster,
        };
        preset.settings = settings
            .into_iter()
            .map(|(name, value)| {
                let value = preset.resolved(&name, value);
                (name, value)
            })
            .collect();
        Ok(preset)
    }

    /// A setting's value; where it is a path beside the preset, the path from the working
    /// directory.
    pub(crate) fn resolved(&self, name: &str, value: Value) -> Value {
        let beside = value.as_str().and_then(|path| self.beside(name, path));
        beside.map_or(value, Value::from)
    }

    fn beside(&self, name: &str, value: &str) -> Option<String> {
        let folder = self.path.parent()?;
        let is_path = match name {
            "chat_template" => matches!(
                ChatTemplateChoice::try_from(value.to_string()),
                Ok(ChatTemplateChoice::File(_))
            ),
            _ => PATHS.contains(&name) && !value.is_empty() && !is_on_hub(value),
        };
        let beside = folder.join(value);
        if !is_path || Path::new(value).is_absolute() || !beside.exists() {
            return None;
        }
        if let Ok(here) = std::fs::canonicalize(value) {
            if std::fs::canonicalize(&beside).is_ok_and(|beside| beside == here) {
                return None;
            }
            tracing::warn!(
                "{}: `{name}` is {value}, which is beside the preset and in the working directory: \
                 {} is used",
                self.path.display(),
                beside.display()
            );
        }
        beside.to_str().map(str::to_string)
    }
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_text(path, MOST_SETTINGS).into_diagnostic()?;
    toml::from_str(&text)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} is not valid", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_preset_where_something_is_there() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let beside = |name: &str| folder.path().join(name).display().to_string();
        for name in ["rows.parquet", "chat.jinja", "none"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let path = folder.path().join("preset.toml");
        let text = "model = 'absent'\ntrain_data = 'rows.parquet'\nprompt_template = 'none'\n\
                    eval_data = 'hub:owner/name'\nchat_template = 'chat.jinja'\nseed = 1\n\
                    test_data = ''\ntokenizer = '/absolute'\n[sweep]\nmodel = ['rows.parquet']\n";
        std::fs::write(&path, text).expect("written");
        let preset = Preset::read(&path).expect("it is there");
        for (name, value) in [
            ("model", "absent"),
            ("train_data", &beside("rows.parquet")),
            ("prompt_template", "none"),
            ("eval_data", "hub:owner/name"),
            ("chat_template", &beside("chat.jinja")),
            ("test_data", ""),
            ("tokenizer", "/absolute"),
        ] {
            assert_eq!(preset.settings[name].as_str(), Some(value), "{name}");
        }
        assert_eq!(preset.settings["seed"].as_integer(), Some(1));
        assert!(preset.sweep.as_ref().is_some_and(|sweep| sweep.is_table()));
        assert!(!preset.settings.contains_key("sweep"));
        // A name of a template is no path, though a file is called so.
        let named = Value::from("none");
        assert_eq!(preset.resolved("chat_template", named.clone()), named);
    }
}
