//! Studies: which trials a spec means, what identifies them, and the workers that train them.

pub mod identity;
pub mod plan;
pub mod resume;
pub mod sampler;
pub mod train;

pub use plan::{Configuration, Executor, Plan, TrialPlan};
pub use train::{Ended, TrainError, Watch, train};
