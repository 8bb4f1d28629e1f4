//! What a sweep left, next to what an undisturbed one left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result};
use plw_files::write_json_atomic;
use serde::{Deserialize, Serialize};

use super::history::{History, Worker};
use super::record::Disturbed;
use super::sweep::{FOLDER, Sweep};
use crate::chance::Chance;
use crate::peer::scratch::{Scratch, remove};
use crate::read::read_json;
use crate::{process, same};

/// In a run's folder: who worked on it, which no two sweeps share.
const OF_WORKERS: [&str; 2] = ["events", "attempts"];

/// How long it takes on two free cores of an AMD EPYC (Zen 4).
const USUAL_SECONDS: f64 = 90.0;

/// Beyond this, strikes do not get rarer: too few of them would show nothing.
const MOST_SLOWNESS: f64 = 2.0;

/// A sweep that nothing disturbed.
pub(super) struct Reference {
    folder: PathBuf,
    /// Its runs, by index.
    pub(super) names: Vec<String>,
    pub(super) seconds: f64,
}

/// Beside it: what made it.
#[derive(Serialize, Deserialize)]
struct Made {
    identity: String,
    seconds: f64,
}

impl Reference {
    /// Makes it, one run after another, unless the same program has made it before.
    pub(super) fn make(sweep: &Sweep, scratch: &Scratch) -> Result<Self> {
        let round = scratch.path("undisturbed").join(sweep.name);
        let folder = round.join(FOLDER);
        let names = sweep.names(&folder)?;
        let made = round.join("made.json");
        let identity = sweep.identity()?;
        if let Ok(before) = read_json::<Made>(&made)
            && before.identity == identity
        {
            return Ok(Self {
                folder,
                names,
                seconds: before.seconds,
            });
        }
        remove(&round)?;
        eprintln!("{}: {} runs, undisturbed", sweep.name, names.len());
        let began = Instant::now();
        let log = scratch.log(&format!("undisturbed-{}", sweep.name));
        for mut command in sweep.undisturbed(&folder, names.len()) {
            process::run_logged(&mut command, &log)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        write_json_atomic(&made, &Made { identity, seconds }).into_diagnostic()?;
        Ok(Self {
            folder,
            names,
            seconds,
        })
    }

    /// Time until workers are struck again: a random one between these, in seconds, where the sweep
    /// takes as long as on two free cores, and longer on a slower or busier machine, whose runs
    /// would not get on otherwise.
    pub(super) fn pause(&self, [least, most]: [f64; 2], chance: &mut Chance) -> Duration {
        let slowness = (self.seconds / USUAL_SECONDS).clamp(1.0, MOST_SLOWNESS);
        Duration::from_secs_f64((least + (most - least) * chance.share()) * slowness)
    }

    /// Counts what happened to the runs of a sweep, and says what is wrong with what they left.
    /// `is_stale` says whether a worker whose run was taken over lived on.
    pub(super) fn judge(
        &self,
        folder: &Path,
        disturbed: &mut Disturbed,
        is_stale: impl Fn(&Worker) -> bool,
    ) -> Result<()> {
        let mut hosts = BTreeSet::new();
        for name in &self.names {
            let (expected, found) = (self.folder.join(name), folder.join(name));
            let history = History::read(&found)?;
            let taken_over: Vec<&Worker> = history.taken_over().collect();
            disturbed.attempts += history.attempts().count() as u64;
            disturbed.stopped += history.stopped() as u64;
            disturbed.taken_over += taken_over.len() as u64;
            disturbed.stale += taken_over.iter().filter(|worker| is_stale(worker)).count() as u64;
            hosts.extend(history.attempts().map(|worker| worker.host.clone()));
            let difference = match found.is_dir() {
                true => same::difference(&OF_WORKERS, &expected, &found)?,
                false => Some("it was never begun".to_string()),
            };
            disturbed.runs += 1;
            disturbed.runs_with_the_same_bits += u64::from(difference.is_none());
            let problems = history.problem().into_iter().chain(difference);
            let told = problems.map(|problem| format!("{}: {problem}", found.display()));
            disturbed.problems.extend(told);
            if found.join("attempts").exists() {
                let told = format!("{}: attempts are left over", found.display());
                disturbed.problems.push(told);
            }
        }
        disturbed.hosts.extend(hosts);
        disturbed.problems.extend(self.report_problems(folder)?);
        Ok(())
    }

    /// What differs in the reports.
    fn report_problems(&self, folder: &Path) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for name in ["report.json", "report.md"] {
            let [expected, found] = [&self.folder, folder].map(|folder| folder.join(name));
            let is_same =
                found.is_file() && same::comparable(&expected)? == same::comparable(&found)?;
            if !is_same {
                problems.push(format!("{} is missing or differs", found.display()));
            }
        }
        Ok(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_lost_run_another_bit_and_another_table_are_problems() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [expected, found] = ["expected", "found"].map(|name| directory.path().join(name));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        for (sweep, process) in [(&expected, 1), (&found, 2)] {
            write(sweep.join("a/weights"), "bits");
            let worker = format!(r#"{{"host": "h", "process": {process}}}"#);
            let started = format!(r#"{{"event": "started", "folder": "1", "worker": {worker}}}"#);
            write(sweep.join("a/events/000001.json"), &started);
            let complete = r#"{"event": "complete", "folder": "1"}"#;
            write(sweep.join("a/events/000002.json"), complete);
            write(sweep.join("report.json"), r#"{"accuracy": 1}"#);
            write(sweep.join("report.md"), "table");
        }
        let reference = Reference {
            folder: expected,
            names: vec!["a".to_string()],
            seconds: 1.0,
        };
        let judged = |reference: &Reference| {
            let mut disturbed = Disturbed::default();
            let judged = reference.judge(&found, &mut disturbed, |_| false);
            judged.map(|()| disturbed).expect("read")
        };
        let same = judged(&reference);
        assert_eq!(same.problems, Vec::<String>::new());
        assert_eq!((same.runs, same.runs_with_the_same_bits), (1, 1));
        write(found.join("a/weights"), "bitz");
        write(found.join("report.md"), "another table");
        write(found.join("a/attempts/1/heartbeat.json"), "");
        let other = judged(&Reference {
            names: vec!["a".to_string(), "b".to_string()],
            ..reference
        });
        let told = other.problems.join("\n");
        for part in [
            "weights differs",
            "b: it was never begun",
            "b: it is not complete",
            "report.md is missing or differs",
            "attempts are left over",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert_eq!((other.runs, other.runs_with_the_same_bits), (2, 0));
    }
}
