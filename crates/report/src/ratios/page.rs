//! Generation ratios as one HTML page that needs no other file.

use super::notes::{advice, omissions};
use super::report::RatioReport;
use super::tables::{quantiles_table, statistics_table};
use crate::figures::Figure;
use crate::html::{self, METHODS_TITLE, document};

const TITLE: &str = "Generation ratios";

/// How the numbers are computed.
const METHODS: &str = include_str!("methods.html");

/// Renders the page: advice, tables, figures and methods.
pub fn ratio_page(report: &RatioReport, figures: &[Figure]) -> String {
    let unit = report.unit.name();
    let datasets = report.datasets.len();
    let mut body = format!(
        "<h1>{TITLE}</h1>\n<p class=\"subtitle\">How long completions are next to their prompts, \
         in {unit}. {datasets} data set{}.</p>\n",
        if datasets == 1 { "" } else { "s" },
    );
    body.push_str(&list("findings", &advice(report)));
    body.push_str(&html::table(&statistics_table(report), |_| ""));
    let (all, each): (Vec<&Figure>, Vec<&Figure>) =
        figures.iter().partition(|figure| figure.section == 0);
    body.extend(all.into_iter().map(html::figure));
    body.push_str(&html::table(&quantiles_table(report), |_| ""));
    body.push_str(&list("note", &omissions(report)));
    if !each.is_empty() {
        body.push_str("<h2>Each data set</h2>\n");
        body.extend(each.into_iter().map(html::figure));
    }
    body.push_str(&format!("{METHODS_TITLE}\n<div class=\"note\">\n{METHODS}"));
    let ratio = |dataset: &super::NamedRatios| dataset.analysis.statistics.ratio.clone();
    let counts: Vec<u64> = (report.datasets.iter().filter_map(ratio))
        .map(|ratio| ratio.resamples)
        .collect();
    if let (Some(fewest), Some(most)) = (counts.iter().min(), counts.iter().max()) {
        let resamples = match fewest == most {
            true => most.to_string(),
            false => format!("{fewest} to {most}, fewer where there are many examples"),
        };
        body.push_str(&format!("<p>Resamples of each data set: {resamples}.</p>"));
    }
    body.push_str("</div>\n");
    document(TITLE, &body)
}

fn list(class: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items = html::items(lines);
    format!("<ul class=\"{class}\">\n{items}</ul>\n")
}
