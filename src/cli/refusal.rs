//! Why a run refuses a folder, and what is to be done.

use super::{Exit, fail, out_of_order};
use crate::store::StoreError;

/// Differences that are listed.
const DIFFERENCES: usize = 6;

/// Refuses a folder that cannot be written to, or holds something else; `differences` say in what that is something
/// else.
pub fn refuse_folder(error: &StoreError, differences: &[String]) -> Exit {
    if let Some(exit) = out_of_order(error) {
        return exit;
    }
    let help = match error {
        StoreError::OtherExperiment(_) => {
            Some("`--out DIR` keeps both; `--fresh` deletes what is there and begins anew")
        }
        StoreError::Unnamed(_) => Some("put manifest.json back, or `--out DIR` names another folder"),
        StoreError::Foreign(_) => Some("`--out DIR` names another folder"),
        StoreError::Outside { .. } | StoreError::NotOurs { .. } => {
            Some("remove it, or `--out DIR` names another folder; nothing was changed")
        }
        StoreError::InUse { .. } => Some("wait for it to end, or use `--out DIR`"),
        StoreError::Io { .. } => Some("`--out DIR` names a folder that can be written"),
        StoreError::Table { .. } | StoreError::Column { .. } => {
            Some("remove the file, and the same command makes it again; or `--out DIR` names another folder")
        }
        StoreError::Manifest { .. } | StoreError::Lost { .. } | StoreError::NoResults(_) => {
            Some("`--out DIR` names another folder; `--fresh` needs a manifest that can be read")
        }
    };
    let more = differences.len().saturating_sub(DIFFERENCES);
    let rest = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let lines: String = differences.iter().take(DIFFERENCES).map(|line| format!("\n  {line}")).collect();
    fail(format!("{error}{lines}{rest}"), help, Exit::Request)
}
