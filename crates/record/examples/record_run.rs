//! Writes a small run to a temporary directory, reads it back and prints what it finds:
//! `cargo run --release --example record_run`.

use std::error::Error;
use std::fs;

use plw_batch::ExampleKey;
use plw_record::{
    EvaluationRow, EvaluationSummary, Machine, MetricsRow, PredictionRow, RunConfig, RunDirectory,
    TrainingSummary, append_evaluation, append_metrics, read_predictions, write_predictions,
};
use serde::Serialize;

/// The settings of the run: any type that serde can write.
#[derive(Serialize)]
struct Settings {
    learning_rate: f64,
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = RunConfig::of(&Settings {
        learning_rate: 2e-4,
        seed: 1,
    })?;
    let sweep = std::env::temp_dir().join("plw-record-example");
    if sweep.exists() {
        fs::remove_dir_all(&sweep)?;
    }
    let run = RunDirectory::new(sweep.join(config.hash()));
    let lock = run.create()?;
    config.write(run.config())?;

    for step in 1..=3 {
        append_metrics(run.metrics(), &metrics(step))?;
    }
    let predictions: Vec<PredictionRow> = (0..4).map(prediction).collect();
    write_predictions(run.predictions(3), &predictions)?;
    let evaluation = EvaluationRow {
        step: 3,
        split: "validation".to_string(),
        summary: EvaluationSummary::of(&predictions),
    };
    append_evaluation(run.evaluations(), &evaluation)?;
    let summary = TrainingSummary {
        name: run.name(),
        config_hash: config.hash(),
        steps: 3,
        last: Some(evaluation),
        machine: Machine::this(),
        ..TrainingSummary::default()
    };
    run.write_summary(&summary)?;
    drop(lock);

    for run in RunDirectory::all_in(&sweep)? {
        let losses: Vec<f64> = run.read_metrics()?.iter().map(|row| row.loss).collect();
        println!("{}", run.path.display());
        println!("  complete: {}, losses: {losses:?}", run.is_complete());
        let predictions = read_predictions(run.predictions(3))?;
        let accuracy = EvaluationSummary::of(&predictions).accuracy;
        println!(
            "  {} of {} questions correct, 95 % interval {:.2?}",
            accuracy.correct, accuracy.questions, accuracy.accuracy_interval
        );
    }
    Ok(())
}

fn metrics(step: u64) -> MetricsRow {
    MetricsRow {
        step,
        loss: 3.0 / step as f64,
        prompt_loss: None,
        completion_loss: Some(3.0 / step as f64),
        answer_loss: None,
        grad_norm: 1.0,
        learning_rate: 2e-4,
        epoch: 0.1 * step as f64,
        tokens: 1200,
        tokens_computed: 1200,
        questions: 4,
        seconds: 0.5,
    }
}

fn prediction(row: u64) -> PredictionRow {
    PredictionRow {
        key: ExampleKey {
            file: "validation.parquet".into(),
            row,
            example_id: "passage-1".to_string(),
            level: "middle".into(),
            answer: Some('B'),
        },
        choice: Some(if row == 0 { 'A' } else { 'B' }),
        logits: vec![0.5, 1.5],
        argmax_is_answer: row > 0,
        prompt_loss: None,
        completion_loss: Some(0.25),
        answer_loss: Some(0.25),
        completion_tokens: Some(2),
    }
}
