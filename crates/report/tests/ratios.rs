//! From the ratios of invented data sets to a folder with a page.

mod demo_ratios;

use std::error::Error;
use std::fs;

use plw_ratio::{Lengths, Unit, analyze};
use plw_report::{
    NamedRatios, RatioReport, ReportError, ratio_csv, ratio_figures, ratio_json, ratio_markdown,
    ratio_page, ratio_text, write_ratios,
};
use serde_json::Value;

type TestResult = Result<(), Box<dyn Error>>;

const HOSTILE: &str = "</text><script>alert(1)</script>|\"a\", [b](c)\n\u{1b}[31m";

fn named(name: &str, lengths: &[(u32, u32)]) -> NamedRatios {
    let lengths = lengths.iter();
    let all = lengths.map(|&(prompt, completion)| Lengths { prompt, completion });
    NamedRatios {
        name: name.to_string(),
        analysis: analyze(&all.collect(), 0),
    }
}

#[test]
fn a_folder_has_all_files_and_the_same_bytes_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let report = demo_ratios::report(&[("short", 600, 0.02, 0.5), ("long", 900, 2.0, 1.0)]);
    let folder = directory.path().join("out");
    let read = || -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        write_ratios(&folder, &report)?;
        let names = ["ratio.html", "ratio.json", "ratio.csv", "ratio.md"];
        let figures = [
            "figures/ratio.svg",
            "figures/ratio-1.svg",
            "figures/ratio-2.svg",
        ];
        let all = names.into_iter().chain(figures);
        Ok(all
            .map(|name| fs::read(folder.join(name)))
            .collect::<Result<_, _>>()?)
    };
    // Its own files may be replaced.
    assert_eq!(read()?, read()?);
    assert_eq!(fs::read_dir(folder.join("figures"))?.count(), 3);
    let markdown = fs::read_to_string(folder.join("ratio.md"))?;
    assert!(markdown.contains("![Generation ratio of short](figures/ratio-1.svg)"));
    let json: Value = serde_json::from_str(&fs::read_to_string(folder.join("ratio.json"))?)?;
    assert_eq!(json["unit"], "tokens");
    let long = &json["datasets"][1];
    assert_eq!(
        (&long["name"], &long["statistics"]["examples"]),
        (&"long".into(), &900.into())
    );
    assert_eq!(long["log10"]["grid"].as_array().map(Vec::len), Some(512));
    Ok(())
}

#[test]
fn files_of_others_are_not_replaced() -> TestResult {
    let report = demo_ratios::report(&[("one", 50, 0.5, 0.5)]);
    for name in [
        "ratio.html",
        "ratio.json",
        "ratio.csv",
        "ratio.md",
        "figures/ratio.svg",
    ] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().ok_or("a folder")?)?;
        fs::write(&path, "mine")?;
        let refused = write_ratios(directory.path(), &report);
        assert!(
            matches!(refused, Err(ReportError::Foreign { .. })),
            "{name}"
        );
        assert_eq!(fs::read_to_string(&path)?, "mine");
        // Nothing was written before the check.
        assert_eq!(fs::read_dir(directory.path())?.count(), 1, "{name}");
    }
    Ok(())
}

#[test]
fn one_data_set_has_one_figure() -> TestResult {
    let figures = ratio_figures(&demo_ratios::report(&[("one", 500, 0.5, 0.5)]))?;
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["ratio"]);
    assert!(figures[0].svg.contains("Generation ratio of one"));
    assert!(figures[0].svg.contains("geometric mean 0."));
    assert!(figures[0].caption.contains("99th percentile"));
    Ok(())
}

#[test]
fn names_are_text_everywhere() -> TestResult {
    let report = demo_ratios::report(&[(HOSTILE, 300, 0.5, 0.5), ("b", 300, 0.1, 0.5)]);
    let figures = ratio_figures(&report)?;
    assert_eq!(figures.len(), 3);
    let page = ratio_page(&report, &figures);
    let svgs = figures
        .iter()
        .flat_map(|figure| [&figure.svg, &figure.inline_svg]);
    for text in svgs.chain([&page, &ratio_markdown(&report)]) {
        assert!(
            !text.contains("<script>") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
    let [text, csv, json] = [ratio_text(&report), ratio_csv(&report), ratio_json(&report)];
    assert!(!text.contains('\u{1b}') && !csv.contains('\u{1b}') && !json.contains('\u{1b}'));
    // A row stays a row.
    assert_eq!(csv.lines().count(), 3);
    let markdown = ratio_markdown(&report);
    let row = markdown
        .lines()
        .find(|line| line.contains("script"))
        .ok_or("a row")?;
    assert!(row.contains("\\|\"a\", \\[b](c) \\u001b\\[31m"), "{row}");
    let read: Value = serde_json::from_str(&json)?;
    assert_eq!(read["datasets"][0]["name"], HOSTILE);
    Ok(())
}

#[test]
fn tables_hold_the_statistics() {
    let report = demo_ratios::report(&[("short", 1000, 0.02, 0.5)]);
    let ratio = report.datasets[0]
        .analysis
        .statistics
        .ratio
        .as_ref()
        .expect("ratios");
    let csv = ratio_csv(&report);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| {
        let place = lines[0]
            .iter()
            .position(|column| *column == name)
            .expect("a column");
        lines[1][place]
    };
    assert_eq!(lines[0].len(), lines[1].len());
    assert_eq!(column("trimmed_mean"), ratio.trimmed_mean.value.to_string());
    assert_eq!(column("percentile_90"), ratio.deciles[8].to_string());
    assert_eq!((column("examples"), column("resamples")), ("1000", "2000"));
    let text = ratio_text(&report);
    assert!(text.starts_with("Generation ratio Rg = completion tokens / prompt tokens\n"));
    let [low, high] = ratio.trimmed_mean.interval.expect("an interval");
    let cell = format!("{:.4} [{low:.4}, {high:.4}]", ratio.trimmed_mean.value);
    assert!(text.contains(&cell), "{cell}\n{text}");
    assert!(text.contains("short: Completions are short next to prompts"));
}

#[test]
fn extremes_and_many_data_sets_are_drawn() -> TestResult {
    let most = u32::MAX;
    let mut lengths = vec![(1, most), (most, 1), (most, most), (1, 0)];
    lengths.extend((0..500).map(|i| (100 + i, 1)));
    let mut report = demo_ratios::report(&[("common", 400, 0.5, 0.5); 8]);
    report.datasets.push(named("extreme", &lengths));
    let figures = ratio_figures(&report)?;
    assert_eq!(figures.len(), 10);
    for figure in &figures {
        assert!(!figure.svg.contains("NaN") && !figure.svg.contains("inf"));
    }
    // The eighth has the first one's color, and dashes: each is a line of its own.
    let lines = figures[0].svg.matches("stroke=\"#0072B2\"").count();
    assert!(lines > 10, "{lines}");
    Ok(())
}

#[test]
fn data_sets_without_a_density_are_told() -> TestResult {
    let report = RatioReport {
        unit: Unit::Chars,
        datasets: vec![
            named("equal", &[(4, 1), (8, 2), (0, 3)]),
            named("nothing", &[]),
            named("zeros", &[(4, 0), (5, 0)]),
            named("some zeros", &[(4, 0), (5, 0), (2, 1), (2, 3)]),
        ],
    };
    let text = ratio_text(&report);
    for note in [
        "equal: there is no density, because all ratios that it would show are 0.250.",
        "equal: 1 of 3 examples have no prompt, and so no ratio.",
        "nothing: there is no density, because no ratio is above 0.",
        "some zeros: 2 of 4 examples have an empty completion.",
    ] {
        assert!(text.contains(note), "{note}\n{text}");
    }
    assert!(text.starts_with("Generation ratio Rg = completion characters"));
    let names: Vec<String> = ratio_figures(&report)?
        .into_iter()
        .map(|f| f.name)
        .collect();
    assert_eq!(names, ["ratio", "ratio-4"]);
    let directory = tempfile::tempdir()?;
    write_ratios(directory.path(), &report)?;
    let empty = RatioReport {
        unit: Unit::Tokens,
        datasets: Vec::new(),
    };
    write_ratios(directory.path(), &empty)?;
    Ok(())
}
