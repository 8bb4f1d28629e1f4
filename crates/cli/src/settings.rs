//! The settings of a run, in four layers: defaults, a TOML file, environment variables, flags.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_data::{OnBadRow, PromptSettings, Split};
use plw_eval::EvaluationOptions;
use plw_files::{MOST_SETTINGS, read_text};
use plw_model::{WeightType, load_lora_config};
use plw_record::RunConfig;
use plw_train::{BatchingArguments, LossArguments, TrainingArguments};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::device::ComputeDevice;
use crate::lora_settings::LoraSettings;

/// The table of a run's `config.toml` with the digests of the files that its settings name. It is
/// not a setting, though it decides the result as settings do.
pub(crate) const DIGESTS: &str = "digests";

/// What a setting's environment variable begins with.
const ENVIRONMENT_PREFIX: &str = "PLW_";

/// Variables with that prefix that are not settings: the log's filter, and where xtask looks for
/// shared files.
const OTHER_VARIABLES: [&str; 2] = ["PLW_LOG", "PLW_SHARED"];

/// Which model, which rows, and where.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SourceSettings {
    pub(crate) model: Option<PathBuf>,
    pub(crate) init_config: Option<PathBuf>,
    pub(crate) init_adapter: Option<PathBuf>,
    pub(crate) tokenizer: Option<PathBuf>,
    pub(crate) train_data: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) eval_data: Option<String>,
    pub(crate) test_data: Option<String>,
    pub(crate) limit: Option<u64>,
    pub(crate) eval_limit: Option<u64>,
    /// Which files of a folder `plw eval` takes; a training run's evaluations have their own.
    pub(crate) split: Option<Split>,
    pub(crate) on_bad_row: OnBadRow,
    /// Type of the layers' linear weights in memory, where they are not trained.
    pub(crate) dtype: WeightType,
    pub(crate) device: ComputeDevice,
}

/// Every setting, by concept; flat in TOML.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Settings {
    pub(crate) source: SourceSettings,
    pub(crate) prompt: PromptSettings,
    pub(crate) loss: LossArguments,
    pub(crate) lora: LoraSettings,
    pub(crate) batching: BatchingArguments,
    pub(crate) training: TrainingArguments,
    pub(crate) evaluation: EvaluationOptions,
}

impl Settings {
    /// Puts the layers together.
    pub(crate) fn load(file: Option<&Path>, flags: &impl Serialize) -> Result<Self> {
        Self::from_map(Self::layered(Map::new(), file, &[], flags)?, file)
    }

    /// As [`Self::load`], for a training run: with [`Self::training_defaults`], and the settings of
    /// the adapter that it starts from. Environment variables do not change those in `decided`.
    pub(crate) fn load_training(
        file: Option<&Path>,
        decided: &[String],
        flags: &impl Serialize,
    ) -> Result<Self> {
        let given = Self::layered(Self::training_defaults(), file, decided, flags)?;
        let mut settings = Self::from_map(given.clone(), file)?;
        if let Some(adapter) = &settings.source.init_adapter {
            let config = load_lora_config(adapter).into_diagnostic()?;
            let is_given = |name: &str| given.contains_key(name);
            settings.lora = settings.lora.of_adapter(adapter, config, is_given)?;
        }
        Ok(settings)
    }

    /// Checks the settings of a training run, before anything is read.
    pub(crate) fn check(&self) -> Result<()> {
        self.training.check().into_diagnostic()?;
        self.loss.objective().into_diagnostic()?;
        self.batching.check().into_diagnostic()?;
        self.lora.check()?;
        if self.source.dtype != WeightType::F32 && self.lora.lora_r.is_none() {
            return Err(miette!(
                help = "train adapters (--lora-r N), or leave dtype out",
                "dtype is for weights that are not trained, and without LoRA all of them are"
            ));
        }
        if self.source.split.is_some() {
            return Err(miette!(
                help = "leave it out: of eval_data the validation files are read, of test_data the \
                        test files",
                "`split` is a setting of `plw eval` only"
            ));
        }
        if self.training.load_best_model_at_end && self.source.eval_data.is_none() {
            return Err(miette!(
                help = "give --eval-data PATH",
                "load_best_model_at_end needs validation questions to tell which model is best"
            ));
        }
        Ok(())
    }

    /// What the layers give, all together.
    fn layered(
        defaults: Map<String, Value>,
        file: Option<&Path>,
        decided: &[String],
        flags: &impl Serialize,
    ) -> Result<Map<String, Value>> {
        let mut figment = Figment::from(Serialized::defaults(defaults));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(miette!(
                    help = "give the path of a TOML file",
                    "there is no file {}",
                    file.display()
                ));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment
            .merge(Serialized::defaults(Self::environment(decided)?))
            .merge(Serialized::defaults(flags))
            .extract()
            .into_diagnostic()
            .wrap_err("the settings cannot be read")
    }

    /// The settings that environment variables give, except those in `decided`. A variable is text:
    /// it stays text where the setting is text, and is else read as a number, a boolean or a list
    /// separated by commas, whichever the setting takes.
    fn environment(decided: &[String]) -> Result<Map<String, Value>> {
        let known = Self::default().to_map()?;
        let mut given = Map::new();
        for (variable, text) in std::env::vars() {
            let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
                continue;
            };
            let name = name.to_lowercase();
            if decided.contains(&name) || OTHER_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            if known.contains_key(&name) {
                let value = Self::typed(&name, &text);
                let alone = Map::from_iter([(name.clone(), value.clone())]);
                Self::from_map(alone, None).wrap_err_with(|| {
                    format!("the environment variable {variable} cannot be used")
                })?;
                given.insert(name, value);
            } else {
                let guess = nearest(&known, &name).map_or(String::new(), |name| {
                    format!(
                        "; did you mean {ENVIRONMENT_PREFIX}{}?",
                        name.to_uppercase()
                    )
                });
                tracing::warn!("{variable} is not a setting{guess}");
            }
        }
        Ok(given)
    }

    /// The first reading of a text that the setting accepts, else the text itself.
    fn typed(name: &str, text: &str) -> Value {
        let list = text.split(',').map(|item| Value::from(item.trim()));
        let readings = [
            Some(Value::from(text)),
            text.parse::<u64>().ok().map(Value::from),
            text.parse::<f64>().ok().map(Value::from),
            text.parse::<bool>().ok().map(Value::from),
            Some(list.collect()),
        ];
        readings
            .into_iter()
            .flatten()
            .find(|reading| {
                let alone = Map::from_iter([(name.to_string(), reading.clone())]);
                !reading.is_null() && Self::from_map(alone, None).is_ok()
            })
            .unwrap_or_else(|| Value::from(text))
    }

    fn from_map(mut merged: Map<String, Value>, file: Option<&Path>) -> Result<Self> {
        // A preset's grid is for the sweep, and a run's config.toml holds digests as well.
        merged.remove("sweep");
        merged.remove(DIGESTS);
        let settings = Self {
            source: take(&mut merged)?,
            prompt: take(&mut merged)?,
            loss: take(&mut merged)?,
            lora: take(&mut merged)?,
            batching: take(&mut merged)?,
            training: take(&mut merged)?,
            evaluation: take(&mut merged)?,
        };
        let Some(unknown) = merged.keys().next() else {
            return Ok(settings);
        };
        let known = Self::default().to_map()?;
        Err(miette!(
            help = match nearest(&known, unknown) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`plw train --help` and `plw eval --help` list the settings".to_string(),
            },
            "`{unknown}` in {} is not a setting",
            file.map_or("the environment".to_string(), |file| file
                .display()
                .to_string())
        ))
    }

    /// All settings, as one flat table. With the digests of their files it decides a run's result:
    /// see [`crate::inputs`].
    pub(crate) fn resolved(&self) -> Result<RunConfig> {
        Self::config_of(self.to_map()?)
    }

    /// The settings that decide an evaluation's result.
    pub(crate) fn resolved_evaluation(&self) -> Result<RunConfig> {
        let mut map = Self::merged([
            serde_json::to_value(&self.source),
            serde_json::to_value(&self.prompt),
            serde_json::to_value(self.evaluation),
        ])?;
        for name in ["train_data", "text", "test_data", "limit", "init_config"] {
            map.remove(name);
        }
        let mut batching = Self::merged([serde_json::to_value(&self.batching)])?;
        for name in ["max_length", "share_prefixes"] {
            map.extend(batching.remove_entry(name));
        }
        Self::config_of(map)
    }

    fn config_of(map: Map<String, Value>) -> Result<RunConfig> {
        let given = map.into_iter().filter(|(_, value)| !value.is_null());
        RunConfig::of(&Value::Object(given.collect())).into_diagnostic()
    }

    /// The default of every setting.
    pub(crate) fn default_values() -> Map<String, Value> {
        Self::default().to_map().unwrap_or_default()
    }

    /// The defaults that differ in a training run: its evaluations report the prompts' loss.
    pub(crate) fn training_defaults() -> Map<String, Value> {
        Map::from_iter([("prompt_loss".to_string(), Value::Bool(true))])
    }

    fn to_map(&self) -> Result<Map<String, Value>> {
        Self::merged([
            serde_json::to_value(&self.source),
            serde_json::to_value(&self.prompt),
            serde_json::to_value(&self.loss),
            serde_json::to_value(&self.lora),
            serde_json::to_value(&self.batching),
            serde_json::to_value(&self.training),
            serde_json::to_value(self.evaluation),
        ])
    }

    fn merged<const PARTS: usize>(
        parts: [serde_json::Result<Value>; PARTS],
    ) -> Result<Map<String, Value>> {
        let mut map = Map::new();
        for part in parts {
            if let Value::Object(part) = part.into_diagnostic()? {
                map.extend(part);
            }
        }
        Ok(map)
    }
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_text(path, MOST_SETTINGS).into_diagnostic()?;
    toml::from_str(&text)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} is not valid", path.display()))
}

/// Takes the settings of one concept out of all.
fn take<T: Default + Serialize + DeserializeOwned>(merged: &mut Map<String, Value>) -> Result<T> {
    let Value::Object(defaults) = serde_json::to_value(T::default()).into_diagnostic()? else {
        return Err(miette!("a group of settings must be a table"));
    };
    let mut own = Map::new();
    for name in defaults.keys() {
        let Some(value) = merged.remove(name) else {
            continue;
        };
        // A NaN or an infinity became null on its way through JSON: no layer gives a null itself.
        if value.is_null() {
            return Err(miette!("the setting `{name}` is not a finite number"));
        }
        if value
            .as_u64()
            .is_some_and(|value| i64::try_from(value).is_err())
        {
            return Err(miette!(
                "the setting `{name}` is {value}: the largest integer in TOML is {}",
                i64::MAX
            ));
        }
        let mut alone = defaults.clone();
        alone.insert(name.clone(), value.clone());
        serde_json::from_value::<T>(Value::Object(alone))
            .map_err(|error| miette!("the setting `{name}` is {value}: {error}"))?;
        own.insert(name.clone(), value);
    }
    serde_json::from_value(Value::Object(own)).into_diagnostic()
}

/// The setting that a misspelled name may mean: the nearest, if at least half of the name agrees.
fn nearest<'a>(known: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let distances = known.keys().map(|known| (distance(known, name), known));
    let (distance, known) = distances.min()?;
    (2 * distance <= name.len()).then_some(known)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
