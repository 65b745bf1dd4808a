//! `NAME+bf16`: a scorer whose tower multiplies in bfloat16. Its numbers are others, so it is another scorer: rows, tower
//! and fingerprint say so, and embeddings of the one are never taken for those of the other.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::ScorerChoice;
use super::set::Opened;
use crate::networks::clip::Precision;
use crate::networks::weights::hexadecimal;

/// Behind a scorer's name or folder. A folder whose own name ends so is named with a slash behind it.
pub const BF16_ENDING: &str = "+bf16";

/// A choice without its ending, and what that says.
#[must_use]
pub fn of(choice: &ScorerChoice) -> (ScorerChoice, Precision) {
    let ScorerChoice::Named(name) = choice else { return (choice.clone(), Precision::F32) };
    match bare(name) {
        same if same == name => (choice.clone(), Precision::F32),
        bare => (bare.parse().unwrap_or_else(|_| choice.clone()), Precision::Bf16),
    }
}

/// What a scorer's name or folder is without the ending.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.strip_suffix(BF16_ENDING).filter(|bare| !bare.is_empty()).unwrap_or(name)
}

/// What names the scorer in `folder` in this precision, and no other: neither one of the registry nor another folder.
#[must_use]
pub fn named(folder: &Path, precision: Precision) -> String {
    let shown = folder.display().to_string();
    let place = if shown.contains('/') { shown } else { format!("./{shown}") };
    match precision {
        Precision::Bf16 => place + BF16_ENDING,
        Precision::F32 if place.ends_with(BF16_ENDING) => place + "/",
        Precision::F32 => place,
    }
}

/// The id of a scorer in this precision.
#[must_use]
pub fn id(id: &str, precision: Precision) -> String {
    match (precision, id.rsplit_once('@')) {
        (Precision::F32, _) => id.to_owned(),
        (Precision::Bf16, Some((name, version))) => format!("{name}{BF16_ENDING}@{version}"),
        (Precision::Bf16, None) => format!("{id}{BF16_ENDING}"),
    }
}

/// What stands in the way of this precision, for a message.
#[must_use]
pub fn obstacle(precision: Precision, on_cpu: bool) -> Option<&'static str> {
    match precision {
        Precision::F32 => None,
        Precision::Bf16 if !on_cpu => Some("bfloat16 needs --device cpu, found another device"),
        Precision::Bf16 if !precision.is_here() => Some("no AVX512-BF16 in this CPU"),
        Precision::Bf16 => None,
    }
}

impl Opened {
    pub(super) fn with_precision(mut self, precision: Precision) -> Self {
        if precision == Precision::Bf16 {
            let Self { scorer, tower } = &mut self;
            scorer.id = id(&scorer.id, precision);
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
    fn the_ending_is_taken_off_and_put_on_and_says_the_precision() {
        for (text, choice, precision) in [
            ("clip-b32", ScorerChoice::Named("clip-b32".to_owned()), Precision::F32),
            ("clip-b32+bf16", ScorerChoice::Named("clip-b32".to_owned()), Precision::Bf16),
            ("./probe+bf16", ScorerChoice::Named("./probe".to_owned()), Precision::Bf16),
            ("untrained-demo+bf16", ScorerChoice::UntrainedDemo, Precision::Bf16),
            ("bf16", ScorerChoice::Named("bf16".to_owned()), Precision::F32),
            ("+bf16", ScorerChoice::Named("+bf16".to_owned()), Precision::F32),
            ("./odd+bf16/", ScorerChoice::Named("./odd+bf16/".to_owned()), Precision::F32),
        ] {
            assert_eq!(of(&text.parse().unwrap()), (choice, precision), "{text}");
        }
        for (folder, precision, expected, place) in [
            ("my/probe", Precision::F32, "my/probe", "my/probe"),
            ("my/probe", Precision::Bf16, "my/probe+bf16", "my/probe"),
            ("univfd", Precision::F32, "./univfd", "./univfd"),
            ("none", Precision::Bf16, "./none+bf16", "./none"),
            ("odd+bf16", Precision::F32, "./odd+bf16/", "./odd+bf16/"),
            ("odd+bf16", Precision::Bf16, "./odd+bf16+bf16", "./odd+bf16"),
        ] {
            let named = named(Path::new(folder), precision);
            assert_eq!(named, expected);
            assert_eq!(of(&named.parse().unwrap()), (ScorerChoice::Named(place.to_owned()), precision));
        }
        assert_eq!(id("probe@1-cal-0", Precision::Bf16), "probe+bf16@1-cal-0");
        assert!(obstacle(Precision::Bf16, false).is_some() && obstacle(Precision::F32, false).is_none());
        assert!("none+bf16".parse::<ScorerChoice>().unwrap_err().contains("no tower"));
    }
}
