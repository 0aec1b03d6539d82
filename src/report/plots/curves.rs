//! Output against target, the loss, and the end result of every seed.

use super::*;
use crate::report::baselines::Comparison;
use crate::report::tables::{Results, Sample};
use crate::statistics::median;
use plotters::coord::Shift;
use plotters::series::DashedLineSeries;

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
    let (low, high) = range(all).unwrap_or((0.0, 1.0));
    let last = (target.len().max(2) - 1) as f64;
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).x_label_area_size(44).y_label_area_size(64);
    if let Some(title) = &title {
        builder.caption(title, font(15).color(&INK));
    }
    let mut chart = builder.build_cartesian_2d(0.0..last, low..high)?;
    axes!(chart, "Time (steps)", format!("Output and target ({unit})"), last + 1.0);
    let points = |values: &[f64]| drawn(values.iter().enumerate().map(|(t, v)| (t as f64, *v)));
    chart.draw_series(LineSeries::new(points(&target), INK.stroke_width(3)))?;
    chart.draw_series(DashedLineSeries::new(points(&before), 7, 5, VERMILION.stroke_width(2)))?;
    chart.draw_series(LineSeries::new(points(&after), BLUE.stroke_width(2)))?;
    Ok(())
}

/// The loss of every iteration.
pub fn loss(manifest: &Manifest, results: &Results) -> Result<Option<Figure>, ReportError> {
    let curves: Vec<&[(f64, f64)]> =
        results.trials.iter().map(|t| t.history.as_slice()).filter(|history| !history.is_empty()).collect();
    let values = || curves.iter().flat_map(|curve| curve.iter().map(|(_, loss)| *loss)).filter(|v| is_drawn(*v));
    let (Some((low, high)), Some(last)) =
        (range(values()), curves.iter().flat_map(|c| c.last()).map(|(i, _)| *i).reduce(f64::max))
    else {
        return Ok(None);
    };
    let (least, most) = values().fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    let logarithmic = is_drawn_by_decades(least) && most / least >= DECADES;
    let unit = if manifest.loss.unit == "1" { String::new() } else { format!(", {}", manifest.loss.unit) };
    let label = format!("Loss ({}{unit})", manifest.loss.name);
    let svg = draw("loss", 380, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(72);
        if logarithmic {
            let mut chart = builder.build_cartesian_2d(0.0..last.max(1.0), (least * 0.8..most * 1.25).log_scale())?;
            axes!(chart, "Iteration", label.clone(), last + 1.0);
            loss_lines(&mut chart, &curves)?;
            return Ok(());
        }
        let mut chart = builder.build_cartesian_2d(0.0..last.max(1.0), low..high)?;
        axes!(chart, "Iteration", label.clone(), last + 1.0);
        loss_lines(&mut chart, &curves)?;
        Ok(())
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

fn loss_lines<'a, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'_>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>,
    curves: &[&[(f64, f64)]],
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: plotters::coord::ranged1d::Ranged<ValueType = f64>,
{
    if curves.len() <= LINES {
        let width = if curves.len() == 1 { 2 } else { 1 };
        for curve in curves {
            chart.draw_series(LineSeries::new(drawn(thinned(curve)), BLUE.stroke_width(width)))?;
        }
        return Ok(());
    }
    let longest = curves.iter().copied().max_by_key(|curve| curve.len()).unwrap_or(&[]);
    let mut band: Vec<(f64, f64, f64, f64)> = Vec::new();
    for (i, (iteration, _)) in longest.iter().enumerate() {
        let mut at: Vec<f64> =
            curves.iter().filter_map(|curve| Some(curve.get(i)?.1)).filter(|v| is_drawn(*v)).collect();
        at.sort_by(f64::total_cmp);
        if let (Some(first), Some(last)) = (at.first(), at.last()) {
            band.push((*iteration, *first, median(&at), *last));
        }
    }
    let edge = band.iter().map(|p| (p.0, p.1)).chain(band.iter().rev().map(|p| (p.0, p.3)));
    chart.draw_series([Polygon::new(edge.collect::<Vec<_>>(), BLUE.mix(0.18))])?;
    chart.draw_series(LineSeries::new(band.iter().map(|p| (p.0, p.2)), BLUE.stroke_width(2)))?;
    Ok(())
}

/// Enough points for 800 pixels; the last one stays.
fn thinned(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stride = curve.len().div_ceil(1000).max(1);
    let last = curve.last().filter(|_| !(curve.len() - 1).is_multiple_of(stride));
    curve.iter().step_by(stride).chain(last).copied().collect()
}

/// The first metric of every trial, beside the leaky integrator's.
pub fn by_seed(manifest: &Manifest, results: &Results, comparison: &Comparison) -> Result<Option<Figure>, ReportError> {
    let Some(metric) = comparison.metrics.iter().position(|name| name != "r2") else { return Ok(None) };
    let of = |rival: usize| comparison.values.get(rival).map(|metrics| metrics[metric].clone()).unwrap_or_default();
    let (network, integrator) = (of(0), of(comparison.shown));
    let beside = comparison.rivals.get(comparison.shown).map_or("", |(name, _)| name.as_str());
    let positive: Vec<f64> = network.iter().chain(&integrator).copied().filter(|v| is_drawn_by_decades(*v)).collect();
    if network.len() < 2 || positive.is_empty() {
        return Ok(None);
    }
    let (low, high) = positive.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let seeds: Vec<u64> = (comparison.trials.iter())
        .filter_map(|id| results.trials.iter().find(|t| t.id == *id && t.error.is_none()).map(|t| t.seed))
        .collect();
    let (first, last) =
        (seeds.iter().min().copied().unwrap_or(0) as f64, seeds.iter().max().copied().unwrap_or(1) as f64);
    let name = comparison.metrics[metric].clone();
    let label = if name == "nmse" { "nmse (1 is what the target's mean gives)".into() } else { name.clone() };
    let svg = draw("by_seed", STRIP + 360, |area| {
        let (top, area) = area.split_vertically(STRIP);
        strip(&top, &[("network, trained", BLUE, Mark::Dot), (beside, GREEN, Mark::Triangle)])?;
        let points = |values: &[f64]| {
            seeds
                .iter()
                .zip(values)
                .map(|(s, v)| (*s as f64, *v))
                .filter(|p| is_drawn_by_decades(p.1))
                .collect::<Vec<_>>()
        };
        let points = [points(&network), points(&integrator)];
        let mut builder = ChartBuilder::on(&area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(72);
        let seeds = first - 0.5..last + 0.5;
        if high / low >= DECADES {
            let mut chart = builder.build_cartesian_2d(seeds, (low / 1.5..high * 1.5).log_scale())?;
            axes!(chart, "Seed", label.clone(), last - first + 1.0);
            return seed_points(&mut chart, points);
        }
        let (low, high) = range([low, high]).unwrap_or((0.0, 1.0));
        let mut chart = builder.build_cartesian_2d(seeds, low..high)?;
        axes!(chart, "Seed", label.clone(), last - first + 1.0);
        seed_points(&mut chart, points)?;
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

fn seed_points<Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>,
    [network, rival]: [Vec<(f64, f64)>; 2],
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: plotters::coord::ranged1d::Ranged<ValueType = f64>,
{
    chart.draw_series(network.into_iter().map(|p| Circle::new(p, 4, BLUE.filled())))?;
    chart.draw_series(rival.into_iter().map(|p| TriangleMarker::new(p, 5, GREEN.filled())))?;
    Ok(())
}
