//! From folders of invented runs to reports.

#[allow(dead_code, reason = "other tests use more of it")]
mod demo_sweep;

use std::error::Error;
use std::fs;
use std::path::Path;

use demo_sweep::{DemoRun, predictions, write_run, write_sweep};
use plw_record::{EvaluationSummary, RunDirectory, TrainingSummary, write_predictions};
use plw_report::{
    AnalysisOptions, Report, ReportError, analyze, figures, read_sweep, text, write_report,
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
fn a_sweep_becomes_a_page() -> TestResult {
    let directory = tempfile::tempdir()?;
    let sweep = directory.path().join("weights");
    write_sweep(&sweep, &[0.0, 0.1, 1.0], 3, 60)?;
    let page = directory.path().join("out/report.html");
    let report = write_report(&sweep, &page)?;
    assert_eq!(report.name, "weights");
    assert_eq!(
        (
            report.sections.len(),
            report.warnings.len(),
            report.incomplete.len()
        ),
        (1, 0, 0)
    );
    let section = &report.sections[0];
    assert_eq!(
        (section.questions, section.passages, section.chance),
        (240, 60, Some(0.25))
    );
    let labels: Vec<&str> = section
        .groups
        .iter()
        .map(|group| group.label.as_str())
        .collect();
    assert_eq!(labels, ["0", "0.1", "1"]);
    for group in &section.groups {
        assert_eq!(group.seeds, [Some(1), Some(2), Some(3)]);
        let accuracy = group.estimate();
        let mean = accuracy.over_seeds.per_run.iter().sum::<f64>() / 3.0;
        assert!((accuracy.over_seeds.mean - mean).abs() < 1e-12);
        for [low, high] in [accuracy.over_seeds.seed_interval, accuracy.passage_interval]
            .into_iter()
            .flatten()
        {
            assert!(low < mean && mean < high);
        }
        assert_eq!(
            group
                .answers()
                .ok_or("questions")?
                .by_level
                .keys()
                .collect::<Vec<_>>(),
            ["high", "middle"]
        );
        assert!(group.completion_loss().is_some() && group.prompt_loss.is_some());
    }
    // The baseline is weight 1; the best, 0.1, is also set against 0.
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
    assert!(best.difference > 0.0 && best.passage_interval.is_some_and(|[low, _]| low > 0.0));
    assert!(best.permutation_p <= best.holm_p && best.holm_p < 0.05);
    assert_eq!(best.over_seeds.as_ref().map(|seeds| seeds.seeds), Some(3));
    assert_eq!(report.common_settings["model"], "tiny");

    let html = fs::read_to_string(&page)?;
    assert_eq!(html.matches("<svg").count(), 5);
    assert!(html.contains("stroke=\"var(--series-1)\"") && !html.contains("#0072B2"));
    for outside in ["http://", "https://", "<script", "<link", "<img"] {
        let found = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(outside), "the page refers to {outside}");
    }
    let json: serde_json::Value = serde_json::from_slice(&fs::read(page.with_extension("json"))?)?;
    // A section of accuracy has the keys of earlier versions, and no others.
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let keys = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys());
        let mut keys: Vec<String> = keys.cloned().collect();
        keys.sort();
        keys
    };
    let [in_section, in_group] =
        [&json["sections"][0], &json["sections"][0]["groups"][1]].map(keys);
    let expected = "articles before chance comparisons groups questions settings split";
    assert_eq!(in_section.join(" "), expected);
    let expected = "accuracy answer_loss argmax_accuracy by_level completion_loss label \
                    prompt_loss runs seeds weight";
    assert_eq!(in_group.join(" "), expected);
    assert_eq!(json["sections"][0]["groups"][1]["weight"], 0.1);
    assert!(json["sections"][0]["groups"][1]["accuracy"]["mean"].is_f64());
    assert!(fs::read_to_string(page.with_extension("md"))?.contains("| prompt loss weight |"));
    assert!(directory.path().join("out/figures/accuracy.svg").is_file());
    Ok(())
}

#[test]
fn the_same_records_give_the_same_bytes() -> TestResult {
    let directory = tempfile::tempdir()?;
    let sweep = directory.path().join("weights");
    write_sweep(&sweep, &[0.0, 1.0], 2, 12)?;
    let bytes = |name: &str| -> Result<Vec<u8>, Box<dyn Error>> {
        let page = directory.path().join(name).join("report.html");
        write_report(&sweep, &page)?;
        let both = [fs::read(&page)?, fs::read(page.with_extension("json"))?];
        Ok(both.concat())
    };
    assert_eq!(bytes("a")?, bytes("b")?);
    Ok(())
}

#[test]
fn one_seed_has_no_interval_over_seeds_and_says_so() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 1, 24)?;
    let report = report(directory.path())?;
    let section = &report.sections[0];
    for group in &section.groups {
        assert_eq!(group.estimate().over_seeds.seed_interval, None);
        assert!(group.estimate().passage_interval.is_some());
    }
    assert_eq!(section.comparisons.len(), 1);
    assert_eq!(section.comparisons[0].over_seeds, None);
    assert!(text(&report).contains("the variation between seeds is unknown"));
    Ok(())
}

#[test]
fn a_single_run_without_a_weight_is_a_report() -> TestResult {
    let directory = tempfile::tempdir()?;
    let run = DemoRun {
        config: "learning_rate = 1.0".to_string(),
        passages: 10,
        options: 3,
        levels: &["all"],
        ..DemoRun::default()
    };
    let run = write_run(directory.path(), &run)?;
    let page = directory.path().join("report.html");
    // The run's own folder will do as well as the folder it lies in.
    let report = write_report(&run.path, &page)?;
    let section = &report.sections[0];
    assert_eq!((section.groups.len(), section.comparisons.len()), (1, 0));
    assert!(
        section
            .chance
            .is_some_and(|chance| (chance - 1.0 / 3.0).abs() < 1e-12)
    );
    assert_eq!(section.groups[0].weight, None);
    // No curve against one weight; both figures over steps are there.
    let html = fs::read_to_string(&page)?;
    assert_eq!(html.matches("<svg").count(), 2);
    Ok(())
}

#[test]
fn runs_that_differ_otherwise_are_not_mixed() -> TestResult {
    let directory = tempfile::tempdir()?;
    for model in ["small", "large"] {
        for weight in ["0.0", "1.0"] {
            let config = format!(
                "seed = 1\n[model]\nname = \"{model}\"\nsize = \"{model}\"\n\
                 [loss]\nprompt_loss_weight = {weight}\n"
            );
            let name = format!("{model}-{weight}");
            write_run(
                directory.path(),
                &DemoRun {
                    name,
                    config,
                    passages: 8,
                    ..DemoRun::default()
                },
            )?;
        }
    }
    let sweep = read_sweep(directory.path())?;
    let report = analyze(
        &sweep,
        &AnalysisOptions {
            resamples: 99,
            seed: 0,
        },
    );
    let sizes: Vec<&str> = report
        .sections
        .iter()
        .map(|s| s.settings["model.size"].as_str())
        .collect();
    assert_eq!(sizes, ["large", "small"]);
    assert!(
        report
            .sections
            .iter()
            .all(|section| section.groups.len() == 2)
    );
    let names: Vec<String> = figures(&sweep, &report)?
        .into_iter()
        .map(|figure| figure.name)
        .collect();
    assert!(names.contains(&"accuracy-1".to_string()) && names.contains(&"accuracy-2".to_string()));
    Ok(())
}

#[test]
fn runs_with_other_questions_are_named() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 1, 10)?;
    let run = RunDirectory::new(directory.path().join("plw-1-seed-1"));
    let demo = DemoRun {
        passages: 12,
        ..DemoRun::default()
    };
    let rows = &predictions(&demo, 0.6, 5)[4..];
    let (mut summary, _) = run.read_summary()?;
    write_predictions(run.predictions(200), rows)?;
    if let Some(last) = &mut summary.last {
        last.summary = EvaluationSummary::of(rows);
    }
    run.write_summary(&summary)?;
    let report = report(directory.path())?;
    let warning = report.warnings.first().ok_or("a warning")?;
    assert!(
        warning.contains("plw-0-seed-1") && warning.contains("plw-1-seed-1"),
        "{warning}"
    );
    assert!(
        warning.contains("36 in common, 8 only the former, 4 only the latter"),
        "{warning}"
    );
    assert_eq!(report.sections[0].comparisons[0].questions, 36);
    Ok(())
}

#[test]
fn the_chosen_model_is_reported_on_test_questions() -> TestResult {
    let directory = tempfile::tempdir()?;
    let demo = DemoRun {
        passages: 10,
        ..DemoRun::default()
    };
    let run = write_run(directory.path(), &demo)?;
    let rows = predictions(&demo, 0.9, 5);
    let (summary, _) = run.read_summary()?;
    let mut test = summary.last.clone().ok_or("an evaluation")?;
    (test.step, test.split) = (150, "test".to_string());
    test.summary = EvaluationSummary::of(&rows);
    write_predictions(run.predictions_of("test", 150), &rows)?;
    let expected = test.summary.accuracy.accuracy;
    run.write_summary(&TrainingSummary {
        test: Some(test),
        ..summary
    })?;
    let report = report(directory.path())?;
    let section = &report.sections[0];
    assert_eq!(section.split, "test");
    assert!((section.groups[0].estimate().over_seeds.mean - expected).abs() < 1e-12);
    // Nothing was predicted on test questions before training.
    assert_eq!(section.before, None);
    Ok(())
}

#[test]
fn data_marks_up_no_page_and_drives_no_terminal() -> TestResult {
    let directory = tempfile::tempdir()?;
    let run = DemoRun {
        name: "<b>run".to_string(),
        config: "note = \"<script>\\u001B[2J\"".to_string(),
        passages: 8,
        levels: &["<img src=x>\u{1b}[31m", "middle"],
        ..DemoRun::default()
    };
    write_run(directory.path(), &run)?;
    write_run(
        directory.path(),
        &DemoRun {
            name: "other".to_string(),
            passages: 8,
            ..DemoRun::default()
        },
    )?;
    let page = directory.path().join("out/report.html");
    let report = write_report(directory.path(), &page)?;
    let markdown = fs::read_to_string(page.with_extension("md"))?;
    let html = fs::read_to_string(&page)?;
    let mut printed = vec![text(&report), markdown.clone(), html.clone()];
    for figure in fs::read_dir(page.with_file_name("figures"))? {
        printed.push(fs::read_to_string(figure?.path())?);
    }
    for text in &printed {
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(markdown.contains("&lt;img src=x>") && markdown.contains("&lt;script>"));
    for tag in ["<img", "<b>run", "<script"] {
        assert!(!markdown.contains(tag) && !html.contains(tag), "{tag}");
    }
    Ok(())
}

#[test]
fn files_that_no_report_wrote_stay() -> TestResult {
    let directory = tempfile::tempdir()?;
    let sweep = directory.path().join("weights");
    write_sweep(&sweep, &[0.0, 1.0], 1, 8)?;
    for (name, mine) in [
        ("README.html", "<!doctype html>\n<p>mine</p>\n"),
        ("README.json", "{\n  \"name\": \"mine\"\n}\n"),
        ("README.md", "# Mine\n\n| prompt loss weight |\n"),
        ("figures/accuracy.svg", "<svg>mine</svg>"),
    ] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(name);
        plw_files::write_atomic(&path, mine)?;
        let refused = write_report(&sweep, folder.path().join("README.html"));
        let message = refused.expect_err("it is refused").to_string();
        assert!(message.contains(name), "{message}");
        assert_eq!(fs::read_to_string(&path)?, mine);
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "{name}");
    }
    // A report's own files are replaced, and so is an empty one.
    let page = directory.path().join("report.html");
    fs::write(&page, "")?;
    for _ in 0..2 {
        write_report(&sweep, &page)?;
    }
    for name in ["report.md", "report.json"] {
        let refused = write_report(&sweep, directory.path().join("other").join(name));
        let message = refused.expect_err("it is refused").to_string();
        assert!(message.contains("ends in .html"), "{message}");
    }
    Ok(())
}
