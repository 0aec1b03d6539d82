//! Components of one's own for `runner`: a dataset, a layer, a metric and an optimizer, a file each.
//!
//! What is registered here shows in `list`, `show`, the schema and suggestions, and its keys are checked before anything
//! is built. The crate's name and version enter the identity of trials that use it: raise the version, or a component's
//! `meaning`, when numbers change.

#![warn(missing_docs)]

pub mod gain;
pub mod max_error;
pub mod sign;
pub mod sine;

use runner::registry::{Additions, Crate};

/// This crate, as `runner::cli::run` takes it.
pub const CRATE: Crate = Crate { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), register };

fn register(to: &mut Additions<'_>) {
    to.dataset("sine", |keys: sine::Sine| keys).about("A sine wave, to be known some steps ahead");
    to.layer("gain", |learning, _| gain::Gain(learning))
        .about("A learned factor for each channel: y = gain * x")
        .detail("gain [inputs], 1 at first; signal: `current`\n");
    to.metric("max_error", |()| max_error::max_error).about("Largest absolute error").unit("target");
    to.optimizer("sign", sign::rule)
        .about("signSGD: steps of one size against the sign of the gradient")
        .source("Bernstein et al. 2018, ICML, arXiv 1802.04434");
}
