//! Which configurations a study has: samplers choose them, pruners drop some on the way.

pub mod pruner;
pub mod sampler;
