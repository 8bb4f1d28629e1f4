//! What the rounds so far have shown: kept after each, so that a stopped task continues, and in the
//! end in `results/torture.json`.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{IntoDiagnostic, Result};
use plw_files::write_json_atomic;
use plw_record::Machine;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::interruption::Interruption;
use crate::read::read_json;
use crate::text_table::markdown;

/// What makes rounds comparable: the program, the seed, and what is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The commit that was checked out.
    pub(super) commit: String,
    /// The digest of the program.
    pub(super) program: String,
    /// The seed of all choices.
    pub(super) seed: u64,
    /// What strace says of itself; null where it is not installed, and no system call interrupts.
    pub(super) strace: Option<String>,
    /// Whether a disk was filled. A file size limit always is tried.
    pub(super) full_disk: bool,
}

/// One piece of work: interrupted again and again, then finished and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// The name of the case.
    pub(super) case: String,
    /// What interrupted it, in order.
    pub(super) interruptions: Vec<String>,
    /// What was wrong. Null where it ended with the same bits as undisturbed work.
    pub(super) problem: Option<String>,
}

/// The rounds so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rounds {
    #[serde(flatten)]
    pub(super) identity: Identity,
    pub(super) rounds: Vec<Round>,
}

impl Rounds {
    /// Those that a stopped task of the same identity left, or none.
    pub(super) fn resume(path: &Path, identity: Identity) -> Self {
        match read_json::<Self>(path) {
            Ok(before) if before.identity == identity => before,
            _ => Self {
                identity,
                rounds: Vec::new(),
            },
        }
    }

    /// Keeps another round.
    pub(super) fn add(&mut self, path: &Path, round: Round) -> Result<()> {
        self.rounds.push(round);
        write_json_atomic(path, self).into_diagnostic()
    }

    /// How many processes were killed.
    pub(super) fn kills(&self) -> u64 {
        let all = self.rounds.iter().flat_map(|round| &round.interruptions);
        all.filter(|label| Interruption::is_kill(label)).count() as u64
    }

    /// The rounds that went wrong, with their numbers.
    pub(super) fn problems(&self) -> Vec<String> {
        let rounds = self.rounds.iter().enumerate();
        let wrong = rounds.filter_map(|(number, round)| {
            let problem = round.problem.as_ref()?;
            let before = round.interruptions.join(", ");
            Some(format!(
                "round {number} ({}; {before}): {problem}",
                round.case
            ))
        });
        wrong.collect()
    }

    /// How often each interruption struck each case.
    fn counts(&self) -> BTreeMap<&str, BTreeMap<&str, u64>> {
        let mut counts = BTreeMap::<&str, BTreeMap<&str, u64>>::new();
        for round in &self.rounds {
            for label in &round.interruptions {
                let of_label = counts.entry(label).or_default();
                *of_label.entry(&round.case).or_default() += 1;
            }
        }
        counts
    }

    /// Writes what they show.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let of_case = |case: &str| {
            let rounds = self.rounds.iter().filter(|round| round.case == case);
            let same = rounds.clone().filter(|round| round.problem.is_none());
            let counts = CaseRounds {
                rounds: rounds.count(),
                with_the_same_bits: same.count(),
            };
            (case.to_string(), counts)
        };
        let record = Record {
            identity: &self.identity,
            machine: Machine::this(),
            kills: self.kills(),
            cases: Case::names().map(of_case).into(),
            interruptions: self.counts(),
            problems: self.problems(),
        };
        write_json_atomic(path, &record).into_diagnostic()
    }

    /// Interruptions by case, and rounds.
    pub(super) fn table(&self) -> String {
        let cases = Case::names();
        let row = |name: &str, values: Vec<u64>| {
            let all: u64 = values.iter().sum();
            let cells = [name.to_string()].into_iter();
            let cells = cells.chain(values.iter().chain([&all]).map(u64::to_string));
            cells.collect::<Vec<String>>()
        };
        let counts = self.counts();
        let of_label = |(label, of): (&&str, &BTreeMap<&str, u64>)| {
            let values = cases.map(|case| of.get(case).copied().unwrap_or(0));
            row(label, values.into())
        };
        let mut rows: Vec<Vec<String>> = counts.iter().map(of_label).collect();
        let rounds = |wanted: fn(&Round) -> bool| {
            let of = |case| {
                let of_case = self.rounds.iter().filter(|round| round.case == case);
                of_case.filter(|round| wanted(round)).count() as u64
            };
            cases.map(of).into()
        };
        rows.push(row("rounds", rounds(|_| true)));
        rows.push(row(
            "of these with the same bits",
            rounds(|round| round.problem.is_none()),
        ));
        let header: Vec<&str> = ["interruption"]
            .iter()
            .chain(&cases)
            .chain(&["all"])
            .copied()
            .collect();
        markdown(&header, 1, &rows)
    }
}

/// `results/torture.json`.
#[derive(Debug, Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    machine: Machine,
    kills: u64,
    cases: BTreeMap<String, CaseRounds>,
    interruptions: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
    problems: Vec<String>,
}

/// The rounds of a case.
#[derive(Debug, Serialize)]
struct CaseRounds {
    rounds: usize,
    with_the_same_bits: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(case: &str, interruptions: &[&str], problem: Option<&str>) -> Round {
        Round {
            case: case.to_string(),
            interruptions: interruptions
                .iter()
                .map(|label| label.to_string())
                .collect(),
            problem: problem.map(str::to_string),
        }
    }

    #[test]
    fn rounds_continue_where_they_were_and_problems_stand_out() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("rounds.json");
        let identity = Identity {
            commit: "c".to_string(),
            program: "p".to_string(),
            seed: 1,
            strace: None,
            full_disk: true,
        };
        let mut rounds = Rounds::resume(&path, identity.clone());
        rounds
            .add(
                &path,
                round("LoRA", &["kill before rename", "SIGTERM"], None),
            )
            .expect("written");
        rounds
            .add(
                &path,
                round("full", &["kill at any time"], Some("weights differs")),
            )
            .expect("written");
        assert_eq!(Rounds::resume(&path, identity.clone()), rounds);
        assert_eq!(rounds.kills(), 2);
        assert_eq!(
            rounds.problems(),
            ["round 1 (full; kill at any time): weights differs"]
        );
        let table = rounds.table();
        assert!(table.contains("| kill before rename") && table.contains("with the same bits"));
        let other = Identity {
            seed: 2,
            ..identity
        };
        assert!(Rounds::resume(&path, other).rounds.is_empty());
    }
}
