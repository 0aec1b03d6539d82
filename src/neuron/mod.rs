//! Neuron models from formulas, and what runs them.
//!
//! `model` reads the text of a neuron, `surrogate` that of a surrogate derivative, `program` is a model with its
//! options chosen, checked and in the order of its needs, and `reference` runs a program by dfdx operations.

pub mod model;
pub mod program;
pub mod reference;
pub mod surrogate;

pub use model::Model;
pub use program::Program;
pub use surrogate::Surrogate;
