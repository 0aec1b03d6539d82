//! Spikes and membrane potentials of a layer, for one sample.

use super::*;
use crate::report::tables::{LayerStates, Results};
use plotters::series::DashedLineSeries;

/// Neurons of a raster at most.
const NEURONS: usize = 256;
/// Membrane potentials that are drawn at most.
const LINES: usize = 5;
/// Room for the names of lines, right of both panels.
const KEYS: u32 = 150;

/// The raster above the membrane potentials of some neurons.
pub fn states(manifest: &Manifest, results: &Results, layer: &LayerStates) -> Result<Option<Figure>, ReportError> {
    let steps = layer.mem.iter().chain(&layer.spk).map(Vec::len).max().unwrap_or(0);
    if steps == 0 {
        return Ok(None);
    }
    let summary = manifest.layers.iter().find(|l| l.name == layer.name);
    let spiking = layer.spk.iter().flatten().any(|s| *s > 0.0);
    let raster_height = if layer.spk.len() == 1 { 120 } else { 260 };
    let name = format!("layer_{}", layer.name);
    let height = if spiking { raster_height } else { 0 } + if layer.mem.is_empty() { 0 } else { 280 };
    if height == 0 {
        return Ok(None);
    }
    let svg = draw(&name, height, |area| {
        let (top, bottom) = area.split_vertically(if spiking { raster_height } else { 0 });
        if spiking {
            raster(&top, layer, steps)?;
        }
        if !layer.mem.is_empty() {
            membranes(&bottom, layer, steps, summary.and_then(|s| s.threshold))?;
        }
        Ok(())
    })?;
    let kind = summary.map_or("", |s| s.kind.as_str());
    let seed = results.trials.iter().find(|trial| trial.id == layer.trial).map(|trial| trial.seed);
    let seed = seed.map_or(" (of another configuration)".into(), |seed| format!(" (seed {seed})"));
    let part = manifest.data.parts.last().map_or(String::new(), |(part, _)| format!(" of the {part} part"));
    let trial = format!("Trial {}{seed}, first sample{part}. ", layer.trial);
    Ok(Some(Figure {
        name,
        title: format!("Layer {} ({kind})", layer.name),
        caption: trial + &caption(layer, spiking),
        svg,
    }))
}

fn caption(layer: &LayerStates, spiking: bool) -> String {
    let cells = layer.spk.iter().map(Vec::len).sum::<usize>();
    let spikes = layer.spk.iter().flatten().filter(|s| **s > 0.0).count();
    let rate = match (cells, spiking) {
        (0, _) => String::new(),
        (_, false) => "No neuron spikes. ".into(),
        (_, true) => {
            let shown = layer.spk.len().min(NEURONS);
            let part = if shown < layer.spk.len() { format!(" (the first {shown} neurons)") } else { String::new() };
            format!(
                "Top: a mark a spike{part}; {:.1} % of all neurons and steps. ",
                100.0 * spikes as f64 / cells as f64
            )
        }
    };
    match layer.mem.len() {
        0 => rate,
        1 => format!("{rate}Membrane potential of its one neuron, after training."),
        n => format!("{rate}Membrane potentials of {} of {n} neurons, evenly chosen, after training.", n.min(LINES)),
    }
}

fn raster(area: &Area<'_>, layer: &LayerStates, steps: usize) -> Result<(), Box<dyn std::error::Error>> {
    let neurons = layer.spk.len().min(NEURONS);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(right_margin(layer.mem.len()))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..steps as f64 - 0.5, -0.5..neurons as f64 - 0.5)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(INK)
        .label_style(font(14).color(&INK))
        .axis_desc_style(font(16).color(&INK))
        .x_desc("Time (steps)")
        .y_desc("Neuron")
        .x_labels(ticks(steps as f64))
        .y_labels(neurons.min(5))
        .x_label_formatter(&|x| whole(*x))
        .y_label_formatter(&|y| whole(*y))
        .draw()?;
    let spikes = layer.spk.iter().take(neurons).enumerate().flat_map(|(neuron, spk)| {
        spk.iter().enumerate().filter(|(_, s)| **s > 0.0).map(move |(step, _)| (step as f64, neuron as f64))
    });
    let half = if steps <= 200 { 0.3 } else { 0.5 };
    chart
        .draw_series(spikes.map(|(x, y)| Rectangle::new([(x - half, y - 0.4), (x + half, y + 0.4)], BLUE.filled())))?;
    Ok(())
}

fn right_margin(neurons: usize) -> u32 {
    if neurons > 1 { KEYS } else { 24 }
}

fn membranes(
    area: &Area<'_>,
    layer: &LayerStates,
    steps: usize,
    threshold: Option<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let n = layer.mem.len();
    let count = n.min(LINES);
    let chosen: Vec<usize> = (0..count).map(|i| if count == 1 { 0 } else { i * (n - 1) / (count - 1) }).collect();
    let spiking = layer.spk.iter().flatten().any(|s| *s > 0.0);
    let threshold = threshold.filter(|threshold| spiking && is_drawn(*threshold));
    let values = chosen.iter().flat_map(|&i| layer.mem[i].iter().copied()).chain(threshold);
    let (low, high) = range(values).unwrap_or((0.0, 1.0));
    let last = (steps.max(2) - 1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(right_margin(n))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..last + 0.5, low..high)?;
    axes!(chart, "Time (steps)", "Membrane potential", steps as f64);
    let mut keys: Vec<(String, RGBColor)> = Vec::new();
    for (&neuron, colour) in chosen.iter().zip(PALETTE) {
        let points = layer.mem[neuron].iter().enumerate().map(|(t, v)| (t as f64, *v));
        chart.draw_series(LineSeries::new(drawn(points), colour.stroke_width(2)))?;
        keys.push((format!("neuron {neuron}"), colour));
    }
    if let Some(threshold) = threshold {
        let line = vec![(0.0, threshold), (last, threshold)];
        chart.draw_series(DashedLineSeries::new(line, 6, 4, INK.stroke_width(1)))?;
        keys.push((if n > 1 { "mean threshold" } else { "threshold" }.into(), INK));
    }
    if n > 1 {
        // Beside the lines, so that no line is covered.
        let (width, _) = area.dim_in_pixel();
        for (i, (text, colour)) in keys.into_iter().enumerate() {
            let mark = if colour == INK { Mark::Dashed } else { Mark::Solid };
            key(area, ((width - KEYS) as i32 + 8, 30 + 22 * i as i32), &text, colour, mark)?;
        }
    }
    Ok(())
}
