//! Reports of records of which one is a changed copy: the report is made, with that run or without
//! it, or refused with an error that says what to give.

#[path = "../demo_sweep/mod.rs"]
mod demo_sweep;
mod readers;

use std::fs;
use std::path::Path;

use demo_sweep::{write_completion_sweep, write_sweep};
use plw_mutate::{edited, edits, mutated, mutations, toml_of, try_all};
use plw_record::RunDirectory;
use serde_json::Value;

#[test]
fn a_report_of_any_records_is_made_or_refused() {
    try_changes(|sweep| write_sweep(sweep, &[0.0, 1.0], 2, 2).expect("written"));
}

#[test]
fn a_report_of_any_records_without_questions_is_made_or_refused() {
    try_changes(|sweep| write_completion_sweep(sweep, &[0.0, 1.0], 2, 4).expect("written"));
}

fn try_changes(write: impl Fn(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let sweep = folder.path().join("sweep");
    write(&sweep);
    let run = RunDirectory::new(sweep.join("plw-0-seed-1"));
    let files = [
        run.summary(),
        run.config(),
        run.metrics(),
        run.evaluations(),
        run.predictions(200),
        run.predictions(0),
    ];
    let good: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(file).expect("there"))
        .collect();
    let constants: [&[u8]; 4] = [b"1e308", b"-", b"\xff\xff\xff\x7f", b"\n"];
    let cases = (0..files.len() + 3, mutations(), edits(constants.len()));
    try_all(2000, cases, |(number, mutations, edits)| {
        // Most changes are of what most of a report is made from.
        let number = number.saturating_sub(3);
        let changed = match number {
            0 => {
                let summary: Value = serde_json::from_slice(&good[0]).expect("JSON");
                mutated(&summary, &mutations).to_string().into_bytes()
            }
            1 => {
                let text = String::from_utf8_lossy(&good[1]);
                let config: Value = toml::from_str(&text).expect("TOML");
                toml_of(&mutated(&config, &mutations)).into_bytes()
            }
            2 | 3 => {
                let text = String::from_utf8_lossy(&good[number]);
                let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
                let row: Value = serde_json::from_str(&lines[1]).expect("JSON");
                lines[1] = mutated(&row, &mutations).to_string();
                (lines.join("\n") + "\n").into_bytes()
            }
            _ => edited(&good[number], &edits, &constants),
        };
        fs::write(&files[number], changed).expect("written");
        let report = readers::report(&sweep);
        fs::write(&files[number], &good[number]).expect("written");
        report
    });
}
