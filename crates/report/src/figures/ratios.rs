//! Figures of generation ratios: their densities on a linear and on a logarithmic scale.

use plw_ratio::{Density, DensityCurve, Unit};

use super::axis::Axis;
use super::chart::{Chart, Panel, Series, Values};
use super::legend::{Entry, Swatch};
use super::style::COLORS;
use crate::format::significant;
use crate::ratios::{NamedRatios, RatioReport};

/// Dashes of the marks of means, in CSS pixels.
const MEAN_DASH: f64 = 6.0;
const GEOMETRIC_MEAN_DASH: f64 = 2.0;
/// The most characters of a name in a legend, and in a title.
const LEGEND_NAME: usize = 40;
const TITLE_NAME: usize = 60;
const X_LINEAR: &str = "generation ratio (completion / prompt)";
const X_LOG: &str = "generation ratio (completion / prompt, log scale)";

/// All data sets' densities: above on a linear scale, each with a peak of 1; below by decade.
pub(crate) fn together(report: &RatioReport) -> Option<Chart> {
    let (mut linear, mut log10) = (Vec::new(), Vec::new());
    let mut legend = Vec::new();
    for (index, dataset) in report.datasets.iter().enumerate() {
        let analysis = &dataset.analysis;
        let curves = [analysis.linear.curve(), analysis.log10.curve()];
        if curves == [None, None] {
            continue;
        }
        let series = curve_series(index);
        let swatch = match series.dash {
            Some(dash) => Swatch::Dashed(series.color, dash),
            None => Swatch::Series(series.color, None),
        };
        legend.push(Entry::new(swatch, dataset.short_name(LEGEND_NAME)));
        linear.extend(curves[0].map(|curve| (index, curve, dataset)));
        log10.extend(curves[1].map(|curve| (index, curve)));
    }
    let mut panels = Vec::new();
    // Up to the ninth decile: with the tails of the widest set, the others would be lines at 0.
    let end = linear.iter().map(|(_, curve, dataset)| {
        let ratio = dataset.analysis.statistics.ratio.as_ref();
        let decile = ratio.map_or(0.0, |ratio| ratio.deciles[8]);
        (decile + 3.0 * curve.bandwidth).min(last(&curve.grid))
    });
    if let Some(end) = end.reduce(f64::max) {
        let series = linear.iter().map(|&(index, curve, _)| {
            let peak = curve.density.iter().copied().fold(0.0, f64::max);
            let mut series = curve_series(index);
            series.points = points(curve, end, |density| density / peak);
            series
        });
        panels.push(density_panel(
            Axis::Ratios(end),
            [X_LINEAR, "density (each peak is 1)"],
            series.collect(),
        ));
    }
    let ends = log10.iter().map(|(_, curve)| decade_ends(curve));
    if let Some(ends) = ends.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]) {
        let series = log10.iter().map(|&(index, curve)| {
            let mut series = curve_series(index);
            series.points = decade_points(curve);
            series
        });
        panels.push(density_panel(
            Axis::Decades(ends),
            [X_LOG, "density per decade"],
            series.collect(),
        ));
    }
    (!panels.is_empty()).then(|| Chart {
        name: "ratio",
        title: "Generation ratios".to_string(),
        caption: format!(
            "Gaussian kernel densities of the ratio in {}. On the linear scale every curve is \
             scaled to the same peak, and the axis ends shortly behind the largest 90th \
             percentile, so that long tails are cut. On the logarithmic scale the area under each \
             curve is 1.",
            report.unit.name()
        ),
        legend,
        panels,
    })
}

/// One data set's densities, with its means.
pub(crate) fn dataset(dataset: &NamedRatios, unit: Unit) -> Option<Chart> {
    let ratio = dataset.analysis.statistics.ratio.as_ref()?;
    let series = curve_series(0);
    let mut legend = vec![
        Entry::new(Swatch::Series(series.color, None), "density"),
        Entry::new(
            Swatch::Reference(MEAN_DASH),
            format!("trimmed mean {}", significant(ratio.trimmed_mean.value)),
        ),
    ];
    let mut verticals = vec![(ratio.trimmed_mean.value, MEAN_DASH)];
    let (name, middle) = match ratio.geometric_mean {
        Some(mean) => ("geometric mean", mean.value),
        None => ("median", ratio.median),
    };
    verticals.push((middle, GEOMETRIC_MEAN_DASH));
    legend.push(Entry::new(
        Swatch::Reference(GEOMETRIC_MEAN_DASH),
        format!("{name} {}", significant(middle)),
    ));
    let mut panels = Vec::new();
    let mut cut = "";
    if let Density::Curve(curve) = &dataset.analysis.linear {
        let end = last(&curve.grid);
        if end < ratio.largest {
            cut = " The linear axis ends shortly behind the 99th percentile, so that the tail is \
                   cut.";
        }
        let mut series = curve_series(0);
        series.points = points(curve, end, |density| density);
        let labels = [X_LINEAR, "density"];
        panels.push(density_panel(Axis::Ratios(end), labels, vec![series]));
    }
    if let Density::Curve(curve) = &dataset.analysis.log10 {
        let mut series = curve_series(0);
        series.points = decade_points(curve);
        let axis = Axis::Decades(decade_ends(curve));
        let labels = [X_LOG, "density per decade"];
        panels.push(density_panel(axis, labels, vec![series]));
    }
    for panel in &mut panels {
        let [low, high] = match panel.x {
            Axis::Decades(ends) => ends,
            _ => [0.0, panel.x.last()],
        };
        let within = verticals.iter().filter(|(x, _)| (low..=high).contains(x));
        panel.verticals = within.copied().collect();
    }
    (!panels.is_empty()).then(|| Chart {
        name: "ratio",
        title: format!("Generation ratio of {}", dataset.short_name(TITLE_NAME)),
        caption: format!(
            "Gaussian kernel density of the ratio in {} on a linear and on a logarithmic \
             scale.{cut}",
            unit.name()
        ),
        legend,
        panels,
    })
}

fn density_panel(x: Axis, [x_label, y_label]: [&'static str; 2], series: Vec<Series>) -> Panel {
    Panel {
        x,
        x_label,
        y_label,
        height: 270.0,
        values: Values::Densities,
        references: Vec::new(),
        verticals: Vec::new(),
        series,
    }
}

/// A line without markers; dashed where its color is that of an earlier one.
fn curve_series(index: usize) -> Series {
    let mut series = Series::new(index);
    series.marker = None;
    series.dash = match index / COLORS {
        0 => None,
        1 => Some(7.0),
        _ => Some(2.5),
    };
    series
}

/// The curve up to a ratio.
fn points(curve: &DensityCurve, end: f64, height: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let all = curve.grid.iter().zip(&curve.density);
    all.filter(|(ratio, _)| **ratio <= end)
        .map(|(&ratio, &density)| (ratio, height(density)))
        .collect()
}

/// A curve on the logarithmic scale, at its ratios.
fn decade_points(curve: &DensityCurve) -> Vec<(f64, f64)> {
    let all = curve.grid.iter().zip(&curve.density);
    all.map(|(&exponent, &density)| (10f64.powf(exponent), density))
        .collect()
}

fn decade_ends(curve: &DensityCurve) -> [f64; 2] {
    [curve.grid[0], last(&curve.grid)].map(|exponent| 10f64.powf(exponent))
}

fn last(grid: &[f64]) -> f64 {
    grid[grid.len() - 1]
}
