//! Optimizers: dfdx's update rules, with our own moments (dfdx hides its), and gradient clipping.

use crate::keys;
use crate::nn::Parameter;
use crate::spec::key::{Flat, Pair, Range};
use crate::tensor::{Aligned, Backend, Buffer, TensorError, is_finite};
use dfdx::prelude::*;
use dfdx::tensor::{Gradients, Storage};
use dfdx::tensor_ops::{AdamConfig, RMSpropConfig, SgdConfig};
use multiversion::multiversion;
use std::sync::Arc;

/// Changes parameters by their gradients.
pub trait Optimizer<D: Backend>: Send {
    /// One update. Gradients are scaled first, in place.
    fn update(
        &mut self,
        update: Update,
        parameters: &mut [Parameter<D>],
        gradients: &mut Gradients<f32, D>,
    ) -> Result<(), TensorError>;

    /// What it remembers of the gradients before.
    fn moments(&self) -> Result<Vec<Vec<f32>>, TensorError>;

    /// Replaces what it remembers, in the order of [`Optimizer::moments`]; says whether it fits.
    fn set_moments(&mut self, moments: &[Vec<f32>], parameters: &[Parameter<D>]) -> Result<bool, TensorError>;
}

/// An update of all parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Its number, the first being 1.
    pub number: usize,
    /// What gradients are multiplied with.
    pub scale: f32,
    /// What learning rates are multiplied with.
    pub rate: f64,
}

/// An update rule that is not dfdx's.
pub trait UpdateRule: Send + Sync {
    /// One update of some values by their gradients. The moments, of the same length, are 0 before the first update,
    /// and the rule's to use as it likes.
    fn update(&self, step: Step, values: &mut [f32], gradients: &[f32], moments: [&mut [f32]; 3]);
}

/// What a rule knows of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The number of the update, the first being 1.
    pub number: usize,
    /// Whether weight decay acts on the parameter.
    pub decays: bool,
    /// The learning rate of this update: that of the rule, or the parameter's own, as the schedule has it now.
    pub lr: f64,
}

/// An update rule.
#[derive(Clone)]
pub enum Rule {
    /// Adam and AdamW.
    Adam(AdamConfig),
    /// Stochastic gradient descent.
    Sgd(SgdConfig),
    /// RMSprop; the small number is added inside of the root.
    RmsProp(RMSpropConfig),
    /// Another crate's.
    Own {
        /// The rule.
        rule: Arc<dyn UpdateRule>,
        /// Its learning rate.
        lr: f64,
        /// Whether weight decay acts.
        decays: bool,
    },
}

impl Rule {
    /// A rule that is not dfdx's, with its learning rate.
    pub fn own(lr: f64, rule: impl UpdateRule + 'static) -> Rule {
        Rule::Own { rule: Arc::new(rule), lr, decays: true }
    }

    /// Adam with weight decay as an L2 term of the loss.
    pub fn adam(keys: Adam) -> Rule {
        Rule::Adam(keys.moments.config(decay(keys.weight_decay).map(WeightDecay::L2)))
    }

    /// Adam with decoupled weight decay.
    pub fn adamw(keys: AdamW) -> Rule {
        Rule::Adam(keys.moments.config(decay(keys.weight_decay).map(WeightDecay::Decoupled)))
    }

    /// Stochastic gradient descent, with momentum if asked for.
    pub fn sgd(keys: Sgd) -> Rule {
        let kind = if keys.nesterov { Momentum::Nesterov } else { Momentum::Classic };
        Rule::Sgd(SgdConfig {
            lr: keys.lr,
            momentum: (keys.momentum > 0.0).then_some(kind(keys.momentum)),
            weight_decay: decay(keys.weight_decay).map(WeightDecay::L2),
        })
    }

    /// RMSprop.
    pub fn rmsprop(keys: RmsProp) -> Rule {
        Rule::RmsProp(RMSpropConfig {
            lr: keys.lr,
            alpha: keys.alpha,
            eps: keys.eps,
            momentum: Some(keys.momentum).filter(|momentum| *momentum > 0.0),
            centered: keys.centered,
            weight_decay: decay(keys.weight_decay).map(WeightDecay::L2),
        })
    }

    /// Its learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            Rule::Adam(c) => c.lr,
            Rule::Sgd(c) => c.lr,
            Rule::RmsProp(c) => c.lr,
            Rule::Own { lr, .. } => *lr,
        }
    }

    /// Whether weights decay.
    pub fn decays(&self) -> bool {
        match self {
            Rule::Adam(c) => c.weight_decay.is_some(),
            Rule::Sgd(c) => c.weight_decay.is_some(),
            Rule::RmsProp(c) => c.weight_decay.is_some(),
            Rule::Own { .. } => true,
        }
    }

    /// Whether each number is updated by its own gradient alone, so that several parameters can be taken for one.
    pub fn is_elementwise(&self) -> bool {
        !matches!(self, Rule::Own { .. })
    }

    /// The rule for one parameter: its own learning rate, and no decay where none acts.
    pub fn for_parameter(&self, lr: Option<f64>, decays: bool) -> Rule {
        match *self {
            Rule::Adam(c) => {
                Rule::Adam(AdamConfig { lr: lr.unwrap_or(c.lr), weight_decay: c.weight_decay.filter(|_| decays), ..c })
            }
            Rule::Sgd(c) => {
                Rule::Sgd(SgdConfig { lr: lr.unwrap_or(c.lr), weight_decay: c.weight_decay.filter(|_| decays), ..c })
            }
            Rule::RmsProp(c) => Rule::RmsProp(RMSpropConfig {
                lr: lr.unwrap_or(c.lr),
                weight_decay: c.weight_decay.filter(|_| decays),
                ..c
            }),
            Rule::Own { ref rule, lr: of_rule, .. } => {
                Rule::Own { rule: rule.clone(), lr: lr.unwrap_or(of_rule), decays }
            }
        }
    }

    /// The rule with its learning rate multiplied.
    pub fn scaled(&self, factor: f64) -> Rule {
        match *self {
            Rule::Adam(c) => Rule::Adam(AdamConfig { lr: c.lr * factor, ..c }),
            Rule::Sgd(c) => Rule::Sgd(SgdConfig { lr: c.lr * factor, ..c }),
            Rule::RmsProp(c) => Rule::RmsProp(RMSpropConfig { lr: c.lr * factor, ..c }),
            Rule::Own { ref rule, lr, decays } => Rule::Own { rule: rule.clone(), lr: lr * factor, decays },
        }
    }
}

/// Moments of all parameters side by side.
pub struct FlatMoments {
    buffers: [Aligned; 3],
}

impl FlatMoments {
    /// Moments that have seen nothing.
    pub fn new(len: usize) -> Self {
        FlatMoments { buffers: std::array::from_fn(|_| Aligned::zeros(len)) }
    }

    /// The buffers one after the other.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.buffers.iter().map(|buffer| buffer.to_vec()).collect()
    }

    /// Which of some pieces holds a number that is not finite.
    pub fn broken(&self, mut pieces: impl Iterator<Item = std::ops::Range<usize>>) -> Option<usize> {
        if self.buffers.iter().all(|buffer| is_finite(buffer)) {
            return None;
        }
        pieces.position(|piece| self.buffers.iter().any(|buffer| !is_finite(&buffer[piece.clone()])))
    }

    /// Replaces them; says whether lengths fit.
    pub fn set(&mut self, values: &[Vec<f32>]) -> bool {
        let fits = values.len() == self.buffers.len()
            && self.buffers.iter().zip(values).all(|(buffer, values)| buffer.len() == values.len());
        if fits {
            self.buffers.iter_mut().zip(values).for_each(|(buffer, values)| buffer.copy_from_slice(values));
        }
        fits
    }
}

impl Rule {
    /// One update of some values in one pass; the same operations in the same order as dfdx's.
    pub fn update_flat(
        &self,
        number: usize,
        values: &mut [f32],
        gradients: &[f32],
        moments: &mut FlatMoments,
        range: std::ops::Range<usize>,
    ) {
        let [first, second, third] = &mut moments.buffers;
        let (first, second, third) = (&mut first[range.clone()], &mut second[range.clone()], &mut third[range]);
        match *self {
            Rule::Adam(config) => adam_flat(config, number as i32, values, gradients, first, second),
            Rule::Sgd(config) => sgd_flat(config, values, gradients, first),
            Rule::RmsProp(config) => rmsprop_flat(config, values, gradients, first, second, third),
            Rule::Own { ref rule, lr, decays } => {
                let step = Step { number, decays, lr };
                rule.update(step, values, gradients, [first, second, third]);
            }
        }
    }
}

/// What weight decay adds to the gradient (L2), and to the step (decoupled).
fn decays(decay: Option<WeightDecay>, lr: f64) -> (f32, f32) {
    match decay {
        Some(WeightDecay::L2(decay)) => (decay as f32, 0.0),
        Some(WeightDecay::Decoupled(decay)) => (0.0, (decay * lr) as f32),
        None => (0.0, 0.0),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn adam_flat(c: AdamConfig, t: i32, values: &mut [f32], gradients: &[f32], m: &mut [f32], v: &mut [f32]) {
    let [b1, b2] = c.betas.map(|beta| beta as f32);
    let (eps, lr) = (c.eps as f32, c.lr as f32);
    let (c1, c2) = ((1.0 - b1.powi(t)).recip(), (1.0 - b2.powi(t)).recip());
    let (l2, decoupled) = decays(c.weight_decay, c.lr);
    for (((p, g), m), v) in values.iter_mut().zip(gradients).zip(m).zip(v) {
        let g = g + l2 * *p;
        *m = *m * b1 + g * (1.0 - b1);
        *v = *v * b2 + g * g * (1.0 - b2);
        let step = lr * (*m * c1) / ((*v * c2).sqrt() + eps);
        *p -= step + decoupled * *p;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn sgd_flat(c: SgdConfig, values: &mut [f32], gradients: &[f32], velocity: &mut [f32]) {
    let lr = c.lr as f32;
    let (l2, decoupled) = decays(c.weight_decay, c.lr);
    let (momentum, nesterov) = match c.momentum {
        Some(Momentum::Classic(u)) => (u as f32, false),
        Some(Momentum::Nesterov(u)) => (u as f32, true),
        None => (0.0, false),
    };
    for ((p, g), v) in values.iter_mut().zip(gradients).zip(velocity) {
        let g = g + l2 * *p;
        *v = g + momentum * *v;
        let step = lr * if nesterov { g + momentum * *v } else { *v };
        *p -= step + decoupled * *p;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn rmsprop_flat(
    c: RMSpropConfig,
    values: &mut [f32],
    gradients: &[f32],
    momentum: &mut [f32],
    square: &mut [f32],
    mean: &mut [f32],
) {
    let (alpha, eps, lr) = (c.alpha as f32, c.eps as f32, c.lr as f32);
    let (l2, decoupled) = decays(c.weight_decay, c.lr);
    let u = c.momentum.unwrap_or(0.0) as f32;
    for ((((p, g), m), s), a) in values.iter_mut().zip(gradients).zip(momentum).zip(square).zip(mean) {
        let g = g + l2 * *p;
        *s += (1.0 - alpha) * (g * g - *s);
        let centre = if c.centered {
            *a += (1.0 - alpha) * (g - *a);
            *a * *a
        } else {
            0.0
        };
        *m = *m * u + g / (*s - centre + eps).sqrt();
        *p -= *m * lr + decoupled * *p;
    }
}

fn decay(weights: f64) -> Option<f64> {
    Some(weights).filter(|decay| *decay > 0.0)
}

/// Decays of the two moments, which lie below 1.
const BETAS: Pair =
    Pair { names: ["beta_1", "beta_2"], ranges: [Range { max: 1.0 - f64::EPSILON, ..Range::UNIT }; 2], ordered: false };

keys! {
    /// The keys of Adam and AdamW but for weight decay.
    pub struct Moments {
        /// learning rate
        lr: f64 = number(Range::POSITIVE).or(1e-3),
        /// decay of the two moments, per update
        betas: (f64, f64) = pair(BETAS).or((0.9, 0.999)),
        /// added to the root of the second moment
        eps: f64 = number(Range::POSITIVE).or(1e-8),
    }
}

impl Moments {
    fn config(&self, weight_decay: Option<WeightDecay>) -> AdamConfig {
        AdamConfig { lr: self.lr, betas: [self.betas.0, self.betas.1], eps: self.eps, weight_decay }
    }
}

keys! {
    /// The keys of Adam.
    pub struct Adam {
        /// shared with AdamW
        moments: Flat<Moments> = flat(),
        /// decay of weights; neurons and biases have none
        weight_decay: f64 = number(Range::NOT_NEGATIVE).or(0.0),
    }
}

keys! {
    /// The keys of AdamW.
    pub struct AdamW {
        /// shared with Adam
        moments: Flat<Moments> = flat(),
        /// decay of weights; neurons and biases have none
        weight_decay: f64 = number(Range::NOT_NEGATIVE).or(0.01),
    }
}

keys! {
    /// The keys of stochastic gradient descent.
    pub struct Sgd {
        /// learning rate
        lr: f64 = number(Range::POSITIVE).or(1e-2),
        /// share of the last update that goes on
        momentum: f64 = number(Range::UNIT).or(0.0),
        /// Nesterov's momentum
        nesterov: bool = flag().or(false),
        /// decay of weights; neurons and biases have none
        weight_decay: f64 = number(Range::NOT_NEGATIVE).or(0.0),
    }
}

keys! {
    /// The keys of RMSprop.
    pub struct RmsProp {
        /// learning rate
        lr: f64 = number(Range::POSITIVE).or(1e-2),
        /// decay of the mean of squares, per update
        alpha: f64 = number(Range::UNIT).or(0.99),
        /// added inside of the root of the mean of squares
        eps: f64 = number(Range::POSITIVE).or(1e-8),
        /// share of the last update that goes on
        momentum: f64 = number(Range::UNIT).or(0.0),
        /// whether the mean gradient is taken off
        centered: bool = flag().or(false),
        /// decay of weights; neurons and biases have none
        weight_decay: f64 = number(Range::NOT_NEGATIVE).or(0.0),
    }
}

/// A rule with its moments on a device.
pub struct RuleOptimizer<D: Backend> {
    rule: Rule,
    /// Up to three buffers a parameter, made at the first update.
    moments: Vec<[Buffer<D>; 3]>,
}

impl<D: Backend> RuleOptimizer<D> {
    /// An optimizer that has not seen a gradient.
    pub fn new(rule: Rule) -> Self {
        RuleOptimizer { rule, moments: Vec::new() }
    }

    fn prepare(&mut self, parameters: &[Parameter<D>]) -> Result<(), D::Err> {
        for parameter in &parameters[self.moments.len()..] {
            let zeros = || Storage::<f32>::try_alloc_len(parameter.values.device(), parameter.plan.len());
            self.moments.push([zeros()?, zeros()?, zeros()?]);
        }
        Ok(())
    }
}

impl<D: Backend> Optimizer<D> for RuleOptimizer<D> {
    fn update(
        &mut self,
        update: Update,
        parameters: &mut [Parameter<D>],
        gradients: &mut Gradients<f32, D>,
    ) -> Result<(), TensorError> {
        self.prepare(parameters).map_err(TensorError::from_device)?;
        for (parameter, moments) in parameters.iter_mut().zip(&mut self.moments) {
            if parameter.plan.learn {
                let rule = self.rule.for_parameter(parameter.plan.lr, parameter.plan.decays).scaled(update.rate);
                let Update { number, scale, .. } = update;
                update_one(rule, number, parameter, moments, gradients, scale).map_err(TensorError::from_device)?;
            }
        }
        Ok(())
    }

    fn moments(&self) -> Result<Vec<Vec<f32>>, TensorError> {
        self.moments.iter().flatten().map(|buffer| D::read(buffer).map_err(TensorError::from_device)).collect()
    }

    fn set_moments(&mut self, moments: &[Vec<f32>], parameters: &[Parameter<D>]) -> Result<bool, TensorError> {
        let lengths = parameters.iter().flat_map(|parameter| [parameter.plan.len(); 3]);
        if !lengths.eq(moments.iter().map(Vec::len)) {
            return Ok(false);
        }
        self.moments.clear();
        self.prepare(parameters).map_err(TensorError::from_device)?;
        for (buffer, values) in self.moments.iter_mut().flatten().zip(moments) {
            D::accumulate(buffer, values).map_err(TensorError::from_device)?;
        }
        Ok(true)
    }
}

fn update_one<D: Backend>(
    rule: Rule,
    number: usize,
    parameter: &mut Parameter<D>,
    [first, second, third]: &mut [Buffer<D>; 3],
    gradients: &mut Gradients<f32, D>,
    scale: f32,
) -> Result<(), D::Err> {
    let gradient = gradients.get_or_alloc_mut(&parameter.values)?;
    if scale != 1.0 {
        D::scale(gradient, scale)?;
    }
    let values = &mut parameter.values;
    match rule {
        Rule::Adam(config) => config.try_update(number as i32, values, first, second, gradient)?,
        Rule::Sgd(config) => config.try_update(values, first, gradient)?,
        Rule::RmsProp(config) => config.try_update(values, first, second, third, gradient)?,
        Rule::Own { rule, lr, decays } => {
            let mut numbers = values.as_vec();
            let [mut one, mut two, mut three] = [D::read(first)?, D::read(second)?, D::read(third)?];
            let step = Step { number, decays, lr };
            rule.update(step, &mut numbers, &D::read(gradient)?, [&mut one, &mut two, &mut three]);
            for (buffer, numbers) in [(first, one), (second, two), (third, three)] {
                D::write(buffer, &numbers)?;
            }
            *values = values.device().try_tensor_from_vec(numbers, *values.shape())?;
        }
    }
    if let Some((low, high)) = parameter.plan.project {
        parameter.values = parameter.values.clone().try_clamp(low as f32, high as f32)?;
    }
    Ok(())
}

/// The Euclidean norm of the gradients of all parameters that learn, together.
pub fn gradient_norm<D: Backend>(
    parameters: &[Parameter<D>],
    gradients: &mut Gradients<f32, D>,
) -> Result<f64, TensorError> {
    let mut sum = 0.0;
    for parameter in parameters.iter().filter(|parameter| parameter.plan.learn) {
        let buffer = gradients.get_or_alloc_mut(&parameter.values).map_err(TensorError::from_device)?;
        let values = D::read(buffer).map_err(TensorError::from_device)?;
        sum += values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    }
    Ok(sum.sqrt())
}
