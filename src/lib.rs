//! `runner`: a declarative experiment runner for spiking neural networks.

pub mod formula;
pub mod random;
pub mod report;
pub mod store;
