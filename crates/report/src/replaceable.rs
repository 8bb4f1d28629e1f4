//! Which files a report may replace: those that a report wrote.

use std::io;
use std::path::Path;

use plw_files::read_bounded;

use crate::error::ReportError;
use crate::html::METHODS_TITLE;
use crate::metric::Metric;
use crate::ratios::{csv, json, tables};

/// The most bytes of a report's file. No page is as large, whatever its figures.
const MOST_BYTES: u64 = 1 << 28;

/// Refuses to replace a file that no report wrote. An empty one holds nothing to lose.
pub(crate) fn check_replaceable(path: &Path) -> Result<(), ReportError> {
    let bytes = match read_bounded(path, MOST_BYTES) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let end = path.extension().and_then(|end| end.to_str());
    let is_ours = match end.unwrap_or_default() {
        "md" => is_markdown(&text) || is_ratio_markdown(&text),
        "json" => is_json(&text) || is_ratio_json(&text),
        "csv" => text.lines().next() == Some(csv::HEADER),
        "svg" => text.starts_with("<svg width=\"760\" "),
        _ => text.starts_with("<!doctype html>") && text.contains(METHODS_TITLE),
    };
    match is_ours || bytes.is_empty() {
        true => Ok(()),
        false => Err(ReportError::Foreign {
            path: path.to_path_buf(),
        }),
    }
}

/// A results table comes first, after the heading of its section if there is more than one.
fn is_markdown(text: &str) -> bool {
    let has_title = |line: &str| {
        let mut titles = Metric::ALL.iter().map(|metric| metric.results_title());
        titles.any(|title| line.starts_with(title))
    };
    (text.starts_with("### ") || has_title(text)) && text.lines().any(has_title)
}

fn is_json(text: &str) -> bool {
    let has = |key: &str| text.contains(&format!("\n  \"{key}\": "));
    text.starts_with('{')
        && ["name", "sections", "common_settings", "options"]
            .into_iter()
            .all(has)
}

fn is_ratio_markdown(text: &str) -> bool {
    text.starts_with(tables::TITLE)
}

fn is_ratio_json(text: &str) -> bool {
    text.starts_with(&format!("{{\n  \"kind\": \"{}\"", json::KIND))
}
