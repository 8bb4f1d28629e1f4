//! What a reader of the numbers should know besides: advice, examples that are left out, data sets
//! without a density.

use plw_ratio::{Density, NoDensity};

use super::report::RatioReport;
use crate::format::{count, significant};

/// What the ratios imply, once for all data sets that it holds for.
pub(crate) fn advice(report: &RatioReport) -> Vec<String> {
    let mut all: Vec<(Vec<String>, &str)> = Vec::new();
    for dataset in &report.datasets {
        let Some(advice) = &dataset.analysis.advice else {
            continue;
        };
        let name = dataset.short_name(60);
        match all.iter_mut().find(|(_, text)| *text == advice.text) {
            Some((names, _)) => names.push(name),
            None => all.push((vec![name], &advice.text)),
        }
    }
    all.iter()
        .map(|(names, text)| format!("{}: {text}", names.join(", ")))
        .collect()
}

/// Examples that some numbers leave out, and data sets without a density.
pub(crate) fn omissions(report: &RatioReport) -> Vec<String> {
    let mut notes = Vec::new();
    for dataset in &report.datasets {
        let name = dataset.short_name(60);
        let statistics = &dataset.analysis.statistics;
        let examples = count(statistics.examples);
        if statistics.without_prompt > 0 {
            notes.push(format!(
                "{name}: {} of {examples} examples have no prompt, and so no ratio.",
                count(statistics.without_prompt)
            ));
        }
        if statistics.empty_completions > 0 {
            notes.push(format!(
                "{name}: {} of {examples} examples have an empty completion. Their ratio is 0, \
                 which the geometric mean and the logarithmic scale leave out.",
                count(statistics.empty_completions)
            ));
        }
        let reasons = [&dataset.analysis.linear, &dataset.analysis.log10].map(missing);
        if let Some(reason) = reasons.into_iter().flatten().next() {
            notes.push(format!("{name}: there is no density, because {reason}."));
        }
    }
    notes
}

/// Why there is no density, in words of ratios.
fn missing(density: &Density) -> Option<String> {
    let Density::Missing { reason } = density else {
        return None;
    };
    Some(match reason {
        NoDensity::TooFew { values: 0 } => "no ratio is above 0".to_string(),
        NoDensity::TooFew { .. } => "there is only one ratio to draw".to_string(),
        NoDensity::OneValue { value } => {
            format!("all ratios that it would show are {}", significant(*value))
        }
    })
}
