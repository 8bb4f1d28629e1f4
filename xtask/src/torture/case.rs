//! The work that is interrupted: real commands of plw, short and with many writes.

use std::path::Path;
use std::process::Command;

use crate::workspace::Workspace;

/// The name of the folder that the work fills. A run's summary holds it.
pub(super) const FOLDER: &str = "work";

/// A command of plw that continues, or repeats, what it was interrupted in.
#[derive(Debug)]
pub(super) struct Case {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// The command's arguments; the folder that it fills follows.
    arguments: &'static str,
    /// What it leaves that tells of its processes and of the time.
    pub(super) not_compared: &'static [&'static str],
}

/// Everything that leaves results in a folder.
pub(super) const CASES: [Case; 7] = [
    Case {
        name: "full",
        arguments: "train --resume --config experiments/smoke.toml --test-data runs/data/smoke",
        not_compared: &[],
    },
    Case {
        name: "LoRA",
        arguments: "train --resume --config experiments/smoke.toml --lora-r 4 --lora-alpha 8 \
                    --lora-dropout 0.1 --gradient-accumulation-steps 2",
        not_compared: &[],
    },
    Case {
        name: "packing",
        arguments: "train --resume --config experiments/smoke.toml \
                    --packing shortest-pack-first --gradient-checkpointing true",
        not_compared: &[],
    },
    Case {
        name: "best-model",
        arguments: "train --resume --config experiments/smoke.toml --test-data runs/data/smoke \
                    --load-best-model-at-end true --save-total-limit 1 --eval-steps 1",
        not_compared: &[],
    },
    Case {
        name: "sweep",
        arguments: "sweep --config experiments/smoke.toml --seeds 1",
        not_compared: &[
            "report.html",
            "report.json",
            "report.md",
            "seed-1_plw-0/events",
            "seed-1_plw-0.1/events",
        ],
    },
    Case {
        name: "evaluation",
        arguments: "eval --config experiments/smoke.toml --data runs/data/smoke",
        not_compared: &[],
    },
    Case {
        name: "data",
        arguments: "data synth --config experiments/data/smoke.toml",
        not_compared: &[],
    },
];

/// Settings of all cases, for which a case's own flags may give another value. Steps of
/// evaluations and checkpoints fall together and apart.
const SETTINGS: [(&str, &str); 5] = [
    ("PLW_MAX_STEPS", "8"),
    ("PLW_SAVE_STEPS", "2"),
    ("PLW_EVAL_STEPS", "3"),
    ("PLW_EVAL_LIMIT", "6"),
    ("PLW_PER_DEVICE_TRAIN_BATCH_SIZE", "2"),
];

impl Case {
    /// The names of all.
    pub(super) fn names() -> [&'static str; CASES.len()] {
        CASES.each_ref().map(|case| case.name)
    }

    /// The command as a list of words, which fills `folder`.
    pub(super) fn words(&self, plw: &Path, folder: &Path) -> Vec<String> {
        let (plw, folder) = (plw.display().to_string(), folder.display().to_string());
        let mut words = vec![plw, "--quiet".to_string()];
        words.extend(self.arguments.split_whitespace().map(str::to_string));
        words.extend(["--output-dir".to_string(), folder]);
        words
    }
}

/// A process of these words, with the settings of all cases.
pub(super) fn command(workspace: &Workspace, words: &[String]) -> Command {
    let (program, arguments) = words.split_first().expect("a command has a program");
    let mut command = workspace.command(program);
    command.args(arguments).envs(SETTINGS);
    command
}
