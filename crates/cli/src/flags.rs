//! The command line. Every flag that is also a setting is optional here: what is not given is left to the layers below.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::logging::LogFormat;

/// Prompt-weighted fine-tuning of Llama-family models on multiple-choice reading comprehension.
///
/// Settings come from, each over the one before: the defaults, the file given with --config, environment variables PLW_NAME
/// (PLW_LEARNING_RATE=1e-4), flags. They have the same names everywhere.
#[derive(Debug, Parser)]
#[command(name = "plw", version, propagate_version = true, max_term_width = 120)]
pub(crate) struct Cli {
    /// How logs are written on standard error.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Only warnings and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fine-tunes a model (or pretrains one) and leaves metrics, checkpoints and a summary.
    Train(Box<TrainFlags>),
    /// Scores a model on multiple-choice questions.
    Eval(Box<EvalFlags>),
    /// Prints examples as the model gets them: prompt, completion and answer tokens in colours, and their weights.
    Inspect(Box<InspectFlags>),
    /// Runs a preset's grid of settings, each run in a process of its own; complete runs are skipped.
    Sweep(SweepFlags),
    /// Makes data.
    Data(DataFlags),
    /// Turns a folder of runs into tables, figures and one HTML page.
    Report(ReportFlags),
}

/// Which examples, as which tokens.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Data and prompts")]
pub(crate) struct PromptFlags {
    /// The user's turn, with {article} {question} {options} and any column's name.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_template: Option<String>,
    /// How {options} is printed: python-list or lettered.
    #[arg(long, value_name = "STYLE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    options_style: Option<String>,
    /// model (the one beside the weights), llama-2, chatml, none, or a file.
    #[arg(long, value_name = "TEMPLATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template: Option<String>,
    /// Tokens of the longest sequence, and of a pack; longer examples are dropped and counted.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
    /// Only the first N rows.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// What becomes of a bad row: error or skip.
    #[arg(long, value_name = "WAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    on_bad_row: Option<String>,
    /// Directory or tokenizer.json to take the tokenizer from, instead of the model's.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct TrainFlags {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where the run leaves its records.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) output_dir: PathBuf,
    /// Go on with the run that is there, from its last complete checkpoint; starts it if there is none.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) resume: bool,
    /// Directory of the model, in the Hugging Face layout.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Where to compute: cpu, cuda, cuda:N, vulkan or metal; all but cpu must be built in (--features cuda).
    #[arg(long, value_name = "DEVICE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Start from random weights of this config.json instead of a model.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    init_config: Option<PathBuf>,
    /// Questions to train on: a parquet file, a directory in RACE's layout, or hub:owner/name.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    train_data: Option<String>,
    /// Text to train on instead, every token a completion: parquet with a column `text`.
    #[arg(long, value_name = "PATH", conflicts_with = "train_data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Validation questions: evaluated before the first step, every --eval-steps and after the last.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_data: Option<String>,
    /// Whether evaluations compute the prompts' loss as well; true unless said otherwise.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_loss: Option<bool>,
    /// Only the first N validation questions.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_limit: Option<u64>,
    /// Test questions: the result is evaluated on them once, at the end.
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

/// What tokens count.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossFlags {
    /// Weight of a prompt token: 0 masks the prompt, 1 is plain causal language modelling.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_loss_weight: Option<f64>,
    /// Weight of a completion token.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_loss_weight: Option<f64>,
    /// What the weighted sum is divided by: weight_sum, nonzero_count or per_example.
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    normalization: Option<String>,
}

/// Low-rank adapters instead of all weights.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "LoRA")]
pub(crate) struct LoraFlags {
    /// Rank; turns LoRA on.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_r: Option<usize>,
    /// Scale: the adapter's output is multiplied by alpha / r.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_alpha: Option<f64>,
    /// Share of the adapters' inputs dropped in training.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_dropout: Option<f64>,
    /// Layers that get an adapter, separated by commas.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_target_modules: Option<Vec<String>>,
    /// Start from this adapter (a PEFT directory) instead of a random one.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    init_adapter: Option<PathBuf>,
}

/// Steps, schedule and optimizer.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingFlags {
    /// Peak learning rate.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    /// AdamW's decoupled weight decay.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
    /// Largest global norm of the gradients; 0 turns clipping off.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_grad_norm: Option<f64>,
    /// Steps of linear warm-up.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_steps: Option<u64>,
    /// Share of all steps that is warm-up.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_ratio: Option<f64>,
    /// constant_with_warmup, linear or cosine.
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr_scheduler_type: Option<String>,
    /// Examples (packs, where packed) of a micro-batch.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_device_train_batch_size: Option<usize>,
    /// Examples of an evaluation's batch.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_device_eval_batch_size: Option<usize>,
    /// Micro-batches of an optimizer step.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_steps: Option<usize>,
    /// Optimizer steps; wins over --num-train-epochs.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_steps: Option<u64>,
    /// Passes over the training data.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    num_train_epochs: Option<f64>,
    /// none or shortest-pack-first.
    #[arg(long, value_name = "WAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    packing: Option<String>,
    /// Let packed documents see those before them, as the article's reference does.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_document_attention: Option<bool>,
    /// Whether each epoch takes the examples in another order.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    shuffle: Option<bool>,
    /// What is moved as one piece: article or question.
    #[arg(long, value_name = "UNIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    shuffle_unit: Option<String>,
    /// Seed of initialisation, shuffling and dropout.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Steps between lines of metrics.jsonl.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    logging_steps: Option<u64>,
    /// Steps between evaluations.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_steps: Option<u64>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_steps: Option<u64>,
    /// Checkpoints kept.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_total_limit: Option<usize>,
    /// Take the checkpoint that was best on the validation questions as the result.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    load_best_model_at_end: Option<bool>,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct EvalFlags {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where predictions.parquet and summary.json are left.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) output_dir: PathBuf,
    /// Directory of the model, in the Hugging Face layout.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Where to compute: cpu, cuda, cuda:N, vulkan or metal; all but cpu must be built in (--features cuda).
    #[arg(long, value_name = "DEVICE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// An adapter (a PEFT directory) on top of it.
    #[arg(long, value_name = "DIR")]
    #[serde(rename = "init_adapter", skip_serializing_if = "Option::is_none")]
    adapter: Option<PathBuf>,
    /// Questions: a parquet file, a directory in RACE's layout (its validation files), or hub:owner/name.
    #[arg(long, value_name = "PATH")]
    #[serde(rename = "eval_data", skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Which files of a directory or hub data set: train, validation or test.
    #[arg(long, value_name = "SPLIT", default_value = "validation")]
    #[serde(skip)]
    pub(crate) split: String,
    /// Whether to compute the prompts' loss as well, which costs the classifier on every prompt token.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_loss: Option<bool>,
    /// Examples of a batch.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_device_eval_batch_size: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) prompt: PromptFlags,
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
    /// Questions: a parquet file, a directory in RACE's layout (its training files), or hub:owner/name.
    #[arg(long, value_name = "PATH")]
    #[serde(rename = "train_data", skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Examples printed.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[serde(skip)]
    pub(crate) examples: usize,
    /// When to colour: always, never, or auto (where standard output is a terminal).
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    #[serde(skip)]
    pub(crate) color: String,
    #[command(flatten)]
    #[serde(flatten)]
    prompt: PromptFlags,
    #[command(flatten)]
    #[serde(flatten)]
    loss: LossFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SweepFlags {
    /// A preset: a TOML file of settings with a table `sweep` of lists, such as `prompt_loss_weight = [0, 0.1, 1]`.
    pub(crate) preset: PathBuf,
    /// Folder of the runs.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Prompt loss weights instead of the preset's, separated by commas.
    #[arg(long, value_name = "X,Y", value_delimiter = ',')]
    pub(crate) plw: Option<Vec<f64>>,
    /// Number of seeds instead of the preset's: 1, 2, ...
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Print the runs' commands, one a line, and run nothing.
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DataFlags {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Writes synthetic reading comprehension as parquet, in RACE's layout.
    Synth {
        /// Where to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// A TOML file of the generator's settings.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Seed instead of the settings'.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
    /// Writes text to pretrain on as parquet: passages, recaps and quizzes in other wordings than a prompt's.
    PretrainingText {
        /// A TOML file of a stage's settings.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
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
        /// Where to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReportFlags {
    /// Folder of runs.
    pub(crate) runs: PathBuf,
    /// The page to write; RUNS/report.html if not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
