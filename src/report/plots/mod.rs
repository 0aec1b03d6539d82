//! Pictures: 800 pixels wide, axes with names and units, Okabe and Ito's colours doubled by dash or marker.
//!
//! One meaning a colour on the whole page: blue is the trained network, orange the untrained one, black the target,
//! green the leaky integrator.

mod curves;
mod layers;
pub mod probe;

use super::baselines::Comparison;
use super::tables::Results;
use super::{Figure, ReportError};
use crate::spec::shown::shown;
use crate::store::manifest::Manifest;
use plotters::prelude::*;
use plotters::style::{FontDesc, RGBColor};
use rayon::prelude::*;

/// Width of every picture, in pixels.
const WIDTH: u32 = 800;

const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const VERMILION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9E, 0x73);
const PURPLE: RGBColor = RGBColor(0xCC, 0x79, 0xA7);
const AMBER: RGBColor = RGBColor(0xE6, 0x9F, 0x00);
const SKY: RGBColor = RGBColor(0x56, 0xB4, 0xE9);
/// Okabe and Ito's colours in one order, for lines of one kind. Source: Okabe & Ito 2008, Color Universal Design.
const PALETTE: [RGBColor; 6] = [BLUE, VERMILION, GREEN, PURPLE, AMBER, SKY];
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);

/// Draws every figure of a report, in the order in which the page shows them.
pub fn all(manifest: &Manifest, results: &Results, comparison: &Comparison) -> Result<Vec<Figure>, ReportError> {
    let ((output, loss), (by_seed, layers)) = rayon::join(
        || rayon::join(|| curves::output(manifest, results), || curves::loss(manifest, results)),
        || {
            rayon::join(
                || curves::by_seed(manifest, results, comparison),
                || results.layers.par_iter().map(|layer| layers::states(manifest, results, layer)).collect(),
            )
        },
    );
    let layers: Vec<Result<Option<Figure>, ReportError>> = layers;
    let figures = [output, loss, by_seed].into_iter().chain(layers).collect::<Result<Vec<_>, _>>()?;
    Ok(figures.into_iter().flatten().collect())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws on a white sheet of a height; what fails is named.
fn draw(
    name: &str,
    height: u32,
    body: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    let result = {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| body(&area))
            .and_then(|()| area.present().map_err(Into::into))
    };
    result.map_err(|error: Box<dyn std::error::Error>| ReportError::Plot {
        name: name.into(),
        error: error.to_string(),
    })?;
    // Controls are no characters of XML.
    Ok(shown(&svg).into_owned())
}

fn font(size: u32) -> FontDesc<'static> {
    FontDesc::from(("sans-serif", size))
}

/// Smallest and largest of finite values, with some air; a flat line gets room on both sides.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    let air = if high > low { 0.06 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
    Some((low - air, high + air))
}

/// A number on an axis, short.
fn tick(value: f64) -> String {
    // What is left of a subtraction is no number to show.
    let value = if value.abs() < 1e-12 { 0.0 } else { value };
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// A step, an iteration or a seed on an axis; nothing between two of them.
fn whole(value: f64) -> String {
    if (value - value.round()).abs() < 1e-6 { tick(value.round()) } else { String::new() }
}

/// Ticks of an axis of so many steps, iterations or seeds.
fn ticks(length: f64) -> usize {
    (length as usize).clamp(2, 8)
}

/// From which ratio of the largest to the smallest value on an axis is logarithmic: then it has two powers of ten.
const DECADES: f64 = 100.0;

/// `MeshStyle` settings that all axes share. The x axis has so many whole numbers, or else any.
macro_rules! axes {
    (@ $chart:expr, $x:expr, $y:expr, $labels:expr, $text:expr) => {
        $chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(14).color(&INK))
            .axis_desc_style(font(16).color(&INK))
            .x_desc($x)
            .y_desc($y)
            .x_labels($labels)
            .y_labels(6)
            .x_label_formatter(&|x| $text(*x))
            .y_label_formatter(&|y| tick(*y))
            .draw()?
    };
    ($chart:expr, $x:expr, $y:expr, $length:expr) => {
        axes!(@ $chart, $x, $y, ticks($length), whole)
    };
    ($chart:expr, $x:expr, $y:expr) => {
        axes!(@ $chart, $x, $y, 8, tick)
    };
}
use axes;

/// How a line or point of a key looks.
#[derive(Clone, Copy)]
enum Mark {
    Solid,
    Dashed,
    Dot,
    Triangle,
}

/// Height of a strip of keys above a plot, where they cover nothing.
const STRIP: u32 = 30;

/// Names lines and points in a strip, one beside the other.
fn strip(area: &Area<'_>, keys: &[(&str, RGBColor, Mark)]) -> Result<(), Box<dyn std::error::Error>> {
    let mut x = 76;
    for (text, colour, mark) in keys {
        key(area, (x, 18), text, *colour, *mark)?;
        x += 52 + 8 * text.len() as i32;
    }
    Ok(())
}

/// A sample of a line or point and its name.
fn key(
    area: &Area<'_>,
    (x, y): (i32, i32),
    text: &str,
    colour: RGBColor,
    mark: Mark,
) -> Result<(), Box<dyn std::error::Error>> {
    let stroke = |from: i32, to: i32| PathElement::new([(x + from, y), (x + to, y)], colour.stroke_width(2));
    match mark {
        Mark::Solid => area.draw(&stroke(0, 28))?,
        Mark::Dashed => {
            area.draw(&stroke(0, 11))?;
            area.draw(&stroke(17, 28))?;
        }
        Mark::Dot => area.draw(&Circle::new((x + 20, y), 4, colour.filled()))?,
        Mark::Triangle => area.draw(&TriangleMarker::new((x + 20, y), 5, colour.filled()))?,
    }
    area.draw(&Text::new(text.to_string(), (x + 34, y - 8), font(14).color(&INK)))?;
    Ok(())
}
