//! `deepsweep models import`: a checkpoint as someone published it → files that a scorer folder can name.
//!
//! In: safetensors, or what `torch.save` wrote; a head, a tower, or a few tensors that replace a tower's. Out:
//! safetensors by the names that scorers read, `config.json` where a tower is whole, and a report with the lines to put
//! into scorer.toml. Numbers go over bit by bit. Never: runs what a file carries, replaces a file unasked, or leaves
//! half a file behind.

mod config;
mod head;
mod overlay;
mod tower;
mod write;

use candle_core::Device;

use crate::error::Error;
use crate::models::args::ImportArgs;
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// Writes what was asked for, and returns what a person is told about it.
///
/// # Errors
/// A file that is missing, is no checkpoint, or does not hold what was asked for; outputs that exist.
pub fn import(args: &ImportArgs) -> Result<String, Error> {
    let file = args.file.display().to_string();
    if !args.file.exists() {
        return Err(Error::Input(format!("checkpoint {file:?}: expected a file or a folder, found none")));
    }
    let is_head = args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    if !is_head && args.out.is_file() {
        return Err(Error::Usage(format!(
            "--out: expected NAME.safetensors (a head) or a folder (a tower), found the file {:?}",
            args.out.display().to_string()
        )));
    }
    args.check(is_head)?;
    let weights = Weights::open(&args.file, &Device::Cpu).map_err(usage)?;
    match &args.base {
        None if is_head => head::import(args, &weights),
        None => tower::import(args, weights),
        Some(base) => overlay::import(args, base, weights),
    }
}

impl ImportArgs {
    /// Flags that mean nothing for what is imported are refused: they were meant to do something.
    fn check(&self, is_head: bool) -> Result<(), Error> {
        let refused = |flag: &str, why: &str| Err(Error::Usage(format!("{flag}: expected {why}")));
        match (is_head, &self.base) {
            (true, Some(_)) => {
                refused("--base", "a folder as --out, found a file: an overlay and its head are two files")
            }
            (true, None) if self.activation.is_some() => refused("--activation", "a folder as --out: a head has none"),
            (true, None) if self.heads.is_some() => refused("--heads", "a folder as --out: these are the tower's"),
            (_, Some(_)) if self.activation.is_some() || self.heads.is_some() => {
                refused("--activation, --heads", "none with --base, whose config.json says both")
            }
            (_, None) if self.head_key.is_some() => refused("--head-key", "--base beside it; for a head alone: --key"),
            _ => Ok(()),
        }
    }
}

fn usage(error: NetworkError) -> Error {
    Error::Usage(error.to_string())
}

/// `fc` and `fc.` name the same tensors, `fc.weight` and `fc.bias`; an empty text those without anything before them.
fn as_prefix(key: &str) -> String {
    let key = key.trim_end_matches('.');
    if key.is_empty() { String::new() } else { format!("{key}.") }
}

/// `a [1, 2], b [2]` and how many more.
fn listed<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> String {
    const SHOWN: usize = 6;
    let all: Vec<String> = tensors.map(|(name, shape)| format!("{name} {shape:?}")).collect();
    match all.len() {
        0 => "none".to_owned(),
        count if count <= SHOWN => all.join(", "),
        count => format!("{} and {} more", all[..SHOWN].join(", "), count - SHOWN),
    }
}
