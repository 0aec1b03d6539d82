//! The binary: the command line with the built-in components.

fn main() -> std::process::ExitCode {
    runner::cli::run(&[]).into()
}
