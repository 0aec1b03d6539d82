//! `runner report`: plots and page again, from a result folder alone.

use super::{Exit, fail, print};
use crate::report;
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
        Err(error) => fail(error, Some("`runner report` takes a folder that `runner FILE` made"), Exit::Request),
    }
}
