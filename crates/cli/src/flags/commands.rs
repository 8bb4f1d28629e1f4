//! What each command takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::prompt::PromptFlags;
use super::training::{LoraFlags, LossFlags, TrainingFlags};

#[derive(Debug, Clone, Args)]
pub(crate) struct TrainFlags {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the run's records.
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: PathBuf,
    /// Resume the run from its last complete checkpoint, or start it if there is none. More
    /// --max-steps or --num-train-epochs than before extend a run, complete or not, where that
    /// leaves the learning rates of the steps taken as they are.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Seconds that stopping at a checkpoint may take once SIGTERM, SIGUSR1 or Ctrl-C asks for it.
    /// Then the run ends at its last complete checkpoint [default: as long as it takes].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_within: Option<u64>,
    #[command(flatten)]
    pub(crate) settings: RunFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PlanFlags {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object, with memory in bytes.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: RunFlags,
}

/// Which model, in which type, and where it is computed.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct ModelFlags {
    /// Directory of the model, in the Hugging Face layout.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Type of the layers' linear weights in memory, where they are not trained: float32, bfloat16,
    /// float16 or nf4. No precision is lost if the model's file has the same type; nf4 (4 bits, as
    /// in QLoRA) does lose some, so that its adapters are evaluated with it too.
    #[arg(long, value_name = "TYPE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<String>,
    /// Whether activations are in bf16: products take bf16 and add in float32, and everything else
    /// is computed in float32. Faster on a GPU, not on the CPU.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bf16: Option<bool>,
    /// Where to compute: cpu, cuda, cuda:N, wgpu, wgpu:N, vulkan or metal. All but cpu need a build
    /// with that feature (--features cuda). `plw devices` lists what is there.
    #[arg(long, value_name = "DEVICE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

/// How a model is evaluated, during training or by itself.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct EvaluationFlags {
    /// Whether to compute the prompts' loss as well, which costs the lm_head on every prompt token.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_loss: Option<bool>,
    /// Examples of an evaluation's batch.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_device_eval_batch_size: Option<usize>,
    /// Whether prefixes that examples of a batch have in common are computed once [default: true].
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    share_prefixes: Option<bool>,
}

/// A training run's settings.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelFlags,
    /// Start from random weights of this config.json instead of a model.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    init_config: Option<PathBuf>,
    /// Data to train on: a file of questions, instructions or chat messages (parquet, Arrow, JSONL,
    /// JSON or CSV), several or a pattern, a directory of them, or hub:owner/name.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    train_data: Option<String>,
    /// Only the first N rows to train on.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Text to train on instead, every token a completion: data with a column `text`.
    #[arg(long, value_name = "PATH", conflicts_with = "train_data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Validation data, evaluated before the first step, every --eval-steps, and after the last.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_data: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    evaluation: EvaluationFlags,
    /// Only the first N validation rows.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_limit: Option<u64>,
    /// Test data, evaluated once, at the end.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    test_data: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    prompt: PromptFlags,
    #[command(flatten)]
    #[serde(flatten)]
    loss: LossFlags,
    #[command(flatten)]
    #[serde(flatten)]
    lora: LoraFlags,
    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingFlags,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct EvalFlags {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Folder for predictions.parquet, summary.json and evaluation.toml (the settings).
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) output_dir: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelFlags,
    /// An adapter (a PEFT directory) to evaluate the model with. `plw train` calls it
    /// --init-adapter, because there it is what training starts from; the setting is init_adapter.
    #[arg(id = "init_adapter", long = "adapter", value_name = "DIR")]
    #[serde(rename = "init_adapter", skip_serializing_if = "Option::is_none")]
    adapter: Option<PathBuf>,
    /// Questions, instructions or chat messages: a file, several or a pattern, a directory (its
    /// validation files), or hub:owner/name. As a setting, eval_data.
    #[arg(id = "eval_data", long = "data", value_name = "PATH")]
    #[serde(rename = "eval_data", skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Only the first N rows. As a setting, eval_limit.
    #[arg(id = "eval_limit", long = "limit", value_name = "N")]
    #[serde(rename = "eval_limit", skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Which files of a directory or hub data set: train, validation or test [default: validation]
    #[arg(long, value_name = "SPLIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    evaluation: EvaluationFlags,
    #[command(flatten)]
    #[serde(flatten)]
    prompt: PromptFlags,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct InspectFlags {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Directory of the model, whose tokenizer is used.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Questions, instructions or chat messages: a file, several or a pattern, a directory (its
    /// training files), or hub:owner/name. As a setting, train_data.
    #[arg(id = "train_data", long = "data", value_name = "PATH")]
    #[serde(rename = "train_data", skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    /// Which files of a directory or hub data set: train, validation or test [default: train].
    /// Without --data the examples are those of train_data, eval_data or test_data.
    #[arg(long, value_name = "SPLIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    /// Only the first N rows.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Print N examples and read no further. Without it 3 are printed, and then the statistics of
    /// all rows; with 0 the statistics alone.
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    pub(crate) examples: Option<usize>,
    /// One JSON object instead of text: the examples, their tokens with role and weight, and, where
    /// all rows are read, the statistics of each level.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
    /// When to color: always, never, or auto (where standard output is a terminal).
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = ["auto", "always", "never"],
        conflicts_with = "json"
    )]
    #[serde(skip)]
    pub(crate) color: String,
    #[command(flatten)]
    #[serde(flatten)]
    prompt: PromptFlags,
    #[command(flatten)]
    #[serde(flatten)]
    loss: LossFlags,
}

#[derive(Debug, Args)]
pub(crate) struct DataFlags {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Writes synthetic reading comprehension as parquet, in RACE's layout. With a table
    /// `conversations` in the settings it also writes chat messages about the same kind of facts,
    /// whose answers are as long as their prompts: `conversations/{train,validation,test}.jsonl`.
    Synth {
        /// Output folder. One that already holds the data of these settings is left alone.
        #[arg(long, value_name = "DIR")]
        output_dir: PathBuf,
        /// A TOML file of the generator's settings.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Seed instead of the settings'.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
    /// Writes text to pretrain on as parquet: passages, recaps and quizzes in other wordings than a
    /// prompt's.
    PretrainingText {
        /// A TOML file of a stage's settings.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Output folder. One that already holds the text of this stage is left alone.
        #[arg(long, value_name = "DIR")]
        output_dir: PathBuf,
    },
    /// Makes a tokenizer of the most frequent words of a text.
    Tokenizer {
        /// Parquet with a column `text`.
        #[arg(long, value_name = "PATH")]
        text: String,
        /// A text whose words it is to know as well, as a prompt's; may be given more than once.
        #[arg(long, value_name = "TEXT")]
        also_text: Vec<String>,
        /// Tokens, 256 bytes and two special ones included.
        #[arg(long, value_name = "N")]
        vocab_size: usize,
        /// Output folder.
        #[arg(long, value_name = "DIR")]
        output_dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReportFlags {
    /// Folder of runs.
    pub(crate) runs: PathBuf,
    /// Folder for report.html, report.json, report.md and figures/; RUNS if not given.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// The page, where earlier versions took it.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "output_dir")]
    pub(super) out: Option<PathBuf>,
}

impl ReportFlags {
    /// The page to write.
    pub(crate) fn page(&self) -> PathBuf {
        let folder = self.output_dir.as_ref().unwrap_or(&self.runs);
        let page = self.out.clone();
        page.unwrap_or_else(|| folder.join("report.html"))
    }
}
