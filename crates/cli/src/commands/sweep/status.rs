//! `plw sweep --status DIR`: how far each run is.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use miette::{IntoDiagnostic, miette};
use plw_report::printable;
use plw_sweep::{RunStatus, State, TRY_AGAIN, status};

use crate::failure::Failure;
use crate::flags::SweepFlags;
use crate::output::{Reader, print, print_styled};

/// How often the screen is drawn again.
const DRAW_AGAIN: Duration = Duration::from_secs(2);

/// Moves to the top left of the terminal and clears it.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Exits with 75 for a run that is not complete, where one is asked for.
pub(super) fn run(sweep: &Path, flags: &SweepFlags) -> Result<ExitCode, Failure> {
    let mut runs = status(sweep).map_err(Failure::of_sweep)?;
    if let Some(index) = flags.index {
        let last = runs.len().saturating_sub(1);
        runs.retain(|run| run.index == index);
        if runs.is_empty() {
            return Err(Failure::never(miette!(
                "there is no run of index {index}: the sweep has runs 0 to {last}"
            )));
        }
    }
    if flags.json {
        let text = serde_json::to_string_pretty(&runs).into_diagnostic()?;
        print(&(text + "\n"))?;
    } else if flags.watch {
        watch(sweep)?;
    } else {
        print(&table(&runs))?;
    }
    let is_complete = |run: &RunStatus| run.state == State::Complete;
    Ok(
        match flags.index.is_none() || runs.iter().all(is_complete) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(TRY_AGAIN),
        },
    )
}

/// Shows the table until nothing is left to do: on a terminal again and again in one place,
/// elsewhere whenever something is new.
fn watch(sweep: &Path) -> Result<(), Failure> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut shown = String::new();
    loop {
        let runs = status(sweep).map_err(Failure::of_sweep)?;
        let now = table(&runs);
        if now != shown {
            let reader = match is_terminal {
                true => print_styled(&format!("{CLEAR}{}", printable(&now)))?,
                false => print(&format!("{now}\n"))?,
            };
            if reader == Reader::Gone {
                return Ok(());
            }
            shown = now;
        }
        let is_over = |run: &RunStatus| matches!(run.state, State::Complete | State::Failed);
        if runs.iter().all(is_over) {
            return Ok(());
        }
        sleep(DRAW_AGAIN);
    }
}

/// A line for each run, and how many there are of each state.
fn table(runs: &[RunStatus]) -> String {
    let header = [
        "run", "name", "state", "step", "left", "attempt", "worker", "reason",
    ];
    let mut rows = vec![header.map(str::to_string)];
    rows.extend(runs.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text + &counts(runs) + "\n"
}

/// How many runs there are of each state.
pub(super) fn counts(runs: &[RunStatus]) -> String {
    let states = [
        State::Complete,
        State::Running,
        State::Silent,
        State::Stopped,
        State::Failed,
        State::Waiting,
    ];
    let counts = states.iter().filter_map(|&state| {
        let count = runs.iter().filter(|run| run.state == state).count();
        (count > 0).then(|| format!("{count} {}", state.name()))
    });
    let counts: Vec<String> = counts.collect();
    let noun = if runs.len() == 1 { "run" } else { "runs" };
    format!("{} {noun}: {}", runs.len(), counts.join(", "))
}

fn row(run: &RunStatus) -> [String; 8] {
    let or_nothing = |text: Option<String>| text.unwrap_or_default();
    let state = match &run.phase {
        Some(phase) if phase != "training" => format!("{}: {phase}", run.state.name()),
        _ => run.state.name().to_string(),
    };
    let step = run.step.map(|step| match run.total_steps {
        Some(total) => format!("{step}/{total}"),
        None => step.to_string(),
    });
    let is_over = run.state == State::Complete;
    let worker = run.worker.as_ref().filter(|_| !is_over);
    [
        run.index.to_string(),
        run.name.clone(),
        state,
        or_nothing(step),
        or_nothing(run.seconds_left.map(duration)),
        run.attempts.to_string(),
        or_nothing(worker.map(|worker| format!("{}:{}", worker.host, worker.process))),
        or_nothing(run.reason.as_deref().map(shortened)),
    ]
}

/// Letters of a reason's beginning and of its end, where the cause is. JSON has all of it.
const SHOWN_OF_REASON: [usize; 2] = [30, 60];

fn shortened(reason: &str) -> String {
    let [first, last] = SHOWN_OF_REASON;
    let letters: Vec<char> = reason.chars().collect();
    if letters.len() <= first + last {
        return reason.to_string();
    }
    let text = |letters: &[char]| letters.iter().collect::<String>();
    format!(
        "{} ... {}",
        text(&letters[..first]),
        text(&letters[letters.len() - last..])
    )
}

/// Seconds as people read them: `42 s`, `7 min`, `3.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 100.0 => format!("{seconds:.0} s"),
        seconds if seconds < 6000.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_sweep::Worker;

    #[test]
    fn a_table_tells_what_there_is_to_know() {
        let waiting = RunStatus {
            index: 0,
            name: "seed-1_plw-0".to_string(),
            state: State::Waiting,
            attempts: 0,
            worker: None,
            phase: None,
            step: None,
            total_steps: None,
            seconds_left: None,
            reason: None,
        };
        let running = RunStatus {
            index: 1,
            state: State::Running,
            attempts: 2,
            worker: Some(Worker {
                host: "node-7".to_string(),
                process: 42,
                start: None,
                numbered_in: None,
            }),
            step: Some(30),
            total_steps: Some(120),
            seconds_left: Some(450.0),
            phase: Some("evaluating".to_string()),
            ..waiting.clone()
        };
        let text = table(&[waiting, running]);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1], ["0", "seed-1_plw-0", "waiting", "0"]);
        let words = [
            "running:",
            "evaluating",
            "30/120",
            "8",
            "min",
            "2",
            "node-7:42",
        ];
        assert_eq!(lines[2][2..], words);
        assert_eq!(lines[3].join(" "), "2 runs: 1 running, 1 waiting");
        assert_eq!(
            (duration(99.4), duration(36000.0)),
            ("99 s".into(), "10.0 h".into())
        );
    }
}
