//! Output against target, the loss, and the end result of every seed.

use super::axis::ends;
use super::*;
use crate::report::baselines::Comparison;
use crate::report::tables::{Results, Sample};
use crate::statistics::median;
use plotters::coord::Shift;
use plotters::series::DashedLineSeries;
use std::collections::HashMap;

/// Panels that are shown at most.
const PANELS: usize = 6;
/// Trials that are drawn one by one at most; of more their median and range are drawn.
const LINES: usize = 10;

/// Output before and after training against the target, a panel for each sample and channel of the first trial.
pub fn output(manifest: &Manifest, results: &Results) -> Result<Option<Figure>, ReportError> {
    let Some(trial) = results.traces.iter().find(|trial| trial.samples.iter().any(|s| !s.target.is_empty())) else {
        return Ok(None);
    };
    let panels: Vec<(usize, usize)> = (0..trial.samples.len())
        .flat_map(|s| (0..trial.samples[s].target.len()).map(move |c| (s, c)))
        .take(PANELS)
        .collect();
    let rows = if panels.len() == 1 { 1 } else { panels.len().div_ceil(2) };
    let columns = if panels.len() == 1 { 1 } else { 2 };
    let height = STRIP + if rows == 1 && columns == 1 { 380 } else { 290 * rows as u32 };
    let names = &manifest.data.targets;
    let svg = draw("output", height, |area| {
        let (top, area) = area.split_vertically(STRIP);
        let before = ("before training", VERMILION, Mark::Dashed);
        strip(&top, &[("target", INK, Mark::Solid), before, ("after training", BLUE, Mark::Solid)])?;
        for (panel, (sample, channel)) in area.split_evenly((rows, columns)).iter().zip(&panels) {
            let unit = names.get(*channel).map_or("output", String::as_str);
            let title = (panels.len() > 1).then(|| format!("sample {sample}, {unit}"));
            output_panel(panel, &trial.samples[*sample], *channel, title, unit)?;
        }
        Ok(())
    })?;
    let seed = results.trials.iter().find(|t| t.id == trial.trial).map_or(0, |t| t.seed);
    // Traces are of the part that was trained on least.
    let (of_part, samples) = match manifest.data.parts.last() {
        Some((part, samples)) => (format!(" of the {part} part"), *samples),
        None => (String::new(), manifest.data.samples),
    };
    let shown = panels.len().div_ceil(names.len().max(1));
    let part = match shown < samples {
        true => format!(" {shown} of {samples} samples{of_part} are shown."),
        false if of_part.is_empty() => String::new(),
        false => format!(" The samples are those{of_part}."),
    };
    Ok(Some(Figure {
        name: "output".into(),
        title: "Output against target, before and after training".into(),
        caption: format!("Trial {} (seed {seed}). Closer to the black line is better.{part}", trial.trial),
        svg,
    }))
}

fn output_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    sample: &Sample,
    channel: usize,
    title: Option<String>,
    unit: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let pick = |channels: &'_ [Vec<f64>]| channels.get(channel).cloned().unwrap_or_default();
    let (target, before, after) = (pick(&sample.target), pick(&sample.untrained), pick(&sample.output));
    let all = target.iter().chain(&before).chain(&after).copied();
    let x = Axis::whole(0.0, (target.len().max(2) - 1) as f64);
    let y = Axis::around(all).unwrap_or_else(Axis::empty);
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).x_label_area_size(44).y_label_area_size(64);
    if let Some(title) = &title {
        builder.caption(title, font(15).color(&INK));
    }
    let mut chart = axes(&mut builder, (&x, "Time (steps)"), (&y, &format!("Output and target ({unit})")), true)?;
    let curve = |values: &[f64]| lines(values.iter().enumerate().map(|(t, v)| (t as f64, *v)), &x, &y);
    for line in curve(&target) {
        chart.draw_series(LineSeries::new(line, INK.stroke_width(3)))?;
    }
    for line in curve(&before) {
        chart.draw_series(DashedLineSeries::new(line, 7, 5, VERMILION.stroke_width(2)))?;
    }
    for line in curve(&after) {
        chart.draw_series(LineSeries::new(line, BLUE.stroke_width(2)))?;
    }
    Ok(())
}

/// The loss of every iteration.
pub fn loss(manifest: &Manifest, results: &Results) -> Result<Option<Figure>, ReportError> {
    let curves: Vec<&[(f64, f64)]> =
        results.trials.iter().map(|t| t.history.as_slice()).filter(|history| !history.is_empty()).collect();
    let values = || curves.iter().flat_map(|curve| curve.iter().map(|(_, loss)| *loss));
    let (Some(y), Some(last)) =
        (axis_of(values()), curves.iter().flat_map(|c| c.last()).map(|(i, _)| *i).reduce(f64::max))
    else {
        return Ok(None);
    };
    let x = Axis::whole(0.0, last.max(1.0));
    let unit = if manifest.loss.unit == "1" { String::new() } else { format!(", {}", manifest.loss.unit) };
    let label = format!("Loss ({}{unit})", manifest.loss.name);
    let svg = draw("loss", 380, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(72);
        let mut chart = axes(&mut builder, (&x, "Iteration"), (&y, &label), true)?;
        loss_lines(&mut chart, &curves, &x, &y)
    })?;
    let n = curves.len();
    let caption = match n {
        1 => "Before the update of each iteration; lower is better.".to_string(),
        n if n <= LINES => {
            format!("Before the update of each iteration, a line for each of {n} trials; lower is better.")
        }
        n => format!(
            "Before the update of each iteration: median (line) and range (band) of {n} trials; lower is better."
        ),
    };
    Ok(Some(Figure { name: "loss".into(), title: "Loss while training".into(), caption, svg }))
}

/// The learning rate of every iteration, where it changes, a line for each course that it took.
pub fn rate(results: &Results) -> Result<Option<Figure>, ReportError> {
    let mut courses: Vec<&[(f64, f64)]> = Vec::new();
    for trial in results.trials.iter().filter(|trial| !trial.rates.is_empty()) {
        if courses.len() < LINES && !courses.contains(&trial.rates.as_slice()) {
            courses.push(&trial.rates);
        }
    }
    let values = courses.iter().flat_map(|course| course.iter().map(|(_, rate)| *rate));
    let last = courses.iter().filter_map(|course| course.last()).map(|(i, _)| *i).reduce(f64::max);
    let (Some(y), Some(last)) = (axis_of(values), last) else { return Ok(None) };
    let x = Axis::whole(0.0, last.max(1.0));
    let svg = draw("rate", 260, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(72);
        let mut chart = axes(&mut builder, (&x, "Iteration"), (&y, "Learning rate"), true)?;
        loss_lines(&mut chart, &courses, &x, &y)
    })?;
    let caption = match courses.len() {
        1 => {
            "Of the update of each iteration, the same for every trial. A layer's own rate changes by the same factor."
        }
        _ => {
            "Of the update of each iteration, a line for each course that it took. A layer's own rate changes by the same factor."
        }
    };
    let title = "Learning rate while training".into();
    Ok(Some(Figure { name: "rate".into(), title, caption: caption.into(), svg }))
}

/// A logarithmic axis where all finite values are above 0 and far apart, or else one with even differences.
fn axis_of(values: impl Iterator<Item = f64> + Clone) -> Option<Axis> {
    let (least, most) = ends(values.clone())?;
    if least > 0.0 && most / least >= DECADES { Axis::logarithmic(values) } else { Axis::around(values) }
}

fn loss_lines(
    chart: &mut Chart<'_, '_>,
    curves: &[&[(f64, f64)]],
    x: &Axis,
    y: &Axis,
) -> Result<(), Box<dyn std::error::Error>> {
    if curves.len() <= LINES {
        let width = if curves.len() == 1 { 2 } else { 1 };
        for line in curves.iter().flat_map(|curve| lines(curve.iter().copied(), x, y)) {
            chart.draw_series(LineSeries::new(line, BLUE.stroke_width(width)))?;
        }
        return Ok(());
    }
    let longest = curves.iter().copied().max_by_key(|curve| curve.len()).unwrap_or(&[]);
    let stride = longest.len().div_ceil(POINTS / 2).max(1);
    let rows = (0..longest.len()).step_by(stride).chain(longest.len().checked_sub(1));
    let mut band: Vec<(f64, [f64; 3])> = Vec::new();
    for i in rows {
        let at = curves.iter().filter_map(|curve| Some(curve.get(i)?.1)).filter(|loss| loss.is_finite());
        let mut at: Vec<f64> = at.collect();
        at.sort_by(f64::total_cmp);
        if let (Some(first), Some(last)) = (at.first(), at.last()) {
            let places = [*first, median(&at), *last].map(|loss| y.at(loss));
            if let (Some(place), [Some(low), Some(middle), Some(high)]) = (x.at(longest[i].0), places) {
                band.push((place, [low, middle, high]));
            }
        }
    }
    let edge = band.iter().map(|p| (p.0, p.1[0])).chain(band.iter().rev().map(|p| (p.0, p.1[2])));
    chart.draw_series([Polygon::new(edge.collect::<Vec<_>>(), BLUE.mix(0.18))])?;
    chart.draw_series(LineSeries::new(band.iter().map(|p| (p.0, p.1[1])), BLUE.stroke_width(2)))?;
    Ok(())
}

/// The first metric of every trial, beside the leaky integrator's.
pub fn by_seed(manifest: &Manifest, results: &Results, comparison: &Comparison) -> Result<Option<Figure>, ReportError> {
    let Some(metric) = comparison.metrics.iter().position(|name| name != "r2") else { return Ok(None) };
    let of = |rival: usize| comparison.values.get(rival).map(|metrics| metrics[metric].clone()).unwrap_or_default();
    let (network, integrator) = (of(0), of(comparison.shown));
    let beside = comparison.rivals.get(comparison.shown).map_or("", |(name, _)| name.as_str());
    let positive = network.iter().chain(&integrator).copied().filter(|v| *v > 0.0);
    let Some(y) = axis_of(positive).filter(|_| network.len() >= 2) else { return Ok(None) };
    let completed = results.completed().map(|trial| (trial.id.as_str(), trial.seed));
    let seed_of: HashMap<&str, u64> = completed.collect();
    let seeds: Vec<u64> = comparison.trials.iter().filter_map(|id| seed_of.get(id.as_str()).copied()).collect();
    let (first, last) =
        (seeds.iter().min().copied().unwrap_or(0) as f64, seeds.iter().max().copied().unwrap_or(1) as f64);
    let x = Axis::whole(first - 0.5, last + 0.5);
    let name = comparison.metrics[metric].clone();
    let label = if name == "nmse" { "nmse (1 is what the target's mean gives)".into() } else { name.clone() };
    let svg = draw("by_seed", STRIP + 360, |area| {
        let (top, area) = area.split_vertically(STRIP);
        strip(&top, &[("network, trained", BLUE, Mark::Dot), (beside, GREEN, Mark::Triangle)])?;
        let points = |values: &[f64]| -> Vec<(f64, f64)> {
            let points = seeds.iter().zip(values).filter(|(_, value)| **value > 0.0);
            points.filter_map(|(seed, value)| Some((x.at(*seed as f64)?, y.at(*value)?))).collect()
        };
        let mut builder = ChartBuilder::on(&area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(72);
        let mut chart = axes(&mut builder, (&x, "Seed"), (&y, &label), true)?;
        chart.draw_series(points(&network).into_iter().map(|p| Circle::new(p, 4, BLUE.filled())))?;
        chart.draw_series(points(&integrator).into_iter().map(|p| TriangleMarker::new(p, 5, GREEN.filled())))?;
        Ok(())
    })?;
    let task = if manifest.data.parts.is_empty() {
        " The seed draws the task too, unless the file fixes it."
    } else {
        " Measured on the part that the table above names."
    };
    let caption = format!("A point a trial, {} of them; lower is better.{task}", network.len());
    Ok(Some(Figure { name: "by_seed".into(), title: format!("{name} of every seed"), caption, svg }))
}
