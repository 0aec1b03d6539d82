//! `runner report`: plots and page again, from a result folder alone.

use super::results::{Ended, ended};
use super::{AGAIN, Exit, complain, fail, out_of_order, print};
use crate::report::{self, ReportError};
use crate::store::{StoreError, lock, manifest_of};
use clap::Args;
use std::path::{Path, PathBuf};

/// Options of `runner report`.
#[derive(Args)]
pub struct ReportArgs {
    /// A result folder
    dir: PathBuf,
}

/// Makes plots and page of a folder again.
pub fn report(args: &ReportArgs) -> Exit {
    let running = running(&args.dir);
    match (report::write(&args.dir), running) {
        (Ok(written), running) => {
            if let Some(running) = running {
                complain(&format!("note: {running}; the page has those of them that are in tables already\n"));
            }
            print(&format!("{}\n", written.page.display()));
            Exit::Fine
        }
        (Err(ReportError::Unfinished(_)), Some(running)) => {
            let help = "`runner results` says how far it is; the run itself makes the page when it ends";
            fail(format!("{running}; it has no tables yet"), Some(help), Exit::Request)
        }
        (Err(error), _) => {
            let help = match &error {
                ReportError::Unfinished(_) => "the command that made the folder goes on where it was stopped",
                ReportError::Store(error) | ReportError::CutShort(error) if let Some(exit) = out_of_order(error) => {
                    return exit;
                }
                ReportError::CutShort(_) => {
                    return fail(error, Some("the same command makes all of it again"), Exit::Storage);
                }
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

/// How far a study is that another process runs now.
fn running(dir: &Path) -> Option<String> {
    let holder = lock::holder(dir)?;
    let manifest = manifest_of(dir).ok()?;
    let Ended { completed, failed } = ended(dir, &manifest).ok()?;
    let n = completed + failed;
    Some(format!("{} is running ({holder}): {n} of {} trials have ended", dir.display(), manifest.planned))
}
