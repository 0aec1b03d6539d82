//! Studies: which trials a spec means, what identifies them, and the workers that train them.

pub mod explain;
pub mod identity;
pub mod plan;
pub mod replay;
pub mod resume;
pub mod sampler;
pub mod train;

pub use plan::{Configuration, Executor, Plan, TrialPlan};
pub use train::{Ended, TrainError, Watch, train};
