//! Studies: which trials a spec means, what identifies them, and the workers that train them.

mod check;
pub mod configuration;
pub mod explain;
pub mod identity;
pub mod plan;
pub mod predict;
pub mod replay;
pub mod resume;
pub mod sampler;
pub mod train;
pub mod weights;

pub use configuration::{Configuration, ConfigurationPlan};
pub use plan::{Executor, Measured, Plan, TrialPlan};
pub use train::{Ended, TrainError, Watch, train};
