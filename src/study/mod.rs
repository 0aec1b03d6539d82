//! Studies: which trials a spec means, what identifies them, and the workers that train them.

pub mod again;
mod check;
pub mod compiled;
pub mod configuration;
pub mod configurations;
pub mod differences;
pub mod explain;
mod held;
pub mod identity;
pub mod job;
mod manifest;
mod measured;
pub mod memory;
pub mod options;
pub mod plan;
pub mod predict;
pub mod replay;
pub mod resume;
pub mod rule;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod train;
pub mod watch;
pub mod weights;

pub use configuration::Configuration;
pub use configurations::ConfigurationPlan;
pub use measured::Measured;
pub use options::{Options, Refused, StudyError};
pub use plan::{Plan, TrialPlan};
pub use run::{End, Ran, Study};
pub use runs::Executor;
pub use schedule::Schedule;
pub use train::{TrainError, train};
pub use watch::{Event, Unwatched, Watch};
