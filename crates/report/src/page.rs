//! The report as one HTML page that needs no other file.

use crate::comparison::best_group;
use crate::figures::Figure;
use crate::findings::findings;
use crate::format::escape;
use crate::html::{self, METHODS_TITLE, document};
use crate::metric::Metric;
use crate::report::{Report, Section};
use crate::sweep::Sweep;
use crate::tables::{results_table, runs_table, section_tables, section_title};

/// How the numbers of a metric are computed.
fn methods(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => include_str!("methods.html"),
        Metric::CompletionLoss => include_str!("methods_completion_loss.html"),
    }
}

/// Renders the page: findings, tables, figures, runs and methods.
pub fn page(sweep: &Sweep, report: &Report, figures: &[Figure]) -> String {
    let mut body = String::new();
    let runs = sweep.runs.len();
    let is_reported = |metric: &Metric| report.sections.iter().any(|s| s.metric == *metric);
    let metrics: Vec<Metric> = Metric::ALL.into_iter().filter(is_reported).collect();
    let evaluated_on = metrics.iter().map(|metric| match metric {
        Metric::Accuracy => "multiple-choice questions",
        Metric::CompletionLoss => "the loss of completions",
    });
    body.push_str(&format!(
        "<h1>{}</h1>\n<p class=\"subtitle\">{runs} complete run{}, {} left out. Fine-tuning with \
         weighted prompt tokens, evaluated on {}.</p>\n",
        escape(&report.name),
        if runs == 1 { "" } else { "s" },
        report.incomplete.len(),
        evaluated_on.collect::<Vec<_>>().join(" and on "),
    ));
    body.push_str(&warnings(report));
    for (index, section) in report.sections.iter().enumerate() {
        body.push_str(&section_html(
            section,
            figures.iter().filter(|figure| figure.section == index),
        ));
    }
    body.push_str("<h2>Records</h2>\n");
    body.push_str(&html::table(&runs_table(sweep), |_| ""));
    body.push_str(&settings(report));
    body.push_str(&machines(report));
    body.push_str(&format!(
        "{METHODS_TITLE}\n\
         <div class=\"note\">\n{}<p>{} resamples, seed {}.</p></div>\n",
        metrics.into_iter().map(methods).collect::<String>(),
        report.options.resamples,
        report.options.seed
    ));
    document(&report.name, &body)
}

/// What a reader must know first: the warnings, and the runs that are left out.
fn warnings(report: &Report) -> String {
    let incomplete = report
        .incomplete
        .iter()
        .map(|run| format!("{} is left out: {}", run.name, run.reason));
    let lines: Vec<String> = report.warnings.iter().cloned().chain(incomplete).collect();
    if lines.is_empty() {
        return String::new();
    }
    let items = html::items(&lines);
    format!("<div class=\"warnings\"><b>Before you compare</b><ul>\n{items}</ul></div>\n")
}

fn section_html<'a>(section: &Section, figures: impl Iterator<Item = &'a Figure>) -> String {
    let mut html = match section.settings.is_empty() {
        true => "<h2>Findings</h2>\n".to_string(),
        false => format!("<h2>{}</h2>\n", escape(&section_title(section))),
    };
    let items = html::items(&findings(section));
    html.push_str(&format!("<ul class=\"findings\">\n{items}</ul>\n"));
    let mut figures = figures;
    // The main figure stands next to the main table; the rest follows.
    let first = figures.next().map(html::figure).unwrap_or_default();
    let best = match section.groups.len() {
        0 | 1 => None,
        _ => best_group(section.metric, &section.groups),
    };
    html.push_str(&html::table(&results_table(section), |row| match row {
        row if Some(row) == best => " class=\"best\"",
        row if row >= section.groups.len() => " class=\"reference\"",
        _ => "",
    }));
    html.push_str(&first);
    for table in section_tables(section).iter().skip(1) {
        html.push_str(&html::table(table, |_| ""));
    }
    html.extend(figures.map(html::figure));
    html
}

fn settings(report: &Report) -> String {
    if report.common_settings.is_empty() {
        return String::new();
    }
    let rows: String = (report.common_settings.iter())
        .map(|(key, value)| {
            format!(
                "<tr><td><code>{}</code></td><td>{}</td></tr>\n",
                escape(key),
                escape(value)
            )
        })
        .collect();
    format!(
        "<details><summary>Settings that all runs share</summary>\n\
         <div class=\"scroll\"><table><tbody>\n{rows}</tbody></table></div></details>\n"
    )
}

fn machines(report: &Report) -> String {
    let named = report
        .machines
        .iter()
        .filter(|machine| !machine.processor.is_empty());
    let items: String = named
        .map(|machine| {
            format!(
                "<li>{}, {} threads, {} ({})</li>\n",
                escape(&machine.processor),
                machine.threads,
                escape(&machine.operating_system),
                escape(&machine.vector_extensions.join(" "))
            )
        })
        .collect();
    match items.is_empty() {
        true => String::new(),
        false => format!(
            "<details><summary>Machines</summary><ul class=\"note\">\n{items}</ul></details>\n"
        ),
    }
}
