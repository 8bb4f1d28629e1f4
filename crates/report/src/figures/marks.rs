//! The marks that charts and legends are made of, in drawing units.

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::prelude::{DrawingArea, SVGBackend};
use plotters::style::{Color, RGBColor, ShapeStyle, TextStyle};

use super::style::{line, shade, units};

/// Fails with what the drawing library says.
pub(crate) type Drawn<T = ()> = Result<T, String>;
/// What is drawn on.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A place on it.
pub(crate) type Place = (i32, i32);

/// The library's error as text.
pub(crate) fn drawn<T, E: std::fmt::Display>(result: Result<T, E>) -> Drawn<T> {
    result.map_err(|error| error.to_string())
}

/// A shape, so that series are told apart without color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

impl Marker {
    /// The shape of a series.
    pub(crate) fn of(index: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond][index % 4]
    }
}

/// Lines from place to place.
pub(crate) fn path(canvas: &Canvas, places: Vec<Place>, style: ShapeStyle) -> Drawn {
    drawn(canvas.draw(&PathElement::new(places, style)))
}

/// A dashed line; `dash` is the length of dashes and gaps in CSS pixels.
pub(crate) fn dashes(
    canvas: &Canvas,
    from: Place,
    to: Place,
    dash: f64,
    style: ShapeStyle,
) -> Drawn {
    let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = dx.hypot(dy);
    let along = |distance: f64| {
        let share = (distance / length).min(1.0);
        (
            from.0 + (share * dx).round() as i32,
            from.1 + (share * dy).round() as i32,
        )
    };
    let dash = f64::from(units(dash));
    let mut start = 0.0;
    while start < length {
        path(canvas, vec![along(start), along(start + dash)], style)?;
        start += 2.0 * dash;
    }
    Ok(())
}

/// A dashed line through places; `dash` is the length of dashes and gaps in CSS pixels.
pub(crate) fn dashed_path(
    canvas: &Canvas,
    places: &[Place],
    dash: f64,
    style: ShapeStyle,
) -> Drawn {
    let dash = f64::from(units(dash));
    let mut dashed: Vec<Place> = Vec::new();
    // Where dashes and gaps end, in distance along the line.
    let (mut walked, mut end, mut is_gap) = (0.0, dash, false);
    for pair in places.windows(2) {
        let [from, to] = [pair[0], pair[1]].map(|(x, y)| (f64::from(x), f64::from(y)));
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |distance: f64| {
            let share = (distance - walked) / length;
            let along = |from: f64, to: f64| (from + share * (to - from)).round() as i32;
            (along(from.0, to.0), along(from.1, to.1))
        };
        if dashed.is_empty() && !is_gap {
            dashed.push(pair[0]);
        }
        while end < walked + length {
            match is_gap {
                true => dashed.push(at(end)),
                false => {
                    dashed.push(at(end));
                    path(canvas, std::mem::take(&mut dashed), style)?;
                }
            }
            (end, is_gap) = (end + dash, !is_gap);
        }
        if !is_gap {
            dashed.push(pair[1]);
        }
        walked += length;
    }
    match dashed.len() {
        0 | 1 => Ok(()),
        _ => path(canvas, dashed, style),
    }
}

/// A series' marker.
pub(crate) fn marker(canvas: &Canvas, (x, y): Place, marker: Marker, color: RGBColor) -> Drawn {
    let polygon = |corners: &[(f64, f64)]| {
        let corners = corners
            .iter()
            .map(|&(dx, dy)| (x + units(dx), y + units(dy)));
        drawn(canvas.draw(&Polygon::new(
            corners.collect::<Vec<Place>>(),
            color.filled(),
        )))
    };
    match marker {
        Marker::Circle => drawn(canvas.draw(&Circle::new((x, y), units(4.2), color.filled()))),
        Marker::Square => polygon(&[(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)]),
        Marker::Triangle => polygon(&[(0.0, -5.0), (4.8, 3.6), (-4.8, 3.6)]),
        Marker::Diamond => polygon(&[(0.0, -5.4), (5.0, 0.0), (0.0, 5.4), (-5.0, 0.0)]),
    }
}

/// A single run's value: a small open circle.
pub(crate) fn dot(canvas: &Canvas, place: Place, color: RGBColor) -> Drawn {
    drawn(canvas.draw(&Circle::new(place, units(2.6), shade(color, 0.85, 1.2))))
}

/// A thin vertical bar with caps.
pub(crate) fn bar(canvas: &Canvas, x: i32, [from, to]: [i32; 2], color: RGBColor) -> Drawn {
    let style = line(color, 1.5);
    path(canvas, vec![(x, from), (x, to)], style)?;
    for end in [from, to] {
        path(
            canvas,
            vec![(x - units(4.0), end), (x + units(4.0), end)],
            style,
        )?;
    }
    Ok(())
}

/// A light vertical band.
pub(crate) fn band(canvas: &Canvas, x: i32, [from, to]: [i32; 2], color: RGBColor) -> Drawn {
    path(canvas, vec![(x, from), (x, to)], shade(color, 0.24, 12.0))
}

/// Text whose upper left corner is given.
pub(crate) fn text(canvas: &Canvas, place: Place, text: &str, style: TextStyle<'_>) -> Drawn {
    drawn(canvas.draw(&Text::new(text.to_string(), place, style)))
}
