//! Colors and sizes, and a figure's two final forms: on white as a file, and in the page's colors
//! inside the page.

use plotters::style::{Color, RGBColor, ShapeStyle, TextStyle};

/// Drawing units in a CSS pixel. The drawing library rounds to whole units, so they must be small.
pub(crate) const UNITS: i32 = 4;
/// A figure's width in CSS pixels.
pub(crate) const WIDTH: i32 = 760;

/// Text; in the page the page's own color.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Axes and reference lines, readable on light and dark.
pub(crate) const AXIS: RGBColor = RGBColor(0x84, 0x84, 0x84);
/// Grid lines; in the page `var(--grid)`.
pub(crate) const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);

/// How many colors series have before they repeat.
pub(crate) const COLORS: usize = SERIES.len();

/// Okabe and Ito's colors (2008), distinct with every kind of color vision, without black and
/// yellow, which vanish on a dark or a light page.
const SERIES: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x8C, 0x6D, 0x46),
];

/// The color of a series; series that share one differ in their markers.
pub(crate) fn series_color(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// Text of a size in CSS pixels.
pub(crate) fn text(pixels: f64) -> TextStyle<'static> {
    // The SVG backend writes size / 1.24.
    let size = pixels * f64::from(UNITS) * 1.24;
    TextStyle::from(("sans-serif", size)).color(&INK)
}

/// A text's width in CSS pixels, estimated from the average advance of a sans-serif font, because
/// the drawing library cannot measure text.
pub(crate) fn text_width(text: &str, pixels: f64) -> f64 {
    0.56 * pixels * text.chars().count() as f64
}

/// A line of a width in CSS pixels.
pub(crate) fn line(color: RGBColor, pixels: f64) -> ShapeStyle {
    shade(color, 1.0, pixels)
}

/// A translucent line of a width in CSS pixels.
pub(crate) fn shade(color: RGBColor, opacity: f64, pixels: f64) -> ShapeStyle {
    color
        .mix(opacity)
        .stroke_width((pixels * f64::from(UNITS)).round() as u32)
}

/// The style of a line behind the others.
pub(crate) fn faint(color: RGBColor) -> ShapeStyle {
    shade(color, 0.3, 1.0)
}

/// CSS pixels in drawing units.
pub(crate) fn units(pixels: f64) -> i32 {
    (pixels * f64::from(UNITS)).round() as i32
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The end of the `<svg ...>` tag.
fn head_end(svg: &str) -> usize {
    svg.find('>').map_or(0, |end| end + 1)
}

/// The figure as a file: on white, so that it is readable on any page.
pub(crate) fn on_white(svg: &str) -> String {
    let (head, body) = svg.split_at(head_end(svg));
    format!("{head}\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>{body}")
}

/// The figure inside the page: in the page's colors, with a label for screen readers.
pub(crate) fn for_page(svg: &str, title: &str) -> String {
    let named = format!(
        "<svg role=\"img\" aria-label=\"{}\" ",
        crate::format::escape(title)
    );
    let inked = svg
        .replacen("<svg ", &named, 1)
        .replace(&hex(INK), "currentColor")
        .replace(&hex(GRID), "var(--grid)");
    // On a dark page the same hues must be brighter.
    (SERIES.iter().enumerate()).fold(inked, |svg, (index, color)| {
        svg.replace(&hex(*color), &format!("var(--series-{})", index + 1))
    })
}
