//! Everything that changes a result → one hash. In two steps, so that faces that were found once can be scored again:
//! what finds and cuts them out is hashed on its own, and the scorers are hashed with it.

use sha2::{Digest, Sha256};

use crate::media::sample::Sampling;
use crate::media::still::Damage;
use crate::networks::mtcnn::{MtcnnSettings, WEIGHTS};
use crate::networks::preprocess::PREPROCESS_VERSION;
use crate::networks::weights::hexadecimal;
use crate::pipeline::video::VIDEO_VERSION;
use crate::scorers::ScorerSet;

/// Both hashes of a run, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Of what decides which faces there are: the detector's weights and settings, sampling, versions of decoding.
    pub detection: String,
    /// Of that and the scorers.
    pub whole: String,
}

impl Fingerprint {
    #[must_use]
    pub fn new(
        detector: &MtcnnSettings,
        sampling: Sampling,
        animated: bool,
        damage: Damage,
        scorers: &ScorerSet,
    ) -> Self {
        Self::of(&detection(detector, sampling, animated, damage), scorers)
    }

    /// What a run has with these scorers whose detections have the hash `detection`.
    #[must_use]
    pub fn of(detection: &str, scorers: &ScorerSet) -> Self {
        let mut digests: Vec<&str> = scorers.scorers().iter().map(|scorer| scorer.digest.as_str()).collect();
        digests.sort_unstable(); // whichever was named first
        let digests = if digests.is_empty() { "none".to_owned() } else { digests.join(" ") };
        let whole = Sha256::digest(format!("detection={detection}\nscorer={digests}"));
        Self { detection: detection.to_owned(), whole: hexadecimal(&whole) }
    }
}

fn detection(detector: &MtcnnSettings, sampling: Sampling, animated: bool, damage: Damage) -> String {
    let mut hasher = Sha256::new();
    for (name, bytes) in WEIGHTS {
        hasher.update(name.as_bytes());
        hasher.update(Sha256::digest(bytes));
    }
    let MtcnnSettings { min_face_px, thresholds, pyramid_factor } = detector;
    hasher.update(format!(
        "mtcnn min_face_px={min_face_px} thresholds={thresholds:?} factor={pyramid_factor}\n\
         preprocess={PREPROCESS_VERSION}\nvideo={VIDEO_VERSION} sampling={sampling} animated={animated}"
    ));
    // Only where it is set, so that runs without it keep their hash.
    if damage == Damage::Salvaged {
        hasher.update(" salvage=true");
    }
    hexadecimal(&hasher.finalize())
}
