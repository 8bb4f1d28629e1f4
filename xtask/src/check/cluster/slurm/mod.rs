//! Printed job arrays on a Slurm cluster of several nodes, whose tasks are killed, put back into
//! the queue and pre-empted, and whose nodes fail, until each is complete.

mod cluster;
mod nodes;
mod strikes;

use std::path::Path;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_atomic;

use self::cluster::Cluster;
use self::strikes::Strikes;
use super::history::Worker;
use super::left::Reference;
use super::record::{Disturbed, Slurm};
use super::sweep::{FOLDER, Sweep};
use crate::chance::Chance;
use crate::peer::scratch::{Scratch, remove};
use crate::process;

/// Runs at a time.
const WORKERS: &str = "4";

/// The lease. Longer than Slurm needs to start a task that it has put back into the queue.
const LEASE: &str = "5";

/// Seconds between strikes: at least, and at most.
const PAUSES: [f64; 2] = [0.5, 3.0];

/// An array that needs longer does not end.
const LONGEST: Duration = Duration::from_secs(900);

/// Whole arrays until each kind of strike was done. An array ends when its runs are complete,
/// however few strikes there was time for: what is missing then is due first in another one.
pub(super) fn run(
    sweep: &Sweep,
    reference: &Reference,
    scratch: &Scratch,
    seed: u64,
) -> Result<Slurm> {
    let began = Instant::now();
    let folder = scratch.path("slurm").join(sweep.name);
    remove(&folder)?;
    let mut cluster = Cluster::start(&folder.join("cluster"))?;
    let mut slurm = Slurm {
        version: cluster.output(&["sbatch", "-V"])?.trim().to_string(),
        requeues: 0,
        releases: 0,
        disturbed: Disturbed::default(),
    };
    let mut chance = Chance::new(seed, u64::MAX);
    let mut strikes = Strikes::default();
    let mut missing = strikes.missing();
    while !missing.is_empty() && slurm.disturbed.problems.is_empty() {
        let round = folder.join(slurm.disturbed.sweeps.to_string());
        run_array(
            &mut cluster,
            sweep,
            reference,
            &round,
            &mut chance,
            &mut strikes,
            &mut slurm,
        )?;
        let before = std::mem::replace(&mut missing, strikes.missing());
        if missing == before {
            let told = format!("a whole array had no time for any of {missing:?}");
            slurm.disturbed.problems.push(told);
        }
    }
    slurm.disturbed.seconds = began.elapsed().as_secs_f64();
    if slurm.disturbed.problems.is_empty() {
        drop(cluster);
        remove(&folder)?;
    }
    Ok(slurm)
}

/// One array, disturbed until it is complete.
fn run_array(
    cluster: &mut Cluster,
    sweep: &Sweep,
    reference: &Reference,
    round: &Path,
    chance: &mut Chance,
    strikes: &mut Strikes,
    slurm: &mut Slurm,
) -> Result<()> {
    let sweep_folder = round.join(FOLDER);
    let script = round.join("array.sh");
    let mut print = sweep.command(&sweep_folder);
    print.args(["--lease-seconds", LEASE, "--submit", "slurm"]);
    let printed = process::output(print.args(["--workers", WORKERS, "--print"]))?;
    write_atomic(&script, &printed).into_diagnostic()?;
    // Printing writes nothing.
    std::fs::create_dir_all(sweep_folder.join("logs")).into_diagnostic()?;
    cancel(sweep, cluster, &script)?;
    let array = submit(cluster, &script)?;
    strike_until_complete(cluster, sweep, reference, chance, strikes, slurm)?;
    let jobs = cluster.output(&["scontrol", "--oneliner", "show", "job", &array])?;
    slurm.requeues += jobs
        .lines()
        .filter_map(|job| field(job, "Restarts")?.parse::<u64>().ok())
        .sum::<u64>();
    slurm
        .disturbed
        .problems
        .extend(lost(&jobs, reference.names.len()));
    let mut last = sweep.command(&sweep_folder);
    process::run_logged(last.args(["--lease-seconds", LEASE]), &round.join("last"))?;
    let cut_off = std::mem::take(&mut strikes.cut_off);
    let is_stale = |worker: &Worker| cut_off.contains(worker);
    reference.judge(&sweep_folder, &mut slurm.disturbed, is_stale)?;
    slurm.disturbed.sweeps += 1;
    Ok(())
}

/// Submits the array, and returns its number.
fn submit(cluster: &Cluster, script: &Path) -> Result<String> {
    let mut sbatch = cluster.command("sbatch");
    // From another folder than the sweep's: the script says where it works.
    sbatch.arg("--parsable").arg(script).current_dir("/");
    Ok(process::output(&mut sbatch)?.trim().to_string())
}

/// An array that is cancelled stays so, though its tasks ask for another try.
fn cancel(sweep: &Sweep, cluster: &Cluster, script: &Path) -> Result<()> {
    let array = submit(cluster, script)?;
    let is_begun = |cluster: &Cluster| {
        let workers = (0..cluster::NODES).map(|node| cluster.running(node, sweep.plw).len());
        Ok(workers.sum::<usize>() >= 2)
    };
    cluster.wait("tasks run", Duration::from_secs(30), is_begun)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.output(&["scancel", &array])?;
    let is_over = |cluster: &Cluster| Ok(cluster.queue()?.is_empty());
    cluster.wait(
        "a cancelled array is over",
        Duration::from_secs(30),
        is_over,
    )?;
    // Longer than Slurm waits before it starts a task again.
    std::thread::sleep(Duration::from_secs(6));
    match cluster.queue()? {
        queue if queue.is_empty() => Ok(()),
        queue => Err(miette!("tasks of a cancelled array came back: {queue:?}")),
    }
}

fn strike_until_complete(
    cluster: &mut Cluster,
    sweep: &Sweep,
    reference: &Reference,
    chance: &mut Chance,
    strikes: &mut Strikes,
    slurm: &mut Slurm,
) -> Result<()> {
    let began = Instant::now();
    loop {
        let next = Instant::now() + reference.pause(PAUSES, chance);
        while Instant::now() < next {
            process::check_stopped()?;
            strikes.restore(cluster, sweep.plw, false)?;
            std::thread::sleep(Duration::from_millis(200));
        }
        let queue = cluster.queue()?;
        if queue.is_empty() {
            return strikes.restore(cluster, sweep.plw, true);
        }
        for held in queue.iter().filter(|task| task.is_held()) {
            cluster.output(&["scontrol", "release", &held.id])?;
            slurm.releases += 1;
        }
        if began.elapsed() > LONGEST {
            let queue = cluster.output(&["squeue"])?;
            return Err(miette!(
                "the array is not complete after {LONGEST:?}:\n{queue}"
            ));
        }
        if let Some(label) = strikes.next(cluster, sweep.plw, chance)? {
            slurm.disturbed.struck(label);
        }
    }
}

/// Tasks that Slurm counts as failed, and tasks that it knows nothing of.
fn lost(jobs: &str, tasks: usize) -> Vec<String> {
    let states: Vec<(&str, &str)> = jobs
        .lines()
        .filter_map(|job| Some((field(job, "ArrayTaskId")?, field(job, "JobState")?)))
        .collect();
    let failed = states.iter().filter(|(_, state)| *state != "COMPLETED");
    let mut problems: Vec<String> = failed
        .map(|(task, state)| format!("Slurm has task {task} as {state}"))
        .collect();
    if states.len() != tasks {
        problems.push(format!("Slurm has {} of {tasks} tasks", states.len()));
    }
    problems
}

/// A field of a line of `scontrol --oneliner`.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_did_not_complete_are_lost() {
        let job = |task: u32, state: &str| {
            format!("JobId={task} ArrayJobId=7 ArrayTaskId={task} JobState={state} Restarts=2\n")
        };
        let complete = job(0, "COMPLETED") + &job(1, "COMPLETED");
        assert_eq!(lost(&complete, 2), Vec::<String>::new());
        assert_eq!(field(&complete, "Restarts"), Some("2"));
        let failed = job(0, "COMPLETED") + &job(1, "FAILED");
        assert_eq!(
            lost(&failed, 3),
            ["Slurm has task 1 as FAILED", "Slurm has 2 of 3 tasks"]
        );
    }
}
