//! The tables of a report, and its whole text for a terminal and for a README.

use crate::findings::findings;
use crate::format::{count, duration, interval, loss, markdown_text, p_value, percent, perplexity};
use crate::metric::Metric;
use crate::printable::printable;
use crate::report::{Comparison, GroupStatistics, Report, Scores, Section};
use crate::statistics::MeanOverSeeds;
use crate::sweep::Sweep;
use crate::table::Table;

/// The metric and losses of each weight.
pub(crate) fn results_table(section: &Section) -> Table {
    let metric = section.metric;
    let number = |value| metric.value(value);
    let mean = |over: Option<&MeanOverSeeds>| loss(over.map(|over| over.mean));
    let row = |group: &GroupStatistics, seeds: String, seed_interval: String| {
        let estimate = group.estimate();
        let begin = [
            group.label.clone(),
            seeds,
            number(estimate.over_seeds.mean),
            seed_interval,
            interval(estimate.passage_interval, number),
        ];
        let middle = match &group.scores {
            Scores::Answers(scores) => vec![
                percent(scores.argmax_accuracy.over_seeds.mean),
                mean(scores.completion_loss.as_ref()),
            ],
            Scores::Completions(scores) => vec![perplexity(scores.perplexity)],
        };
        let end = [mean(group.prompt_loss.as_ref())];
        begin.into_iter().chain(middle).chain(end).collect()
    };
    let mut rows: Vec<Vec<String>> = section
        .groups
        .iter()
        .map(|group| {
            let seeds = group.estimate().over_seeds.seed_interval;
            row(group, group.runs.len().to_string(), interval(seeds, number))
        })
        .collect();
    // All runs start from one model, so its results do not vary over seeds.
    rows.extend(
        section
            .before
            .iter()
            .map(|before| row(before, "-".to_string(), "-".to_string())),
    );
    let over_clusters = format!("95 % over {}", section.clusters());
    let begin = [
        "prompt loss weight",
        "seeds",
        metric.name(),
        "95 % over seeds",
        &over_clusters,
    ];
    let end: &[&str] = match metric {
        Metric::Accuracy => &["argmax accuracy", "completion loss", "prompt loss"],
        Metric::CompletionLoss => &["perplexity", "prompt loss"],
    };
    let header = begin.iter().chain(end);
    Table {
        title: results_title(section),
        header: header.map(|head| head.to_string()).collect(),
        rows,
    }
}

/// What a section's results are, and on which data.
fn results_title(section: &Section) -> String {
    let mut title = format!(
        "{}{} {} {}",
        section.metric.results_title(),
        count(section.items() as u64),
        section.split,
        section.metric.items()
    );
    if section.clusters() == "passages" {
        title.push_str(&format!(" of {} passages", count(section.passages as u64)));
    }
    if let Some(chance) = section.chance {
        title.push_str(&format!(" (guessing: {} %)", percent(chance)));
    }
    title
}

/// Accuracy level by level; `None` with fewer than two levels.
pub(crate) fn levels_table(section: &Section) -> Option<Table> {
    let groups = || {
        let groups = section.groups.iter().chain(&section.before);
        groups.filter_map(|group| Some((group, group.answers()?)))
    };
    let levels: Vec<&String> = groups().next()?.1.by_level.keys().collect();
    if levels.len() < 2 {
        return None;
    }
    let mut header = vec!["prompt loss weight".to_string()];
    header.extend(
        levels
            .iter()
            .flat_map(|level| [level.to_string(), "95 % over passages".to_string()]),
    );
    let rows = groups().map(|(group, answers)| {
        let mut row = vec![group.label.clone()];
        row.extend(
            levels
                .iter()
                .flat_map(|level| match answers.by_level.get(*level) {
                    Some(estimate) => [
                        percent(estimate.over_seeds.mean),
                        interval(estimate.passage_interval, percent),
                    ],
                    None => ["-".to_string(), "-".to_string()],
                }),
        );
        row
    });
    Some(Table {
        title: "Accuracy by level in %".to_string(),
        rows: rows.collect(),
        header,
    })
}

/// The paired comparisons; `None` where there are none.
pub(crate) fn comparisons_table(section: &Section) -> Option<Table> {
    let metric = section.metric;
    let number = |value| metric.difference(value);
    let row = |comparison: &Comparison| {
        let seeds = comparison.over_seeds.as_ref();
        let best = if comparison.chosen_as_best {
            " (best)"
        } else {
            ""
        };
        [
            format!("{}{best} minus {}", comparison.group, comparison.against),
            number(comparison.difference),
            interval(comparison.passage_interval, number),
            p_value(comparison.permutation_p),
            p_value(comparison.holm_p),
            interval(seeds.map(|seeds| seeds.interval), number),
            seeds
                .and_then(|seeds| seeds.p)
                .map_or("-".to_string(), p_value),
        ]
    };
    (!section.comparisons.is_empty()).then(|| {
        Table::new(
            &format!(
                "Differences in {}, in {}, paired by {}",
                metric.name(),
                metric.difference_unit(),
                metric.items().trim_end_matches('s')
            ),
            [
                "weights",
                "difference",
                &format!("95 % over {}", section.clusters()),
                "p",
                "p (Holm)",
                "95 % over seeds",
                "p over seeds",
            ],
            section.comparisons.iter().map(row).collect(),
        )
    })
}

/// Every complete run: with its accuracy, or its perplexity where no run was asked questions.
pub(crate) fn runs_table(sweep: &Sweep) -> Table {
    let asks = sweep.runs.iter();
    let mut asks = asks.map(|run| Metric::of(&run.predictions));
    let metric = asks.find(|metric| *metric == Metric::Accuracy);
    let metric = metric.unwrap_or(Metric::CompletionLoss);
    let rows = sweep.runs.iter().map(|run| {
        let summary = &run.summary;
        let reported = &run.reported.summary;
        let result = match metric {
            Metric::Accuracy if reported.accuracy.questions == 0 => "-".to_string(),
            Metric::Accuracy => percent(reported.accuracy.accuracy),
            Metric::CompletionLoss => reported
                .completion_loss
                .map_or("-".to_string(), |loss| perplexity(loss.exp())),
        };
        [
            run.name.clone(),
            run.weight
                .map_or("-".to_string(), |weight| weight.to_string()),
            run.seed.map_or("-".to_string(), |seed| seed.to_string()),
            count(summary.steps),
            result,
            loss(reported.completion_loss),
            duration(summary.seconds),
            summary
                .tokens_per_second
                .map_or("-".to_string(), |speed| count(speed.round() as u64)),
            summary
                .peak_memory_bytes
                .map_or("-".to_string(), |bytes| count(bytes.div_ceil(1 << 20))),
        ]
    });
    Table::new(
        "Complete runs",
        [
            "run",
            "weight",
            "seed",
            "steps",
            match metric {
                Metric::Accuracy => "accuracy %",
                Metric::CompletionLoss => "perplexity",
            },
            "completion loss",
            "training time",
            "tokens/s",
            "peak MiB",
        ],
        rows.collect(),
    )
}

/// The settings that set a section apart, such as `model = tiny, learning_rate = 0.001`; empty with
/// one section.
pub(crate) fn section_title(section: &Section) -> String {
    let settings = section
        .settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}"));
    settings.collect::<Vec<_>>().join(", ")
}

/// A report's tables and findings for the terminal.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for section in &report.sections {
        if !section.settings.is_empty() {
            text.push_str(&format!("== {} ==\n\n", section_title(section)));
        }
        for table in section_tables(section) {
            text.push_str(&format!("{}\n", table.text()));
        }
        text.extend(
            findings(section)
                .iter()
                .map(|finding| format!("{finding}\n")),
        );
        text.push('\n');
    }
    text.extend(
        report
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}\n")),
    );
    text.extend(
        report
            .incomplete
            .iter()
            .map(|run| format!("incomplete: {}: {}\n", run.name, run.reason)),
    );
    printable(&text)
}

/// A report's tables and findings for a README.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for section in &report.sections {
        if !section.settings.is_empty() {
            let title = markdown_text(&section_title(section));
            text.push_str(&format!("### {title}\n\n"));
        }
        for table in section_tables(section) {
            let title = markdown_text(&table.title);
            text.push_str(&format!("{title}:\n\n{}\n", table.markdown()));
        }
        text.extend(
            findings(section)
                .iter()
                .map(|finding| format!("- {}\n", markdown_text(finding))),
        );
        text.push('\n');
    }
    text.extend(
        report
            .warnings
            .iter()
            .map(|warning| format!("- Warning: {}\n", markdown_text(warning))),
    );
    text.extend(report.incomplete.iter().map(|run| {
        let [name, reason] = [&run.name, &run.reason].map(|text| markdown_text(text));
        format!("- Incomplete: {name}: {reason}\n")
    }));
    text
}

/// A section's tables in reading order.
pub(crate) fn section_tables(section: &Section) -> Vec<Table> {
    let optional = [comparisons_table(section), levels_table(section)];
    std::iter::once(results_table(section))
        .chain(optional.into_iter().flatten())
        .collect()
}
