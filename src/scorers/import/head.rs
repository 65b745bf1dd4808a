//! A linear head: found among the tensors of a checkpoint, written as `weight` and `bias`.

use std::fmt::Write;
use std::path::Path;

use super::write::{self, Prepared};
use super::{as_prefix, listed};
use crate::error::Error;
use crate::models::args::ImportArgs;
use crate::networks::weights::Weights;

/// Where a head stands, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// What stands before `weight` and `bias`.
    pub(super) prefix: String,
    /// 1 or 2.
    pub(super) classes: usize,
    pub(super) width: usize,
}

pub(super) fn import(args: &ImportArgs, weights: &Weights) -> Result<String, Error> {
    let found = choose(weights, args.key.as_deref(), "--key")
        .map_err(|what| Error::Usage(format!("checkpoint {:?}: {what}", args.file.display().to_string())))?;
    let written = write::publish(vec![prepare(weights, &found, &args.out, args.force)?], args.force)?;
    let mut report: String = written.iter().map(write::Written::table).collect();
    let _ = write!(report, "{}\n\nNext, in the scorer.toml beside it:\n\n{}", found.meaning(), lines(&args.out));
    Ok(report)
}

/// The head's file, not yet in its place.
pub(super) fn prepare(weights: &Weights, found: &Found, path: &Path, force: bool) -> Result<Prepared, Error> {
    let parts = ["weight", "bias"].map(|part| (part.to_owned(), format!("{}{part}", found.prefix)));
    write::prepare_tensors(path, weights, &parts, force)
}

/// The head that the key names, or the only one there is.
///
/// # Errors
/// One line: none, several, or none there.
pub(super) fn choose(weights: &Weights, key: Option<&str>, flag: &str) -> Result<Found, String> {
    let mut heads = candidates(weights);
    let Some(key) = key else {
        return match heads.len() {
            1 => Ok(heads.remove(0)),
            0 => Err(format!(
                "expected a head (a tensor weight or NAME.weight of shape [1, width] or [2, width], and its bias), \
                 found matrices {}; a tower is imported into a folder: --out FOLDER",
                listed(weights.shapes().filter(|(_, shape)| shape.len() == 2))
            )),
            _ => Err(format!("expected one head, or {flag} to say which, found {}", listed_heads(&heads))),
        };
    };
    let prefix = as_prefix(key);
    heads.iter().find(|found| found.prefix == prefix).cloned().ok_or_else(|| {
        format!(
            "{flag} {key:?}: expected tensors {prefix}weight of shape [1, width] or [2, width] and {prefix}bias, found \
             there {}; heads in this file: {}",
            listed(weights.shapes().filter(|(name, _)| name.starts_with(&prefix))),
            listed_heads(&heads)
        )
    })
}

/// Every matrix of one or two rows that has its bias: nothing else in a checkpoint of CLIP looks like it.
pub(super) fn candidates(weights: &Weights) -> Vec<Found> {
    let matrices = weights.shapes().filter_map(|(name, shape)| match shape {
        &[classes @ 1..=2, width] if width > 0 => Some((name.strip_suffix("weight")?, classes, width)),
        _ => None,
    });
    matrices
        .filter(|(prefix, ..)| prefix.is_empty() || prefix.ends_with('.'))
        .filter(|(prefix, classes, _)| {
            let bias = format!("{prefix}bias");
            weights.shapes().any(|(name, shape)| name == bias && shape == [*classes])
        })
        .map(|(prefix, classes, width)| Found { prefix: prefix.to_owned(), classes, width })
        .collect()
}

fn listed_heads(heads: &[Found]) -> String {
    let keys: Vec<String> = heads
        .iter()
        .map(|head| format!("{:?} [{}, {}]", head.prefix.trim_end_matches('.'), head.classes, head.width))
        .collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
}

impl Found {
    /// Whether a tensor is one of its two.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(name.strip_prefix(&self.prefix), Some("weight" | "bias"))
    }

    /// What the numbers will be taken for, so that a wrong head shows before it scores.
    pub(super) fn meaning(&self) -> String {
        let rows = match self.classes {
            1 => "one row: score = sigmoid(w · x + b)",
            _ => "two rows: score = softmax(W · x + b), the first row real, the second fake",
        };
        let from = match self.width {
            512 => ", as the projected output of B/32 and B/16 is",
            768 => ", as the projected output of L/14 is, and the pooled output of B/32 and B/16",
            1024 => ", as the pooled output of L/14 is",
            _ => "",
        };
        format!("{rows}; x is {} numbers wide{from}", self.width)
    }
}

/// `[head]` of a scorer.toml.
pub(super) fn lines(path: &Path) -> String {
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!("[head]\nkind = \"linear\"\nfile = {}\n", toml::Value::String(file))
}
