//! Studies: which trials a spec means, what identifies them, and the workers that train them.

pub mod again;
mod check;
pub mod compiled;
pub mod configuration;
pub mod differences;
pub mod explain;
pub mod identity;
pub mod job;
pub mod memory;
pub mod plan;
pub mod predict;
pub mod pruner;
pub mod replay;
pub mod resume;
pub mod rule;
pub mod runs;
pub mod sampler;
pub mod schedule;
pub mod train;
pub mod weights;

pub use configuration::{Configuration, ConfigurationPlan};
pub use plan::{Measured, Plan, TrialPlan};
pub use runs::Executor;
pub use schedule::Schedule;
pub use train::{TrainError, Watch, train};
