//! `NAME+bf16`: a scorer whose tower multiplies in bfloat16. Its numbers are others, so it is another scorer: rows, tower
//! and fingerprint say so, and embeddings of the one are never taken for those of the other.

use sha2::{Digest, Sha256};

use super::ScorerChoice;
use super::set::Opened;
use crate::networks::clip::Precision;
use crate::networks::weights::hexadecimal;

/// Behind a scorer's name or folder.
pub const BF16_ENDING: &str = "+bf16";

/// A choice without its ending, and what that says.
#[must_use]
pub fn of(choice: &ScorerChoice) -> (ScorerChoice, Precision) {
    let ScorerChoice::Named(name) = choice else { return (choice.clone(), Precision::F32) };
    match name.strip_suffix(BF16_ENDING).map(str::parse) {
        Some(Ok(choice)) => (choice, Precision::Bf16),
        _ => (choice.clone(), Precision::F32),
    }
}

impl Opened {
    pub(super) fn with_precision(mut self, precision: Precision) -> Self {
        if precision == Precision::Bf16 {
            let Self { scorer, tower } = &mut self;
            let (name, version) = scorer.id.rsplit_once('@').unwrap_or((&scorer.id, ""));
            scorer.id = format!("{name}{BF16_ENDING}@{version}");
            scorer.digest = hexadecimal(&Sha256::digest(format!("{} bf16", scorer.digest)));
            tower.id += BF16_ENDING;
            (scorer.precision, tower.precision) = (precision, precision);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_is_taken_off_and_says_the_precision() {
        for (text, choice, precision) in [
            ("clip-b32", ScorerChoice::Named("clip-b32".to_owned()), Precision::F32),
            ("clip-b32+bf16", ScorerChoice::Named("clip-b32".to_owned()), Precision::Bf16),
            ("./probe+bf16", ScorerChoice::Named("./probe".to_owned()), Precision::Bf16),
            ("untrained-demo+bf16", ScorerChoice::UntrainedDemo, Precision::Bf16),
            ("bf16", ScorerChoice::Named("bf16".to_owned()), Precision::F32),
            ("+bf16", ScorerChoice::Named("+bf16".to_owned()), Precision::F32),
        ] {
            assert_eq!(of(&text.parse().unwrap()), (choice, precision), "{text}");
        }
    }
}
