//! How the page says numbers.

/// Trials that are listed at most.
pub const LISTED: usize = 100;

/// Three digits.
pub fn figure(x: f64) -> String {
    if x.is_nan() {
        return "not defined".into();
    }
    let size = x.abs();
    if size != 0.0 && !(1e-3..1e4).contains(&size) {
        return format!("{x:.2e}");
    }
    let digits = if size == 0.0 { 0 } else { (2 - size.log10().floor() as i32).max(0) as usize };
    format!("{x:.digits$}")
}
