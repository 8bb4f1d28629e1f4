//! What `plw ratio` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::prompt::PromptFlags;

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TableFormat {
    /// For people.
    #[default]
    Text,
    /// Comma-separated values.
    Csv,
    /// A JSON object, with densities.
    Json,
    /// For a README.
    Markdown,
}

/// What lengths are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LengthUnit {
    /// Tokens of the model's tokenizer.
    #[default]
    Tokens,
    /// Characters (Unicode scalar values), which need no tokenizer.
    Chars,
}

#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct RatioFlags {
    /// Data sets: files, patterns, directories or hub:owner/name; NAME=SOURCE names one.
    #[arg(value_name = "SOURCE", required_unless_present = "article")]
    #[serde(skip)]
    pub(crate) sources: Vec<String>,
    /// The data sets of the article's table, at most 100,000 rows of each, from the hub or from the
    /// directory of --local.
    #[arg(long, conflicts_with = "sources")]
    #[serde(skip)]
    pub(crate) article: bool,
    /// Directory with the data sets of --article, under their names: alpaca-cleaned, openhermes,
    /// python-18k, dolly-15k, openorca, samsum, xsum and race, folders or files such as
    /// samsum.json.
    #[arg(long, value_name = "DIR", requires = "article")]
    #[serde(skip)]
    pub(crate) local: Option<PathBuf>,
    /// What lengths are counted in.
    #[arg(long, value_enum, default_value_t)]
    #[serde(skip)]
    pub(crate) unit: LengthUnit,
    /// Only so many examples of each, drawn at random; all without it, but 100000 with --article.
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    pub(crate) sample: Option<usize>,
    /// Seed of the sample and of the intervals.
    #[arg(
        id = "sampling_seed",
        long = "seed",
        value_name = "N",
        default_value_t = 1
    )]
    #[serde(skip)]
    pub(crate) seed: u64,
    /// How the table is printed.
    #[arg(long, value_enum, default_value_t)]
    #[serde(skip)]
    pub(crate) format: TableFormat,
    /// Folder for ratio.html, ratio.json, ratio.csv, ratio.md and figures/.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) output_dir: Option<PathBuf>,
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Directory of the model, whose tokenizer and chat template are used.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Which files of a directory or hub data set: train, validation or test [default: train].
    #[arg(long, value_name = "SPLIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    /// Only the first N rows.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[command(flatten)]
    #[serde(flatten)]
    prompt: PromptFlags,
}
