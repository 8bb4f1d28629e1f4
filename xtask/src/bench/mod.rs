//! `cargo xtask bench`: speed and memory of plw next to PyTorch's (`experiments/peer`) at the same
//! work, each kernel next to its plain form, and all of it next to the bars of
//! `experiments/bench/bars.toml`.

mod agreement;
mod bars;
mod cases;
mod figures;
mod gemm_peak;
mod kernels;
mod operations;
mod record;
mod result;
mod rounds;
mod small_model;
mod statistics;
mod table;

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use plw_files::{digest_file, write_atomic, write_json_atomic};
use plw_record::Machine;

use crate::binary;
use crate::only::Only;
use crate::peer::inputs::{InputFlags, Race};
use crate::peer::plw;
use crate::peer::programs::Programs;
use crate::peer::pytorch::PyTorch;
use crate::peer::scratch::Scratch;
use crate::peer::versions::versions;
use crate::peer::work::{Program, Run, Work};
use crate::progress::Progress;
use crate::read::read_json;
use crate::workspace::Workspace;
use bars::{Quantity, Row};
use cases::{Case, Data};
use operations::{Sizes, UsefulOperations};
use record::{Record, Setting};
use result::Bench;
use rounds::{Files, Rounds};

/// The small model, logs, run directories, criterion's estimates, what is measured so far.
const FOLDER: &str = "target/bench";

/// Fewer say little about a machine whose speed varies.
const KEPT_ROUNDS: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    inputs: InputFlags,
    /// How often everything is measured, all programs in turn.
    #[arg(long, value_name = "N", default_value_t = KEPT_ROUNDS)]
    rounds: usize,
    #[command(flatten)]
    only: Only,
    /// Keep what earlier calls with the same plw measured, and measure the rest: a benchmark may be
    /// stopped and resumed, or done in parts with --only and put together by a last call without
    /// it.
    #[arg(long)]
    resume: bool,
}

/// What `--only` calls the kernels' benchmark.
const KERNELS: &str = "kernels";

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    if flags.rounds == 0 {
        return Err(miette!(
            help = "give --rounds 1 or more",
            "no round measures nothing"
        ));
    }
    // Before the builds, which take minutes: all that can be refused.
    let rows = bars::read_rows(workspace)?;
    let cases = cases::read_cases(workspace)?;
    let inputs = inputs(workspace, flags, &cases, &rows)?;
    let plw = binary::build(workspace, binary::CPU)?;
    let gemm_peak = gemm_peak::build(workspace, &plw)?;
    let with_kernels = flags.only.has(KERNELS);
    if with_kernels {
        kernels::build(workspace)?;
    }
    // Of what was built just now, whatever becomes of the checkout meanwhile.
    let commit = workspace.commit();
    let scratch = Scratch::new(workspace.path(FOLDER));
    let needs_small = inputs
        .chosen
        .iter()
        .any(|case| case.data == Data::SmallModel);
    let small = needs_small.then(|| small_model::make(workspace, &scratch, &plw));
    let files = Files {
        race: inputs.race,
        small: small.transpose()?,
    };
    let programs = Programs {
        plw,
        pytorch: inputs.pytorch,
        scratch,
    };
    let setting = Setting {
        plw_digest: digest_file(&programs.plw).into_diagnostic()?,
        cases_digest: digest_file(workspace.path(cases::CASES)).into_diagnostic()?,
        versions: versions(workspace, &programs.plw, programs.pytorch.as_ref())?,
        machine: Machine::this(),
        model: files.race.as_ref().map(Race::model_name),
    };
    let saved = programs.scratch.path("measured.json");
    let mut record = match flags.resume {
        true => Record::resume(&saved, commit, setting)?,
        false => Record::new(commit, setting),
    };
    let rounds = Rounds {
        programs: &programs,
        gemm_peak: &gemm_peak,
        files: &files,
        cases: &cases,
        chosen: &inputs.chosen,
        rows: &rows,
        rounds: flags.rounds,
        saved,
    };
    let progress = Progress::new(rounds.processes() + usize::from(with_kernels));
    rounds.measure(&mut record, &progress)?;
    if with_kernels {
        progress.task("kernels");
        if record.kernels.is_empty() {
            record.kernels = kernels::measure(workspace, &programs.scratch)?;
            record.save(&rounds.saved)?;
        }
    }
    progress.finish();
    let useful_operations = useful_operations(&rounds, &record)?;
    let operations = useful_operations.as_ref().map(|useful| useful.operations);
    let bench = Bench {
        figures: figures::figures(&rows, &cases, &record, flags.rounds, operations),
        rounds: flags.rounds,
        useful_operations,
        record,
    };
    finish(workspace, flags, &bench)
}

/// The inputs found, and the cases that they allow.
#[derive(Debug)]
struct Inputs {
    chosen: Vec<Case>,
    /// May be missing where only kernels are measured.
    pytorch: Option<PyTorch>,
    /// None where no case needs it.
    race: Option<Race>,
}

/// The cases that `--only` names, or whose rows it names.
fn chosen(only: &Only, cases: &[Case], rows: &[Row]) -> Result<Vec<Case>> {
    let case_names = cases.iter().map(|case| case.name.as_str());
    let row_names = rows.iter().map(|row| row.name.as_str());
    let mut names: Vec<&str> = case_names.chain(row_names).chain([KERNELS]).collect();
    names.sort();
    names.dedup();
    only.check(&names)?;
    let is_asked_for = |case: &&Case| {
        let mut of_case = rows.iter().filter(|row| row.case == case.name);
        only.has(&case.name) || of_case.any(|row| only.has(&row.name))
    };
    Ok(cases.iter().filter(is_asked_for).cloned().collect())
}

/// Finds PyTorch, the model and RACE, as far as what is measured needs them.
fn inputs(workspace: &Workspace, flags: &Flags, cases: &[Case], rows: &[Row]) -> Result<Inputs> {
    let chosen = chosen(&flags.only, cases, rows)?;
    let race = flags.inputs.race()?;
    if let (None, Some(case)) = (&race, chosen.iter().find(|case| case.needs_race())) {
        return Err(miette!(
            help = "experiments/peer/README.md says where to get both; \
                    --only small-model,kernels needs neither",
            "{} needs --model DIR and --data DIR",
            case.name
        ));
    }
    let pytorch = match flags.inputs.pytorch(workspace) {
        Ok(pytorch) => Some(pytorch),
        Err(_) if chosen.is_empty() => None,
        Err(report) => return Err(report),
    };
    Ok(Inputs {
        chosen,
        pytorch,
        race,
    })
}

/// What the timed rows of the case with an efficiency need, where plw trained on them.
fn useful_operations(rounds: &Rounds, record: &Record) -> Result<Option<UsefulOperations>> {
    let row = rounds
        .rows
        .iter()
        .find(|row| row.quantity == Quantity::Efficiency);
    let case = row.and_then(|row| rounds.cases.iter().find(|case| case.name == row.case));
    let Some(case) = case else {
        return Ok(None);
    };
    let measurement = record.find(1, &case.name, Program::Plw);
    let (Some(measurement), Work::Training(training, _)) = (measurement, case.work(Program::Plw))
    else {
        return Ok(None);
    };
    let (model, data) = rounds.files.of(case)?;
    let run = Run {
        scratch: &rounds.programs.scratch,
        name: "inspect",
        model,
        data: &data,
        initial_adapter: None,
    };
    let lengths = plw::sequence_lengths(&rounds.programs.plw, &run, training.rows())?;
    let timed_rows = case.timed_rows();
    let indices = timed_rows.start as usize..timed_rows.end as usize;
    let lengths = lengths.get(indices).unwrap_or_default();
    let tokens = lengths.iter().map(|length| length.tokens()).sum();
    let timed = measurement.outcome.timed(&timed_rows);
    if timed.tokens != tokens {
        return Err(miette!(
            help = format!("see {}.out", run.scratch.log(run.name).display()),
            "the timed rows have {tokens} tokens as `plw inspect` counts them, \
             {} as plw trained on them",
            timed.tokens
        ));
    }
    let sizes: Sizes = read_json(&model.join("config.json"))?;
    Ok(Some(UsefulOperations {
        sequences: lengths.len(),
        tokens,
        operations: sizes.useful_operations(lengths, training.prompt_loss_weight),
    }))
}

/// Prints the table and writes it and the record: into results/ where they are whole, of all
/// programs and of enough rounds.
fn finish(workspace: &Workspace, flags: &Flags, bench: &Bench) -> Result<()> {
    let is_kept = flags.only.is_everything() && flags.rounds >= KEPT_ROUNDS;
    let folder = workspace.path(if is_kept { "results" } else { FOLDER });
    let text = table::render(bench);
    let [json, table] = ["bench.json", "bench.md"].map(|name| folder.join(name));
    write_json_atomic(&json, bench).into_diagnostic()?;
    write_atomic(&table, &text).into_diagnostic()?;
    print!("{text}");
    println!("{}\n{}", json.display(), table.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn without_race(only: Only, model: Option<&str>) -> Result<Inputs> {
        let flags = Flags {
            inputs: InputFlags {
                model: model.map(PathBuf::from),
                ..InputFlags::default()
            },
            rounds: 1,
            only,
            resume: false,
        };
        let (cases, rows) = (cases::committed_cases(), bars::committed_rows());
        inputs(&Workspace::find(), &flags, &cases, &rows)
    }

    #[test]
    fn every_row_is_of_a_case() {
        let cases = cases::committed_cases();
        for row in bars::committed_rows() {
            assert!(cases.iter().any(|case| case.name == row.case), "{row:?}");
        }
        let (everything, rows) = (Only::default(), bars::committed_rows());
        assert_eq!(chosen(&everything, &cases, &rows).expect("all"), cases);
        let memory = chosen(&Only::these(&["peak-memory"]), &cases, &rows).expect("a row");
        assert_eq!(memory, cases[..1]);
    }

    #[test]
    fn what_is_missing_is_said_before_anything_is_built() {
        let cases = [
            (Only::default(), None, "full-batch-4 needs --model"),
            (
                Only::these(&["small-model", "lora-0"]),
                None,
                "lora-0 needs --model",
            ),
            (
                Only::these(&["kernels"]),
                Some("/nowhere"),
                "/nowhere has no config.json",
            ),
        ];
        for (only, model, says) in cases {
            let report = without_race(only, model).expect_err("something is missing");
            assert!(report.to_string().starts_with(says), "{report}");
        }
        let kernels = without_race(Only::these(&["kernels"]), None).expect("they need nothing");
        assert!(kernels.chosen.is_empty() && kernels.race.is_none());
    }
}
