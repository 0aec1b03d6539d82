//! `runner report`: plots and page again, from a result folder alone.

use super::{AGAIN, Exit, fail, print};
use crate::report::{self, ReportError};
use crate::store::StoreError;
use clap::Args;
use std::path::PathBuf;

/// Options of `runner report`.
#[derive(Args)]
pub struct ReportArgs {
    /// A result folder
    dir: PathBuf,
}

/// Makes plots and page of a folder again.
pub fn report(args: &ReportArgs) -> Exit {
    match report::write(&args.dir) {
        Ok(written) => {
            print(&format!("{}\n", written.page.display()));
            Exit::Fine
        }
        Err(error) => {
            let help = match &error {
                ReportError::Unfinished(_) => "the command that made the folder goes on where it was stopped",
                ReportError::Store(StoreError::Lost { .. }) => return fail(error, None, Exit::Request),
                ReportError::Store(StoreError::Table { .. }) => AGAIN,
                ReportError::Store(_) | ReportError::Plot { .. } | ReportError::Page(_) => {
                    "`runner report` takes a folder that `runner FILE` made"
                }
            };
            fail(error, Some(help), Exit::Request)
        }
    }
}
