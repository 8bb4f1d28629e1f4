//! `cargo xtask check cluster`: sweeps whose workers are killed, stopped, cut off and pre-empted,
//! by signals on this machine and by Slurm on several nodes. Each must end with the bits of one
//! that nothing disturbed, no run lost and none done twice.

mod history;
mod kubernetes;
mod left;
mod local;
mod needs;
mod record;
mod slurm;
mod strike;
mod sweep;
mod worker;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use plw_record::Machine;

use self::left::Reference;
use self::record::Record;
use self::sweep::Sweep;
use crate::only::Only;
use crate::peer::scratch::Scratch;
use crate::workspace::{Workspace, absolute};
use crate::{binary, generated};

/// Kills of local workers whose result is kept in `results/`.
const KILLS: u64 = 200;

const PARTS: [&str; 4] = ["local", "slurm", "processes", "kubernetes"];

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// SIGKILLs of local workers. The result of fewer than the default is not kept in results/.
    #[arg(long, value_name = "N", default_value_t = KILLS)]
    kills: u64,
    /// The seed of all choices.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A Python that has kubernetes-validate.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// This binary instead of those that are built here. The result is then not kept in results/.
    #[arg(long, value_name = "FILE")]
    plw: Option<PathBuf>,
    #[command(flatten)]
    only: Only,
}

impl Flags {
    fn is_kept(&self) -> bool {
        self.kills >= KILLS && self.plw.is_none() && self.only.is_everything()
    }
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    flags.only.check(&PARTS)?;
    needs::check(&flags.only, &flags.python)?;
    let scratch = Scratch::new(workspace.path("target/check/cluster"));
    let [plw, with_mpi] = match &flags.plw {
        Some(plw) => [absolute(plw)?, absolute(plw)?],
        None => binaries(workspace, &scratch, &flags.only)?,
    };
    let began = Instant::now();
    let mut record = Record {
        commit: workspace.commit(),
        machine: Machine::this(),
        seed: flags.seed,
        ..Record::default()
    };
    if flags.only.has("local") || flags.only.has("slurm") {
        generated::ensure(workspace, &plw, &generated::synthetic_data("default"))?;
        let sweep = Sweep::new(workspace, &plw, &scratch, "default")?;
        let reference = Reference::make(&sweep, &scratch)?;
        record.runs = reference.names.len() as u64;
        record.undisturbed_seconds = reference.seconds;
        if flags.only.has("local") {
            let local = local::run(&sweep, &reference, &scratch, flags.seed, flags.kills)?;
            record.local = Some(local);
        }
        if flags.only.has("slurm") {
            record.slurm = Some(slurm::run(&sweep, &reference, &scratch, flags.seed)?);
        }
    }
    if flags.only.has("processes") {
        generated::ensure(workspace, &plw, &generated::synthetic_data("default"))?;
        let sweep = Sweep::of_processes(workspace, &with_mpi, &scratch)?;
        let reference = Reference::make(&sweep, &scratch)?;
        record.processes = Some(slurm::run(&sweep, &reference, &scratch, flags.seed)?);
    }
    if flags.only.has("kubernetes") {
        generated::ensure(workspace, &plw, &generated::synthetic_data("smoke"))?;
        let sweep = Sweep::new(workspace, &plw, &scratch, "smoke")?;
        record.kubernetes = Some(kubernetes::run(&sweep, &scratch, &flags.python)?);
    }
    record.seconds = began.elapsed().as_secs_f64();
    println!("{}", record.table());
    if flags.is_kept() {
        record.write(&workspace.path("results/check-cluster.json"))?;
    }
    match record.problems() {
        problems if problems.is_empty() => Ok(()),
        problems => Err(miette!(
            help = "the sweeps and the logs lie in target/check/cluster",
            "{}",
            problems.join("\n")
        )),
    }
}

/// plw, and plw with MPI if a part needs it: the same path otherwise.
fn binaries(workspace: &Workspace, scratch: &Scratch, only: &Only) -> Result<[PathBuf; 2]> {
    let with_mpi = match only.has("processes") {
        true => {
            let kept = scratch.path("plw");
            let built = binary::build(workspace, "mpi")?;
            std::fs::create_dir_all(scratch.path("")).into_diagnostic()?;
            std::fs::copy(built, &kept).into_diagnostic()?;
            Some(kept)
        }
        false => None,
    };
    let plw = binary::build(workspace, binary::CPU)?;
    Ok([plw.clone(), with_mpi.unwrap_or(plw)])
}
