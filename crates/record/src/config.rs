//! The resolved configuration of a run: a TOML table and the hash that names it.

use std::io;
use std::path::Path;

use plw_files::{MOST_SETTINGS, digest, read_text, write_atomic};
use serde::Serialize;
use toml::{Table, Value};

use crate::RecordError;

/// Settings that say what of a run is kept on disk. They change nothing that the run computes, so a
/// run is the same whatever they are.
pub const KEEPING: [&str; 4] = [
    "save_steps",
    "save_total_limit",
    "save_only_model",
    "save_dtype",
];

/// The table with digests of the files that settings name. It is not a setting, though it decides
/// the result as settings do.
pub const DIGESTS: &str = "digests";

/// Settings that say how long a run trains. The steps before its end may be the same without them.
const LENGTH: [&str; 2] = ["max_steps", "num_train_epochs"];

/// Everything that decides a run's result, resolved to one TOML table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunConfig {
    /// The settings.
    pub table: Table,
}

impl RunConfig {
    /// From any configuration type. Leaves fields out that are `None`. Prefer `f64` fields: TOML
    /// has no `f32`, so that the `f32` 0.1 becomes 0.10000000149011612.
    pub fn of(configuration: &impl Serialize) -> Result<Self, RecordError> {
        let table = Table::try_from(configuration).map_err(|source| RecordError::ToToml {
            source: Box::new(source),
        })?;
        Ok(Self { table })
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the settings, with the keys sorted at
    /// every level. The order of keys, comments and layout do not change it. Every value does.
    pub fn hash(&self) -> String {
        let mut canonical = String::new();
        write_canonical_table(&mut canonical, &self.table);
        digest(canonical)[..12].to_string()
    }

    /// Reads a `config.toml`.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, RecordError> {
        let path = path.as_ref();
        let unusable = |problem: String| RecordError::Toml {
            path: path.to_path_buf(),
            problem,
        };
        let text = read_text(path, MOST_SETTINGS).map_err(|error| match error.source.kind() {
            io::ErrorKind::InvalidData => unusable(error.source.to_string()),
            _ => error.into(),
        })?;
        match text.parse() {
            Ok(table) => Ok(Self { table }),
            Err(error) => Err(unusable(error.to_string().trim_end().to_string())),
        }
    }

    /// Writes a `config.toml`, atomically.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), RecordError> {
        let text = toml::to_string_pretty(&self.table).map_err(|source| RecordError::ToToml {
            source: Box::new(source),
        })?;
        Ok(write_atomic(path, text)?)
    }

    /// The first setting, in order, that has another value in `now`, and both values; or, if only
    /// the digests differ ([`DIGESTS`]), which setting names other files. A setting within tables
    /// has a dotted name. Settings that only say what is kept on disk (`save_steps`,
    /// `save_total_limit`, `save_only_model` and `save_dtype`) do not count.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let [before, now] = [self, now].map(|config| config.without(&KEEPING));
        let [settings, settings_now] = [&before, &now].map(|config| config.without(&[DIGESTS]));
        if let Some((name, values)) = difference_of(&settings.table, &settings_now.table) {
            return Some(format!("{name} {values}"));
        }
        let (name, values) = difference_of(&before.table, &now.table)?;
        let name = name.strip_prefix(DIGESTS).unwrap_or(&name);
        Some(format!(
            "the files of `{}` have changed: their digest {values}",
            name.trim_start_matches('.')
        ))
    }

    /// The same, with the paths that `before` has for files of the same digests ([`DIGESTS`]): the
    /// same files under another path are the same run.
    pub fn with_paths_of(mut self, before: &Self) -> Self {
        let digests = |config: &Self| config.table.get(DIGESTS)?.as_table().cloned();
        let (Some(theirs), Some(ours)) = (digests(before), digests(&self)) else {
            return self;
        };
        for (name, digest) in ours {
            let is_same = theirs.get(&name) == Some(&digest);
            if let (true, Some(path)) = (is_same, before.table.get(&name))
                && let Some(own) = self.table.get_mut(&name)
            {
                *own = path.clone();
            }
        }
        self
    }

    /// The same without `max_steps` and `num_train_epochs`: what decides each step of a run,
    /// however long it is.
    pub fn without_length(&self) -> Self {
        self.without(&LENGTH)
    }

    /// A hash of what decides each step of a run. Its checkpoints carry it, so that those of
    /// another run are told apart.
    pub fn step_hash(&self) -> String {
        self.without_length().without(&KEEPING).hash()
    }

    fn without(&self, names: &[&str]) -> Self {
        let mut table = self.table.clone();
        table.retain(|name, _| !names.contains(&name));
        Self { table }
    }
}

/// The name of the first value that differs, and in words what it was and is.
fn difference_of(before: &Table, now: &Table) -> Option<(String, String)> {
    let keys = before.keys().chain(now.keys());
    let key = keys.filter(|&key| before.get(key) != now.get(key)).min()?;
    let (before, now) = (before.get(key), now.get(key));
    if let (Some(Value::Table(before)), Some(Value::Table(now))) = (before, now) {
        let inner = difference_of(before, now);
        return inner.map(|(name, values)| (format!("{key}.{name}"), values));
    }
    let shown = |value: Option<&Value>| match value {
        None => "not set".to_string(),
        // Without the hundreds of digits that a very large or small number has.
        Some(Value::Float(value)) => format!("{value:?}"),
        Some(value) => value.to_string(),
    };
    Some((
        key.clone(),
        format!("was {}, is {}", shown(before), shown(now)),
    ))
}

fn write_canonical_table(out: &mut String, table: &Table) {
    // A table's own order depends on whether another crate turns `toml/preserve_order` on.
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort();
    out.push('{');
    for key in keys {
        out.push_str(&format!("{key:?}:"));
        write_canonical(out, &table[key]);
        out.push(',');
    }
    out.push('}');
}

fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Table(table) => write_canonical_table(out, table),
        Value::Array(values) => {
            out.push('[');
            for value in values {
                write_canonical(out, value);
                out.push(',');
            }
            out.push(']');
        }
        Value::String(text) => out.push_str(&format!("{text:?}")),
        // The shortest form that reads back as the same value, with a point: 1.0 is not 1.
        Value::Float(value) => out.push_str(&format!("{value:?}")),
        Value::Integer(value) => out.push_str(&value.to_string()),
        Value::Boolean(value) => out.push_str(&value.to_string()),
        Value::Datetime(value) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn config(text: &str) -> RunConfig {
        RunConfig {
            table: text.parse().expect("the case is TOML"),
        }
    }

    #[test]
    fn the_hash_ignores_order_and_sees_values() {
        let first = config("seed = 1\nlearning_rate = 2e-4\n[model]\na = 1\nb = [1.0, 2.0]\n");
        let reordered =
            config("learning_rate = 0.0002 # as text\nseed = 1\nmodel = { b = [1.0, 2.0], a = 1 }");
        assert_eq!(first.hash(), reordered.hash());
        // Golden: a changed canonical form would make every finished run look missing.
        assert_eq!(first.hash(), "8c79cb61c769");
        for other in [
            "seed = 2\nlearning_rate = 2e-4\n[model]\na = 1\nb = [1.0, 2.0]\n",
            "seed = 1\nlearning_rate = 2e-4\n[model]\na = 1\nb = [2.0, 1.0]\n",
            "seed = 1\nlearning_rate = 2e-4\nb = [1.0, 2.0]\n[model]\na = 1\n",
            "seed = 1\nlearning_rate = 2e-4\n[model]\na = \"1\"\nb = [1.0, 2.0]\n",
        ] {
            assert_ne!(first.hash(), config(other).hash(), "{other}");
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let before = config("seed = 1\n[digests]\nmodel = \"ab\"\ntrain_data = \"cd\"\n");
        assert_eq!(before.difference(&before.clone()), None);
        for (now, difference) in [
            (
                "seed = 2\n[digests]\nmodel = \"ab\"\ntrain_data = \"cd\"\n",
                "seed was 1, is 2",
            ),
            ("seed = 1e300\n", "seed was 1, is 1e300"),
            (
                "seed = 1\n[digests]\nmodel = \"ab\"\ntrain_data = \"ef\"\n",
                "the files of `train_data` have changed: their digest was \"cd\", is \"ef\"",
            ),
            (
                "seed = 1\n[digests]\nmodel = \"ab\"\n",
                "the files of `train_data` have changed: their digest was \"cd\", is not set",
            ),
        ] {
            assert_eq!(before.difference(&config(now)).as_deref(), Some(difference));
        }
    }

    #[test]
    fn the_same_files_under_another_path_are_the_same_run() {
        let before =
            config("model = \"a\"\nseed = 1\n[digests]\nmodel = \"ab\"\ntokenizer = \"cd\"\n");
        let moved =
            config("model = \"/x/a\"\nseed = 1\n[digests]\nmodel = \"ab\"\ntokenizer = \"cd\"\n");
        assert_eq!(
            before.difference(&moved).as_deref(),
            Some("model was \"a\", is \"/x/a\"")
        );
        assert_eq!(moved.clone().with_paths_of(&before), before);
        let other = config("model = \"/x/a\"\nseed = 1\n[digests]\nmodel = \"ef\"\n");
        assert_eq!(other.clone().with_paths_of(&before), other);
        // A setting that was not given is not given by its files.
        let given = config("model = \"a\"\ntokenizer = \"t\"\n[digests]\ntokenizer = \"cd\"\n");
        assert_eq!(given.clone().with_paths_of(&before), given);
    }

    #[test]
    fn what_is_kept_and_how_long_it_takes_does_not_make_another_run() {
        let before = config("seed = 1\nmax_steps = 4\nsave_steps = 2\n");
        let now = config("seed = 1\nmax_steps = 4\nsave_total_limit = 1\nsave_dtype = \"f\"\n");
        assert_eq!(before.difference(&now), None);
        let longer = config("seed = 1\nnum_train_epochs = 2.0\n");
        assert!(before.difference(&longer).is_some());
        let [short, long] = [&before, &longer].map(RunConfig::without_length);
        assert_eq!(short.difference(&long), None);
        assert_eq!(before.step_hash(), longer.step_hash());
        assert_ne!(before.step_hash(), config("seed = 2").step_hash());
    }

    #[test]
    fn a_config_reads_back() -> Result<(), Box<dyn std::error::Error>> {
        #[derive(Serialize)]
        struct Settings {
            seed: u64,
            prompt_loss_weight: f64,
            adapter: Option<String>,
            lora: Lora,
        }
        #[derive(Serialize)]
        struct Lora {
            target_modules: Vec<&'static str>,
        }
        let config = RunConfig::of(&Settings {
            seed: 3,
            prompt_loss_weight: 0.1,
            adapter: None,
            lora: Lora {
                target_modules: vec!["q_proj"],
            },
        })?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("run/config.toml");
        config.write(&path)?;
        assert_eq!(RunConfig::read(&path)?, config);
        assert!(fs::read_to_string(&path)?.contains("prompt_loss_weight = 0.1\n"));
        fs::write(&path, "seed = ")?;
        let message = RunConfig::read(&path)
            .expect_err("it is refused")
            .to_string();
        assert!(
            message.contains("config.toml") && message.contains("line 1"),
            "{message}"
        );
        Ok(())
    }
}
