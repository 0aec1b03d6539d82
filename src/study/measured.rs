//! The columns of results of a study.

use crate::data::split::Part;

/// A column of results beside the loss: a metric, or with a split the loss or a metric of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The part that it is measured on, where there are several.
    pub part: Option<Part>,
    /// The metric; none for the loss.
    pub metric: Option<String>,
}

impl Measured {
    /// Its name in tables.
    pub fn name(&self) -> String {
        let what = self.metric.as_deref().unwrap_or("loss");
        self.part.map_or(what.into(), |part| format!("{}.{what}", part.as_str()))
    }
}
