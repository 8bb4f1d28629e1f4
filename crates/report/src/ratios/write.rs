//! From generation ratios to files.

use std::path::Path;

use plw_files::{write_atomic, write_json_atomic};

use super::csv::ratio_csv;
use super::json::Document;
use super::page::ratio_page;
use super::report::RatioReport;
use super::tables::ratio_markdown;
use crate::error::ReportError;
use crate::figures::{Figure, ratio_figures};
use crate::format::markdown_text;
use crate::replaceable::check_replaceable;

/// Writes `ratio.html`, one page that needs no other file, and beside it the same as `ratio.json`,
/// `ratio.csv` and `ratio.md`, and each figure as `figures/ratio*.svg`.
///
/// Each file is written atomically, the page last. The same report gives the same bytes. Figures of
/// an earlier report of more data sets are removed.
///
/// # Errors
///
/// If a file of one of these names is there that no report wrote, or the operating system refuses.
pub fn write_ratios(directory: impl AsRef<Path>, report: &RatioReport) -> Result<(), ReportError> {
    let directory = directory.as_ref();
    let figures = ratio_figures(report)?;
    let [page, json, csv, markdown] =
        ["html", "json", "csv", "md"].map(|end| directory.join("ratio").with_extension(end));
    let figure_path = |figure: &Figure| {
        directory
            .join("figures")
            .join(format!("{}.svg", figure.name))
    };
    for path in [&page, &json, &csv, &markdown] {
        check_replaceable(path)?;
    }
    for figure in &figures {
        check_replaceable(&figure_path(figure))?;
    }
    for figure in &figures {
        write_atomic(figure_path(figure), &figure.svg)?;
    }
    remove_stale(&directory.join("figures"), &figures);
    write_json_atomic(json, &Document::of(report))?;
    write_atomic(csv, ratio_csv(report))?;
    let links = figures.iter().map(|figure| {
        let title = markdown_text(&figure.title);
        format!("\n![{title}](figures/{}.svg)\n", figure.name)
    });
    let text = links.fold(ratio_markdown(report), |text, link| text + &link);
    write_atomic(markdown, text)?;
    write_atomic(page, ratio_page(report, &figures))?;
    Ok(())
}

/// Removes the figures of single data sets that an earlier report has left.
fn remove_stale(folder: &Path, figures: &[Figure]) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let number = name
            .strip_prefix("ratio-")
            .and_then(|number| number.parse::<u32>().ok());
        let is_svg = path.extension().is_some_and(|end| end == "svg");
        let is_current = figures.iter().any(|figure| figure.name == name);
        if number.is_some() && is_svg && !is_current && check_replaceable(&path).is_ok() {
            // What cannot be removed does no harm beside the page.
            let _ = std::fs::remove_file(&path);
        }
    }
}
