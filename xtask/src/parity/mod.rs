//! `cargo xtask parity`: the same steps and the same questions by plw and by `shared/peer/peer.py` (PyTorch, transformers,
//! peft), on the same files, compared number by number.

mod cases;
pub(crate) mod comparison;
pub(crate) mod peer;
pub(crate) mod plw;
pub(crate) mod progress;
pub(crate) mod python;
mod record;

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::Machine;

use crate::workspace::{Workspace, absolute};
use crate::{binary, process};
use cases::{Case, Level};
use comparison::{compare_answers, compare_steps, expected_steps};
use progress::Progress;
use record::{EvaluationParity, Parity, TrainingParity};

/// What lies between runs: the model, the Python environment, logs and run directories.
const FOLDER: &str = "target/parity";

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Optimizer steps compared in each training run.
    #[arg(long, value_name = "N", default_value_t = 5)]
    steps: usize,
    /// Validation questions compared.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// A model directory instead of the SmolLM2-135M that shared/tools/smollm2.sh builds.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A Python with torch, transformers, peft, pyarrow and jinja2, instead of an environment made for the purpose (5.6 GB).
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Only these checks, separated by commas; the result is then not kept in results/.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Option<Vec<String>>,
}

/// What all checks need.
struct Setting<'a> {
    workspace: &'a Workspace,
    /// The plw binary.
    plw: PathBuf,
    python: PathBuf,
    /// `shared`.
    shared: PathBuf,
    model: PathBuf,
}

impl Setting<'_> {
    /// A file of real questions.
    fn data(&self, level: Level, split: &str) -> PathBuf {
        self.shared.join(format!(
            "data/race/{}/{split}-00000-of-00001.parquet",
            level.name()
        ))
    }

    /// A path among what lies between runs.
    fn scratch(&self, name: &str) -> PathBuf {
        self.workspace.path(FOLDER).join(name)
    }
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    let shared = workspace.shared()?;
    let cases = chosen(flags)?;
    let with_evaluation = flags
        .only
        .as_ref()
        .is_none_or(|only| only.iter().any(|name| name == "eval"));
    let plw = binary::build(workspace, binary::CPU)?;
    let python = python::find(workspace, flags.python.as_deref())?;
    let model = model(workspace, &shared, flags.model.as_deref())?;
    let setting = Setting {
        workspace,
        plw,
        python,
        shared,
        model,
    };
    let progress = Progress::new(2 * (cases.len() + usize::from(with_evaluation)));
    let expected = expected_steps(&setting.model);
    let mut parity = Parity {
        passed: false,
        checks: Vec::new(),
        training: Vec::new(),
        evaluation: None,
        commit: workspace.commit(),
        versions: python::versions(&setting)?,
        machine: Machine::this(),
        model: setting
            .model
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        steps: flags.steps,
        questions: flags.limit,
    };
    for case in cases {
        progress.task(&format!("{}: peer", case.name));
        let theirs = peer::train(&setting, &case, flags.steps)?;
        progress.task(&format!("{}: plw", case.name));
        let ours = plw::train(&setting, &case, flags.steps)?;
        parity
            .checks
            .extend(compare_steps(case.name, &ours, &theirs, flags.steps));
        if let (true, Some(expected)) = (case.is_written_down, expected) {
            parity.checks.extend(comparison::compare_expected(
                case.name, &ours, &theirs, expected,
            ));
        }
        let training = TrainingParity::of(&case, &theirs, &ours);
        progress.print(&training.table());
        parity.training.push(training);
    }
    if with_evaluation {
        progress.task("eval: peer");
        let theirs = peer::evaluate(&setting, flags.limit)?;
        progress.task("eval: plw");
        let ours = plw::evaluate(&setting, flags.limit)?;
        parity
            .checks
            .extend(compare_answers(&ours.answers, &theirs.answers));
        parity.evaluation = Some(EvaluationParity::of(&theirs, &ours));
    }
    progress.finish();
    finish(&setting, parity, flags.only.is_none())
}

/// Writes and prints the result; missing a bar is an error.
fn finish(setting: &Setting, mut parity: Parity, is_whole: bool) -> Result<()> {
    parity.passed = parity.checks.iter().all(|check| check.passed);
    let path = match is_whole {
        true => setting.workspace.path("results/parity.json"),
        false => setting.scratch("parity.json"),
    };
    write_json_atomic(&path, &parity).into_diagnostic()?;
    println!("{}", parity.summary());
    println!("{}", path.display());
    let missed: Vec<&str> = parity
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.name.as_str())
        .collect();
    match missed.is_empty() {
        true => Ok(()),
        false => Err(miette!(
            help = format!(
                "every figure is in {}, the logs beside {FOLDER}/logs",
                path.display()
            ),
            "plw and the peer differ: {}",
            missed.join(", ")
        )),
    }
}

/// The training runs that flags ask for.
fn chosen(flags: &Flags) -> Result<Vec<Case>> {
    let cases = cases::all();
    let Some(only) = &flags.only else {
        return Ok(cases);
    };
    let names: Vec<&str> = cases.iter().map(|case| case.name).chain(["eval"]).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(miette!(
            help = format!("there are {}", names.join(", ")),
            "there is no check `{unknown}`"
        ));
    }
    Ok(cases
        .into_iter()
        .filter(|case| only.iter().any(|name| name == case.name))
        .collect())
}

/// The model directory given, else SmolLM2-135M, which is built once.
pub(crate) fn model(workspace: &Workspace, shared: &Path, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return absolute(given);
    }
    let model = workspace.path(FOLDER).join("smollm2");
    if !model.join("model.safetensors").is_file() {
        eprintln!("building SmolLM2-135M-Instruct in {}", model.display());
        let script = shared.join("tools/smollm2.sh");
        let log = workspace.path(FOLDER).join("logs/smollm2");
        process::run_logged(workspace.command("bash").arg(script).arg(&model), &log)?;
    }
    Ok(model)
}
