//! Reports of runs that were asked no question: completion loss instead of accuracy.

#[allow(dead_code, reason = "other tests use more of it")]
mod demo_sweep;

use std::error::Error;
use std::fs;
use std::path::Path;

use demo_sweep::{
    DemoRun, completion_loss, completions, write_completion_sweep, write_run, write_sweep,
};
use plw_record::{EvaluationSummary, RunDirectory, read_predictions, write_predictions};
use plw_report::{
    AnalysisOptions, Metric, Report, ReportError, Scores, analyze, figures, read_sweep, text,
    write_report,
};

type TestResult = Result<(), Box<dyn Error>>;

fn report(sweep: &Path) -> Result<Report, ReportError> {
    let options = AnalysisOptions {
        resamples: 999,
        seed: 0,
    };
    Ok(analyze(&read_sweep(sweep)?, &options))
}

#[test]
fn a_sweep_without_questions_becomes_a_page_of_losses() -> TestResult {
    let directory = tempfile::tempdir()?;
    let sweep = directory.path().join("weights");
    write_completion_sweep(&sweep, &[0.0, 0.1, 1.0], 3, 60)?;
    let page = directory.path().join("out/report.html");
    let report = write_report(&sweep, &page)?;
    let section = &report.sections[0];
    assert_eq!((report.sections.len(), report.incomplete.len()), (1, 0));
    assert_eq!(section.metric, Metric::CompletionLoss);
    // One of the 61 conversations has no token that counts, and each is a cluster of its own.
    assert_eq!(
        (
            section.questions,
            section.examples,
            section.passages,
            section.chance
        ),
        (0, Some(60), 60, None)
    );
    let [warning] = report.warnings.as_slice() else {
        panic!("{:?}", report.warnings)
    };
    assert!(warning.contains("1 of 61 examples"), "{warning}");
    for group in &section.groups {
        let Scores::Completions(scores) = &group.scores else {
            panic!("{group:?}")
        };
        let loss = &scores.completion_loss;
        let mean = loss.over_seeds.per_run.iter().sum::<f64>() / 3.0;
        assert_eq!(scores.perplexity, loss.over_seeds.mean.exp());
        let intervals = [loss.over_seeds.seed_interval, loss.passage_interval];
        for [low, high] in intervals.map(|bounds| bounds.expect("three seeds, sixty examples")) {
            assert!(low < mean && mean < high, "{group:?}");
        }
        for (name, found) in group.runs.iter().zip(&loss.over_seeds.per_run) {
            let rows = read_predictions(RunDirectory::new(sweep.join(name)).predictions(200))?;
            assert!((found - completion_loss(&rows)).abs() < 1e-12, "{name}");
        }
    }
    // The baseline is weight 1; the best, of the lowest loss, is also set against 0.
    let pairs: Vec<(&str, &str, bool)> = section
        .comparisons
        .iter()
        .map(|c| (c.group.as_str(), c.against.as_str(), c.chosen_as_best))
        .collect();
    assert_eq!(
        pairs,
        [("0", "1", false), ("0.1", "1", false), ("0.1", "0", true)]
    );
    let best = &section.comparisons[1];
    assert_eq!((best.questions, best.examples), (0, Some(60)));
    let means = [1, 2].map(|group: usize| section.groups[group].estimate().over_seeds.mean);
    assert!(
        (best.difference - (means[0] - means[1])).abs() < 1e-12,
        "{best:?}"
    );
    assert!(best.difference < 0.0 && best.passage_interval.is_some_and(|[_, high]| high < 0.0));
    assert!(best.permutation_p <= best.holm_p && best.holm_p < 0.05);
    let over_seeds = best.over_seeds.as_ref().ok_or("three seeds")?;
    assert!((over_seeds.difference - best.difference).abs() < 1e-12);

    let html = fs::read_to_string(&page)?;
    assert_eq!(html.matches("<svg").count(), 4);
    for there in [
        "perplexity",
        "id=\"completion-loss\"",
        "id=\"completion-loss-over-steps\"",
    ] {
        assert!(html.contains(there), "{there}");
    }
    for absent in ["ccuracy", "question", "passages)", "uessing"] {
        assert!(!html.contains(absent), "{absent}");
    }
    let json: serde_json::Value = serde_json::from_slice(&fs::read(page.with_extension("json"))?)?;
    let section = &json["sections"][0];
    assert_eq!(section["metric"], "completion_loss");
    assert!(section["groups"][1]["completion_loss"]["article_interval"][0].is_f64());
    assert!(section["groups"][1].get("accuracy").is_none());
    // It is known as a report, and replaced.
    write_report(&sweep, &page)?;
    Ok(())
}

#[test]
fn findings_and_tables_tell_of_losses() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_completion_sweep(directory.path(), &[0.0, 0.1, 1.0], 2, 40)?;
    let text = text(&report(directory.path())?);
    for says in [
        "Completion loss in nats a token on 40 validation examples\n",
        "prompt loss weight  seeds  completion loss   95 % over seeds  95 % over examples  ",
        "  perplexity  prompt loss\n",
        "Differences in completion loss, in nats, paired by example",
        "The lowest completion loss is 0.",
        " nats a token at prompt loss weight 0.1 (perplexity 1.",
        "Weight 0.1 minus weight 1: -0.0",
        "more than the choice of examples explains at the 5 % level",
        "The best weight was chosen on the same validation examples that its completion loss is",
        "Before training the completion loss is 1.",
    ] {
        assert!(text.contains(says), "{says:?} in {text}");
    }
    for absent in ["ccuracy", "question", "uessing"] {
        assert!(!text.contains(absent), "{absent:?} in {text}");
    }
    Ok(())
}

#[test]
fn runs_with_and_without_questions_have_sections_of_their_own() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 2, 12)?;
    let alone = report(directory.path())?;
    let demo = DemoRun {
        name: "conversations".to_string(),
        config: "model = \"tiny\"\nlearning_rate = 1e-3\nprompt_loss_weight = 0.1\nseed = 1\n"
            .to_string(),
        passages: 12,
        options: 0,
        ..DemoRun::default()
    };
    write_run(directory.path(), &demo)?;
    let both = report(directory.path())?;
    assert_eq!(both.sections[0], alone.sections[0]);
    assert_eq!(both.sections[1].metric, Metric::CompletionLoss);
    assert_eq!(both.sections.len(), 2);
    let sweep = read_sweep(directory.path())?;
    let names: Vec<String> = figures(&sweep, &both)?
        .into_iter()
        .map(|f| f.name)
        .collect();
    assert!(
        names.contains(&"completion-loss-over-steps-2".to_string()),
        "{names:?}"
    );
    Ok(())
}

#[test]
fn conversations_beside_questions_change_no_accuracy() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 2, 12)?;
    let alone = report(directory.path())?;
    for entry in fs::read_dir(directory.path())? {
        let run = RunDirectory::new(entry?.path());
        let (mut summary, _) = run.read_summary()?;
        for step in [0, 200] {
            let mut rows = read_predictions(run.predictions(step))?;
            rows.extend(completions(&DemoRun::default(), 1.5, step));
            write_predictions(run.predictions(step), &rows)?;
            let row = match step {
                0 => &mut summary.initial,
                _ => &mut summary.last,
            };
            let row = row.as_mut().ok_or("an evaluation")?;
            row.summary.examples = EvaluationSummary::of(&rows).examples;
        }
        run.write_summary(&summary)?;
    }
    assert_eq!(report(directory.path())?, alone);
    Ok(())
}

#[test]
fn a_loss_that_its_predictions_contradict_is_left_out() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_completion_sweep(directory.path(), &[0.0, 1.0], 1, 8)?;
    let run = RunDirectory::new(directory.path().join("plw-1-seed-1"));
    let (mut summary, _) = run.read_summary()?;
    let last = summary.last.as_mut().ok_or("an evaluation")?;
    last.summary.completion_loss = last.summary.completion_loss.map(|loss| loss * 1.001);
    run.write_summary(&summary)?;
    let report = report(directory.path())?;
    let [left_out] = report.incomplete.as_slice() else {
        panic!("{:?}", report.incomplete)
    };
    let says = "summary.json says that `completion_loss` is ";
    assert!(left_out.reason.contains(says), "{left_out:?}");
    Ok(())
}

#[test]
fn predictions_of_nothing_are_left_out() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_completion_sweep(directory.path(), &[0.0, 1.0], 1, 8)?;
    let run = RunDirectory::new(directory.path().join("plw-1-seed-1"));
    let (summary, _) = run.read_summary()?;
    let rows = read_predictions(run.predictions(200))?;
    write_predictions(run.predictions(200), &rows[8..])?;
    run.write_summary(&summary)?;
    let report = report(directory.path())?;
    let [left_out] = report.incomplete.as_slice() else {
        panic!("{:?}", report.incomplete)
    };
    assert!(
        left_out
            .reason
            .contains("holds no question, and no example"),
        "{left_out:?}"
    );
    Ok(())
}

#[test]
fn examples_that_share_an_id_are_resampled_together() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_completion_sweep(directory.path(), &[0.0, 1.0], 2, 40)?;
    for entry in fs::read_dir(directory.path())? {
        let run = RunDirectory::new(entry?.path());
        let (summary, _) = run.read_summary()?;
        let mut rows = read_predictions(run.predictions(200))?;
        for row in &mut rows {
            row.key.example_id = format!("passage-{}", row.key.row / 4);
        }
        write_predictions(run.predictions(200), &rows)?;
        run.write_summary(&summary)?;
    }
    let report = report(directory.path())?;
    let section = &report.sections[0];
    assert_eq!((section.examples, section.passages), (Some(40), 10));
    let text = text(&report);
    assert!(
        text.contains("on 40 validation examples of 10 passages\n"),
        "{text}"
    );
    assert!(
        text.contains("95 % over passages") && !text.contains("over examples"),
        "{text}"
    );
    Ok(())
}
