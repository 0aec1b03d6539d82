//! Reference executor: runs any neuron program, one dfdx operation after the other, on any device.
//!
//! It defines what is right; faster executors are held against it. Gradients come from dfdx's tape, except that of a
//! spike, for which the surrogate stands in. What no gradient flows back to is not on the tape: there an infinite
//! derivative times a gradient of 0 would not be a number.

use super::program::{Projection, StepProgram, previous};
use crate::formula::{BinaryOp, Expr, Function, constant};
use crate::tensor::{Backend, Chain, DeviceName, Matrix, Recorder, Steps, Taped, TensorError};
use dfdx::prelude::*;
use std::collections::HashMap;
use std::rc::Rc;

/// States between two segments of time, each `[batch, neurons]`.
pub type Carry<D> = HashMap<String, Matrix<D>>;

/// What a segment of time is run for.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// No gradient of a state goes back over a step whose number is a multiple of it.
    pub tbptt: Option<usize>,
    /// Which signals are gathered.
    pub wanted: &'a dyn Fn(&str) -> bool,
    /// To which of them gradients come.
    pub graded: &'a dyn Fn(&str) -> bool,
}

/// What a neuron layer gives for a segment of time.
pub struct Segment<D: Backend> {
    /// The signals that were asked for, each `[time * batch, neurons]`.
    pub signals: HashMap<String, Steps<D>>,
    /// The states after the last step.
    pub carry: Carry<D>,
}

/// Runs a program over a segment of time.
///
/// `params` are rows `[1, neurons]` or `[1, 1]`, `inputs` sequences `[time * batch, neurons]`. Without `carry` the states
/// start as the model says.
pub fn forward<D: Backend>(
    program: &StepProgram,
    params: &HashMap<String, Matrix<D>>,
    inputs: &HashMap<String, Steps<D>>,
    carry: Option<Carry<D>>,
    pass: &Pass,
    recorder: &mut Recorder<D>,
) -> Result<Segment<D>, TensorError> {
    let Some(first) = inputs.values().next() else {
        return Ok(Segment { signals: HashMap::new(), carry: HashMap::new() });
    };
    let (steps, shape) = (first.steps, (first.batch, first.width()));
    let mut held = HashMap::new();
    for param in &program.params {
        let row = match param.clamp {
            Some((low, high)) => recorder.unary(&params[&param.name], |p| p.try_clamp(low as f32, high as f32))?,
            None => params[&param.name].clone(),
        };
        held.insert(param.name.clone(), LaneValue::from(recorder.expand(&row, shape.0, shape.1)?));
    }
    let mut states = initial_states(program, carry, shape, recorder)?;
    let (guarded, taught) = (program.chooses(), program.taught(pass.graded));
    let signals: Vec<&(String, String)> = program.outputs.iter().filter(|(signal, _)| (pass.wanted)(signal)).collect();
    let mut gathered: Vec<Vec<Matrix<D>>> = vec![Vec::with_capacity(steps); signals.len()];
    for t in 0..steps {
        let mut values = held.clone();
        for (name, sequence) in inputs {
            values.insert(name.clone(), LaneValue::from(recorder.step(sequence, t)?));
        }
        let cut = pass.tbptt.is_some_and(|every| t.is_multiple_of(every));
        for (name, state) in states {
            let state = match state {
                LaneValue::Lanes(lanes) if cut => LaneValue::from(recorder.detach(&lanes)?),
                state => state,
            };
            values.insert(format!("prev.{name}"), state);
        }
        for projection in &program.projections {
            project(projection, params, &mut values, shape, recorder)?;
        }
        let mut step = StepValues { values, shape, guarded, surrogate: &program.surrogate, recorder: &mut *recorder };
        for (name, expr) in &program.body {
            debug_assert!(previous(name).is_none());
            let value = step.recorded(expr, taught.contains(name.as_str()))?;
            step.values.insert(name.clone(), value);
        }
        states = HashMap::new();
        for (name, _) in &program.states {
            states.insert(name.clone(), LaneValue::Lanes(step.lanes_of(name)?));
        }
        for ((_, name), parts) in signals.iter().zip(&mut gathered) {
            parts.push((*step.lanes_of(name)?).clone());
        }
    }
    let carry = states.into_iter().filter_map(|(name, state)| Some((name, state.matrix()?))).collect();
    let mut segment = Segment { signals: HashMap::new(), carry };
    for ((signal, _), parts) in signals.iter().zip(&gathered) {
        segment.signals.insert(signal.clone(), recorder.sequence(parts)?);
    }
    Ok(segment)
}

/// Gives values to the names of a projection of a state of the step before.
fn project<D: Backend>(
    projection: &Projection,
    params: &HashMap<String, Matrix<D>>,
    values: &mut HashMap<String, LaneValue<D>>,
    shape: (usize, usize),
    recorder: &mut Recorder<D>,
) -> Result<(), TensorError> {
    let Some(LaneValue::Lanes(from)) = values.get(&format!("prev.{}", projection.from)).cloned() else { return Ok(()) };
    let weight = &params[&format!("{}.weight", projection.name)];
    if !projection.dense {
        let wide = recorder.expand(weight, shape.0, shape.1)?;
        let product = recorder.binary(&from, &wide, |from, wide| from.try_mul(wide))?;
        values.insert(projection.to[0].clone(), LaneValue::from(product));
        return Ok(());
    }
    let bias = params.get(&format!("{}.bias", projection.name));
    let all = recorder.dense(&from, weight, bias)?;
    for (i, name) in projection.to.iter().enumerate() {
        values.insert(name.clone(), LaneValue::from(recorder.columns(&all, i * shape.1, (i + 1) * shape.1)?));
    }
    Ok(())
}

fn initial_states<D: Backend>(
    program: &StepProgram,
    carry: Option<Carry<D>>,
    shape: (usize, usize),
    recorder: &Recorder<D>,
) -> Result<HashMap<String, LaneValue<D>>, TensorError> {
    let mut carry = carry.unwrap_or_default();
    let mut states = HashMap::new();
    for (name, start) in &program.states {
        let state = match carry.remove(name) {
            Some(state) => state,
            None => recorder.constant(*start as f32, shape)?,
        };
        states.insert(name.clone(), LaneValue::from(state));
    }
    Ok(states)
}

/// A value inside a step: one number for all lanes, or `[batch, neurons]`. Clones are known as the same value.
#[derive(Clone)]
enum LaneValue<D: Backend> {
    Number(f64),
    Lanes(Rc<Matrix<D>>),
}

/// Derivatives of the lesser of two values by each of them: equal ones give half of it each.
const LESSER: [fn(f32, f32, f32) -> f32; 2] = [|a, b, _| share(a < b, a == b), |a, b, _| share(b < a, a == b)];

fn share(all: bool, half: bool) -> f32 {
    if all {
        1.0
    } else if half {
        0.5
    } else {
        0.0
    }
}

/// One time step.
struct StepValues<'a, D: Backend> {
    values: HashMap<String, LaneValue<D>>,
    shape: (usize, usize),
    /// Whether equations choose between branches, so that the gradient of one that was not taken has to be kept at 0.
    guarded: bool,
    surrogate: &'a Expr,
    recorder: &'a mut Recorder<D>,
}

impl<D: Backend> StepValues<'_, D> {
    fn eval(&mut self, expr: &Expr) -> Result<LaneValue<D>, TensorError> {
        match expr {
            Expr::Number(x) => Ok(LaneValue::Number(*x)),
            Expr::Name(name) => match (self.values.get(&name.text), constant(&name.text)) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some(x)) => Ok(LaneValue::Number(x)),
                (None, None) => Err(TensorError(format!("the program has no value for `{}`", name.text))),
            },
            Expr::Negate(inner) => match self.eval(inner)? {
                LaneValue::Number(x) => Ok(LaneValue::Number(-x)),
                LaneValue::Lanes(x) => self.unary(&x, |x| x.try_negate()),
            },
            Expr::Binary(op, ..) => {
                let [a, b] = self.operands(expr)?.try_into().map_err(|_| TensorError("two operands".into()))?;
                self.binary(*op, a, b)
            }
            Expr::Call(function, _) => {
                let values = self.operands(expr)?;
                self.call(*function, values)
            }
        }
    }

    fn operands(&mut self, expr: &Expr) -> Result<Vec<LaneValue<D>>, TensorError> {
        expr.operands().into_iter().map(|(operand, taught)| self.recorded(operand, taught)).collect()
    }

    /// The value of an expression, on the tape if a gradient flows back to it.
    fn recorded(&mut self, expr: &Expr, taught: bool) -> Result<LaneValue<D>, TensorError> {
        if taught {
            return self.eval(expr);
        }
        let tape = self.recorder.pause();
        let value = self.eval(expr);
        self.recorder.resume(tape);
        value
    }

    fn unary(
        &mut self,
        x: &Matrix<D>,
        op: impl FnOnce(Taped<(usize, usize), D>) -> Result<Taped<(usize, usize), D>, D::Err>,
    ) -> Result<LaneValue<D>, TensorError> {
        self.recorder.unary(x, op).map(LaneValue::from)
    }

    /// A function whose derivative, by its argument and its value, may be infinite.
    fn curved(
        &mut self,
        x: &Matrix<D>,
        op: impl FnOnce(Taped<(usize, usize), D>) -> Result<Taped<(usize, usize), D>, D::Err>,
        slope: impl Fn(f32, f32) -> f32,
    ) -> Result<LaneValue<D>, TensorError> {
        if !self.guarded {
            return self.unary(x, op);
        }
        let out = self.recorder.paused(|recorder| recorder.unary(x, op))?;
        let slopes = x.as_vec().into_iter().zip(out.as_vec()).map(|(x, y)| slope(x, y)).collect();
        self.recorder.by_slopes(&out, vec![(x, slopes)], Chain::Guarded);
        Ok(LaneValue::from(out))
    }

    /// A function with one derivative everywhere, which may be infinite too.
    fn scaled(
        &mut self,
        x: &Matrix<D>,
        op: impl FnOnce(Taped<(usize, usize), D>) -> Result<Taped<(usize, usize), D>, D::Err>,
        slope: f32,
    ) -> Result<LaneValue<D>, TensorError> {
        if slope.is_finite() { self.unary(x, op) } else { self.curved(x, op, |_, _| slope) }
    }

    /// A function that is the binary's own on the processor, and the device's elsewhere; its derivative is one of its
    /// argument and its value.
    fn own(
        &mut self,
        x: &Matrix<D>,
        function: impl Fn(f32) -> f32,
        op: impl FnOnce(Taped<(usize, usize), D>) -> Result<Taped<(usize, usize), D>, D::Err>,
        slope: impl Fn(f32, f32) -> f32,
    ) -> Result<LaneValue<D>, TensorError> {
        if D::NAME != DeviceName::Cpu {
            return self.curved(x, op, slope);
        }
        let x_values = x.as_vec();
        let values: Vec<f32> = x_values.iter().map(|x| function(*x)).collect();
        let slopes = x_values.into_iter().zip(&values).map(|(x, y)| slope(x, *y)).collect();
        let out = self.recorder.matrix(values, self.shape)?;
        let chain = if self.guarded { Chain::Guarded } else { Chain::Plain };
        self.recorder.by_slopes(&out, vec![(x, slopes)], chain);
        Ok(LaneValue::from(out))
    }

    /// A function of two values, whose derivatives are `slopes` of both operands and the result.
    fn curved_both(
        &mut self,
        a: LaneValue<D>,
        b: LaneValue<D>,
        op: impl FnOnce(Taped<(usize, usize), D>, Taped<(usize, usize), D>) -> Result<Taped<(usize, usize), D>, D::Err>,
        slopes: [fn(f32, f32, f32) -> f32; 2],
        chain: Chain,
    ) -> Result<LaneValue<D>, TensorError> {
        if !self.guarded {
            return self.both(a, b, op);
        }
        let (a, b) = (self.lanes(a)?, self.lanes(b)?);
        let copy = self.recorder.detach(&b)?;
        let out = self.recorder.paused(|recorder| recorder.binary(&a, &copy, op))?;
        let (left, right, results) = (a.as_vec(), b.as_vec(), out.as_vec());
        let [by_a, by_b] =
            slopes.map(|slope| (0..results.len()).map(|i| slope(left[i], right[i], results[i])).collect::<Vec<f32>>());
        self.recorder.by_slopes(&out, vec![(&a, by_a), (&b, by_b)], chain);
        Ok(LaneValue::from(out))
    }

    fn binary(&mut self, op: BinaryOp, a: LaneValue<D>, b: LaneValue<D>) -> Result<LaneValue<D>, TensorError> {
        use BinaryOp::*;
        match (op, a, b) {
            (op, LaneValue::Number(a), LaneValue::Number(b)) => {
                let (a, b) = (Box::new(Expr::number(a)), Box::new(Expr::number(b)));
                let folded = Expr::Binary(op, a, b).eval(&|_| None).map_err(|e| TensorError(e.message))?;
                Ok(LaneValue::Number(folded))
            }
            (Add, LaneValue::Lanes(x), LaneValue::Number(c)) | (Add, LaneValue::Number(c), LaneValue::Lanes(x)) => {
                self.unary(&x, |x| x.try_add(c as f32))
            }
            // It keeps what is not a number, and has the derivative 0 whatever it is.
            (Mul, LaneValue::Lanes(x), LaneValue::Number(0.0)) | (Mul, LaneValue::Number(0.0), LaneValue::Lanes(x)) => {
                let values = x.as_vec().into_iter().map(|x| x * 0.0).collect();
                Ok(LaneValue::from(self.recorder.matrix(values, self.shape)?))
            }
            (Mul, LaneValue::Lanes(x), LaneValue::Number(c)) | (Mul, LaneValue::Number(c), LaneValue::Lanes(x)) => {
                self.scaled(&x, |x| x.try_mul(c as f32), c as f32)
            }
            (Sub, LaneValue::Lanes(x), LaneValue::Number(c)) => self.unary(&x, |x| x.try_sub(c as f32)),
            (Sub, LaneValue::Number(c), LaneValue::Lanes(x)) => self.unary(&x, |x| x.try_negate()?.try_add(c as f32)),
            (Div, LaneValue::Lanes(x), LaneValue::Number(c)) => {
                self.scaled(&x, |x| x.try_div(c as f32), (c as f32).recip())
            }
            (Div, LaneValue::Number(1.0), LaneValue::Lanes(x)) => self.curved(&x, |x| x.try_recip(), |_, y| -y * y),
            // Of whatever it is, as of numbers.
            (Pow, LaneValue::Lanes(_), LaneValue::Number(0.0)) => Ok(LaneValue::Number(1.0)),
            (Pow, LaneValue::Lanes(x), LaneValue::Number(c)) => self.power(&x, c),
            (Pow, a, LaneValue::Lanes(b)) if D::NAME == DeviceName::Cpu => self.power_of_lanes(a, &b),
            (Pow, a, LaneValue::Lanes(b)) => {
                let a = self.lanes(a)?;
                let log = self.own(&a, libm::logf, |a| a.try_ln(), |x, _| x.recip())?;
                let product = self.binary(Mul, LaneValue::Lanes(b), log)?;
                let product = self.lanes(product)?;
                self.own(&product, libm::expf, |x| x.try_exp(), |_, y| y)
            }
            (Add, a, b) => self.both(a, b, |a, b| a.try_add(b)),
            (Sub, a, b) => self.both(a, b, |a, b| a.try_sub(b)),
            (Mul, a, b) => self.curved_both(a, b, |a, b| a.try_mul(b), [|_, b, _| b, |a, _, _| a], Chain::Guarded),
            (Div, a, b) => {
                self.curved_both(a, b, |a, b| a.try_div(b), [|_, b, _| b.recip(), |_, b, y| -y / b], Chain::Guarded)
            }
            (Less, a, b) => self.compare(a, b, |a, b| a.try_lt(b)),
            (LessEqual, a, b) => self.compare(a, b, |a, b| a.try_le(b)),
            (Greater, a, b) => self.compare(a, b, |a, b| a.try_gt(b)),
            (GreaterEqual, a, b) => self.compare(a, b, |a, b| a.try_ge(b)),
            (Equal, a, b) => self.compare(a, b, |a, b| a.try_eq(b)),
            (NotEqual, a, b) => self.compare(a, b, |a, b| a.try_ne(b)),
        }
    }

    fn power(&mut self, x: &Matrix<D>, exponent: f64) -> Result<LaneValue<D>, TensorError> {
        if exponent == 2.0 {
            self.curved(x, |x| x.try_square(), |x, _| 2.0 * x)
        } else if exponent.fract() == 0.0 && exponent.abs() < 1e6 {
            let n = exponent as i32;
            self.curved(x, |x| x.try_powi(n), |x, _| n as f32 * x.powi(n - 1))
        } else {
            let n = exponent as f32;
            self.own(x, |x| libm::powf(x, n), |x| x.try_powf(n), |x, _| n * libm::powf(x, n - 1.0))
        }
    }

    /// `a^b` with `b` of each lane; its derivatives are `b a^(b - 1)` and `a^b log(a)`.
    fn power_of_lanes(&mut self, a: LaneValue<D>, b: &Matrix<D>) -> Result<LaneValue<D>, TensorError> {
        let a = self.lanes(a)?;
        let both: Vec<(f32, f32)> = a.as_vec().into_iter().zip(b.as_vec()).collect();
        let values: Vec<f32> = both.iter().map(|(a, b)| libm::powf(*a, *b)).collect();
        let by_a = both.iter().map(|(a, b)| b * libm::powf(*a, b - 1.0)).collect();
        let by_b = both.iter().zip(&values).map(|((a, _), y)| y * libm::logf(*a)).collect();
        let out = self.recorder.matrix(values, self.shape)?;
        let chain = if self.guarded { Chain::Guarded } else { Chain::Plain };
        self.recorder.by_slopes(&out, vec![(&a, by_a), (b, by_b)], chain);
        Ok(LaneValue::from(out))
    }

    fn both(
        &mut self,
        a: LaneValue<D>,
        b: LaneValue<D>,
        op: impl FnOnce(Taped<(usize, usize), D>, Taped<(usize, usize), D>) -> Result<Taped<(usize, usize), D>, D::Err>,
    ) -> Result<LaneValue<D>, TensorError> {
        let (a, mut b) = (self.lanes(a)?, self.lanes(b)?);
        if Rc::ptr_eq(&a, &b) {
            b = Rc::new(self.recorder.unary(&b, |b| b.try_sub(0.0))?);
        }
        self.recorder.binary(&a, &b, op).map(LaneValue::from)
    }

    fn compare(
        &mut self,
        a: LaneValue<D>,
        b: LaneValue<D>,
        op: impl FnOnce(&Matrix<D>, &Matrix<D>) -> Result<Tensor<(usize, usize), bool, D>, D::Err>,
    ) -> Result<LaneValue<D>, TensorError> {
        let (a, b) = (self.lanes(a)?, self.lanes(b)?);
        let mask = op(&a, &b).map_err(TensorError::from_device)?;
        self.indicator(mask).map(LaneValue::from)
    }

    /// 1 where the mask is true, else 0; without a gradient.
    fn indicator(&self, mask: Tensor<(usize, usize), bool, D>) -> Result<Matrix<D>, TensorError> {
        let (one, zero) = (self.recorder.constant(1.0, self.shape)?, self.recorder.constant(0.0, self.shape)?);
        mask.try_choose(one, zero).map_err(TensorError::from_device)
    }

    fn call(&mut self, function: Function, mut arguments: Vec<LaneValue<D>>) -> Result<LaneValue<D>, TensorError> {
        if let Some(numbers) = arguments.iter().map(LaneValue::number).collect::<Option<Vec<f64>>>()
            && function != Function::Surrogate
        {
            let call = Expr::Call(function, numbers.into_iter().map(Expr::number).collect());
            return call.eval(&|_| None).map(LaneValue::Number).map_err(|e| TensorError(e.message));
        }
        if let (Function::Where, LaneValue::Number(condition)) = (function, &arguments[0]) {
            return Ok(arguments.swap_remove(if *condition != 0.0 { 1 } else { 2 }));
        }
        let first = self.lanes(arguments.remove(0))?;
        match function {
            Function::Abs => self.curved(&first, |x| x.try_abs(), |x, _| share(x > 0.0, false) - share(x < 0.0, false)),
            Function::Exp => self.curved(&first, |x| x.try_exp(), |_, y| y),
            Function::Log => self.own(&first, libm::logf, |x| x.try_ln(), |x, _| x.recip()),
            Function::Sqrt => self.curved(&first, |x| x.try_sqrt(), |_, y| 0.5 / y),
            Function::Tanh => self.curved(&first, |x| x.try_tanh(), |_, y| 1.0 - y * y),
            Function::Sin => self.own(&first, libm::sinf, |x| x.try_sin(), |x, _| libm::cosf(x)),
            Function::Cos => self.own(&first, libm::cosf, |x| x.try_cos(), |x, _| -libm::sinf(x)),
            Function::Sigmoid => self.curved(&first, |x| x.try_sigmoid(), |_, y| y * (1.0 - y)),
            Function::Min => {
                let first = LaneValue::Lanes(first);
                self.curved_both(first, arguments.remove(0), |a, b| a.try_minimum(b), LESSER, Chain::Shares)
            }
            Function::Max => {
                let first = LaneValue::Lanes(first);
                let [first_share, second_share] = LESSER;
                self.curved_both(
                    first,
                    arguments.remove(0),
                    |a, b| a.try_maximum(b),
                    [second_share, first_share],
                    Chain::Shares,
                )
            }
            Function::Where => self.choose(&first, arguments.remove(0), arguments.remove(0)),
            Function::Heaviside => self.heaviside(&first).map(LaneValue::from),
            Function::Sign => {
                let (above, below) =
                    (self.heaviside(&first)?, self.recorder.paused(|r| r.unary(&first, |x| x.try_negate()))?);
                let below = self.heaviside(&below)?;
                above.try_sub(below).map(LaneValue::from).map_err(TensorError::from_device)
            }
            Function::Floor => {
                let floor = first.as_vec().into_iter().map(f32::floor).collect();
                self.recorder.matrix(floor, self.shape).map(LaneValue::from)
            }
            Function::Detach => self.recorder.detach(&first).map(LaneValue::from),
            Function::Spike => self.spike(&first).map(LaneValue::from),
            Function::Surrogate => self.derivative(&first).map(LaneValue::from),
        }
    }

    fn choose(&mut self, condition: &Matrix<D>, a: LaneValue<D>, b: LaneValue<D>) -> Result<LaneValue<D>, TensorError> {
        let mask = condition.try_ne(0.0).map_err(TensorError::from_device)?;
        self.both(a, b, |a, b| mask.try_choose(a, b))
    }

    fn heaviside(&self, x: &Matrix<D>) -> Result<Matrix<D>, TensorError> {
        self.indicator(x.try_gt(0.0).map_err(TensorError::from_device)?)
    }

    fn spike(&mut self, z: &Matrix<D>) -> Result<Matrix<D>, TensorError> {
        let (spikes, slopes) = (self.heaviside(z)?, self.derivative(z)?);
        let chain = if self.guarded { Chain::Guarded } else { Chain::Plain };
        self.recorder.by_slopes(&spikes, vec![(z, slopes.as_vec())], chain);
        Ok(spikes)
    }

    /// The surrogate at `x`, as a number without a gradient.
    fn derivative(&mut self, x: &Matrix<D>) -> Result<Matrix<D>, TensorError> {
        let (surrogate, shape) = (self.surrogate, self.shape);
        let values = HashMap::from([("x".to_string(), LaneValue::from(x.clone()))]);
        self.recorder.paused(|recorder| {
            let mut inner = StepValues { values, shape, guarded: false, surrogate, recorder };
            let value = inner.eval(surrogate)?;
            let lanes = inner.lanes(value)?;
            inner.recorder.detach(&lanes)
        })
    }

    fn lanes(&self, value: LaneValue<D>) -> Result<Rc<Matrix<D>>, TensorError> {
        match value {
            LaneValue::Lanes(x) => Ok(x),
            LaneValue::Number(x) => self.recorder.constant(x as f32, self.shape).map(Rc::new),
        }
    }

    fn lanes_of(&self, name: &str) -> Result<Rc<Matrix<D>>, TensorError> {
        match self.values.get(name) {
            Some(value) => self.lanes(value.clone()),
            None => Err(TensorError(format!("the program does not assign `{name}`"))),
        }
    }
}

impl<D: Backend> From<Matrix<D>> for LaneValue<D> {
    fn from(matrix: Matrix<D>) -> Self {
        LaneValue::Lanes(Rc::new(matrix))
    }
}

impl<D: Backend> LaneValue<D> {
    fn matrix(self) -> Option<Matrix<D>> {
        match self {
            LaneValue::Lanes(x) => Some((*x).clone()),
            LaneValue::Number(_) => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            LaneValue::Number(x) => Some(*x),
            LaneValue::Lanes(_) => None,
        }
    }
}
