//! The records of a run, given as changed copies of good ones: they are read, or refused with an
//! error that names the file, in little memory.

mod predictions;
mod readers;
mod unbounded;

use std::fs;

use plw_mutate::{edited, edits, mutated, mutations, toml_of, try_all, with_little_memory};
use plw_record::{EvaluationRow, EvaluationSummary, Machine, MetricsRow, TrainingSummary};
use proptest::prelude::*;
use serde_json::{Value, json};

fn evaluation(step: u64) -> EvaluationRow {
    EvaluationRow {
        step,
        split: "validation".to_string(),
        summary: EvaluationSummary::of(&predictions::good()),
    }
}

fn metrics(step: u64) -> MetricsRow {
    MetricsRow {
        step,
        loss: 2.5,
        prompt_loss: None,
        completion_loss: Some(2.5),
        answer_loss: Some(1.5),
        grad_norm: 6.2,
        learning_rate: 2e-4,
        epoch: 0.1,
        tokens: 1200,
        tokens_computed: 1000,
        questions: 4,
        seconds: 0.5,
    }
}

fn value(of: impl serde::Serialize) -> Value {
    serde_json::to_value(of).expect("it has a JSON form")
}

#[test]
fn any_configuration_is_read_or_refused() {
    let good = json!({
        "model": "assets", "seed": 1, "learning_rate": 1e-3, "max_steps": 8, "shuffle": true,
        "lora_target_modules": ["q_proj", "v_proj"],
        "digests": {"model": "ab", "train_data": {"a.parquet": "cd", "b.parquet": "ef"}}
    });
    with_little_memory("any_configuration_is_read_or_refused", || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let cases = (mutations(), prop::option::weighted(0.2, edits(1)));
        try_all(2000, cases, |(mutations, edits)| {
            let text = toml_of(&mutated(&good, &mutations)).into_bytes();
            let text = edits.map_or(text.clone(), |edits| edited(&text, &edits, &[b"]"]));
            readers::configuration(folder.path(), &text)
        });
    });
}

#[test]
fn any_summary_is_read_or_refused() {
    let good = value(TrainingSummary {
        name: "plw-0.1".to_string(),
        config_hash: "0123456789ab".to_string(),
        steps: 8,
        initial: Some(evaluation(0)),
        last: Some(evaluation(8)),
        tokens_per_second: Some(1e4),
        machine: Machine::this(),
        ..TrainingSummary::default()
    });
    with_little_memory("any_summary_is_read_or_refused", || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        try_all(2000, mutations(), |mutations| {
            let text = mutated(&good, &mutations).to_string();
            readers::summary(folder.path(), text.as_bytes())
        });
    });
}

#[test]
fn any_logs_are_read_or_refused() {
    let rows = [
        value(metrics(1)),
        value(metrics(2)),
        value(evaluation(0)),
        value(evaluation(2)),
    ];
    with_little_memory("any_logs_are_read_or_refused", || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let constants: [&[u8]; 3] = [b"\n", b"}\n{", b"{\"step\":18446744073709551615}\n"];
        let some_edits = prop::option::weighted(0.4, edits(constants.len()));
        let cases = (0..rows.len(), mutations(), some_edits);
        try_all(2000, cases, |(row, mutations, edits)| {
            let mut rows = rows.clone();
            rows[row] = mutated(&rows[row], &mutations);
            let [metrics, evaluations] = rows.split_at(2).into();
            let log = |rows: &[Value]| {
                let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
                let edits = edits.as_deref().unwrap_or_default();
                edited(lines.as_bytes(), edits, &constants)
            };
            readers::logs(folder.path(), &log(metrics), &log(evaluations))
        });
    });
}

#[test]
fn any_name_of_the_last_checkpoint_leads_to_a_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for name in ["step-2", "step-10", ".step-12.1-0.partial", "other"] {
        fs::create_dir(folder.path().join(name)).expect("made");
    }
    let constants: [&[u8]; 6] = [b"../", b"/", b"step-", b"0", b"\xff", b"other"];
    let cases = (
        prop::sample::select(vec!["step-2\n", "step-10\n"]),
        edits(6),
    );
    with_little_memory(
        "any_name_of_the_last_checkpoint_leads_to_a_checkpoint",
        || {
            try_all(2000, cases, |(name, edits)| {
                let name = edited(name.as_bytes(), &edits, &constants);
                readers::latest(folder.path(), &name)
            });
        },
    );
}
