//! What a run looks with: a device, the detector, the scorers; and the fingerprint that they have together.

use std::sync::Arc;

use candle_core::Device;

use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::networks::mtcnn::{Mtcnn, MtcnnSettings};
use crate::pipeline::compute::Compute;
use crate::progress::Display;
use crate::scorers::registry::Registry;
use crate::scorers::{OpenStore, Opening, ScorerSet};
use crate::settings::Settings;

#[derive(Debug)]
pub struct Instruments {
    pub device: Device,
    /// `cpu`, `cuda:0` …
    pub device_name: String,
    pub detector: Arc<Mtcnn>,
    pub detector_settings: MtcnnSettings,
    pub scorers: Arc<ScorerSet>,
    pub fingerprint: Fingerprint,
}

impl Instruments {
    /// Opens everything, and pulls scorers that are not here.
    ///
    /// # Errors
    /// A device that is not there, a scorer that cannot be had, weights that are damaged.
    pub async fn open(
        settings: &Settings,
        store: OpenStore<'_>,
        compute: &Compute,
        display: &Display,
    ) -> Result<Self, Error> {
        let (device, device_name) = settings.device.open()?;
        let registry = Registry::open(settings.registry.as_deref())?;
        let (accept_licence, pool) = (settings.accept_licence, Some(compute.pool()));
        let opening = Opening { registry: &registry, store, accept_licence, device: &device, pool, display };
        let scorers = Arc::new(opening.open(&settings.scorers).await?);
        let detector = Mtcnn::new(&device).map_err(|e| Error::Input(format!("detector mtcnn: {e}")))?;
        let detector_settings = MtcnnSettings { min_face_px: settings.min_face_px, ..MtcnnSettings::default() };
        let fingerprint =
            Fingerprint::new(&detector_settings, settings.sampling, settings.animated, settings.damage, &scorers);
        for scorer in scorers.scorers() {
            tracing::info!(scorer = scorer.id, licence = scorer.licence, source = scorer.source, "scores by");
        }
        for warning in scorers.scorers().iter().filter_map(|scorer| scorer.warning) {
            tracing::warn!("{warning}");
        }
        Ok(Self { device, device_name, detector: Arc::new(detector), detector_settings, scorers, fingerprint })
    }

    /// What scorers want said with their scores.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        self.scorers.scorers().iter().filter_map(|scorer| scorer.warning).collect()
    }
}
