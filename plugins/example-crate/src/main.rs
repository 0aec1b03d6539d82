//! `runner` with the components of this crate.

fn main() -> std::process::ExitCode {
    runner::cli::run(&[example_crate::CRATE]).into()
}
