//! Neuron models from formulas, and what runs them.
//!
//! `model` reads the text of a neuron, `surrogate` that of a surrogate derivative, `program` is a model with its
//! options chosen, checked and in the order of its needs; `describe` puts one in words. `reference` runs a program by dfdx operations, `fused` in one
//! pass over time on the processor.

pub mod describe;
pub mod fused;
pub mod limits;
pub mod model;
pub mod program;
pub mod reference;
pub mod surrogate;

pub use model::Model;
pub use program::StepProgram;
pub use surrogate::Surrogate;
