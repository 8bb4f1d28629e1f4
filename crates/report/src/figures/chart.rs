//! How a chart looks: panels under one legend. Knows marks and axes, not what they mean.

use plotters::chart::ChartBuilder;
use plotters::prelude::{IntoDrawingArea, SVGBackend};
use plotters::style::{Color, RGBColor};

use super::axis::Axis;
use super::legend::{self, Entry};
use super::marks::{self, Canvas, Drawn, Marker, Place, drawn};
use super::style::{self, AXIS, GRID, UNITS, WIDTH, units};

/// A whole figure.
pub(crate) struct Chart {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) caption: String,
    pub(crate) legend: Vec<Entry>,
    pub(crate) panels: Vec<Panel>,
}

/// A pair of axes and what is drawn on them.
pub(crate) struct Panel {
    pub(crate) x: Axis,
    pub(crate) x_label: &'static str,
    pub(crate) y_label: &'static str,
    /// Height in CSS pixels.
    pub(crate) height: f64,
    pub(crate) values: Values,
    /// Horizontal lines: value and the dashes' length in CSS pixels.
    pub(crate) references: Vec<(f64, f64)>,
    /// Vertical lines: place and the dashes' length in CSS pixels.
    pub(crate) verticals: Vec<(f64, f64)>,
    pub(crate) series: Vec<Series>,
}

/// What a panel's vertical axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Any values, of which the axis shows what there is.
    Any,
    /// Shares, labeled in percent and never below 0 or above 1.
    Shares,
    /// Densities, from 0 on.
    Densities,
}

/// The marks of one color. Points are (x, y), intervals (x, [low, high]).
pub(crate) struct Series {
    pub(crate) color: RGBColor,
    /// The mark at each point; none on lines of many points.
    pub(crate) marker: Option<Marker>,
    /// Length in CSS pixels of the dashes of the line through the points; a whole line without.
    pub(crate) dash: Option<f64>,
    /// Points joined by a line.
    pub(crate) points: Vec<(f64, f64)>,
    /// Faint lines behind; where they leave the panel they follow its edge.
    pub(crate) faint: Vec<Vec<(f64, f64)>>,
    /// Small circles beside the points.
    pub(crate) dots: Vec<(f64, f64)>,
    /// Thin bars with caps.
    pub(crate) bars: Vec<(f64, [f64; 2])>,
    /// Light bands.
    pub(crate) bands: Vec<(f64, [f64; 2])>,
    /// How far the series is moved to the right, in CSS pixels, so that series at one place stay
    /// apart.
    pub(crate) offset: f64,
}

impl Series {
    /// An empty series in the color and shape of its index.
    pub(crate) fn new(index: usize) -> Self {
        Self {
            color: style::series_color(index),
            marker: Some(Marker::of(index)),
            dash: None,
            points: Vec::new(),
            faint: Vec::new(),
            dots: Vec::new(),
            bars: Vec::new(),
            bands: Vec::new(),
            offset: 0.0,
        }
    }

    /// Every value that must be visible; faint lines need not be.
    fn values(&self) -> impl Iterator<Item = f64> {
        let lines = self.points.iter().chain(&self.dots);
        let intervals = self.bars.iter().chain(&self.bands);
        lines
            .map(|(_, y)| *y)
            .chain(intervals.flat_map(|(_, bounds)| *bounds))
    }
}

/// Draws a figure as SVG without a background.
pub(crate) fn draw(chart: &Chart) -> Drawn<String> {
    let head = legend::height(&chart.legend);
    let height = head + chart.panels.iter().map(|panel| panel.height).sum::<f64>();
    let size = (units(f64::from(WIDTH)) as u32, units(height) as u32);
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        legend::draw(&canvas, &chart.title, &chart.legend)?;
        let mut top = units(head);
        for panel in &chart.panels {
            let bottom = top + units(panel.height);
            draw_panel(&canvas, top, bottom, panel)?;
            top = bottom;
        }
        drawn(canvas.present())?;
    }
    let drawn_size = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    let shown_size = format!("width=\"{WIDTH}\" height=\"{}\"", size.1 / UNITS as u32);
    Ok(svg.replacen(&drawn_size, &shown_size, 1))
}

/// The vertical range that holds everything with a margin.
fn vertical_range(panel: &Panel) -> (f64, f64) {
    let values = || {
        let references = panel.references.iter().map(|(value, _)| *value);
        references.chain(panel.series.iter().flat_map(Series::values))
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let least = if panel.values == Values::Shares {
        0.04
    } else {
        0.02 * high.abs().max(1e-3)
    };
    let margin = 0.07 * (high - low).max(least);
    let (low, high) = (low - margin, high + margin);
    match panel.values {
        // Slightly beyond both ends, so that marks there are drawn whole.
        Values::Shares => (low.max(-0.01), high.min(1.01)),
        Values::Any => (low, high),
        Values::Densities => (0.0, high),
    }
}

/// Decimals of a label, so that neighbors on a scale of this span differ.
fn decimals(span: f64) -> usize {
    (0..4)
        .find(|&digits| span >= 6.0 * 0.1f64.powi(digits))
        .unwrap_or(4) as usize
}

fn draw_panel(canvas: &Canvas, top: i32, bottom: i32, panel: &Panel) -> Drawn {
    let (low, high) = vertical_range(panel);
    let scale = match panel.values {
        Values::Shares => 100.0,
        Values::Any | Values::Densities => 1.0,
    };
    let digits = decimals(scale * (high - low));
    let (area, _) = canvas.split_vertically(bottom);
    let (_, area) = area.split_vertically(top);
    let mut chart = drawn(
        ChartBuilder::on(&area)
            .margin_top(units(8.0))
            .margin_right(units(18.0))
            .margin_bottom(units(6.0))
            .margin_left(units(10.0))
            .x_label_area_size(units(46.0))
            .y_label_area_size(units(60.0))
            .build_cartesian_2d(panel.x.clone(), low..high),
    )?;
    drawn(
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(style::line(GRID, 1.0))
            .axis_style(style::line(AXIS, 1.0))
            .set_all_tick_mark_size(units(4.0))
            .x_labels(8)
            .y_labels(8)
            .label_style(style::text(13.0))
            .axis_desc_style(style::text(13.0))
            .x_desc(panel.x_label)
            .y_desc(panel.y_label)
            .y_label_formatter(&|value: &f64| format!("{:.digits$}", scale * value))
            .draw(),
    )?;
    let (across, down) = chart.plotting_area().get_pixel_range();
    for &(value, dash) in &panel.references {
        let y = chart.backend_coord(&(panel.x.first(), value)).1;
        let style = style::line(AXIS, 1.5);
        marks::dashes(canvas, (across.start, y), (across.end, y), dash, style)?;
    }
    for &(value, dash) in &panel.verticals {
        let x = chart.backend_coord(&(value, low)).0;
        let style = style::line(AXIS, 1.5);
        marks::dashes(canvas, (x, down.start), (x, down.end), dash, style)?;
    }
    for series in &panel.series {
        // Points outside the panel are drawn on its edge.
        let place = |(x, y): (f64, f64)| {
            let (x, y) = chart.backend_coord(&(x, y.clamp(low, high)));
            (x + units(series.offset), y)
        };
        draw_series(canvas, series, panel.x.breaks_after_zero(), &place)?;
    }
    if panel.x.breaks_after_zero() {
        let x = (chart.backend_coord(&(0.0, low)).0
            + chart.backend_coord(&(panel.x.second(), low)).0)
            / 2;
        for slash in [x - units(2.5), x + units(2.5)] {
            let ends = vec![
                (slash - units(2.5), down.end + units(5.0)),
                (slash + units(2.5), down.end - units(5.0)),
            ];
            marks::path(canvas, ends, style::line(AXIS, 1.3))?;
        }
    }
    Ok(())
}

fn draw_series(
    canvas: &Canvas,
    series: &Series,
    breaks_after_zero: bool,
    place: &dyn Fn((f64, f64)) -> Place,
) -> Drawn {
    let ends = |x: f64, [low, high]: [f64; 2]| {
        let (at, bottom) = place((x, low));
        (at, [bottom, place((x, high)).1])
    };
    for &(x, bounds) in &series.bands {
        let (x, ends) = ends(x, bounds);
        marks::band(canvas, x, ends, series.color)?;
    }
    for line in &series.faint {
        let places = line.iter().map(|&point| place(point)).collect();
        marks::path(canvas, places, style::faint(series.color))?;
    }
    let places: Vec<Place> = series.points.iter().map(|&point| place(point)).collect();
    let strong = style::line(series.color, 2.0);
    match places.as_slice() {
        [zero, smallest, ..] if breaks_after_zero && series.points[0].0 == 0.0 => {
            // The axis has no scale between 0 and the smallest weight, so the line there is only a
            // guide.
            marks::dashes(canvas, *zero, *smallest, 4.0, strong)?;
            marks::path(canvas, places[1..].to_vec(), strong)?;
        }
        _ => match series.dash {
            Some(dash) => marks::dashed_path(canvas, &places, dash, strong)?,
            None => marks::path(canvas, places.clone(), strong)?,
        },
    }
    for &(x, bounds) in &series.bars {
        let (x, ends) = ends(x, bounds);
        marks::bar(canvas, x, ends, series.color)?;
    }
    for &point in &series.dots {
        let (x, y) = place(point);
        marks::dot(canvas, (x + units(11.0), y), series.color)?;
    }
    if let Some(marker) = series.marker {
        for place in places {
            marks::marker(canvas, place, marker, series.color)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighboring_labels_differ() {
        assert_eq!(
            [40.0, 6.0, 3.0, 0.3, 0.01, 0.0].map(decimals),
            [0, 0, 1, 2, 3, 4]
        );
    }
}
