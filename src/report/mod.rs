//! stub
use std::path::{Path, PathBuf};
pub struct Written { pub page: PathBuf, pub files: Vec<String> }
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ReportError;
pub fn write(dir: &Path) -> Result<Written, ReportError> { Ok(Written { page: dir.join("report.html"), files: vec![] }) }
