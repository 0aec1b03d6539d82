//! Pictures: 800 pixels wide, axes with names and units, Okabe and Ito's colours doubled by dash or marker.
//!
//! One meaning a colour on the whole page: blue is the trained network, orange the untrained one, black the target,
//! green the leaky integrator.

mod axis;
mod curves;
mod layers;
pub mod probe;

use super::baselines::Comparison;
use super::tables::Results;
use super::{Figure, ReportError};
use crate::spec::shown::shown;
use crate::store::manifest::Manifest;
use axis::{Axis, Direction};
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
    let ((output, (loss, rate)), (by_seed, layers)) = rayon::join(
        || {
            rayon::join(
                || curves::output(manifest, results),
                || rayon::join(|| curves::loss(manifest, results), || curves::rate(results)),
            )
        },
        || {
            rayon::join(
                || curves::by_seed(manifest, results, comparison),
                || results.layers.par_iter().map(|layer| layers::states(manifest, results, layer)).collect(),
            )
        },
    );
    let layers: Vec<Result<Option<Figure>, ReportError>> = layers;
    let figures = [output, loss, rate, by_seed].into_iter().chain(layers).collect::<Result<Vec<_>, _>>()?;
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

/// From which ratio of the largest to the smallest value on an axis is logarithmic: then it has two powers of ten.
const DECADES: f64 = 100.0;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Direction, Direction>>;

/// An axis and its name.
type Named<'a> = (&'a Axis, &'a str);

/// Draws the axes of a picture; `mesh` says whether ticks have lines through it.
fn axes<'a, 'b>(
    builder: &mut ChartBuilder<'a, 'b, SVGBackend<'b>>,
    (x, x_name): Named<'_>,
    (y, y_name): Named<'_>,
    mesh: bool,
) -> Result<Chart<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = builder.build_cartesian_2d(x.direction(), y.direction())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(if mesh { GRID } else { WHITE })
        .axis_style(INK)
        .label_style(font(14).color(&INK))
        .axis_desc_style(font(16).color(&INK))
        .x_desc(x_name)
        .y_desc(y_name)
        .x_label_formatter(&|place| x.label(*place))
        .y_label_formatter(&|place| y.label(*place))
        .draw()?;
    Ok(chart)
}

/// Points of a line that are drawn at most, about; more would lie in the same pixels.
const POINTS: usize = 2000;

/// Some points as lines on two axes. A point that has no place ends a line. Of very many points the lowest and the
/// highest of each stretch are drawn.
fn lines(points: impl IntoIterator<Item = (f64, f64)>, x: &Axis, y: &Axis) -> Vec<Vec<(f64, f64)>> {
    let place = |(at, value)| Some((x.at(at)?, y.at(value)?));
    let places: Vec<Option<(f64, f64)>> = points.into_iter().map(place).collect();
    let length = places.len().div_ceil(POINTS / 2);
    let whole = places.split(Option::is_none).map(|line| line.iter().flatten().copied().collect::<Vec<_>>());
    whole.filter(|line| !line.is_empty()).map(|line| thinned(&line, length)).collect()
}

/// The lowest and the highest point of each stretch of a length, in their order, and both ends.
fn thinned(line: &[(f64, f64)], length: usize) -> Vec<(f64, f64)> {
    if length <= 2 {
        return line.to_vec();
    }
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let ends = |part: &[(f64, f64)]| {
        let both = [part.iter().min_by(by_value), part.iter().max_by(by_value)].map(|point| *point.unwrap_or(&part[0]));
        if both[0].0 <= both[1].0 { both } else { [both[1], both[0]] }
    };
    let inner = line.chunks(length).flat_map(ends);
    let mut points: Vec<(f64, f64)> =
        line.first().copied().into_iter().chain(inner).chain(line.last().copied()).collect();
    points.dedup();
    points
}

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
