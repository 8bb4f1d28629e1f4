//! The command line. Every flag that is also a setting is optional here: a flag that is not given
//! leaves the setting to the layers below.

mod commands;
mod prompt;
mod training;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::Value;

pub(crate) use commands::{
    DataCommand, DataFlags, EvalFlags, InspectFlags, PlanFlags, ReportFlags, SweepFlags, TrainFlags,
};

use crate::logging::LogFormat;
use crate::settings::Settings;

/// Prompt-weighted fine-tuning of Llama-family models on multiple-choice reading comprehension.
///
/// Settings come from four layers, each overriding the one before: the defaults, the file given
/// with --config, environment variables PLW_NAME (PLW_LEARNING_RATE=1e-4), and flags. A setting has
/// the same name in all of them.
#[derive(Debug, Parser)]
#[command(name = "plw", version, propagate_version = true, max_term_width = 120)]
pub(crate) struct Cli {
    /// Format of the log on standard error.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Log only warnings and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fine-tunes a model (or pretrains one) and writes metrics, checkpoints and a summary.
    Train(Box<TrainFlags>),
    /// Predicts the steps and the memory of a training run, without running it.
    Plan(Box<PlanFlags>),
    /// Scores a model on multiple-choice questions.
    Eval(Box<EvalFlags>),
    /// Prints examples as the model gets them: prompt, completion and answer tokens in colors, with
    /// their weights.
    Inspect(Box<InspectFlags>),
    /// Runs a preset's grid of settings, each run in its own process. Complete runs are skipped.
    Sweep(SweepFlags),
    /// Lists what this machine can compute on.
    Devices,
    /// Makes data.
    Data(DataFlags),
    /// Turns a folder of runs into tables, figures and one HTML page.
    Report(ReportFlags),
}

impl Cli {
    /// Reads the command line; `--help` tells each setting's default.
    pub(crate) fn read() -> Self {
        let command = Self::command().mut_subcommands(|command| {
            let mut defaults = Settings::default_values();
            if matches!(command.get_name(), "train" | "plan") {
                defaults.extend(Settings::training_defaults());
            }
            command.mut_args(|argument| {
                let default = match defaults.get(argument.get_id().as_str()) {
                    Some(Value::String(text)) if text.contains(char::is_whitespace) => {
                        format!("{text:?}")
                    }
                    Some(Value::String(text)) => text.clone(),
                    Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                    Some(Value::Array(values)) => values
                        .iter()
                        .filter_map(Value::as_str)
                        .collect::<Vec<_>>()
                        .join(","),
                    _ => return argument,
                };
                let help = argument.get_help().cloned().unwrap_or_default();
                argument.help(format!("{help} [default: {default}]"))
            })
        });
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }
}
