//! Generation ratios as tables, for a terminal and for a README.

use plw_ratio::{Distribution, Estimate};

use super::notes::{advice, omissions};
use super::report::{NamedRatios, RatioReport};
use crate::format::{count, markdown_text, percent, significant};
use crate::printable::printable;
use crate::table::Table;

/// How the title of the main table begins.
pub(crate) const TITLE: &str = "Generation ratio Rg";
/// The most characters of a name in a table.
const NAME: usize = 60;

/// The main table, a row for each data set.
pub(crate) fn statistics_table(report: &RatioReport) -> Table {
    let unit = report.unit.name();
    let header = [
        "data set",
        "examples",
        unit,
        "mean [95 %]",
        "trimmed mean [95 %]",
        "geometric mean [95 %]",
        "median",
        "10 %",
        "90 %",
        "above 1, %",
    ];
    let row = |dataset: &NamedRatios| {
        let statistics = &dataset.analysis.statistics;
        let ratio = statistics.ratio.as_ref();
        let of = |number: fn(&Distribution) -> String| ratio.map_or("-".to_string(), number);
        [
            dataset.short_name(NAME),
            count(statistics.examples),
            count(statistics.prompt_units + statistics.completion_units),
            of(|ratio| estimate(Some(ratio.mean))),
            of(|ratio| estimate(Some(ratio.trimmed_mean))),
            of(|ratio| estimate(ratio.geometric_mean)),
            of(|ratio| significant(ratio.median)),
            of(|ratio| significant(ratio.deciles[0])),
            of(|ratio| significant(ratio.deciles[8])),
            of(|ratio| percent(ratio.share_above_one)),
        ]
    };
    let title = format!("{TITLE} = completion {unit} / prompt {unit}");
    Table::new(&title, header, report.datasets.iter().map(row).collect())
}

/// Smallest, largest, and the quantiles between.
pub(crate) fn quantiles_table(report: &RatioReport) -> Table {
    let mut header = vec!["data set".to_string(), "smallest".to_string()];
    header.extend((1..10).map(|tenths| format!("{tenths}0 %")));
    header.extend(["99 %", "largest"].map(str::to_string));
    let row = |dataset: &NamedRatios| {
        let numbers = match &dataset.analysis.statistics.ratio {
            Some(ratio) => std::iter::once(ratio.smallest)
                .chain(ratio.deciles)
                .chain([ratio.percentile_99, ratio.largest])
                .map(significant)
                .collect(),
            None => vec!["-".to_string(); header.len() - 1],
        };
        let name = std::iter::once(dataset.short_name(NAME));
        name.chain(numbers).collect()
    };
    Table {
        title: "Quantiles of the ratios".to_string(),
        rows: report.datasets.iter().map(row).collect(),
        header,
    }
}

/// A mean and its interval: `0.0123 [0.0115, 0.0131]`.
fn estimate(estimate: Option<Estimate>) -> String {
    let Some(Estimate { value, interval }) = estimate else {
        return "-".to_string();
    };
    let value = significant(value);
    match interval {
        Some(ends) => format!("{value} [{}]", ends.map(significant).join(", ")),
        None => value,
    }
}

/// The ratios for a terminal: a table, advice, and what is left out.
pub fn ratio_text(report: &RatioReport) -> String {
    let mut text = statistics_table(report).text();
    let notes = advice(report).into_iter().chain(omissions(report));
    text.extend(notes.map(|note| format!("\n{note}\n")));
    printable(&text)
}

/// The ratios for a README: tables, advice, and what is left out.
pub fn ratio_markdown(report: &RatioReport) -> String {
    let mut text = String::new();
    for table in [statistics_table(report), quantiles_table(report)] {
        text.push_str(&format!("{}:\n\n{}\n", table.title, table.markdown()));
    }
    let notes = advice(report).into_iter().chain(omissions(report));
    text.extend(notes.map(|note| format!("- {}\n", markdown_text(&note))));
    text
}
