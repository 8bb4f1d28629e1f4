//! A folder with small questions, and a preset for them and the model of assets/; what commands
//! say there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The folder that commands run in: `questions`, `smoke.toml`, and the questions' `data.toml`.
pub(crate) struct Smoke {
    folder: TempDir,
}

impl Smoke {
    pub(crate) fn new() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let preset = fs::read_to_string(workspace.join("experiments/smoke.toml")).expect("there");
        let model = format!("model = {:?}", workspace.join("assets"));
        let preset = preset
            .replace("model = \"assets\"", &model)
            .replace("runs/data/smoke", "questions");
        let folder = tempfile::tempdir().expect("a temporary directory");
        fs::write(folder.path().join("smoke.toml"), preset).expect("written");
        let smoke = Self { folder };
        let data = workspace.join("experiments/data/smoke.toml");
        fs::copy(data, smoke.path("data.toml")).expect("copied");
        let synth = "-q data synth --config data.toml --seed 2 --output-dir questions";
        succeeded(&smoke.run(synth));
        smoke
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line of plw, with words apart, that sees none of the user's settings.
    pub(crate) fn plw(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plw"));
        command.current_dir(self.folder.path()).env("NO_COLOR", "1");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PLW_") {
                command.env_remove(name);
            }
        }
        command.args(line.split_whitespace()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        self.plw(line).output().expect("plw runs")
    }
}

/// What a command that succeeded printed.
pub(crate) fn succeeded(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command said that failed with an error: 78 where another try would end the same, else 1.
pub(crate) fn failed(output: &Output) -> Said {
    let said = said(output);
    assert!(matches!(output.status.code(), Some(1 | 78)), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    Said(said)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A report of an error, whose lines are broken anywhere.
pub(crate) struct Said(String);

impl Said {
    pub(crate) fn contains(&self, text: &str) -> bool {
        let without_breaks = |text: &str| -> String {
            let is_break = |letter: &char| letter.is_whitespace() || "│|".contains(*letter);
            text.chars().filter(|letter| !is_break(letter)).collect()
        };
        without_breaks(&self.0).contains(&without_breaks(text))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
