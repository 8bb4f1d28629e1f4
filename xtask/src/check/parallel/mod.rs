//! `cargo xtask check parallel`: runs of several processes over MPI, against one process.

pub(super) mod comparison;
mod evaluated;
mod killed;
mod launch;
mod namespaces;
mod timing;

use std::path::Path;

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::Machine;
use serde::Serialize;

use crate::check::compared::{Compared, SameBits, table};
use crate::peer::scratch::Scratch;
use crate::workspace::Workspace;
use crate::{binary, generated, process};
use killed::Killed;
use launch::{Job, Place};
use namespaces::Namespaces;
use timing::Timing;

/// What is trained: a name, and the flags that differ from the smoke preset.
const RUNS: [(&str, &[&str]); 5] = [
    ("full, packed", &["--packing=shortest-pack-first"]),
    (
        "full, accumulated",
        &[
            "--per-device-train-batch-size=2",
            "--gradient-accumulation-steps=4",
        ],
    ),
    (
        "full, recomputed",
        &[
            "--packing=shortest-pack-first",
            "--gradient-checkpointing=true",
        ],
    ),
    (
        "LoRA, packed",
        &[
            "--packing=shortest-pack-first",
            "--lora-r=4",
            "--lora-dropout=0.1",
        ],
    ),
    (
        "LoRA, accumulated, recomputed",
        &[
            "--per-device-train-batch-size=2",
            "--gradient-accumulation-steps=4",
            "--lora-r=4",
            "--lora-dropout=0.1",
            "--gradient-checkpointing=true",
        ],
    ),
];

/// `results/check-parallel.json`.
#[derive(Debug, Serialize)]
struct Record {
    commit: String,
    machine: Machine,
    /// What `mpirun --version` says first.
    mpi: String,
    compared: Vec<Compared>,
    same_bits: Vec<SameBits>,
    killed: Killed,
    timings: Vec<Timing>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mpi = process::output(workspace.command("mpirun").arg("--version"))?;
    let plw = binary::build(workspace, "mpi")?;
    generated::ensure(workspace, &plw, &generated::synthetic_data("smoke"))?;
    let scratch = Scratch::new(workspace.path("target/check/parallel"));
    let namespaces = Namespaces::make(&scratch)?;
    let places = [
        Place::Processes(1),
        Place::Processes(2),
        Place::Namespaces(&namespaces),
    ];
    let (mut compared, mut same_bits) = (Vec::new(), Vec::new());
    for (name, flags) in RUNS {
        let of = |place, again| Training::new(workspace, &plw, &scratch, name, flags, place, again);
        let mut one = None;
        for place in places {
            let found = of(place, false)?;
            match &one {
                None => one = Some(found),
                Some(one) => {
                    compared.extend(comparison::compare(&found, one)?);
                    same_bits.push(comparison::same_bits(&found, &of(place, true)?)?);
                }
            }
        }
    }
    same_bits.extend(evaluated::same_predictions(
        workspace, &plw, &scratch, &places,
    )?);
    drop(namespaces);
    let killed = killed::check(workspace, &plw, &scratch)?;
    let timings = timing::measure(workspace, &plw, &scratch)?;
    let record = Record {
        commit: workspace.commit(),
        machine: Machine::this(),
        mpi: mpi.lines().next().unwrap_or_default().to_string(),
        compared,
        same_bits,
        killed,
        timings,
    };
    println!("{}", table("against one process", &record.compared));
    println!("{}", timing::table(&record.timings));
    write_json_atomic(workspace.path("results/check-parallel.json"), &record).into_diagnostic()?;
    let is_met = record.compared.iter().all(Compared::is_met)
        && record.same_bits.iter().all(|pair| pair.same)
        && record.killed.is_met();
    match is_met {
        true => Ok(()),
        false => Err(miette!(
            "several processes computed something else than one: see results/check-parallel.json"
        )),
    }
}

/// A run of 20 steps, and the same of a single step, whose moments tell its gradients.
struct Training {
    name: String,
    steps: std::path::PathBuf,
    first: std::path::PathBuf,
}

impl Training {
    fn new(
        workspace: &Workspace,
        plw: &Path,
        scratch: &Scratch,
        name: &str,
        flags: &[&str],
        place: Place<'_>,
        again: bool,
    ) -> Result<Self> {
        let again = if again { ", again" } else { "" };
        let name = format!("{name}, {place}{again}");
        eprintln!("training: {name}");
        let train = |steps: u32| {
            let id = format!("{}-{steps}", name.replace([' ', ','], "-"));
            let records = scratch.empty_run(&id)?;
            let mut job = Job::smoke(workspace, plw, place, &records);
            job.command.arg(format!("--max-steps={steps}")).args(flags);
            process::run_logged(&mut job.command, &scratch.log(&id))?;
            Ok::<_, miette::Report>(records)
        };
        Ok(Self {
            steps: train(20)?,
            first: train(1)?,
            name,
        })
    }
}
