//! The time of a step, and what of it the sums of gradients take.

use std::fs;
use std::path::Path;

use miette::{IntoDiagnostic, Result, miette};
use plw_record::RunDirectory;
use serde::Serialize;
use serde_json::Value;

use super::launch::{Job, Place};
use crate::peer::scratch::Scratch;
use crate::process;
use crate::text_table::markdown;
use crate::workspace::Workspace;

const PRESET: &str = "experiments/parallel/timing.toml";

/// Runs of each kind. Of each step the fastest of them counts: other work on the machine only slows
/// steps down.
const REPETITIONS: usize = 3;

/// The first steps, which are not counted.
const WARM_UP: usize = 2;

/// What is timed: a name, and the flags beside the preset's.
const RUNS: [(&str, &[&str]); 3] = [
    ("full", &[]),
    ("full, recomputed", &["--gradient-checkpointing=true"]),
    ("LoRA r=8", &["--lora-r=8"]),
];

/// Steps of a number of processes, with one thread in each.
#[derive(Debug, Serialize)]
pub(super) struct Timing {
    what: String,
    processes: usize,
    /// The mean over the steps after the first two.
    seconds_a_step: f64,
    /// The time of one process, divided by that of these and by their number.
    efficiency: f64,
    /// Bytes that a process sends in a step.
    bytes_a_step: u64,
    /// What the sums take of all steps in the process that waits least, and in the one that waits
    /// most: communication, and communication with the wait for the slowest process.
    share_of_sums: [f64; 2],
}

pub(super) fn measure(workspace: &Workspace, plw: &Path, scratch: &Scratch) -> Result<Vec<Timing>> {
    let mut timings: Vec<Timing> = Vec::new();
    for (name, flags) in RUNS {
        let mut alone = None;
        for processes in [1, 2] {
            let mut runs = Vec::new();
            for repetition in 0..REPETITIONS {
                eprintln!("timing: {name}, {processes} processes, {repetition}");
                runs.push(time(workspace, plw, scratch, name, flags, processes)?);
            }
            let seconds_a_step =
                fastest(&runs).ok_or_else(|| miette!("{name} took too few steps to time"))?;
            let one = *alone.get_or_insert(seconds_a_step);
            let quickest = runs
                .into_iter()
                .min_by(|a, b| a.total().total_cmp(&b.total()));
            let Some(Timed {
                share_of_sums,
                bytes_a_step,
                ..
            }) = quickest
            else {
                continue;
            };
            timings.push(Timing {
                what: name.to_string(),
                processes,
                seconds_a_step,
                efficiency: one / seconds_a_step / processes as f64,
                bytes_a_step,
                share_of_sums,
            });
        }
    }
    Ok(timings)
}

/// A run that was timed.
struct Timed {
    /// Of each step.
    seconds: Vec<f64>,
    bytes_a_step: u64,
    share_of_sums: [f64; 2],
}

impl Timed {
    fn total(&self) -> f64 {
        self.seconds.iter().sum()
    }
}

/// The mean over the steps after the first ones of the fastest that each step was.
fn fastest(runs: &[Timed]) -> Option<f64> {
    let steps = runs.iter().map(|run| run.seconds.len()).min()?;
    let of = |step: usize| {
        runs.iter()
            .map(|run| run.seconds[step])
            .fold(f64::MAX, f64::min)
    };
    let counted: Vec<f64> = (WARM_UP..steps).map(of).collect();
    (!counted.is_empty()).then(|| counted.iter().sum::<f64>() / counted.len() as f64)
}

fn time(
    workspace: &Workspace,
    plw: &Path,
    scratch: &Scratch,
    name: &str,
    flags: &[&str],
    processes: usize,
) -> Result<Timed> {
    let id = format!("timing-{}-{processes}", name.replace([' ', ',', '='], "-"));
    let records = scratch.empty_run(&id)?;
    let mut job = Job::of_preset(
        workspace,
        plw,
        Place::Processes(processes),
        PRESET,
        &records,
    );
    job.command.args(flags);
    let log = scratch.log(&id);
    process::run_logged(&mut job.command, &log)?;
    let rows = RunDirectory::new(&records)
        .read_metrics()
        .into_diagnostic()?;
    let log = fs::read_to_string(log.with_extension("err")).into_diagnostic()?;
    let (share_of_sums, bytes) = sums(&log);
    Ok(Timed {
        bytes_a_step: bytes / rows.len().max(1) as u64,
        seconds: rows.iter().map(|row| row.seconds).collect(),
        share_of_sums,
    })
}

/// What the log says of the sums: shares of the steps' time, and bytes. Nothing of one process.
fn sums(log: &str) -> ([f64; 2], u64) {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut fields = lines.map(|line| line["fields"].clone());
    let Some(said) = fields.find(|fields| fields["sum_bytes"].is_u64()) else {
        return ([0.0; 2], 0);
    };
    let number = |name: &str| said[name].as_f64().unwrap_or(f64::NAN);
    let shares = ["sum_seconds_least", "sum_seconds_most"];
    (
        shares.map(|name| number(name) / number("seconds")),
        said["sum_bytes"].as_u64().unwrap_or(0),
    )
}

pub(super) fn table(timings: &[Timing]) -> String {
    let rows: Vec<Vec<String>> = timings
        .iter()
        .map(|row| {
            let [least, most] = row.share_of_sums.map(|share| 100.0 * share);
            vec![
                row.what.clone(),
                row.processes.to_string(),
                format!("{:.3} s", row.seconds_a_step),
                format!("{:.0} %", 100.0 * row.efficiency),
                format!("{:.1} MB", row.bytes_a_step as f64 / 1e6),
                format!("{least:.1} to {most:.1} %"),
            ]
        })
        .collect();
    let header = [
        "run",
        "processes",
        "a step",
        "efficiency",
        "sent a step",
        "share of sums",
    ];
    markdown(&header, 1, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_counts_as_fast_as_it_was() {
        let run = |seconds: [f64; 4]| Timed {
            seconds: seconds.to_vec(),
            bytes_a_step: 0,
            share_of_sums: [0.0; 2],
        };
        let runs = [run([9.0, 9.0, 1.0, 5.0]), run([1.0, 1.0, 2.0, 2.0])];
        assert_eq!(fastest(&runs), Some(1.5));
        assert_eq!(fastest(&[]), None);
    }

    #[test]
    fn the_log_tells_what_sums_took() {
        let line = r#"{"fields":{"sum_seconds_least":1.0,"sum_seconds_most":2.5,"seconds":10.0,
            "sum_bytes":700}}"#
            .replace('\n', " ");
        let log = format!("no JSON\n{{\"fields\":{{}}}}\n{line}\n");
        assert_eq!(sums(&log), ([0.1, 0.25], 700));
        assert_eq!(sums("{}"), ([0.0; 2], 0));
    }
}
