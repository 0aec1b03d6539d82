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
    let (low, high) = range(shown).unwrap_or((0.0, 1.0));
    let end = (values.len().max(2) - 1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_bottom(if lowest { 4 } else { 0 })
        .x_label_area_size(if lowest { 44 } else { 18 })
        .y_label_area_size(72)
        .build_cartesian_2d(-0.5..end + 0.5, low..high)?;
    axes!(chart, if lowest { "Time (steps)" } else { "" }, name_of(signal), end + 1.0);
    if spiking {
        let spikes = values.iter().enumerate().filter(|(_, spike)| **spike > 0.0);
        let line = |(t, spike): (usize, &f32)| {
            PathElement::new([(t as f64, 0.0), (t as f64, f64::from(*spike))], colour.stroke_width(2))
        };
        chart.draw_series(spikes.map(line))?;
        return Ok(());
    }
    let points = values.iter().enumerate().map(|(t, v)| (t as f64, f64::from(*v)));
    chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    Ok(())
}

fn name_of(signal: &str) -> String {
    let mut letters = signal.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Firing rate over constant currents.
pub fn rates(currents: &[f32], rates: &[f32]) -> Result<String, ReportError> {
    let points: Vec<(f64, f64)> = currents.iter().zip(rates).map(|(c, r)| (f64::from(*c), f64::from(*r))).collect();
    let (low, high) = range(points.iter().map(|p| p.0)).unwrap_or((0.0, 1.0));
    let top = points.iter().map(|p| p.1).fold(0.0, f64::max).max(0.1) * 1.06;
    draw("fi", 380, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(low..high, 0.0..top)?;
        axes!(chart, "Constant current (threshold = 1 unless set)", "Firing rate (spikes a step)");
        chart.draw_series(LineSeries::new(points.iter().copied(), BLUE.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, BLUE.filled())))?;
        Ok(())
    })
}
