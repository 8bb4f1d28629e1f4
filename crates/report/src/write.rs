//! From a sweep's folder to the report's files.

use std::path::Path;

use plw_files::{write_atomic, write_json_atomic};

use crate::analysis::analyze;
use crate::error::ReportError;
use crate::figures::{Figure, figures};
use crate::page::page;
use crate::replaceable::check_replaceable;
use crate::report::{AnalysisOptions, Report};
use crate::sweep::read_sweep;
use crate::tables::markdown;

/// Reads the runs in `sweep_dir`, analyzes them with the default options, and writes the report.
///
/// `out_html` is one page that needs no other file. Beside it are the same results as `.json` and
/// `.md` under the page's name, and each figure as `figures/NAME.svg`. Each file is written
/// atomically, the page last. The same records give the same bytes.
///
/// # Errors
///
/// If no run can be reported, or a file of one of these names is there that no report wrote.
pub fn write_report(
    sweep_dir: impl AsRef<Path>,
    out_html: impl AsRef<Path>,
) -> Result<Report, ReportError> {
    let out_html = out_html.as_ref();
    let sweep = read_sweep(sweep_dir)?;
    let report = analyze(&sweep, &AnalysisOptions::default());
    let figures = figures(&sweep, &report)?;
    let [json, markdown_path] = ["json", "md"].map(|end| out_html.with_extension(end));
    if [&json, &markdown_path].iter().any(|path| *path == out_html) {
        return Err(ReportError::PageName {
            path: out_html.to_path_buf(),
        });
    }
    let folder = out_html.with_file_name("figures");
    let path_of = |figure: &Figure| folder.join(format!("{}.svg", figure.name));
    for path in [out_html, &json, &markdown_path] {
        check_replaceable(path)?;
    }
    for figure in &figures {
        check_replaceable(&path_of(figure))?;
    }
    for figure in &figures {
        write_atomic(path_of(figure), &figure.svg)?;
    }
    write_json_atomic(json, &report)?;
    let links = figures
        .iter()
        .map(|figure| format!("\n![{}](figures/{}.svg)\n", figure.title, figure.name));
    let text = links.fold(markdown(&report), |text, link| text + &link);
    write_atomic(markdown_path, text)?;
    write_atomic(out_html, page(&sweep, &report, &figures))?;
    Ok(report)
}
