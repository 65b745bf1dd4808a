//! What a licence lets one do, as far as its name tells.

/// Whether the name of a licence says that money may not be made: such weights are taken only by those who say that
/// they have read it. SPDX names carry `NC`; authors also write it out.
#[must_use]
pub fn is_non_commercial(licence: &str) -> bool {
    let lower = licence.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    has(&["nc", "noncommercial"])
        || has(&["commercial"]) && has(&["non", "no", "not", "without", "prohibited", "forbidden"])
        || has(&["research", "academic", "evaluation"]) && has(&["only", "purposes"])
}

#[cfg(test)]
mod tests {
    use super::is_non_commercial;

    #[test]
    fn licences_that_forbid_commerce_are_known_by_their_names() {
        for licence in [
            "CC-BY-NC-4.0",
            "cc by nc sa 4.0",
            "Non-Commercial use",
            "for research only",
            "NonCommercial",
            "research purposes",
            "Commercial use prohibited",
            "no commercial use",
            "Research use only",
        ] {
            assert!(is_non_commercial(licence), "{licence}");
        }
        for licence in [
            "MIT",
            "Apache-2.0",
            "CC-BY-4.0",
            "BSD-3-Clause",
            "once",
            "none needed: random numbers",
            "Academic Free License v3.0",
        ] {
            assert!(!is_non_commercial(licence), "{licence}");
        }
    }
}
