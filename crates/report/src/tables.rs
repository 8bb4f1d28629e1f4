//! Tables, as text for the terminal, Markdown for a README and rows for the page.

use crate::findings::findings;
use crate::format::{count, duration, interval, loss, p_value, percent, points};
use crate::{Comparison, GroupStatistics, Report, Section, Sweep};

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Column heads.
    pub header: Vec<String>,
    /// Rows, as wide as the header.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(title: &str, header: [&str; N], rows: Vec<[String; N]>) -> Self {
        Self {
            title: title.to_string(),
            header: header.map(str::to_string).to_vec(),
            rows: rows.into_iter().map(|row| row.to_vec()).collect(),
        }
    }

    /// Each column's width in characters.
    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        (0..self.header.len())
            .map(|column| {
                lines()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect()
    }

    /// Columns padded, the first to the left and the rest to the right.
    fn line(cells: &[String], widths: &[usize], separator: &str) -> String {
        let padded = cells
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        padded.collect::<Vec<_>>().join(separator)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let mut lines = vec![
            self.title.clone(),
            Self::line(&self.header, &widths, "  "),
            rule.join("  "),
        ];
        lines.extend(self.rows.iter().map(|row| Self::line(row, &widths, "  ")));
        lines
            .iter()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    /// For a README.
    pub fn markdown(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = (widths.iter().enumerate())
            .map(|(column, &width)| match column {
                0 => "-".repeat(width.max(3)),
                _ => format!("{}:", "-".repeat(width.max(3) - 1)),
            })
            .collect();
        let escaped = |cells: &[String]| -> Vec<String> {
            cells.iter().map(|cell| cell.replace('|', "\\|")).collect()
        };
        let row = |cells: &[String]| format!("| {} |\n", Self::line(cells, &widths, " | "));
        let rows = self.rows.iter().map(|cells| row(&escaped(cells)));
        let head = [row(&self.header), format!("| {} |\n", rule.join(" | "))];
        head.into_iter().chain(rows).collect()
    }
}

/// Accuracy and losses of each weight.
pub(crate) fn results_table(section: &Section) -> Table {
    let row = |group: &GroupStatistics, seeds: String, seed_interval: String| {
        let mean =
            |of: &Option<crate::statistics::MeanOverSeeds>| loss(of.as_ref().map(|over| over.mean));
        [
            group.label.clone(),
            seeds,
            percent(group.accuracy.over_seeds.mean),
            seed_interval,
            interval(group.accuracy.article_interval, percent),
            percent(group.argmax_accuracy.over_seeds.mean),
            mean(&group.completion_loss),
            mean(&group.prompt_loss),
        ]
    };
    let mut rows: Vec<_> = section
        .groups
        .iter()
        .map(|group| {
            let seeds = group.accuracy.over_seeds.seed_interval;
            row(
                group,
                group.runs.len().to_string(),
                interval(seeds, percent),
            )
        })
        .collect();
    // All runs start from one model, so its figures do not vary over seeds.
    rows.extend(
        section
            .before
            .iter()
            .map(|before| row(before, "-".to_string(), "-".to_string())),
    );
    Table::new(
        &format!(
            "Accuracy in % on {} {} questions of {} articles (guessing: {} %)",
            count(section.questions as u64),
            section.split,
            count(section.articles as u64),
            percent(section.chance)
        ),
        [
            "prompt loss weight",
            "seeds",
            "accuracy",
            "95 % over seeds",
            "95 % over articles",
            "argmax accuracy",
            "completion loss",
            "prompt loss",
        ],
        rows,
    )
}

/// Accuracy level by level; `None` with fewer than two levels.
pub(crate) fn levels_table(section: &Section) -> Option<Table> {
    let groups = || section.groups.iter().chain(&section.before);
    let levels: Vec<&String> = groups().next()?.by_level.keys().collect();
    if levels.len() < 2 {
        return None;
    }
    let mut header = vec!["prompt loss weight".to_string()];
    header.extend(
        levels
            .iter()
            .flat_map(|level| [level.to_string(), "95 % over articles".to_string()]),
    );
    let rows = groups().map(|group| {
        let mut row = vec![group.label.clone()];
        row.extend(
            levels
                .iter()
                .flat_map(|level| match group.by_level.get(*level) {
                    Some(estimate) => [
                        percent(estimate.over_seeds.mean),
                        interval(estimate.article_interval, percent),
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
    let row = |comparison: &Comparison| {
        let seeds = comparison.over_seeds.as_ref();
        let best = if comparison.chosen_as_best {
            " (best)"
        } else {
            ""
        };
        [
            format!("{}{best} less {}", comparison.group, comparison.against),
            points(comparison.difference),
            interval(comparison.article_interval, points),
            p_value(comparison.permutation_p),
            p_value(comparison.holm_p),
            interval(seeds.map(|seeds| seeds.interval), points),
            seeds
                .and_then(|seeds| seeds.p)
                .map_or("-".to_string(), p_value),
        ]
    };
    (!section.comparisons.is_empty()).then(|| {
        Table::new(
            "Differences in accuracy, in points, paired by question",
            [
                "weights",
                "difference",
                "95 % over articles",
                "p",
                "p (Holm)",
                "95 % over seeds",
                "p over seeds",
            ],
            section.comparisons.iter().map(row).collect(),
        )
    })
}

/// Every complete run.
pub(crate) fn runs_table(sweep: &Sweep) -> Table {
    let rows = sweep.runs.iter().map(|run| {
        let summary = &run.summary;
        [
            run.name.clone(),
            run.weight
                .map_or("-".to_string(), |weight| weight.to_string()),
            run.seed.map_or("-".to_string(), |seed| seed.to_string()),
            count(summary.steps),
            percent(run.reported.summary.accuracy.accuracy),
            loss(run.reported.summary.completion_loss),
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
            "accuracy %",
            "completion loss",
            "training time",
            "tokens/s",
            "peak MiB",
        ],
        rows.collect(),
    )
}

/// The settings that set a section apart, `model = tiny, learning_rate = 0.001`; empty where there is one section.
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
    text
}

/// A report's tables and findings for a README.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for section in &report.sections {
        if !section.settings.is_empty() {
            text.push_str(&format!("### {}\n\n", section_title(section)));
        }
        for table in section_tables(section) {
            text.push_str(&format!("{}:\n\n{}\n", table.title, table.markdown()));
        }
        text.extend(
            findings(section)
                .iter()
                .map(|finding| format!("- {finding}\n")),
        );
        text.push('\n');
    }
    text.extend(
        report
            .warnings
            .iter()
            .map(|warning| format!("- Warning: {warning}\n")),
    );
    text.extend(
        report
            .incomplete
            .iter()
            .map(|run| format!("- Incomplete: {}: {}\n", run.name, run.reason)),
    );
    text
}

/// A section's tables in the order they are read.
pub(crate) fn section_tables(section: &Section) -> Vec<Table> {
    let optional = [comparisons_table(section), levels_table(section)];
    std::iter::once(results_table(section))
        .chain(optional.into_iter().flatten())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let cells = |first: &str, second: &str| [first.to_string(), second.to_string()];
        let table = Table::new(
            "T",
            ["weight", "x"],
            vec![cells("0", "62.1"), cells("a|b", "7")],
        );
        assert_eq!(
            table.text(),
            "T\nweight     x\n------  ----\n0       62.1\na|b        7\n"
        );
        let markdown = table.markdown();
        assert_eq!(
            markdown,
            "| weight |    x |\n| ------ | ---: |\n| 0      | 62.1 |\n| a\\|b   |    7 |\n"
        );
    }
}
