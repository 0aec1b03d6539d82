//! A study run from a program of one's own: `cargo run --release --example embed [FILE]`.

use runner::study::{Options, Study, Unwatched};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "experiments/sqrt.toml".into());
    let study = Study::new(Path::new(&file), Options::default(), &[])?;
    let ran = study.run(&Unwatched, &AtomicBool::new(false))?;
    let trials = ran.tables()?.trials;
    let losses = trials.frame().column("loss")?.f64()?;
    for (row, loss) in ran.rows.iter().zip(losses.iter()) {
        println!("seed {}: loss {loss:?} after {} iterations", row.seed, row.iterations);
    }
    Ok(())
}
