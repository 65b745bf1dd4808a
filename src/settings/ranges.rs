//! Values that are refused, and what is said of them.

use std::fmt::Display;

pub(crate) fn in_range<T: PartialOrd + Display>(name: &str, value: T, min: T, max: T) -> Result<(), String> {
    if value >= min && value <= max { Ok(()) } else { Err(format!("{name}: expected {min} to {max}, found {value}")) }
}

/// For what has no largest value that means anything.
pub(crate) fn at_least<T: PartialOrd + Display>(name: &str, value: T, min: T) -> Result<(), String> {
    if value >= min { Ok(()) } else { Err(format!("{name}: expected at least {min}, found {value}")) }
}

/// A run's name is a part of keys, of paths and of Hive partitions.
pub(crate) fn check_run_id(run_id: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if run_id.is_empty() || run_id.len() > 128 || !run_id.chars().all(allowed) || run_id.starts_with('.') {
        return Err(format!(
            "run_id: expected up to 128 letters, digits, '-', '_', ':' or '.', not starting with '.', found {run_id:?}"
        ));
    }
    Ok(())
}
