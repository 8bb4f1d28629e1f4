//! The figures of a report: which there are. [`chart`] knows how a figure looks.

mod axis;
mod chart;
mod legend;
mod marks;
mod ratios;
mod style;
mod training;
mod weights;

use crate::error::ReportError;
use crate::printable::printable;
use crate::ratios::RatioReport;
use crate::report::Report;
use crate::sweep::Sweep;
use chart::Chart;

/// A figure of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The file name without its extension, such as `accuracy`.
    pub name: String,
    /// Which section of the report it belongs to. Of figures of ratios: which data set, 0 for the
    /// figure of all.
    pub section: usize,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The figure on white, as a file.
    pub svg: String,
    /// The same without a background, with ink and grid in the page's colors (`currentColor`,
    /// `var(--grid)`).
    pub inline_svg: String,
}

/// Draws a report's figures; a figure that would be empty is left out.
pub fn figures(sweep: &Sweep, report: &Report) -> Result<Vec<Figure>, ReportError> {
    let mut figures = Vec::new();
    for (index, section) in report.sections.iter().enumerate() {
        let charts = [
            weights::results(section),
            weights::levels(section),
            weights::losses(section),
            training::results_over_steps(sweep, section),
            training::loss_over_steps(sweep, section),
        ];
        for chart in charts.into_iter().flatten() {
            let name = match report.sections.len() {
                1 => chart.name.to_string(),
                _ => format!("{}-{}", chart.name, index + 1),
            };
            figures.push(draw(chart, name, index)?);
        }
    }
    Ok(figures)
}

/// Draws the densities of generation ratios: all data sets in one figure `ratio`, and with several
/// each in a figure of its own, `ratio-1` and so on. A figure without a density is left out.
pub fn ratio_figures(report: &RatioReport) -> Result<Vec<Figure>, ReportError> {
    let mut figures = Vec::new();
    if let [dataset] = report.datasets.as_slice() {
        let chart = ratios::dataset(dataset, report.unit);
        figures.extend(chart.map(|chart| draw(chart, "ratio".to_string(), 0)));
    } else {
        let chart = ratios::together(report);
        figures.extend(chart.map(|chart| draw(chart, "ratio".to_string(), 0)));
        for (number, dataset) in (1..).zip(&report.datasets) {
            let chart = ratios::dataset(dataset, report.unit);
            figures.extend(chart.map(|chart| draw(chart, format!("ratio-{number}"), number)));
        }
    }
    figures.into_iter().collect()
}

fn draw(chart: Chart, name: String, section: usize) -> Result<Figure, ReportError> {
    let svg = chart::draw(&chart).map_err(|problem| ReportError::Figure {
        name: name.clone(),
        problem,
    })?;
    // XML has no control characters, not even as entities.
    let svg = printable(&svg);
    Ok(Figure {
        inline_svg: style::for_page(&svg, &chart.title),
        svg: style::on_white(&svg),
        name,
        section,
        title: chart.title,
        caption: chart.caption,
    })
}
