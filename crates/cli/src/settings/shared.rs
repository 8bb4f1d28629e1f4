//! The settings that the runs of a sweep share, in one form however they are written.

use std::fs::canonicalize;

use miette::{IntoDiagnostic, Result};
use plw_record::KEEPING;
use serde_json::{Map, Value};

use super::preset::PATHS;
use super::{Preset, Settings};

impl Settings {
    /// The settings of a preset and of the environment that are not as by default, except those in
    /// `decided`, which the environment does not change, and those that only say what is kept. A
    /// path is as the preset has it, if it leads to the same place, so that it does not depend on
    /// the working directory.
    pub(crate) fn shared_by_runs(
        preset: &Preset,
        decided: &[String],
    ) -> Result<Map<String, Value>> {
        let typed = |given| Self::from_map(given, Some(&preset.path))?.to_map();
        let defaults = typed(Self::training_defaults())?;
        let given = Self::layered(
            Self::training_defaults(),
            Some(preset),
            decided,
            &toml::Table::new(),
        )?;
        let mut shared = typed(given)?;
        shared.retain(|name, value| {
            !KEEPING.contains(&name.as_str()) && defaults.get(name) != Some(value)
        });
        for name in PATHS {
            let Some(path) = shared.get_mut(name) else {
                continue;
            };
            if let (Some(resolved), Some(written)) =
                (preset.settings.get(name), preset.written.get(name))
                && is_same_place(path.as_str(), resolved.as_str())
            {
                *path = serde_json::to_value(written).into_diagnostic()?;
            }
        }
        Ok(shared)
    }
}

/// Whether two paths lead to the same file or folder, or are the same text.
fn is_same_place(path: Option<&str>, other: Option<&str>) -> bool {
    let (Some(path), Some(other)) = (path, other) else {
        return false;
    };
    let place = canonicalize(path).ok();
    path == other || place.is_some() && place == canonicalize(other).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_does_not_depend_on_how_it_is_written() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("rows.jsonl"), "").expect("written");
        let shared = |text: &str| {
            let path = folder.path().join("preset.toml");
            std::fs::write(&path, text).expect("written");
            let preset = Preset::read(&path).expect("a preset");
            Settings::shared_by_runs(&preset, &[]).expect("valid settings")
        };
        let plain = shared("train_data = 'rows.jsonl'\nlearning_rate = 1e-3\nmax_steps = 4\n");
        assert_eq!(plain["train_data"], "rows.jsonl");
        assert_eq!(plain.len(), 3, "{plain:?}");
        let other = "train_data = 'rows.jsonl'\nlearning_rate = 0.0010\nmax_steps = 4\n\
                     device = 'cpu'\nsave_steps = 7\n";
        assert_eq!(shared(other), plain);
        assert_ne!(shared("train_data = 'rows.jsonl'\nmax_steps = 4\n"), plain);
    }
}
