//! `cargo xtask bench`: speed and memory of plw next to `shared/peer/peer.py`'s (PyTorch, transformers, peft) at the same work,
//! each kernel next to its plain form, and all of it next to issue 3's bar.

mod cargo;
mod cases;
mod environment;
mod figures;
mod operations;
mod peer;
mod plw;
mod record;
mod rounds;
mod setting;
mod small_model;
mod statistics;
mod table;

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use plw_files::{write_atomic, write_json_atomic};
use plw_record::Machine;

use crate::binary;
use crate::parity::progress::Progress;
use crate::parity::python;
use crate::read::read_json;
use crate::workspace::Workspace;
use cases::{Case, Chosen, Extent, FULL_PROMPT_LOSS_WEIGHT, Job, Program};
use figures::Work;
use record::{Bench, GemmPeak, Measurement, UsefulOperations};
use rounds::Rounds;
use setting::{Files, Peer, Python, Setting};

/// What lies between runs: the small model, logs, run directories, criterion's estimates.
const FOLDER: &str = "target/bench";

/// Fewer say little about a machine whose speed varies.
const KEPT_ROUNDS: usize = 3;

/// Criterion's arguments where figures mean nothing.
const SHORTEST: [&str; 6] = [
    "--warm-up-time",
    "0.01",
    "--measurement-time",
    "0.01",
    "--sample-size",
    "10",
];

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// How often everything is measured, plw and the peer in turn.
    #[arg(long, value_name = "N", default_value_t = KEPT_ROUNDS)]
    rounds: usize,
    /// Only these, separated by commas: full-batch-4, full-batch-16-shared, lora-0.1, lora-0, evaluate, small-model,
    /// step-efficiency, kernels. The result is then not kept in results/.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Option<Vec<Chosen>>,
    /// A Python with torch, transformers, peft, pyarrow and jinja2, instead of parity's or the system's.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// A model directory instead of the SmolLM2-135M that shared/tools/smollm2.sh builds.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// As few steps and samples as show that everything runs; the figures mean nothing and are not kept in results/.
    #[arg(long)]
    smoke: bool,
}

impl Flags {
    fn extent(&self) -> Extent {
        match self.smoke {
            true => Extent::SMOKE,
            false => Extent::WHOLE,
        }
    }

    fn with_kernels(&self) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|only| only.contains(&Chosen::Kernels))
    }
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    if flags.rounds == 0 {
        return Err(miette!(
            help = "give --rounds 1 or more",
            "no round measures nothing"
        ));
    }
    // Before the builds, which take minutes: all that can be refused.
    let mut cases = Case::runs(flags.only.as_deref());
    let Inputs {
        peer,
        race,
        left_out,
    } = inputs(workspace, workspace.shared(), flags, &mut cases)?;
    let plw = binary::build(workspace, binary::CPU)?;
    let example = cargo::build_gemm_peak(workspace, &plw)?;
    if flags.with_kernels() {
        cargo::build_kernels(workspace)?;
    }
    // Of what was built just now, whatever becomes of the checkout meanwhile.
    let commit = workspace.commit();
    let small = match cases.contains(&Case::SmallModel) {
        true => Some(small_model::make(workspace, &plw)?),
        false => None,
    };
    let setting = Setting {
        workspace,
        plw,
        peer,
        race,
        small,
    };
    let extent = flags.extent();
    let rounds = Rounds {
        setting: &setting,
        extent: &extent,
        cases: &cases,
        rounds: flags.rounds,
    };
    let progress = Progress::new(rounds.processes() + 2 + usize::from(flags.with_kernels()));
    progress.task("gemm peak");
    let before = cargo::gemm_peak(&example)?;
    let measured = rounds.measure(&progress)?;
    progress.task("gemm peak");
    let after = cargo::gemm_peak(&example)?;
    let kernels = match flags.with_kernels() {
        true => {
            progress.task("kernels");
            let arguments = if flags.smoke { &SHORTEST[..] } else { &[] };
            cargo::kernels(workspace, arguments)?
        }
        false => Vec::new(),
    };
    progress.finish();

    let gemm_peak = GemmPeak { before, after };
    let useful_operations = useful_operations(&setting, &extent, &measured.measurements)?;
    let work = useful_operations.as_ref().map(|useful| Work {
        operations: useful.operations,
        peak_gflops: gemm_peak.gflops(),
    });
    let machine = Machine::this();
    let bench = Bench {
        commit,
        versions: versions(&setting)?,
        model: setting.race.as_ref().map(|files| {
            let name = files.model.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        }),
        rounds: flags.rounds,
        smoke: flags.smoke,
        left_out,
        gemm_peak,
        useful_operations,
        figures: figures::figures(
            &measured.measurements,
            flags.rounds,
            &extent,
            work,
            &machine,
        ),
        machine,
        kernels,
        agreements: measured.agreements,
        measurements: measured.measurements,
    };
    finish(workspace, flags, &bench)
}

/// What runs are given that is not built here.
struct Inputs {
    /// None where it cannot run.
    peer: Option<Peer>,
    /// None where no case needs it.
    race: Option<Files>,
    /// What cannot be measured, and why.
    left_out: Vec<String>,
}

/// What is there to be measured with; takes cases out that cannot be, and says which and why. `shared` is where the peer and RACE
/// are looked for.
fn inputs(
    workspace: &Workspace,
    shared: Result<PathBuf>,
    flags: &Flags,
    cases: &mut Vec<Case>,
) -> Result<Inputs> {
    let model = flags.model.as_deref().map(setting::given_model);
    let model = model.transpose()?;
    let python = flags.python.as_deref().map(Python::given).transpose()?;
    let mut left_out = Vec::new();
    let shared = match shared {
        _ if cases.is_empty() => None,
        Ok(shared) => Some(shared),
        Err(report) => {
            left_out.push(format!(
                "the peer and everything on RACE ({report}; PLW_SHARED names another place)"
            ));
            cases.retain(|case| !case.needs_race());
            None
        }
    };
    if cases.is_empty() && !flags.with_kernels() {
        return Err(miette!(
            help = "set PLW_SHARED to the folder with peer/, data/ and tools/; small-model and kernels can be measured without",
            "nothing that --only asks for can be measured; left out: {}",
            left_out.join("; ")
        ));
    }
    let mut peer = None;
    let mut race = None;
    if let Some(shared) = &shared {
        peer = setting::peer(workspace, shared, python);
        if peer.is_none() {
            left_out.push(
                "the peer (no ../shared/peer, or no Python with torch, transformers, peft, pyarrow and jinja2; --python names one)"
                    .to_string(),
            );
        }
        if cases.iter().any(|case| case.needs_race()) {
            race = Some(setting::race(workspace, shared, model.as_deref())?);
        }
    }
    for text in &left_out {
        eprintln!("left out: {text}");
    }
    Ok(Inputs {
        peer,
        race,
        left_out,
    })
}

/// What the timed rows of `full-batch-4` need, where it was measured.
fn useful_operations(
    setting: &Setting,
    extent: &Extent,
    measurements: &[Measurement],
) -> Result<Option<UsefulOperations>> {
    let outcome = record::find(measurements, 1, Case::FullBatch4, Program::Plw);
    let trained = outcome.and_then(|outcome| outcome.training());
    let job = Case::FullBatch4.job(extent, Program::Plw);
    let (Some(trained), Some(files), Job::Training(training)) = (trained, &setting.race, job)
    else {
        return Ok(None);
    };
    let longest: u64 = plw::MAX_LENGTH.parse().into_diagnostic()?;
    let lengths = plw::sequence_lengths(setting, files, &training)?;
    let rows = training.timed_rows.start as usize..training.timed_rows.end as usize;
    let lengths: Vec<_> = lengths
        .into_iter()
        .filter(|length| length.tokens() <= longest)
        .skip(rows.start)
        .take(rows.len())
        .collect();
    let tokens = lengths.iter().map(|length| length.tokens()).sum();
    let timed = trained.timed(&training.timed_rows);
    if timed.tokens != tokens {
        return Err(miette!(
            help = format!("see {}", setting.scratch("logs/plw-inspect.out").display()),
            "the timed rows have {tokens} tokens as `plw inspect` prints them, {} as plw trained on them",
            timed.tokens
        ));
    }
    let sizes: operations::Sizes = read_json(&files.model.join("config.json"))?;
    Ok(Some(UsefulOperations {
        sequences: lengths.len(),
        tokens,
        operations: sizes.useful_operations(&lengths, FULL_PROMPT_LOSS_WEIGHT),
    }))
}

fn versions(setting: &Setting) -> Result<std::collections::BTreeMap<String, String>> {
    let mut versions = python::own_versions(setting.workspace, &setting.plw)?;
    let peer = setting.peer.iter();
    versions.extend(peer.flat_map(|peer| peer.python.versions.clone()));
    Ok(versions)
}

/// Prints the table and writes it and the record: into results/ where they are whole, paired and of enough rounds.
fn finish(workspace: &Workspace, flags: &Flags, bench: &Bench) -> Result<()> {
    let is_kept = flags.only.is_none()
        && !flags.smoke
        && flags.rounds >= KEPT_ROUNDS
        && bench.left_out.is_empty();
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
    use super::*;

    fn without_shared(only: Option<&str>, model: Option<&str>) -> Result<(Vec<Case>, Inputs)> {
        let only = only.map(|only| {
            let chosen = only.split(',').map(|name| name.parse().expect("known"));
            chosen.collect::<Vec<Chosen>>()
        });
        let flags = Flags {
            rounds: 1,
            only,
            python: None,
            model: model.map(PathBuf::from),
            smoke: true,
        };
        let mut cases = Case::runs(flags.only.as_deref());
        let shared = Err(miette!("/nowhere: it is not there"));
        let found = inputs(&Workspace::find(), shared, &flags, &mut cases)?;
        Ok((cases, found))
    }

    #[test]
    fn what_was_asked_for_and_cannot_be_measured_at_all_is_an_error() {
        for only in ["full-batch-4", "step-efficiency", "lora-0,evaluate"] {
            let report = without_shared(Some(only), None)
                .err()
                .expect("nothing is left");
            let text = report.to_string();
            assert!(
                text.contains("--only") && text.contains("/nowhere: it is"),
                "{text}"
            );
        }
        let cases = [
            (None, vec![Case::SmallModel], 1),
            (Some("full-batch-4,small-model"), vec![Case::SmallModel], 1),
            (Some("full-batch-4,kernels"), Vec::new(), 1),
            (Some("kernels"), Vec::new(), 0),
        ];
        for (only, expected, notes) in cases {
            let (left, found) = without_shared(only, None).expect("something is left");
            assert_eq!((left, found.left_out.len()), (expected, notes), "{only:?}");
        }
    }

    #[test]
    fn a_given_model_is_looked_at_whatever_is_measured() {
        let report = without_shared(Some("kernels"), Some("/nowhere/model"));
        let text = report.err().expect("no such directory").to_string();
        assert!(text.contains("/nowhere/model"), "{text}");
    }
}
