//! The names of flags: what people type instead of them, and what `--help` says of each.

use clap::{Arg, Command};
use serde_json::Value;

use super::numbers::explained;
use crate::settings::{Settings, variable};

/// Names that people know from other programs, by the setting that each stands for.
const ALIASES: [(&str, &str); 14] = [
    ("learning_rate", "lr"),
    ("num_train_epochs", "epochs"),
    ("num_train_epochs", "num-epochs"),
    ("max_steps", "steps"),
    ("per_device_train_batch_size", "batch-size"),
    ("per_device_train_batch_size", "train-batch-size"),
    ("per_device_eval_batch_size", "eval-batch-size"),
    ("gradient_accumulation_steps", "grad-accum"),
    ("lr_scheduler_type", "lr-scheduler"),
    ("lora_r", "lora-rank"),
    ("max_length", "max-seq-length"),
    ("prompt_loss_weight", "plw"),
    ("init_adapter", "adapter"),
    ("train_data", "data"),
];

/// The command line with every name: a flag's aliases, the name of its setting where that is
/// another, the underscores that TOML has, and an old name.
pub(super) fn named(command: Command) -> Command {
    let name = command.get_name().to_string();
    let named = command
        .mut_args(|argument| explained(with_names(argument)))
        .mut_subcommands(named);
    match name.as_str() {
        "sweep" | "data" => with_old_name(named),
        // It has no other batch.
        "eval" => named.mut_arg("per_device_eval_batch_size", |argument| {
            argument.aliases(["batch-size", "batch_size"])
        }),
        _ => named,
    }
}

fn with_names(argument: Arg) -> Arg {
    let Some(own) = argument.get_long().map(str::to_string) else {
        return argument;
    };
    let id = argument.get_id().to_string();
    let known: Vec<&str> = ALIASES
        .iter()
        .filter(|(setting, alias)| *setting == id && *alias != own)
        .map(|(_, alias)| *alias)
        .collect();
    let of_setting = id.replace('_', "-");
    let mut hidden: Vec<String> = [own.as_str(), of_setting.as_str()]
        .iter()
        .chain(&known)
        .map(|name| name.replace('-', "_"))
        .collect();
    hidden.push(of_setting);
    hidden.sort();
    hidden.dedup();
    hidden.retain(|name| *name != own && !known.contains(&name.as_str()));
    // clap's names live as long as the program, and are made once.
    let hidden = hidden.into_iter().map(|name| &*name.leak());
    argument.visible_aliases(known).aliases(hidden)
}

/// `--out`, which `--output-dir` was called.
fn with_old_name(command: Command) -> Command {
    command
        .mut_subcommands(with_old_name)
        .mut_args(|argument| match argument.get_id().as_str() {
            "output_dir" => argument.alias(OLD_OUTPUT),
            _ => argument,
        })
}

/// What `--output-dir` was called in `plw sweep` and `plw data`.
const OLD_OUTPUT: &str = "out";

/// Whether the command line has the old name.
pub(super) fn uses_old_output() -> bool {
    std::env::args_os().any(|argument| {
        let name = argument.to_str().and_then(|text| text.strip_prefix("--"));
        name.is_some_and(|name| name.split('=').next() == Some(OLD_OUTPUT))
    })
}

/// The help of a command's flags: of those that are settings with the default and the environment
/// variable.
pub(super) fn described(command: Command) -> Command {
    let mut defaults = Settings::default_values();
    if matches!(command.get_name(), "train" | "plan") {
        defaults.extend(Settings::training_defaults());
    }
    if !matches!(
        command.get_name(),
        "train" | "plan" | "eval" | "inspect" | "ratio"
    ) {
        return command;
    }
    command.mut_args(|argument| {
        let setting = argument.get_id().to_string();
        let Some(default) = defaults.get(&setting) else {
            return argument;
        };
        let mut help = argument.get_help().cloned().unwrap_or_default().to_string();
        if let Some(default) = shown(default) {
            help += &format!(" [default: {default}]");
        }
        argument.help(format!("{help} [env: {}]", variable(&setting)))
    })
}

fn shown(default: &Value) -> Option<String> {
    match default {
        Value::String(text) if text.contains(char::is_whitespace) => Some(format!("{text:?}")),
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(default.to_string()),
        Value::Array(values) => {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            Some(texts.join(","))
        }
        _ => None,
    }
}
