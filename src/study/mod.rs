//! Studies: which trials a spec means, what identifies them, and the workers that train them.

mod check;
pub mod compiled;
pub mod configuration;
pub mod explain;
pub mod identity;
pub mod job;
pub mod plan;
pub mod predict;
pub mod pruner;
pub mod replay;
pub mod resume;
pub mod rule;
pub mod sampler;
pub mod schedule;
pub mod train;
pub mod weights;

pub use configuration::{Configuration, ConfigurationPlan};
pub use plan::{Executor, Measured, Plan, TrialPlan};
pub use schedule::Schedule;
pub use train::{TrainError, Watch, train};
