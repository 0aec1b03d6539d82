//! Training: losses, metrics, optimizers, the draws of a trial, the machines that compute, and the loop.

pub mod draws;
pub mod loss;
pub mod machine;
pub mod metric;
pub mod optimizer;
pub mod rate;
pub mod rivals;
pub mod selection;
pub mod trial;
pub mod watch;

pub use loss::Loss;
pub use metric::Metric;
pub use optimizer::Optimizer;
pub use trial::{Outcome, Progress, Trial, TrialError};
