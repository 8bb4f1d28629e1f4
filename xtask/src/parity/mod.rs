//! `cargo xtask parity`: the same steps and the same questions by plw and by PyTorch, transformers
//! and peft (`experiments/peer`), on the same files, compared number by number.

mod cases;
mod comparison;
mod record;

use std::path::Path;

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::Machine;

use crate::binary;
use crate::only::Only;
use crate::peer::inputs::{InputFlags, Level, Race};
use crate::peer::outcome::Outcome;
use crate::peer::programs::Programs;
use crate::peer::scratch::Scratch;
use crate::peer::versions::versions;
use crate::peer::work::{Layout, Program, Run, Work};
use crate::progress::Progress;
use crate::workspace::Workspace;
use comparison::{compare_answers, compare_recorded, compare_steps, recorded_steps};
use record::{EvaluationParity, Parity, TrainingParity};

/// Logs and run directories.
const FOLDER: &str = "target/parity";

/// What `--only` calls the evaluation.
const EVALUATION: &str = "eval";

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    inputs: InputFlags,
    /// Optimizer steps compared in each training run.
    #[arg(long, value_name = "N", default_value_t = 5)]
    steps: usize,
    /// Validation questions compared.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    only: Only,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    let mut cases = cases::all(flags.steps);
    let names = cases.iter().map(|case| case.name).chain([EVALUATION]);
    flags.only.check(&names.collect::<Vec<_>>())?;
    cases.retain(|case| flags.only.has(case.name));
    let with_evaluation = flags.only.has(EVALUATION);
    let race = flags.inputs.race()?.ok_or_else(|| {
        miette!(
            help = "experiments/peer/README.md says where to get both",
            "parity needs --model DIR and --data DIR"
        )
    })?;
    let programs = Programs {
        pytorch: Some(flags.inputs.pytorch(workspace)?),
        plw: binary::build(workspace, binary::CPU)?,
        scratch: Scratch::new(workspace.path(FOLDER)),
    };
    let commit = workspace.commit();
    let progress = Progress::new(2 * (cases.len() + usize::from(with_evaluation)));
    let (mut checks, mut training) = (Vec::new(), Vec::new());
    for case in cases {
        let data = race.file(case.level, "train");
        let work = Work::Training(case.training, Layout::SharedPrefixes);
        let [theirs, ours] = by_both(&programs, &race, &data, case.name, &work, &progress)?;
        checks.extend(compare_steps(case.name, &ours, &theirs));
        if case.name == cases::RECORDED
            && let Some(recorded) = recorded_steps(&race.model)?
        {
            checks.extend(compare_recorded(case.name, &ours, &theirs, recorded));
        }
        let found = TrainingParity::of(&case, &theirs, &ours);
        progress.print(&found.table());
        training.push(found);
    }
    let mut evaluation = None;
    if with_evaluation {
        let data = race.file(Level::Middle, "validation");
        let work = Work::Evaluation(flags.limit);
        let both = by_both(&programs, &race, &data, EVALUATION, &work, &progress)?;
        if let [Some(theirs), Some(ours)] = both.map(|outcome| outcome.evaluation) {
            checks.extend(compare_answers(&ours.answers, &theirs.answers));
            evaluation = Some(EvaluationParity::of(&theirs, &ours));
        }
    }
    progress.finish();
    let parity = Parity {
        passed: checks.iter().all(|check| check.passed),
        checks,
        training,
        evaluation,
        commit,
        versions: versions(workspace, &programs.plw, programs.pytorch.as_ref())?,
        machine: Machine::this(),
        model: race.model_name(),
        steps: flags.steps,
        questions: flags.limit,
    };
    let path = match flags.only.is_everything() {
        true => workspace.path("results/parity.json"),
        false => programs.scratch.path("parity.json"),
    };
    finish(&parity, &path)
}

/// Some work by PyTorch, then by plw, which starts from the adapter that PyTorch made.
fn by_both(
    programs: &Programs,
    race: &Race,
    data: &Path,
    name: &str,
    work: &Work,
    progress: &Progress,
) -> Result<[Outcome; 2]> {
    let adapter = programs.scratch.path("adapters").join(name);
    let by = |program: Program| {
        progress.task(&format!("{name}: {}", program.name()));
        let run = Run {
            scratch: &programs.scratch,
            name: &format!("{}-{name}", program.name()),
            model: &race.model,
            data,
            initial_adapter: Some(&adapter),
        };
        programs.run(program, &run, work)
    };
    Ok([by(Program::Peer)?, by(Program::Plw)?])
}

/// Writes and prints the result; a check that fails is an error.
fn finish(parity: &Parity, path: &Path) -> Result<()> {
    write_json_atomic(path, parity).into_diagnostic()?;
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
                "every figure is in {}, the logs are in {FOLDER}/logs",
                path.display()
            ),
            "plw and PyTorch differ: {}",
            missed.join(", ")
        )),
    }
}
