//! `runner`: a declarative experiment runner for spiking neural networks.
//!
//! An experiment file goes through the rooms of this house in this order:
//!
//! | room | what goes in and out |
//! |---|---|
//! | [`spec`] | TOML text to a checked spec, every value with its place |
//! | [`study`] | a file to a study ([`study::Study`]): a plan of trials with ids, workers that train them, the folder closed |
//! | [`registry`] | names to components: datasets, layers, neurons, losses, ... |
//! | [`data`], [`random`] | datasets and the random numbers they are drawn from |
//! | [`nn`], [`neuron`], [`formula`] | networks, neuron models as text, the language they are written in |
//! | [`tensor`] | dfdx tensors, devices, the tape |
//! | [`program`] | datasets and metrics of other programs |
//! | [`train`] | losses, metrics, optimizers, the training loop |
//! | [`search`] | samplers and pruners: which configurations a study has |
//! | [`store`] | the result folder |
//! | [`statistics`] | what several seeds say: intervals, paired tests, when to stop |
//! | [`report`] | plots and the page |
//! | [`testing`] | the contract that components keep, for tests |
//! | [`cli`] | commands, and everything that is printed |
//!
//! Imports run one way: `cli` to `study`, this to `report`, `store` and `train`, then `nn` and `data`, `neuron`,
//! `formula`. ARCHITECTURE.md has the invariants.

#![warn(missing_docs)]

/// The tensor library, for layers and losses of other crates.
pub use dfdx;
/// The frames in which tables of results are given.
pub use polars;

pub mod cli;
pub mod data;
pub mod formula;
pub mod neuron;
pub mod nn;
pub mod program;
pub mod random;
pub mod registry;
pub mod report;
pub mod search;
pub mod spec;
pub mod statistics;
pub mod store;
pub mod study;
pub mod tensor;
pub mod testing;
pub mod train;
