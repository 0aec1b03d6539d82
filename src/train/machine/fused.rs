//! The fused machine: whole passes over flat buffers on the processor, round the tape.
//!
//! Parameters, gradients and moments lie side by side; nothing large is allocated after the first iteration. Samples
//! go through in chunks, on one or several threads, and time in one or several segments.

use super::{Machine, ParameterValues};
use crate::data::{Data, DataView};
use crate::nn::fused::{FlatCarry, FusedNetwork, Workspace};
use crate::spec::Segments;
use crate::tensor::{Aligned, TensorError, is_finite};
use crate::train::loss::{DirectLoss, Scored};
use crate::train::optimizer::Update;
use crate::train::optimizer::{FlatMoments, Rule};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// A loss in the sum, computed with its gradient in one pass.
pub struct DirectTerm {
    /// The loss.
    pub loss: Box<dyn DirectLoss>,
    /// Its factor.
    pub weight: f32,
    /// The signal it reads.
    pub signal: String,
}

/// How a pass is cut up. None of it changes what is computed, only in which order gradients are summed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    /// Segments of time, of which all but one are computed twice.
    pub segments: Segments,
    /// Threads that work on chunks of the samples; results do not depend on their number.
    pub threads: usize,
}

/// A fused network, its losses and optimizer.
pub struct FusedMachine {
    network: FusedNetwork,
    /// Parameters that lie side by side and are updated alike, and how.
    updates: Vec<(Range<usize>, Rule)>,
    moments: FlatMoments,
    losses: Vec<DirectTerm>,
    cut: Cut,
    gradients: Aligned,
    workers: Vec<Worker>,
    /// Signals of the last forward pass, `[time, samples, width]`, where it was made in pieces.
    gathered: HashMap<String, (usize, Vec<f32>)>,
    inspects: bool,
}

/// What a thread works with.
#[derive(Default)]
struct Worker {
    space: Workspace,
    /// Its samples, where it works on some of them.
    part: Data,
    /// States at the beginning of each segment but the first.
    carries: Vec<FlatCarry>,
    /// Signals of all segments, `[time, samples, width]`.
    kept: Vec<(String, usize, Vec<f32>)>,
    loss: f64,
    /// What was found not to be finite.
    broken: Option<String>,
}

impl FusedMachine {
    /// A machine that has not computed anything.
    pub fn new(network: FusedNetwork, rule: Rule, losses: Vec<DirectTerm>, cut: Cut) -> Self {
        let len = network.values().len();
        FusedMachine {
            updates: updates(&network, rule),
            network,
            moments: FlatMoments::new(len),
            losses,
            cut,
            gradients: Aligned::zeros(len),
            workers: vec![Worker::default()],
            gathered: HashMap::new(),
            inspects: false,
        }
    }

    /// Adds what a worker has to that of the workers before it: samples from `first` on.
    fn collect(&mut self, worker: usize, chunk: Range<usize>, batch: &Data, wanted: &dyn Fn(&str) -> bool, keep: bool) {
        let Worker { space, kept, .. } = &mut self.workers[worker];
        if keep && chunk.start == 0 {
            std::mem::swap(&mut self.gradients, &mut space.gradients);
        } else if keep {
            self.gradients.iter_mut().zip(space.gradients.iter()).for_each(|(sum, gradient)| *sum += gradient);
        }
        for path in self.network.signals().filter(|path| wanted(path)) {
            let held =
                kept.iter().find(|(other, ..)| *other == path).map(|(_, width, values)| (*width, values.as_slice()));
            let Some((width, values)) = held.or_else(|| self.network.signal(&path, space)) else { continue };
            let (_, gathered) = self.gathered.entry(path).or_insert_with(|| (width, Vec::new()));
            gathered.resize(batch.steps * batch.samples * width, 0.0);
            let rows = gathered.chunks_exact_mut(batch.samples * width);
            for (row, values) in rows.zip(values.chunks_exact(chunk.len() * width)) {
                row[chunk.start * width..chunk.end * width].copy_from_slice(values);
            }
        }
    }
}

/// The learned parameters in as few pieces as can be updated in one pass each.
fn updates(network: &FusedNetwork, rule: Rule) -> Vec<(Range<usize>, Rule)> {
    let mut pieces: Vec<(Range<usize>, Rule)> = Vec::new();
    let mut before = None;
    for part in network.parts().iter().filter(|part| part.plan.learn) {
        let (range, alike) = (part.range(), (part.plan.lr, part.plan.decays && rule.decays()));
        match pieces.last_mut() {
            Some((last, _)) if rule.is_elementwise() && last.end == range.start && before == Some(alike) => {
                last.end = range.end
            }
            _ => pieces.push((range, rule.for_parameter(part.plan.lr, part.plan.decays))),
        }
        before = Some(alike);
    }
    pieces
}

/// What all workers read.
struct Chunk<'a> {
    network: &'a FusedNetwork,
    losses: &'a [DirectTerm],
    /// Signals that are kept of every segment.
    kept: &'a [String],
    segments: Segments,
    /// Whether gradients are wanted.
    keep: bool,
    /// Whether signals and states are looked at.
    inspects: bool,
}

impl Chunk<'_> {
    /// Loss of some samples, as their share of all, and its gradients.
    fn run(&self, batch: DataView<'_>, share: f32, worker: &mut Worker) -> Result<(), TensorError> {
        let Worker { space, carries, kept, loss, broken, .. } = worker;
        let length = self.segments.length(batch.steps);
        let starts = || (0..batch.steps).step_by(length);
        let last = starts().next_back().unwrap_or(0);
        let piece = |first: usize| batch.steps(first..batch.steps.min(first + length));
        let share_of = |first: usize| share * piece(first).steps as f32 / batch.steps as f32;
        (*loss, *kept) = (0.0, Vec::new());
        if self.keep {
            self.network.begin_backward(space);
        }
        carries.resize_with(starts().count() - 1, FlatCarry::new);
        for (segment, first) in starts().enumerate() {
            let carry = segment.checked_sub(1).map(|before| &carries[before]);
            self.network.forward(piece(first), first, carry, space);
            if self.inspects && broken.is_none() {
                *broken = self.network.broken(space);
            }
            *loss += f64::from(self.loss(piece(first), share_of(first), self.keep && first == last, space)?);
            if first < last {
                self.network.carry(space, &mut carries[segment]);
            }
            if last > 0 {
                self.keep_signals(space, kept);
            }
        }
        if !self.keep {
            return Ok(());
        }
        for (segment, first) in starts().enumerate().rev() {
            if first < last {
                let carry = segment.checked_sub(1).map(|before| &carries[before]);
                self.network.forward(piece(first), first, carry, space);
                self.loss(piece(first), share_of(first), true, space)?;
            }
            self.network.backward(piece(first), space);
        }
        Ok(())
    }

    /// The losses of the last forward pass; with `keep` their gradients are added to those of the signals.
    fn loss(&self, batch: DataView<'_>, share: f32, keep: bool, space: &mut Workspace) -> Result<f32, TensorError> {
        let mut total = 0.0;
        for term in self.losses {
            let (signal, gradient) = (self.network.signal_and_gradient(&term.signal, space))
                .ok_or_else(|| TensorError(format!("no signal `{}`", term.signal)))?;
            let weight = term.weight * share;
            let pair = Scored { signal, target: batch.targets, weights: batch.weights };
            total += weight * term.loss.add(pair, weight, keep.then_some(gradient));
        }
        Ok(total)
    }

    fn keep_signals(&self, space: &Workspace, kept: &mut Vec<(String, usize, Vec<f32>)>) {
        for path in self.kept {
            let Some((width, values)) = self.network.signal(path, space) else { continue };
            match kept.iter_mut().find(|(other, ..)| other == path) {
                Some((.., all)) => all.extend_from_slice(values),
                None => kept.push((path.clone(), width, values.to_vec())),
            }
        }
    }
}

impl Machine for FusedMachine {
    /// Large batches go through in chunks, forward and backward, so that they stay in cache; their gradients are
    /// summed in order, whoever computed them.
    fn forward(&mut self, batch: &Data, wanted: &dyn Fn(&str) -> bool, keep: bool) -> Result<f64, TensorError> {
        if keep {
            self.network.turn();
        }
        let length = self.cut.segments.length(batch.steps);
        let chunk = self.network.chunk(length, batch.samples, length < batch.steps);
        let kept: Vec<String> = if length < batch.steps {
            self.network.signals().filter(|path| wanted(path)).collect()
        } else {
            Vec::new()
        };
        if chunk >= batch.samples && kept.is_empty() {
            self.gathered.clear();
        }
        self.workers.resize_with(
            self.cut.threads.max(1).min(batch.samples.div_ceil(chunk)).max(self.workers.len()),
            Worker::default,
        );
        if self.inspects {
            self.workers.iter_mut().for_each(|worker| worker.broken = None);
        }
        let inspects = self.inspects;
        let mut total = 0.0;
        let mut done = 0;
        while done < batch.samples {
            let (network, losses, segments) = (&self.network, &self.losses, self.cut.segments);
            let job = Chunk { network, losses, kept: &kept, segments, keep, inspects };
            if chunk >= batch.samples {
                job.run(batch.view(), 1.0, &mut self.workers[0])?;
                total += self.workers[0].loss;
                if kept.is_empty() {
                    if keep {
                        std::mem::swap(&mut self.gradients, &mut self.workers[0].space.gradients);
                    }
                } else {
                    self.collect(0, 0..batch.samples, batch, wanted, keep);
                }
                break;
            }
            let chunks: Vec<Range<usize>> = (done..batch.samples)
                .step_by(chunk)
                .map(|first| first..batch.samples.min(first + chunk))
                .take(self.cut.threads.max(1))
                .collect();
            let work = |chunk: &Range<usize>, worker: &mut Worker| {
                let mut part = std::mem::take(&mut worker.part);
                batch.pick(chunk.clone(), &mut part);
                let result = job.run(part.view(), chunk.len() as f32 / batch.samples as f32, worker);
                worker.part = part;
                result
            };
            match chunks.as_slice() {
                [one] => work(one, &mut self.workers[0])?,
                several => {
                    several.par_iter().zip(&mut self.workers).try_for_each(|(chunk, worker)| work(chunk, worker))?
                }
            }
            for (worker, chunk) in chunks.into_iter().enumerate() {
                total += self.workers[worker].loss;
                done = chunk.end;
                self.collect(worker, chunk, batch, wanted, keep);
            }
        }
        Ok(total)
    }

    fn signal(&self, path: &str) -> Option<(usize, Cow<'_, [f32]>)> {
        match self.gathered.get(path) {
            Some((width, values)) => Some((*width, values.into())),
            None => self.network.signal(path, &self.workers[0].space).map(|(width, values)| (width, values.into())),
        }
    }

    fn inspect(&mut self, on: bool) {
        self.inspects = on;
    }

    fn broken(&self) -> Result<Option<String>, TensorError> {
        let values = self.network.values();
        if !is_finite(values) {
            let part = self.network.parts().iter().find(|part| !is_finite(&values[part.range()]));
            return Ok(part.map(|part| format!("`{}`", part.path)));
        }
        if let Some(part) = self.moments.broken(self.network.parts().iter().map(|part| part.range())) {
            return Ok(Some(format!("what the optimizer remembers of `{}`", self.network.parts()[part].path)));
        }
        Ok(None)
    }

    fn broken_signal(&self) -> Option<String> {
        self.workers.iter().find_map(|worker| worker.broken.clone())
    }

    /// Done with the forward pass.
    fn backward(&mut self, _: &Data) -> Result<(), TensorError> {
        Ok(())
    }

    fn gradient_norm(&mut self) -> Result<f64, TensorError> {
        let learned = self.network.parts().iter().filter(|part| part.plan.learn);
        let squares = learned.flat_map(|part| &self.gradients[part.range()]).map(|g| f64::from(*g).powi(2));
        Ok(squares.sum::<f64>().sqrt())
    }

    fn update(&mut self, Update { number, scale, rate }: Update) -> Result<(), TensorError> {
        let (parts, values) = self.network.update();
        for (range, rule) in &self.updates {
            let (values, gradients) = (&mut values[range.clone()], &mut self.gradients[range.clone()]);
            if scale != 1.0 {
                gradients.iter_mut().for_each(|gradient| *gradient *= scale);
            }
            let moments = &mut self.moments;
            match rate == 1.0 {
                true => rule.update_flat(number, values, gradients, moments, range.clone()),
                false => rule.scaled(rate).update_flat(number, values, gradients, moments, range.clone()),
            }
        }
        for part in parts.iter().filter(|part| part.plan.learn) {
            if let Some((low, high)) = part.plan.project {
                values[part.range()].iter_mut().for_each(|value| *value = value.clamp(low as f32, high as f32));
            }
        }
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterValues> {
        let parts = self.network.parts().iter();
        parts.map(|part| (part.path.clone(), part.plan.shape.clone(), part.to_pytorch(self.network.values()))).collect()
    }

    fn set_parameters(&mut self, values: &[Vec<f32>]) -> Result<(), TensorError> {
        self.network.set_values(values);
        Ok(())
    }

    fn moments(&self) -> Result<Vec<Vec<f32>>, TensorError> {
        Ok(self.moments.values())
    }

    fn set_moments(&mut self, moments: &[Vec<f32>]) -> Result<bool, TensorError> {
        Ok(self.moments.set(moments))
    }

    fn gradients(&mut self) -> Result<Vec<Vec<f32>>, TensorError> {
        Ok(self.network.parts().iter().map(|part| part.to_pytorch(&self.gradients)).collect())
    }
}
