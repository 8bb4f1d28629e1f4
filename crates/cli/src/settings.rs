//! The settings of a run, in four layers: defaults, a TOML file, environment variables, flags.

use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_data::{PromptSettings, is_known_column};
use plw_eval::EvaluationOptions;
use plw_model::{LinearWeightType, load_lora_config};
use plw_record::{DIGESTS, RunConfig};
use plw_train::{BatchingArguments, LossArguments, TrainingArguments};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::lora_settings::LoraSettings;
use wording::expectation;

mod environment;
mod preset;
mod shared;
mod source;
mod wording;

pub(crate) use environment::{environment_of_settings, is_setting, variable};
pub(crate) use preset::{Preset, read_toml};
pub(crate) use source::{SourceSettings, StartingWeights, TrainingData, is_on_hub};
pub(crate) use wording::nearest;

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
        let preset = file.map(Preset::read).transpose()?;
        let given = Self::layered(Map::new(), preset.as_ref(), &[], flags)?;
        let settings = Self::of_layers(given, preset.as_ref())?;
        settings.source.check_model()?;
        Ok(settings)
    }

    /// As [`Self::load`], for a training run: with [`Self::training_defaults`], and the settings of
    /// the adapter that it starts from.
    pub(crate) fn load_training(file: Option<&Path>, flags: &impl Serialize) -> Result<Self> {
        let preset = file.map(Preset::read).transpose()?;
        let settings = Self::of_training(preset.as_ref(), &[], flags)?;
        settings.source.check_model()?;
        Ok(settings)
    }

    /// As [`Self::load_training`], from a preset alone, whose model may lie on another machine.
    /// Environment variables do not change the settings in `decided`.
    pub(crate) fn of_preset(preset: &Preset, decided: &[String]) -> Result<Self> {
        Self::of_training(Some(preset), decided, &toml::Table::new())
    }

    fn of_training(
        preset: Option<&Preset>,
        decided: &[String],
        flags: &impl Serialize,
    ) -> Result<Self> {
        let given = Self::layered(Self::training_defaults(), preset, decided, flags)?;
        let mut settings = Self::of_layers(given.clone(), preset)?;
        if let Some(adapter) = &settings.source.init_adapter {
            let config = load_lora_config(adapter).into_diagnostic()?;
            let is_given = |name: &str| given.contains_key(name);
            settings.lora = settings.lora.of_adapter(adapter, config, is_given)?;
        }
        Ok(settings)
    }

    /// Checks the settings of a training run, before anything is read.
    pub(crate) fn check(&self) -> Result<()> {
        self.source.training_data()?;
        self.source.starting_weights()?;
        self.training.check().into_diagnostic()?;
        self.loss.objective().into_diagnostic()?;
        self.batching.check().into_diagnostic()?;
        self.lora.check()?;
        if self.source.dtype != LinearWeightType::F32 && self.lora.lora_r.is_none() {
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
                "load_best_model_at_end needs validation data to tell which model is best"
            ));
        }
        Ok(())
    }

    /// What the settings of a training run ask for in vain.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (source, training) = (&self.source, &self.training);
        if let (Some(steps), None) = (training.eval_steps, &source.eval_data) {
            notes.push(format!(
                "eval_steps is {steps}, but there is nothing to evaluate on: give eval_data"
            ));
        }
        if let (Some(limit), None, None) = (source.eval_limit, &source.eval_data, &source.test_data)
        {
            notes.push(format!(
                "eval_limit is {limit}, but there is nothing to evaluate on: give eval_data"
            ));
        }
        notes
    }

    /// The settings that the layers give together, with what every command needs of them checked.
    fn of_layers(given: Map<String, Value>, preset: Option<&Preset>) -> Result<Self> {
        let settings = Self::from_map(given, preset.map(|preset| preset.path.as_path()))?;
        settings.source.check()?;
        settings.check_columns()?;
        Ok(settings)
    }

    /// Refuses names of columns that nothing reads: a misspelled one would change what rows are.
    fn check_columns(&self) -> Result<()> {
        let templates = [
            &self.prompt.prompt_template,
            &self.prompt.completion_template,
        ];
        let fields: Vec<&str> = templates
            .into_iter()
            .flatten()
            .flat_map(|template| template.names())
            .collect();
        let names = self.source.column.iter().flat_map(|names| names.0.keys());
        let mut unknown =
            names.filter(|name| !is_known_column(name) && !fields.contains(&name.as_str()));
        match unknown.next() {
            None => Ok(()),
            Some(name) => Err(miette!(
                help = "write OURS=THEIRS: ours are question, options, answer and article, prompt \
                        and completion, messages, and the fields of your templates",
                "the setting `column` names `{name}`, which nothing reads"
            )),
        }
    }

    /// What the layers give, all together.
    fn layered(
        defaults: Map<String, Value>,
        preset: Option<&Preset>,
        decided: &[String],
        flags: &impl Serialize,
    ) -> Result<Map<String, Value>> {
        let mut figment = Figment::from(Serialized::defaults(defaults));
        if let Some(preset) = preset {
            figment = figment.merge(Serialized::defaults(&preset.settings));
        }
        let environment = environment::given_by(
            std::env::vars_os(),
            decided,
            &Self::default_values(),
            |values| Self::from_map(values, None).map(drop),
        )?;
        figment
            .merge(Serialized::defaults(environment))
            .merge(Serialized::defaults(flags))
            .extract()
            .into_diagnostic()
            .wrap_err("the settings cannot be read")
    }

    fn from_map(mut merged: Map<String, Value>, file: Option<&Path>) -> Result<Self> {
        // A run's config.toml holds digests as well.
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
        serde_json::from_value::<T>(Value::Object(alone)).map_err(|error| {
            let expected = expectation(name, &value, &error);
            miette!("the setting `{name}` is {value}: {expected}")
        })?;
        own.insert(name.clone(), value);
    }
    serde_json::from_value(Value::Object(own)).into_diagnostic()
}

#[cfg(test)]
mod tests;
