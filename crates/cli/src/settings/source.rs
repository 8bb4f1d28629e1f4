//! Which model, which rows, and where.

use std::path::{Path, PathBuf};

use miette::{Result, miette};
use plw_data::{AnswerStyle, ColumnNames, ColumnOptions, OnBadRow, Split};
use plw_model::LinearWeightType;
use serde::{Deserialize, Serialize};

use crate::device::ComputeDevice;
use crate::model_folder;

/// What a run is trained on.
pub(crate) enum TrainingData<'a> {
    /// Prompts with completions, of this source.
    Examples(&'a str),
    /// Plain text, of this source.
    Text(&'a str),
}

/// What a run's weights are before its first step.
pub(crate) enum StartingWeights<'a> {
    /// Those of this folder.
    Model(&'a Path),
    /// Random ones, of the model that this file configures.
    Random(&'a Path),
}

/// Whether data are downloaded from the hub.
pub(crate) fn is_on_hub(data: &str) -> bool {
    data.starts_with("hub:")
}

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
    pub(crate) column: Option<ColumnNames>,
    pub(crate) answer_style: Option<AnswerStyle>,
    /// Type of the layers' linear weights in memory, where they are not trained.
    pub(crate) dtype: LinearWeightType,
    /// Whether activations are in bf16.
    pub(crate) bf16: bool,
    pub(crate) device: ComputeDevice,
}

impl SourceSettings {
    /// Checks what every command needs of them.
    pub(super) fn check(&self) -> Result<()> {
        for (name, limit) in [("limit", self.limit), ("eval_limit", self.eval_limit)] {
            if limit == Some(0) {
                return Err(miette!(
                    help = "leave it out to read every row",
                    "the setting `{name}` is 0, which leaves no row to read"
                ));
            }
        }
        match &self.init_adapter {
            Some(adapter) => model_folder::check("init_adapter", adapter),
            None => Ok(()),
        }
    }

    /// What a run is trained on.
    pub(crate) fn training_data(&self) -> Result<TrainingData<'_>> {
        match (&self.train_data, &self.text) {
            (Some(source), None) => Ok(TrainingData::Examples(source)),
            (None, Some(source)) => Ok(TrainingData::Text(source)),
            _ => Err(miette!(
                help = "give --train-data PATH (examples) or --text PATH (plain text), or set one \
                        of train_data and text in the preset; not both",
                "it is not clear what to train on"
            )),
        }
    }

    /// What a run's weights are before its first step.
    pub(crate) fn starting_weights(&self) -> Result<StartingWeights<'_>> {
        match (&self.model, &self.init_config) {
            (Some(folder), None) => Ok(StartingWeights::Model(folder)),
            (None, Some(file)) => Ok(StartingWeights::Random(file)),
            _ => Err(miette!(
                help = "give --model DIR (weights to start from) or --init-config FILE (random \
                        weights), or set one of model and init_config in the preset; not both",
                "exactly one of --model and --init-config is needed"
            )),
        }
    }

    /// Whether data are downloaded from the hub.
    pub(crate) fn is_on_hub(&self) -> bool {
        let sources = [
            &self.train_data,
            &self.text,
            &self.eval_data,
            &self.test_data,
        ];
        let mut named = sources.into_iter().flatten();
        named.any(|source| is_on_hub(source))
    }

    /// What the columns of data are.
    pub(crate) fn columns(&self) -> ColumnOptions {
        ColumnOptions {
            column: self.column.clone().unwrap_or_default(),
            answer_style: self.answer_style,
        }
    }

    /// Checks that the model can be one, where its weights or its tokenizer are needed.
    pub(crate) fn check_model(&self) -> Result<()> {
        match &self.model {
            Some(model) => model_folder::check("model", model),
            None => Ok(()),
        }
    }
}
