//! Workers of this machine that share sweeps and are killed, signalled and paused at random times,
//! until they have been killed often enough.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use miette::{Result, miette};

use super::left::Reference;
use super::record::Disturbed;
use super::strike::{Ended, Strike};
use super::sweep::{FOLDER, Sweep};
use super::worker::{Groups, Worker};
use crate::chance::Chance;
use crate::peer::scratch::{Scratch, remove};
use crate::process;

/// Workers at a time.
const WORKERS: usize = 4;

/// The lease: short, so that paused workers outlast it often.
const LEASE: Duration = Duration::from_secs(3);

/// Seconds between strikes: at least, and at most.
const PAUSES: [f64; 2] = [0.2, 2.2];

/// A sweep that needs longer does not end.
const LONGEST: Duration = Duration::from_secs(900);

/// Problems of workers after which a sweep is given up.
const MOST_PROBLEMS: usize = 10;

/// Whole sweeps until so many kills are done.
pub(super) fn run(
    sweep: &Sweep,
    reference: &Reference,
    scratch: &Scratch,
    seed: u64,
    kills: u64,
) -> Result<Disturbed> {
    let began = Instant::now();
    let mut disturbed = Disturbed::default();
    let mut left = kills;
    while left > 0 {
        let round = scratch.path(format!("local-{}", disturbed.sweeps));
        remove(&round)?;
        let mut chance = Chance::new(seed, disturbed.sweeps);
        let before = left;
        let paused = strike_all(
            sweep,
            reference,
            &round,
            &mut chance,
            &mut left,
            &mut disturbed,
        )?;
        disturbed.sweeps += 1;
        // Finds all complete, and removes what workers left that were killed over it.
        process::run_logged(&mut worker_command(sweep, &round), &round.join("last"))?;
        let is_stale = |worker: &super::history::Worker| paused.contains(&worker.process);
        reference.judge(&round.join(FOLDER), &mut disturbed, is_stale)?;
        let problems = disturbed.problems.len();
        eprintln!(
            "local: a sweep with {} kills: {problems} problems",
            before - left
        );
        match problems {
            0 => remove(&round)?,
            _ => break,
        }
    }
    disturbed.seconds = began.elapsed().as_secs_f64();
    Ok(disturbed)
}

/// One sweep. Returns the processes that were paused.
fn strike_all(
    sweep: &Sweep,
    reference: &Reference,
    round: &Path,
    chance: &mut Chance,
    left: &mut u64,
    disturbed: &mut Disturbed,
) -> Result<BTreeSet<u32>> {
    let mut started = 0;
    let mut start = || {
        started += 1;
        let errors = round.join("workers").join(format!("{started}.err"));
        Worker::start(&mut worker_command(sweep, round), errors)
    };
    let mut workers = (0..WORKERS).map(|_| start()).collect::<Result<Vec<_>>>()?;
    let mut groups = Groups::default();
    workers.iter().for_each(|worker| groups.add(worker));
    let mut paused = BTreeSet::new();
    let began = Instant::now();
    let mut next = began + reference.pause(PAUSES, chance);
    while !workers.is_empty() {
        process::check_stopped()?;
        std::thread::sleep(Duration::from_millis(5));
        let mut running = Vec::new();
        for mut worker in workers {
            match worker.look()? {
                None => running.push(worker),
                Some((Ended::Complete, _)) => {}
                Some((ended, told)) => {
                    if ended == Ended::Wrong {
                        disturbed.problems.push(told);
                    }
                    let next = start()?;
                    groups.add(&next);
                    running.push(next);
                }
            }
        }
        workers = running;
        if began.elapsed() > LONGEST || disturbed.problems.len() > MOST_PROBLEMS {
            return Err(miette!(
                help = format!("the sweep is in {}", round.display()),
                "after {:.0} s the sweep is not complete. {}",
                began.elapsed().as_secs_f64(),
                disturbed.problems.join("\n")
            ));
        }
        if Instant::now() < next || workers.is_empty() || *left == 0 {
            continue;
        }
        next = Instant::now() + reference.pause(PAUSES, chance);
        let index = chance.below(workers.len() as u64) as usize;
        let worker = &mut workers[index];
        let strike = Strike::choose(chance, LEASE);
        // A signal to a paused worker would wait, and a second pause would end the first.
        if worker.is_paused() && !strike.is_kill() {
            continue;
        }
        if matches!(strike, Strike::Pause(_)) {
            paused.extend(worker.processes());
        }
        worker.strike(strike, chance)?;
        disturbed.struck(strike.label());
        *left -= u64::from(strike.is_kill());
    }
    let lingering = groups.lingering()?;
    if !lingering.is_empty() {
        let told = format!("processes of the groups {lingering:?} do not end");
        disturbed.problems.push(told);
    }
    Ok(paused)
}

/// A worker that goes through the sweep, with its share of the processors.
fn worker_command(sweep: &Sweep, round: &Path) -> std::process::Command {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) / WORKERS;
    let mut command = sweep.command(&round.join(FOLDER));
    command
        .arg("--lease-seconds")
        .arg(LEASE.as_secs().to_string());
    command.env("RAYON_NUM_THREADS", threads.max(1).to_string());
    command
}
