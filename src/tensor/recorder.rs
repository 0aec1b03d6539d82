//! Records dfdx operations on one tape, so that a value can be used any number of times.
//!
//! A dfdx tensor owns its tape, which fits chains, not graphs. Here values carry no tape: an operation gets its
//! operands with empty tapes, and what it recorded is moved to the recorder. dfdx orders operations by the time at
//! which they were recorded, and finds gradients by a tensor's identity, so nothing is lost.

use super::{Backend, Matrix, Scalar, TensorError};
use dfdx::prelude::*;
use dfdx::tensor::{Gradients, OwnedTape, Tape};

/// A tensor with a tape of its own, inside an operation.
pub type Taped<S, D> = Tensor<S, f32, D, OwnedTape<f32, D>>;

/// A sequence: `data` is `[steps * batch, width]`, time first.
#[derive(Debug, Clone)]
pub struct Steps<D: Backend> {
    /// The values.
    pub data: Matrix<D>,
    /// Time steps.
    pub steps: usize,
    /// Samples side by side.
    pub batch: usize,
}

impl<D: Backend> Steps<D> {
    /// Steps times samples.
    pub fn rows(&self) -> usize {
        self.steps * self.batch
    }

    /// Channels or neurons.
    pub fn width(&self) -> usize {
        self.data.shape().1
    }

    /// The values on the host, `[time, batch, width]`.
    pub fn to_vec(&self) -> Vec<f32> {
        self.data.as_vec()
    }
}

/// How a gradient is multiplied with a derivative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// As numbers are.
    Plain,
    /// A gradient of 0 stays 0, also where the derivative is infinite or not defined: a branch that was not taken
    /// teaches nothing.
    Guarded,
    /// As guarded; and a derivative of 0 means that an operand was not taken, so that an infinite gradient does not
    /// reach it.
    Shares,
}

/// Runs operations and keeps their tape.
pub struct Recorder<D: Backend> {
    device: D,
    tape: Option<OwnedTape<f32, D>>,
}

impl<D: Backend> Recorder<D> {
    /// A recorder for training.
    pub fn recording(device: D) -> Self {
        Recorder { device, tape: Some(OwnedTape::default()) }
    }

    /// A recorder that forgets, for evaluation.
    pub fn forgetting(device: D) -> Self {
        Recorder { device, tape: None }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// An operation on one tensor.
    pub fn unary<S: Shape, U: Shape>(
        &mut self,
        x: &Tensor<S, f32, D>,
        op: impl FnOnce(Taped<S, D>) -> Result<Taped<U, D>, D::Err>,
    ) -> Result<Tensor<U, f32, D>, TensorError> {
        let (out, tape) = op(x.retaped()).map_err(TensorError::from_device)?.split_tape();
        self.keep(tape);
        Ok(out)
    }

    /// An operation on two tensors, which may not be one and the same: dfdx cannot lend out a gradient twice.
    pub fn binary<A: Shape, B: Shape, U: Shape>(
        &mut self,
        a: &Tensor<A, f32, D>,
        b: &Tensor<B, f32, D>,
        op: impl FnOnce(Taped<A, D>, Taped<B, D>) -> Result<Taped<U, D>, D::Err>,
    ) -> Result<Tensor<U, f32, D>, TensorError> {
        let (out, tape) = op(a.retaped(), b.retaped()).map_err(TensorError::from_device)?.split_tape();
        self.keep(tape);
        Ok(out)
    }

    /// Records that `out` was computed from some operands, and its derivative by each of them: numbers of the host, row
    /// by row; `chain` says how they meet the gradient of `out`.
    pub fn by_slopes(&mut self, out: &Matrix<D>, operands: Vec<(&Matrix<D>, Vec<f32>)>, chain: Chain) {
        let Some(tape) = &mut self.tape else { return };
        let whole = out.ghost();
        let operands: Vec<_> = operands.into_iter().map(|(operand, slopes)| (operand.ghost(), slopes)).collect();
        tape.add_backward_op(move |gradients| {
            let gradient = D::read(gradients.get_or_alloc_mut(&whole)?)?;
            for (operand, slopes) in &operands {
                let part = |(g, slope): (&f32, &f32)| match (*g, *slope) {
                    (0.0, _) if chain != Chain::Plain => 0.0,
                    (_, 0.0) if chain == Chain::Shares => 0.0,
                    (g, slope) => g * slope,
                };
                let part: Vec<f32> = gradient.iter().zip(slopes).map(part).collect();
                D::accumulate(gradients.get_or_alloc_mut(operand)?, &part)?;
            }
            Ok(())
        });
    }

    /// A copy through which no gradient flows.
    pub fn detach(&self, x: &Matrix<D>) -> Result<Matrix<D>, TensorError> {
        // Taking 0 off keeps the sign of a zero, which adding it would not.
        x.clone().try_sub(0.0).map_err(TensorError::from_device)
    }

    /// A matrix filled with one number, which has no gradient.
    pub fn constant(&self, value: f32, shape: (usize, usize)) -> Result<Matrix<D>, TensorError> {
        self.matrix(vec![value; shape.0 * shape.1], shape)
    }

    /// A matrix from numbers of the host, row by row.
    pub fn matrix(&self, values: Vec<f32>, shape: (usize, usize)) -> Result<Matrix<D>, TensorError> {
        self.device.try_tensor_from_vec(values, shape).map_err(TensorError::from_device)
    }

    /// A row `[1, n]` under each other `rows` times; one number `[1, 1]` everywhere in `[rows, width]`.
    pub fn expand(&mut self, row: &Matrix<D>, rows: usize, width: usize) -> Result<Matrix<D>, TensorError> {
        let zeros = self.constant(0.0, (rows, width))?;
        let n = row.shape().1;
        self.binary(row, &zeros, |row, zeros| {
            let wide = if n == 1 {
                row.try_reshape_like(&())?.try_broadcast_like::<_, Axes2<0, 1>>(zeros.shape())?
            } else {
                row.try_reshape_like(&(n,))?.try_broadcast_like::<_, Axis<0>>(zeros.shape())?
            };
            wide.try_add(zeros)
        })
    }

    /// The dense projection `x W^T + b` of rows; weight `[out, in]`, bias a row `[1, out]`.
    pub fn dense(
        &mut self,
        x: &Matrix<D>,
        weight: &Matrix<D>,
        bias: Option<&Matrix<D>>,
    ) -> Result<Matrix<D>, TensorError> {
        let product = self.binary(x, weight, |x, w| x.try_matmul(w.try_permute::<(usize, usize), Axes2<1, 0>>()?))?;
        let Some(bias) = bias else { return Ok(product) };
        let width = bias.shape().1;
        self.binary(&product, bias, |y, b| {
            let wide = b.try_reshape_like(&(width,))?.try_broadcast_like::<_, Axis<0>>(y.shape())?;
            y.try_add(wide)
        })
    }

    /// Some columns of a matrix.
    pub fn columns(&mut self, x: &Matrix<D>, from: usize, to: usize) -> Result<Matrix<D>, TensorError> {
        self.unary(x, |x| x.try_slice((.., from..to)))
    }

    /// The rows of one time step.
    pub fn step(&mut self, sequence: &Steps<D>, t: usize) -> Result<Matrix<D>, TensorError> {
        let (start, end) = (t * sequence.batch, (t + 1) * sequence.batch);
        let out = self.unary(&sequence.data, |data| data.try_slice((start..end, ..)))?;
        Ok(out)
    }

    /// Time steps `[batch, width]` under each other.
    pub fn sequence(&mut self, parts: &[Matrix<D>]) -> Result<Steps<D>, TensorError> {
        let (batch, width) = parts.first().map_or((0, 0), |part| *part.shape());
        let mut values = Vec::with_capacity(parts.len() * batch * width);
        parts.iter().for_each(|part| values.extend(part.as_vec()));
        let data = self.matrix(values, (parts.len() * batch, width))?;
        if let Some(tape) = &mut self.tape {
            let (whole, ghosts) = (data.ghost(), parts.iter().map(|part| part.ghost()).collect::<Vec<_>>());
            tape.add_backward_op(move |gradients| {
                let gradient = D::read(gradients.get_or_alloc_mut(&whole)?)?;
                for (ghost, part) in ghosts.iter().zip(gradient.chunks(batch * width)) {
                    D::accumulate(gradients.get_or_alloc_mut(ghost)?, part)?;
                }
                Ok(())
            });
        }
        Ok(Steps { data, steps: parts.len(), batch })
    }

    /// A sequence `delay` steps later, zero before. With `tbptt` no gradient goes back over a step whose number is a
    /// multiple of it.
    pub fn late(&mut self, of: &Steps<D>, delay: usize, tbptt: Option<usize>) -> Result<Steps<D>, TensorError> {
        let row = of.batch * of.width();
        let delay = delay.min(of.steps);
        let mut values = vec![0.0; delay * row];
        values.extend(&of.to_vec()[..(of.steps - delay) * row]);
        let data = self.matrix(values, *of.data.shape())?;
        if let Some(tape) = &mut self.tape {
            let (late, early, steps) = (data.ghost(), of.data.ghost(), of.steps);
            let crosses = move |to: usize| tbptt.is_some_and(|every| to / every * every > to - delay);
            tape.add_backward_op(move |gradients| {
                let mut gradient = D::read(gradients.get_or_alloc_mut(&late)?)?;
                gradient.rotate_left(delay * row);
                for step in (0..steps).filter(|step| step + delay >= steps || crosses(step + delay)) {
                    gradient[step * row..(step + 1) * row].fill(0.0);
                }
                D::accumulate(gradients.get_or_alloc_mut(&early)?, &gradient)
            });
        }
        Ok(Steps { data, ..*of })
    }

    /// Gradients of a loss with respect to all that it was computed from.
    pub fn backward(mut self, loss: &Scalar<D>) -> Result<Gradients<f32, D>, TensorError> {
        let tape = self.tape.take().unwrap_or_default();
        loss.clone().put_tape(tape).try_backward().map_err(TensorError::from_device)
    }

    /// Runs `body` without recording.
    pub fn paused<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let tape = self.pause();
        let out = body(self);
        self.resume(tape);
        out
    }

    /// Stops recording, and gives what was recorded, for [`Recorder::resume`].
    pub fn pause(&mut self) -> Option<OwnedTape<f32, D>> {
        self.tape.take()
    }

    /// Goes on with what was recorded before.
    pub fn resume(&mut self, tape: Option<OwnedTape<f32, D>>) {
        self.tape = tape;
    }

    fn keep(&mut self, tape: OwnedTape<f32, D>) {
        if let Some(mine) = self.tape.take() {
            self.tape = Some(mine.merge(tape));
        }
    }
}
