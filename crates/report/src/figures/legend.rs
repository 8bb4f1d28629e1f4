//! The head of a figure: its title, and below it what each mark means, on as many lines as needed.

use plotters::style::RGBColor;

use super::marks::{self, Canvas, Drawn, Marker};
use super::style::{self, AXIS, WIDTH, units};

/// What a mark looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Swatch {
    /// A series: its line and, where points have markers, its marker.
    Series(RGBColor, Option<Marker>),
    /// A dashed series without markers, with its dashes' length in CSS pixels.
    Dashed(RGBColor, f64),
    /// A horizontal or vertical reference line with its dashes' length in CSS pixels.
    Reference(f64),
    /// The interval drawn as a thin bar with caps.
    Bar(RGBColor),
    /// The interval drawn as a light band.
    Band(RGBColor),
    /// A single run's value.
    Dot(RGBColor),
    /// A faint line behind a series.
    Faint(RGBColor),
}

/// A mark and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) swatch: Swatch,
    pub(crate) label: String,
}

impl Entry {
    /// A mark and what it means.
    pub(crate) fn new(swatch: Swatch, label: impl Into<String>) -> Self {
        Self {
            swatch,
            label: label.into(),
        }
    }
}

const LEFT: f64 = 14.0;
const TITLE_HEIGHT: f64 = 36.0;
const LINE_HEIGHT: f64 = 21.0;
const SWATCH_WIDTH: f64 = 26.0;
const FONT: f64 = 12.5;

/// Each entry's left edge and line.
fn places(entries: &[Entry]) -> Vec<(f64, usize)> {
    let (mut x, mut line) = (LEFT, 0);
    let mut places = Vec::new();
    for entry in entries {
        let width = SWATCH_WIDTH + 6.0 + style::text_width(&entry.label, FONT) + 14.0;
        if x > LEFT && x + width > f64::from(WIDTH) {
            (x, line) = (LEFT, line + 1);
        }
        places.push((x, line));
        x += width;
    }
    places
}

/// Height of title and legend in CSS pixels.
pub(crate) fn height(entries: &[Entry]) -> f64 {
    let lines = places(entries).last().map_or(0, |(_, line)| line + 1);
    TITLE_HEIGHT + LINE_HEIGHT * lines as f64 + 4.0
}

/// Draws title and legend.
pub(crate) fn draw(canvas: &Canvas, title: &str, entries: &[Entry]) -> Drawn {
    let at = |x: f64, y: f64| (units(x), units(y));
    marks::text(canvas, at(LEFT, 11.0), title, style::text(15.5))?;
    for (entry, (left, line)) in entries.iter().zip(places(entries)) {
        let y = TITLE_HEIGHT + LINE_HEIGHT * (line as f64 + 0.5);
        let (right, middle) = (left + SWATCH_WIDTH, left + SWATCH_WIDTH / 2.0);
        let across = vec![at(left, y), at(right, y)];
        let upright = [units(y - 7.5), units(y + 7.5)];
        match entry.swatch {
            Swatch::Series(color, marker) => {
                marks::path(canvas, across, style::line(color, 2.0))?;
                if let Some(marker) = marker {
                    marks::marker(canvas, at(middle, y), marker, color)?;
                }
            }
            Swatch::Dashed(color, dash) => {
                marks::dashes(canvas, across[0], across[1], dash, style::line(color, 2.0))?;
            }
            Swatch::Reference(dash) => {
                marks::dashes(canvas, across[0], across[1], dash, style::line(AXIS, 1.5))?;
            }
            Swatch::Bar(color) => marks::bar(canvas, units(middle), upright, color)?,
            Swatch::Band(color) => marks::band(canvas, units(middle), upright, color)?,
            Swatch::Dot(color) => marks::dot(canvas, at(middle, y), color)?,
            Swatch::Faint(color) => marks::path(canvas, across, style::faint(color))?,
        }
        marks::text(
            canvas,
            at(right + 6.0, y - 5.5),
            &entry.label,
            style::text(FONT),
        )?;
    }
    Ok(())
}
