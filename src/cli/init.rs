//! `runner init`: a first experiment, the gallery and a plugin template in a folder, from the binary alone.

use super::{Exit, fail, out_of_order, print};
use crate::store::StoreError;
use crate::store::files::{check_inside, create_folder, holds, remove, replace_tidily};
use clap::Args;
use std::path::{Path, PathBuf};

/// Options of `runner init`.
#[derive(Args)]
pub struct InitArgs {
    /// The folder; it is created if it is not there
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// What is written, by path in the folder.
const FILES: [(&str, &str); 18] = [
    ("README.md", include_str!("init/README.md")),
    ("first.toml", include_str!("init/first.toml")),
    ("table.toml", include_str!("init/table.toml")),
    ("plugins/my_neuron.toml", include_str!("../../plugins/template/my_neuron.toml")),
    ("gallery/sqrt.toml", include_str!("../../experiments/sqrt.toml")),
    ("gallery/linear.toml", include_str!("../../experiments/linear.toml")),
    ("gallery/sqrt_sweep.toml", include_str!("../../experiments/sqrt_sweep.toml")),
    ("gallery/sqrt_rates.toml", include_str!("../../experiments/sqrt_rates.toml")),
    ("gallery/sqrt_until.toml", include_str!("../../experiments/sqrt_until.toml")),
    ("gallery/sqrt_race.toml", include_str!("../../experiments/sqrt_race.toml")),
    ("gallery/sqrt_torch.toml", include_str!("../../experiments/sqrt_torch.toml")),
    ("gallery/linear_torch.toml", include_str!("../../experiments/linear_torch.toml")),
    ("gallery/diabetes.toml", include_str!("../../experiments/diabetes.toml")),
    ("gallery/sunspots.toml", include_str!("../../experiments/sunspots.toml")),
    ("gallery/sunspots_origins.toml", include_str!("../../experiments/sunspots_origins.toml")),
    ("gallery/data/README.md", include_str!("../../experiments/data/README.md")),
    ("gallery/data/diabetes.csv", include_str!("../../experiments/data/diabetes.csv")),
    ("gallery/data/sunspots_monthly.csv", include_str!("../../experiments/data/sunspots_monthly.csv")),
];

/// Folders of these, by path in the folder.
const FOLDERS: [&str; 3] = ["plugins", "gallery", "gallery/data"];

/// Writes the files; if something else is in the place of any of them, or they would lie elsewhere, none is written.
pub fn init(args: &InitArgs) -> Exit {
    let is_there = |name: &str| args.dir.join(name).symlink_metadata().is_ok();
    if let Some((name, _)) =
        FILES.iter().find(|(name, text)| is_there(name) && !holds(&args.dir.join(name), text.as_bytes()))
    {
        let text = format!("{} is there already; nothing was written", args.dir.join(name).display());
        return fail(text, Some("`runner init DIR` takes a new folder"), Exit::Request);
    }
    if let Err(error) = FOLDERS.iter().try_for_each(|name| check_inside(&args.dir, name)) {
        return fail(error, Some("`runner init DIR` takes a new folder; nothing was written"), Exit::Request);
    }
    let missing: Vec<&(&str, &str)> = FILES.iter().filter(|(name, _)| !is_there(name)).collect();
    if let Err(error) = write(&args.dir, &missing) {
        // A second try finds the place as the first one did.
        missing.iter().for_each(|(name, _)| drop(remove(&args.dir.join(name))));
        let help = "`runner init DIR` takes a folder that can be written; nothing was left in it";
        return out_of_order(&error).unwrap_or_else(|| fail(error, Some(help), Exit::Request));
    }
    FILES.iter().for_each(|(name, _)| print(&format!("{}\n", args.dir.join(name).display())));
    let place = if args.dir == Path::new(".") { String::new() } else { format!("cd {} && ", args.dir.display()) };
    print(&format!("{} files in {}\n\nnext: {place}runner first.toml\n", FILES.len(), args.dir.display()));
    Exit::Fine
}

fn write(dir: &Path, files: &[&(&str, &str)]) -> Result<(), StoreError> {
    create_folder(dir)?;
    FOLDERS.iter().try_for_each(|name| create_folder(&dir.join(name)))?;
    files.iter().try_for_each(|(name, text)| replace_tidily(&dir.join(name), text.as_bytes()))
}
