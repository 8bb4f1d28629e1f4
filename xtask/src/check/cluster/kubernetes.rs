//! The printed Kubernetes manifest: checked against the published schema, and its container's
//! command run by hand as pods would run it, each as the first process of its own namespace. Pods
//! are killed and evicted, and replaced by others of the same name and process number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, miette};
use nix::sys::signal::Signal;
use plw_files::write_atomic;
use serde::Deserialize;

use super::left::Reference;
use super::record::{Disturbed, Kubernetes};
use super::strike::{Ended, Strike};
use super::sweep::{FOLDER, Sweep};
use super::worker::Worker;
use crate::chance::Chance;
use crate::peer::scratch::{Scratch, remove};
use crate::process;

/// The lease. Pods that replace a killed one wait for it.
const LEASE: &str = "2";

/// A pod that needs longer hangs.
const LONGEST: Duration = Duration::from_secs(120);

/// Pods for one index after which it is given up.
const MOST_PODS: u64 = 60;

/// What the script says of the manifest.
#[derive(Debug, Deserialize)]
struct Job {
    schema: String,
    completions: usize,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    working_directory: Option<PathBuf>,
}

/// Checks the manifest and runs its command for each index.
pub(super) fn run(sweep: &Sweep, scratch: &Scratch, python: &Path) -> Result<Kubernetes> {
    let began = Instant::now();
    let reference = Reference::make(sweep, scratch)?;
    let round = scratch.path("kubernetes");
    remove(&round)?;
    let folder = round.join(FOLDER);
    let mut print = sweep.command(&folder);
    print.args(["--lease-seconds", LEASE, "--submit", "kubernetes"]);
    let manifest = process::output(print.args(["--workers", "2", "--print"]))?;
    let path = round.join("job.yaml");
    write_atomic(&path, &manifest).into_diagnostic()?;
    let mut validate = sweep.program(python);
    validate
        .arg("experiments/cluster/validate_job.py")
        .arg(&path);
    let job: Job = serde_json::from_str(&process::output(&mut validate)?).into_diagnostic()?;
    let mut kubernetes = Kubernetes {
        schema: job.schema.clone(),
        containers: 0,
        disturbed: Disturbed::default(),
    };
    if job.completions != reference.names.len() {
        let (found, expected) = (job.completions, reference.names.len());
        return Err(miette!("the job has {found} indices, not {expected}"));
    }
    let pause = Duration::from_secs_f64(reference.seconds / reference.names.len() as f64 / 2.0);
    for index in 0..job.completions {
        let strike = match index % 2 {
            0 => Strike::Kill,
            _ => Strike::Signal(Signal::SIGTERM),
        };
        let pods = pods(
            &job,
            index,
            strike,
            pause,
            &round,
            &mut kubernetes.disturbed,
        )?;
        kubernetes.containers += pods;
    }
    let mut last = sweep.command(&folder);
    process::run_logged(last.args(["--lease-seconds", LEASE]), &round.join("last"))?;
    reference.judge(&folder, &mut kubernetes.disturbed, |_| false)?;
    kubernetes.disturbed.sweeps = 1;
    kubernetes.disturbed.seconds = began.elapsed().as_secs_f64();
    Ok(kubernetes)
}

/// The pods of an index, one after another: the first is struck, and others follow until one has
/// completed the run. Returns how many there were.
fn pods(
    job: &Job,
    index: usize,
    strike: Strike,
    pause: Duration,
    round: &Path,
    disturbed: &mut Disturbed,
) -> Result<u64> {
    for number in 1..=MOST_PODS {
        let errors = round.join("pods").join(format!("{index}-{number}.err"));
        let mut pod = Worker::start(&mut pod_command(job, index), errors)?;
        if number == 1 {
            std::thread::sleep(pause);
            match strike {
                // The program is the child of the one that made its namespace.
                Strike::Signal(signal) => pod.signal_last(signal)?,
                _ => pod.strike(strike, &mut Chance::new(0, 0))?,
            }
            disturbed.struck(strike.label());
        }
        let (ended, told) = pod.wait(LONGEST)?;
        match ended {
            Ended::Complete => return Ok(number),
            // A pod that replaces a killed one finds the run held until the lease is over.
            Ended::Explained | Ended::Again => {}
            Ended::Wrong => disturbed.problems.push(told),
        }
        if number > 1 {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Err(miette!(
        "index {index} is not complete after {MOST_PODS} pods"
    ))
}

/// The container's command, as the first process of its namespace and under the name of the pod.
fn pod_command(job: &Job, index: usize) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--pid",
        "--uts",
        "--mount",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.args(["sh", "-c", r#"hostname "$0" && exec "$@""#]);
    command.arg(format!("plw-{index}")).args(&job.command);
    command.envs(&job.environment);
    command.env("JOB_COMPLETION_INDEX", index.to_string());
    if let Some(directory) = &job.working_directory {
        command.current_dir(directory);
    }
    command
}
