//! `results/check-cluster.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use miette::{IntoDiagnostic, Result};
use plw_files::write_json_atomic;
use plw_record::Machine;
use serde::Serialize;

use crate::text_table::markdown;

/// What the check has shown.
#[derive(Debug, Default, Serialize)]
pub(super) struct Record {
    pub(super) commit: String,
    pub(super) machine: Machine,
    /// The seed of all choices.
    pub(super) seed: u64,
    /// The runs of a sweep.
    pub(super) runs: u64,
    /// How long an undisturbed sweep takes.
    pub(super) undisturbed_seconds: f64,
    pub(super) local: Option<Disturbed>,
    pub(super) slurm: Option<Slurm>,
    /// Runs that two processes share, on two nodes.
    pub(super) processes: Option<Slurm>,
    pub(super) kubernetes: Option<Kubernetes>,
    pub(super) seconds: f64,
}

/// Sweeps that were disturbed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Disturbed {
    /// Whole sweeps.
    pub(super) sweeps: u64,
    /// How often what was done to the workers.
    pub(super) strikes: BTreeMap<&'static str, u64>,
    /// Runs of all the sweeps.
    pub(super) runs: u64,
    pub(super) runs_with_the_same_bits: u64,
    /// Attempts at these runs.
    pub(super) attempts: u64,
    /// Attempts that stopped at a checkpoint and said so.
    pub(super) stopped: u64,
    /// Attempts whose run another worker took over without a word of theirs.
    pub(super) taken_over: u64,
    /// Workers among these that lived on.
    pub(super) stale: u64,
    /// Where workers ran.
    pub(super) hosts: BTreeSet<String>,
    pub(super) seconds: f64,
    pub(super) problems: Vec<String>,
}

impl Disturbed {
    /// Counts something that was done.
    pub(super) fn struck(&mut self, label: &'static str) {
        *self.strikes.entry(label).or_default() += 1;
    }
}

/// What ran under Slurm.
#[derive(Debug, Serialize)]
pub(super) struct Slurm {
    /// What sbatch says of itself.
    pub(super) version: String,
    /// How often a task of the array was put back into the queue.
    pub(super) requeues: u64,
    /// How often Slurm held such a task until it was released by hand.
    pub(super) releases: u64,
    #[serde(flatten)]
    pub(super) disturbed: Disturbed,
}

/// What was done with the Kubernetes manifest.
#[derive(Debug, Serialize)]
pub(super) struct Kubernetes {
    /// The version of Kubernetes whose schema the manifest meets.
    pub(super) schema: String,
    /// Containers' commands that were run by hand.
    pub(super) containers: u64,
    #[serde(flatten)]
    pub(super) disturbed: Disturbed,
}

impl Record {
    fn parts(&self) -> impl Iterator<Item = (&'static str, &Disturbed)> {
        let [slurm, processes] =
            [&self.slurm, &self.processes].map(|part| part.as_ref().map(|part| &part.disturbed));
        let kubernetes = self.kubernetes.as_ref().map(|part| &part.disturbed);
        let parts = [
            ("local", self.local.as_ref()),
            ("slurm", slurm),
            ("processes", processes),
            ("kubernetes", kubernetes),
        ];
        parts
            .into_iter()
            .filter_map(|(name, part)| part.map(|part| (name, part)))
    }

    /// All that went wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        let told = |(name, part): (&str, &Disturbed)| {
            let told = part.problems.iter();
            told.map(|problem| format!("{name}: {problem}"))
                .collect::<Vec<_>>()
        };
        self.parts().flat_map(told).collect()
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        write_json_atomic(path, self).into_diagnostic()
    }

    /// The counts, as Markdown.
    pub(super) fn table(&self) -> String {
        let parts: Vec<(&str, &Disturbed)> = self.parts().collect();
        let row = |name: &str, value: &dyn Fn(&Disturbed) -> u64| {
            let values = parts.iter().map(|(_, part)| value(part).to_string());
            std::iter::once(name.to_string()).chain(values).collect()
        };
        let labels: BTreeSet<&str> = parts
            .iter()
            .flat_map(|(_, part)| part.strikes.keys().copied())
            .collect();
        let of_label = |label: &&str| {
            row(label, &|part| {
                part.strikes.get(*label).copied().unwrap_or(0)
            })
        };
        let mut rows: Vec<Vec<String>> = labels.iter().map(of_label).collect();
        rows.extend([
            row("runs", &|part| part.runs),
            row("of these with the same bits", &|part| {
                part.runs_with_the_same_bits
            }),
            row("attempts", &|part| part.attempts),
            row("stopped at a checkpoint", &|part| part.stopped),
            row("taken over", &|part| part.taken_over),
            row("of these from a live worker", &|part| part.stale),
            row("seconds", &|part| part.seconds.round() as u64),
        ]);
        let names = parts.iter().map(|(name, _)| *name);
        let header: Vec<&str> = std::iter::once("done to workers").chain(names).collect();
        markdown(&header, 1, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_counts_every_part_and_problems_say_theirs() {
        let mut local = Disturbed::default();
        local.struck("SIGKILL");
        local.struck("SIGKILL");
        let mut slurm = Disturbed::default();
        slurm.struck("pre-empted");
        slurm.problems.push("a run is lost".to_string());
        let record = Record {
            local: Some(local),
            slurm: Some(Slurm {
                version: "slurm 22.05".to_string(),
                requeues: 1,
                releases: 0,
                disturbed: slurm,
            }),
            ..Record::default()
        };
        let table = record.table();
        let header = table.lines().next().expect("a header");
        assert!(header.contains("| local | slurm |"), "{table}");
        let kills = table.lines().find(|line| line.starts_with("| SIGKILL"));
        assert!(kills.is_some_and(|line| line.ends_with("|     2 |     0 |")));
        assert_eq!(record.problems(), ["slurm: a run is lost"]);
    }
}
