//! Results that were really obtained and are kept in `results/`, and how another machine's compare
//! with them.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_files::write_json_atomic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::read::read_json;
use crate::text_table::markdown;

/// `results/PRESET.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommittedResult {
    /// The preset's name.
    pub(crate) preset: String,
    /// The preset's text.
    pub(crate) settings: String,
    /// The commit that was checked out.
    pub(crate) commit: String,
    /// What `plw --version` said.
    pub(crate) version: String,
    /// What `plw report` computed, the machine included.
    pub(crate) report: Value,
}

impl CommittedResult {
    /// Writes it, atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write_json_atomic(path, self).into_diagnostic()
    }

    /// Reads it, if it is there.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        read_json(path).map(Some)
    }
}

/// What of a report is compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Figures {
    sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Section {
    settings: BTreeMap<String, String>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Group {
    label: String,
    /// Not there where no question was asked.
    accuracy: Option<Estimate>,
    completion_loss: Option<Estimate>,
}

impl Group {
    /// What its runs are judged by.
    fn metric(&self) -> Metric {
        match self.accuracy {
            Some(_) => Metric::Accuracy,
            None => Metric::CompletionLoss,
        }
    }

    /// What that metric says.
    fn estimate(&self) -> Option<&Estimate> {
        self.accuracy.as_ref().or(self.completion_loss.as_ref())
    }
}

/// What runs are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// A share of questions.
    Accuracy,
    /// In nats a token, of runs that were asked no question.
    CompletionLoss,
}

impl Metric {
    fn number(self, value: f64) -> String {
        match self {
            Self::Accuracy => format!("{:.1}", 100.0 * value),
            Self::CompletionLoss => format!("{value:.4}"),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Accuracy => "%",
            Self::CompletionLoss => "nats",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Estimate {
    mean: f64,
    per_run: Vec<f64>,
    seed_interval: Option<[f64; 2]>,
    article_interval: Option<[f64; 2]>,
}

impl Estimate {
    /// The interval over seeds; with one run, which has none, that over passages.
    fn interval(&self) -> Option<[f64; 2]> {
        self.seed_interval.or(self.article_interval)
    }
}

/// One weight here and in the committed result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compared {
    /// The weight, and the settings that tell the section from others.
    pub(crate) label: String,
    /// What is compared.
    pub(crate) metric: Metric,
    /// The mean here, and over how many runs.
    pub(crate) here: (f64, usize),
    /// The committed mean, and over how many runs.
    pub(crate) committed: (f64, usize),
    /// The committed 95 % interval.
    pub(crate) interval: Option<[f64; 2]>,
}

impl Compared {
    /// Whether the mean here lies within the committed interval.
    pub(crate) fn is_within(&self) -> Option<bool> {
        let [low, high] = self.interval?;
        Some((low..=high).contains(&self.here.0))
    }
}

/// The weights that both have.
pub(crate) fn compare(here: &Value, committed: &Value) -> Result<Vec<Compared>> {
    let figures = |report: &Value| Figures::deserialize(report).into_diagnostic();
    let here = figures(here).wrap_err("the report has another form than expected")?;
    let committed =
        figures(committed).wrap_err("the committed result has another form than expected")?;
    let mut compared = Vec::new();
    for section in &here.sections {
        let metric = |section: &Section| section.groups.first().map(Group::metric);
        let same = |other: &&Section| {
            other.settings == section.settings && metric(other) == metric(section)
        };
        let Some(other) = committed.sections.iter().find(same) else {
            continue;
        };
        let settings: String = section
            .settings
            .iter()
            .map(|(name, value)| format!(", {name} {value}"))
            .collect();
        for group in &section.groups {
            let is_same =
                |kept: &&Group| kept.label == group.label && kept.metric() == group.metric();
            let kept = other.groups.iter().find(is_same).and_then(Group::estimate);
            let (Some(found), Some(kept)) = (group.estimate(), kept) else {
                continue;
            };
            compared.push(Compared {
                label: format!("{}{settings}", group.label),
                metric: group.metric(),
                here: (found.mean, found.per_run.len()),
                committed: (kept.mean, kept.per_run.len()),
                interval: kept.interval(),
            });
        }
    }
    Ok(compared)
}

/// The comparison as a table.
pub(crate) fn table(compared: &[Compared]) -> String {
    let cells = |row: &Compared| {
        let (metric, unit) = (row.metric, row.metric.unit());
        let mean =
            |(mean, runs): (f64, usize)| format!("{} {unit} (n = {runs})", metric.number(mean));
        let interval = row.interval.map_or("none".to_string(), |[low, high]| {
            format!("{} to {} {unit}", metric.number(low), metric.number(high))
        });
        let within = match row.is_within() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let label = row.label.clone();
        vec![
            label,
            mean(row.here),
            mean(row.committed),
            interval,
            within.to_string(),
        ]
    };
    let header = ["weight", "here", "committed", "95 % interval", "within"];
    let rows: Vec<_> = compared.iter().map(cells).collect();
    markdown(&header, header.len(), &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Label, accuracies, interval over seeds.
    type Case<'a> = (&'a str, &'a [f64], Option<[f64; 2]>);

    fn report(groups: &[Case]) -> Value {
        let groups: Vec<Value> = groups
            .iter()
            .map(|(label, runs, seed_interval)| {
                let mean = runs.iter().sum::<f64>() / runs.len() as f64;
                let accuracy = json!({
                    "mean": mean, "per_run": runs, "seed_interval": seed_interval,
                    "article_interval": [0.4, 0.6],
                });
                json!({"label": label, "accuracy": accuracy, "weight": 0.0})
            })
            .collect();
        json!({"name": "default", "sections": [{"settings": {}, "groups": groups}], "machines": []})
    }

    #[test]
    fn weights_are_matched_and_judged_by_the_committed_interval() {
        let here = report(&[
            ("0", &[0.5, 0.7], None),
            ("0.1", &[0.7], None),
            ("0.5", &[0.1], None),
        ]);
        let committed = report(&[
            ("0.1", &[0.5], None),
            ("0", &[0.55, 0.65], Some([0.52, 0.68])),
            ("1", &[0.2], None),
        ]);
        let compared = compare(&here, &committed).expect("both are reports");
        let judged: Vec<_> = compared
            .iter()
            .map(|row| (row.label.as_str(), row.is_within()))
            .collect();
        assert_eq!(judged, [("0", Some(true)), ("0.1", Some(false))]);
        assert_eq!((compared[0].here, compared[0].committed.1), ((0.6, 2), 2));
        let text = table(&compared);
        assert!(
            text.contains("| 70.0 % (n = 1) | 50.0 % (n = 1) | 40.0 to 60.0 % | no "),
            "{text}"
        );
    }

    #[test]
    fn completion_losses_are_compared_where_nothing_was_asked() {
        let section = |losses: &[f64], accuracy: Option<Value>| {
            let loss = json!({
                "mean": losses[0], "per_run": losses, "seed_interval": null,
                "article_interval": [1.2, 1.3],
            });
            let mut group = json!({"label": "0.1", "completion_loss": loss});
            if let Some(accuracy) = accuracy {
                group["accuracy"] = accuracy;
            }
            json!({"settings": {}, "groups": [group]})
        };
        let accuracy = json!({"mean": 0.5, "per_run": [0.5], "seed_interval": null,
            "article_interval": null});
        let here = json!({"sections": [section(&[1.25], None)]});
        let committed =
            json!({"sections": [section(&[1.0], Some(accuracy)), section(&[1.22], None)]});
        let compared = compare(&here, &committed).expect("both are reports");
        let text = table(&compared);
        assert!(
            text.contains(
                "| 1.2500 nats (n = 1) | 1.2200 nats (n = 1) | 1.2000 to 1.3000 nats | yes "
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let here = report(&[("0", &[0.5], None)]);
        let message = format!(
            "{:?}",
            compare(&here, &json!({"groups": []})).expect_err("refused")
        );
        assert!(message.contains("committed result"), "{message}");
    }

    #[test]
    fn a_result_reads_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("results/smoke.json");
        assert_eq!(CommittedResult::read(&path).expect("none"), None);
        let result = CommittedResult {
            preset: "smoke".to_string(),
            settings: "max_steps = 3\n".to_string(),
            commit: "7ab2d82".to_string(),
            version: "plw 0.1.0".to_string(),
            report: report(&[("0", &[0.5], None)]),
        };
        result.write(&path).expect("written");
        assert_eq!(CommittedResult::read(&path).expect("read"), Some(result));
    }
}
