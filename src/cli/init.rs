//! `runner init`: a first experiment, the gallery and a plugin template in a folder, from the binary alone.

use super::{Exit, fail, print};
use crate::store::replace;
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
const FILES: [(&str, &str); 17] = [
    ("README.md", include_str!("init/README.md")),
    ("first.toml", include_str!("init/first.toml")),
    ("table.toml", include_str!("init/table.toml")),
    ("plugins/my_neuron.toml", include_str!("../../plugins/template/my_neuron.toml")),
    ("gallery/sqrt.toml", include_str!("../../experiments/sqrt.toml")),
    ("gallery/linear.toml", include_str!("../../experiments/linear.toml")),
    ("gallery/sqrt_sweep.toml", include_str!("../../experiments/sqrt_sweep.toml")),
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

/// Writes the files; if any of them is there already, none is written.
pub fn init(args: &InitArgs) -> Exit {
    if let Some((name, _)) = FILES.iter().find(|(name, _)| args.dir.join(name).exists()) {
        let text = format!("{} is there already; nothing was written", args.dir.join(name).display());
        return fail(text, Some("`runner init DIR` takes a new folder"), Exit::Request);
    }
    for (name, text) in FILES {
        let path = args.dir.join(name);
        let folder = path.parent().unwrap_or(Path::new(""));
        if let Err(error) = std::fs::create_dir_all(folder) {
            return fail(format!("{}: {error}", folder.display()), None, Exit::Request);
        }
        if let Err(error) = replace(&path, text.as_bytes()) {
            return fail(error, None, Exit::Request);
        }
    }
    let place = if args.dir == Path::new(".") { String::new() } else { format!("cd {} && ", args.dir.display()) };
    print(&format!("{} files in {}\n\nnext: {place}runner first.toml\n", FILES.len(), args.dir.display()));
    Exit::Fine
}
