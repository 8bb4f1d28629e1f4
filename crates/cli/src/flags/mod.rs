//! The command line. Every flag that is also a setting is optional here: a flag that is not given
//! leaves the setting to the layers below.

mod commands;
mod names;
mod numbers;
mod prompt;
mod ratio;
mod sweep;
mod training;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use commands::{
    DataCommand, DataFlags, EvalFlags, InspectFlags, PlanFlags, ReportFlags, TrainFlags,
};
pub(crate) use ratio::{LengthUnit, RatioFlags, TableFormat};
pub(crate) use sweep::{DEFAULT_LEASE, Scheduler, SweepFlags};

use crate::logging::LogFlags;

/// Prompt-weighted fine-tuning of Llama-family models on questions, instructions and conversations.
///
/// Settings come from four layers, each overriding the one before: the defaults, the file given
/// with --config, environment variables PLW_NAME (PLW_LEARNING_RATE=1e-4), and flags. A setting has
/// the same name in all of them. A relative path in the file leads from the file's folder where
/// something is there, and else, as in all other places, from the working directory.
#[derive(Debug, Parser)]
#[command(name = "plw", version, propagate_version = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fine-tunes a model (or pretrains one) and writes metrics, checkpoints and a summary.
    Train(Box<TrainFlags>),
    /// Predicts the steps and the memory of a training run, without running it.
    Plan(Box<PlanFlags>),
    /// Scores a model on multiple-choice questions, instructions or conversations.
    Eval(Box<EvalFlags>),
    /// Prints examples as the model gets them: prompt, completion and answer tokens in colors, with
    /// their weights.
    Inspect(Box<InspectFlags>),
    /// Compares how long completions are with how long prompts are: generation ratios of data sets,
    /// as a table and as a page with densities.
    Ratio(Box<RatioFlags>),
    /// Runs a preset's grid of settings, each run in its own process, on one machine or on many.
    /// Complete runs are skipped.
    Sweep(Box<SweepFlags>),
    /// Lists what this machine can compute on.
    Devices,
    /// Makes data.
    Data(DataFlags),
    /// Turns a folder of runs into tables, figures and one HTML page.
    Report(ReportFlags),
}

impl Cli {
    /// Reads the command line.
    pub(crate) fn read() -> Self {
        let matches = full_command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// What to say about the old names on the command line, which still work.
    pub(crate) fn notes(&self) -> Vec<&'static str> {
        let mut notes = Vec::new();
        match &self.command {
            Command::Sweep(_) | Command::Data(_) if names::uses_old_output() => {
                notes.push("--out is called --output-dir now; the old name still works");
            }
            Command::Report(flags) if flags.out.is_some() => {
                notes.push(
                    "--out FILE is --output-dir DIR now, for report.html and the files beside it; \
                     the old name still works",
                );
            }
            _ => {}
        }
        if let Command::Sweep(flags) = &self.command
            && flags.preset.is_some()
        {
            notes.push("the preset is given with --config FILE now; without, it still works");
        }
        notes
    }
}

/// The command line, with what the derived one lacks: see [`names`].
fn full_command() -> clap::Command {
    names::named(Cli::command()).mut_subcommands(names::described)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        let words = line.split_whitespace();
        Cli::from_arg_matches(&full_command().try_get_matches_from(words)?)
    }

    #[test]
    fn the_command_line_makes_sense() {
        full_command().debug_assert();
    }

    #[test]
    fn a_flag_has_one_name_and_others_lead_to_it() {
        let settings = |line: &str| match read(line).expect(line).command {
            Command::Train(flags) => serde_json::to_value(&flags.settings),
            Command::Eval(flags) => serde_json::to_value(&*flags),
            Command::Inspect(flags) => serde_json::to_value(&*flags),
            _ => unreachable!("the cases have settings"),
        };
        for (line, name, value) in [
            (
                "plw train --output-dir o --learning-rate 1",
                "learning_rate",
                "1.0",
            ),
            (
                "plw train --output_dir o --learning_rate 1",
                "learning_rate",
                "1.0",
            ),
            ("plw train --output-dir o --lr 1", "learning_rate", "1.0"),
            (
                "plw train --output-dir o --epochs 2",
                "num_train_epochs",
                "2.0",
            ),
            ("plw train --output-dir o --steps 2", "max_steps", "2"),
            (
                "plw train --output-dir o --batch_size 2",
                "per_device_train_batch_size",
                "2",
            ),
            (
                "plw train --output-dir o --plw 0.5",
                "prompt_loss_weight",
                "0.5",
            ),
            (
                "plw train --output-dir o --adapter a",
                "init_adapter",
                "\"a\"",
            ),
            ("plw train --output-dir o --data d", "train_data", "\"d\""),
            (
                "plw eval --output-dir o --adapter a",
                "init_adapter",
                "\"a\"",
            ),
            (
                "plw eval --output-dir o --init-adapter a",
                "init_adapter",
                "\"a\"",
            ),
            ("plw eval --output-dir o --data d", "eval_data", "\"d\""),
            (
                "plw eval --output-dir o --eval_data d",
                "eval_data",
                "\"d\"",
            ),
            ("plw eval --output-dir o --limit 3", "eval_limit", "3"),
            (
                "plw eval --output-dir o --batch-size 3",
                "per_device_eval_batch_size",
                "3",
            ),
            ("plw inspect --data d --split test", "split", "\"test\""),
            ("plw inspect --train-data d", "train_data", "\"d\""),
        ] {
            let settings = settings(line).expect("flags have JSON");
            assert_eq!(settings[name].to_string(), value, "{line}");
        }
    }

    #[test]
    fn a_flag_says_which_numbers_it_takes() {
        for (line, says) in [
            ("plw train --output-dir o --max-steps -1", "a whole number"),
            ("plw train --output-dir o --seed=-1", "of at least 0"),
            ("plw train --output-dir o --limit 1.5", "a whole number"),
            ("plw inspect --examples -1", "a whole number"),
            (
                "plw sweep p.toml --output-dir o --seeds x",
                "a whole number",
            ),
            (
                "plw plan --save-total-limit 99999999999999999999",
                "it is too large",
            ),
            ("plw plan --learning-rate fast", "it must be a number"),
        ] {
            let error = read(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        read("plw plan --learning-rate -1 --plw -0.5").expect("refused with the settings");
    }

    #[test]
    fn old_names_still_work() {
        for (line, output, preset) in [
            ("plw sweep --config p.toml --output-dir o", "o", "p.toml"),
            ("plw sweep p.toml --out o", "o", "p.toml"),
            ("plw sweep p.toml --out=o --plw 0,1", "o", "p.toml"),
        ] {
            let Command::Sweep(flags) = read(line).expect(line).command else {
                unreachable!("it is a sweep");
            };
            let found = (flags.output_dir(), flags.config());
            assert_eq!(found, (Path::new(output), Path::new(preset)), "{line}");
        }
        for line in [
            "plw data synth --out o",
            "plw data synth --output-dir o",
            "plw data pretraining-text --config c --out o",
            "plw data tokenizer --text t --vocab_size 300 --out o",
            "plw -q --log_format json sweep p.toml --out o",
        ] {
            read(line).expect(line);
        }
        for (line, page) in [
            ("plw report runs", "runs/report.html"),
            ("plw report runs --output-dir o", "o/report.html"),
            ("plw report runs --out o.html", "o.html"),
        ] {
            let Command::Report(flags) = read(line).expect(line).command else {
                unreachable!("it is a report");
            };
            assert_eq!(flags.page(), Path::new(page), "{line}");
        }
        for line in [
            "plw sweep --output-dir o",
            "plw sweep p.toml --config p.toml --output-dir o",
            "plw report runs --output-dir o --out o.html",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_names_the_environment_variables() {
        let mut command = full_command();
        let train = command.find_subcommand_mut("train").expect("it is there");
        let help = train.render_long_help().to_string();
        for part in [
            "[default: 0.0002] [env: PLW_LEARNING_RATE]",
            "[env: PLW_MODEL]",
        ] {
            let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(part), "{part} is not in {words}");
        }
    }
}
