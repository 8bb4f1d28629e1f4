//! `cargo xtask torture`: interrupts the real program over and over, and checks that what is left
//! in the end has the same bits as if nothing had happened.
//!
//! A round is one piece of work. It is started and interrupted several times, then left to finish,
//! and compared with the same work undisturbed. All choices follow from the seed; the moments of
//! those that are a matter of time do not.

mod attempt;
mod case;
mod full_disk;
mod interruption;
mod record;
mod system_calls;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use miette::{IntoDiagnostic, Result, miette};
use plw_files::digest_file;

use self::attempt::{Attempt, Ended, interrupted, undisturbed};
use self::case::{CASES, Case, FOLDER};
use self::interruption::{Allowed, Interruption};
use self::record::{Identity, Round, Rounds};
use crate::chance::Chance;
use crate::only::Only;
use crate::peer::scratch::{Scratch, remove};
use crate::workspace::Workspace;
use crate::{binary, generated, same};

/// Kills of the full form, whose result is kept in `results/`.
const KILLS: u64 = 1000;

/// The most interruptions of a round.
const MOST_INTERRUPTIONS: u64 = 6;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Processes to kill, besides those that are interrupted otherwise. The result of fewer than
    /// the default is not kept in results/.
    #[arg(long, value_name = "N", default_value_t = KILLS)]
    kills: u64,
    /// The seed of all choices.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    only: Only,
}

/// What undisturbed work leaves and takes.
struct Reference {
    folder: PathBuf,
    duration: Duration,
    /// Its system calls, by kind. Empty without strace.
    calls: BTreeMap<String, u64>,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    flags.only.check(&Case::names())?;
    let plw = binary::build(workspace, binary::CPU)?;
    generated::ensure(workspace, &plw, &generated::synthetic_data("smoke"))?;
    let scratch = Scratch::new(workspace.path("target/torture"));
    fs::create_dir_all(scratch.path("")).into_diagnostic()?;
    let identity = Identity {
        commit: workspace.commit(),
        program: digest_file(&plw).into_diagnostic()?,
        seed: flags.seed,
        strace: system_calls::version(),
        full_disk: full_disk::is_allowed(),
    };
    let allowed = Allowed {
        calls: identity.strace.is_some(),
        full_disk: identity.full_disk,
    };
    let kept = scratch.path(format!("rounds-{}.json", flags.kills));
    let mut rounds = Rounds::resume(&kept, identity);
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| flags.only.has(case.name))
        .collect();
    let mut references = BTreeMap::new();
    while rounds.kills() < flags.kills {
        let number = rounds.rounds.len();
        let case = cases[number % cases.len()];
        let reference = match references.remove(case.name) {
            Some(reference) => reference,
            None => reference(workspace, &plw, case, &scratch, allowed)?,
        };
        let folder = scratch.path(format!("round-{number}"));
        let attempt = attempt(workspace, &plw, case, &folder, reference.duration)?;
        let mut chance = Chance::new(flags.seed, number as u64);
        let round = round(&attempt, &reference, &mut chance, allowed)?;
        references.insert(case.name, reference);
        if round.problem.is_none() {
            remove(&folder)?;
        }
        let told = format!(
            "{}: {}: {}",
            case.name,
            round.interruptions.join(", "),
            round.problem.as_deref().unwrap_or("the same bits")
        );
        rounds.add(&kept, round)?;
        eprintln!("{} kills: {told}", rounds.kills());
    }
    println!("{}", rounds.table());
    if flags.kills >= KILLS && flags.only.is_everything() {
        rounds.write(&workspace.path("results/torture.json"))?;
    }
    match rounds.problems() {
        problems if problems.is_empty() => Ok(()),
        problems => Err(miette!(
            help = "the rounds' folders lie in target/torture",
            "{}",
            problems.join("\n")
        )),
    }
}

/// Does the work undisturbed, and once more to count its system calls.
fn reference(
    workspace: &Workspace,
    plw: &Path,
    case: &Case,
    scratch: &Scratch,
    allowed: Allowed,
) -> Result<Reference> {
    let round = scratch.path("undisturbed").join(case.name);
    let began = Instant::now();
    let whole = attempt(workspace, plw, case, &round, Duration::ZERO)?;
    require(undisturbed(&whole, &whole.words())?)?;
    let duration = began.elapsed();
    let mut calls = BTreeMap::new();
    if allowed.calls {
        let counting = scratch.path("counted");
        let whole = attempt(workspace, plw, case, &counting, Duration::ZERO)?;
        let log = counting.join("calls.log");
        require(undisturbed(
            &whole,
            &system_calls::counted(&whole.words(), &log),
        )?)?;
        calls = system_calls::counts(&fs::read_to_string(log).into_diagnostic()?);
        remove(&counting)?;
    }
    Ok(Reference {
        folder: round.join(FOLDER),
        duration,
        calls,
    })
}

fn require(ended: Ended) -> Result<()> {
    match ended {
        Ended::Wrong(problem) => Err(miette!("the undisturbed work fails: {problem}")),
        _ => Ok(()),
    }
}

/// Work in an empty folder.
fn attempt<'a>(
    workspace: &'a Workspace,
    plw: &'a Path,
    case: &'a Case,
    round: &'a Path,
    duration: Duration,
) -> Result<Attempt<'a>> {
    remove(round)?;
    fs::create_dir_all(round).into_diagnostic()?;
    Ok(Attempt {
        workspace,
        plw,
        case,
        round,
        duration,
    })
}

/// Interrupts the work until it is done or was interrupted often, lets it finish, and compares.
fn round(
    attempt: &Attempt,
    reference: &Reference,
    chance: &mut Chance,
    allowed: Allowed,
) -> Result<Round> {
    let mut round = Round {
        case: attempt.case.name.to_string(),
        interruptions: Vec::new(),
        problem: None,
    };
    for _ in 0..1 + chance.below(MOST_INTERRUPTIONS) {
        let interruption = Interruption::choose(chance, &reference.calls, allowed);
        match interrupted(attempt, &interruption)? {
            Ended::Complete => break,
            Ended::Interrupted => round.interruptions.push(interruption.label()),
            Ended::Wrong(problem) => {
                round.problem = Some(problem);
                return Ok(round);
            }
        }
    }
    round.problem = match undisturbed(attempt, &attempt.words())? {
        Ended::Wrong(problem) => Some(problem),
        _ => same::difference(
            attempt.case.not_compared,
            &reference.folder,
            &attempt.folder(),
        )?,
    };
    Ok(round)
}
