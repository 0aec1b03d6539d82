//! Pictures of a single neuron: its answers over time, and its firing rate over the current.

use super::*;

/// Signals drawn at most.
const SIGNALS: usize = 4;

/// The signals of a neuron below the current that they answer.
pub fn response(name: &str, current: &[f32], signals: &[(String, Vec<f32>)]) -> Result<String, ReportError> {
    let panels: Vec<(&str, &[f32])> = std::iter::once(("current", current))
        .chain(signals.iter().map(|(name, values)| (name.as_str(), values.as_slice())))
        .take(SIGNALS + 1)
        .collect();
    let last = panels.len() - 1;
    let heights: Vec<u32> = (0..=last).map(|i| if i == last { 180 } else { 140 }).collect();
    draw(name, heights.iter().sum(), |area| {
        let mut rest = area.clone();
        for (i, (signal, values)) in panels.iter().enumerate() {
            let (panel, below) = rest.split_vertically(heights[i]);
            over_time(&panel, signal, values, if i == 0 { INK } else { BLUE }, i == last)?;
            rest = below;
        }
        Ok(())
    })
}

fn over_time(
    area: &Area<'_>,
    signal: &str,
    values: &[f32],
    colour: RGBColor,
    lowest: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let spiking = signal == "spikes";
    let shown = values.iter().map(|v| f64::from(*v)).chain(spiking.then_some([0.0, 1.0]).into_iter().flatten());
    let (x, y) = (Axis::steps(values.len()), Axis::around(shown).unwrap_or_else(Axis::empty));
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).margin_bottom(if lowest { 4 } else { 0 });
    builder.x_label_area_size(if lowest { 44 } else { 18 }).y_label_area_size(72);
    let x_name = if lowest { "Time (steps)" } else { "" };
    let mut chart = axes(&mut builder, (&x, x_name), (&y, &name_of(signal)), true)?;
    if spiking {
        let spikes = values.iter().enumerate().filter(|(_, spike)| **spike > 0.0);
        let line = |(t, spike): (usize, &f32)| {
            let (t, foot, head) = (x.at(t as f64)?, y.at(0.0)?, y.at(f64::from(*spike))?);
            Some(PathElement::new([(t, foot), (t, head)], colour.stroke_width(2)))
        };
        chart.draw_series(spikes.filter_map(line))?;
        return Ok(());
    }
    let points = values.iter().enumerate().map(|(t, v)| (t as f64, f64::from(*v)));
    for line in lines(points, &x, &y) {
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
    }
    Ok(())
}

fn name_of(signal: &str) -> String {
    let mut letters = signal.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Firing rate over constant currents.
pub fn rates(currents: &[f32], rates: &[f32]) -> Result<String, ReportError> {
    let points: Vec<(f64, f64)> = currents.iter().zip(rates).map(|(c, r)| (f64::from(*c), f64::from(*r))).collect();
    let top = points.iter().map(|p| p.1).fold(0.0, f64::max).max(0.1) * 1.06;
    let x = Axis::around(points.iter().map(|point| point.0)).unwrap_or_else(Axis::empty);
    let y = Axis::between(0.0, top);
    draw("fi", 380, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(72);
        let names = ["Constant current (threshold = 1 unless set)", "Firing rate (spikes a step)"];
        let mut chart = axes(&mut builder, (&x, names[0]), (&y, names[1]), true)?;
        for line in lines(points.iter().copied(), &x, &y) {
            chart.draw_series(LineSeries::new(line.iter().copied(), BLUE.stroke_width(2)))?;
            chart.draw_series(line.iter().map(|p| Circle::new(*p, 3, BLUE.filled())))?;
        }
        Ok(())
    })
}
