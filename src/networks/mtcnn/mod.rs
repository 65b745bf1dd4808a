//! MTCNN: a picture in, faces with five landmarks out.
//!
//! Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
//! Networks" (arXiv 1604.02878). Numbers, thresholds and box conventions follow facenet-pytorch 2.6.0,
//! whose weights these are; `tests/golden/mtcnn.py` holds us to its results.
//!
//! ```text
//! picture ─▶ pyramid ─▶ P-Net on every level ─▶ boxes ─▶ R-Net on 24×24 crops ─▶ boxes ─▶ O-Net on 48×48 crops ─▶ faces
//! ```

mod boxes;
mod layers;
mod onet;
mod pnet;
mod pyramid;
mod rnet;

use candle_core::Device;
use image::RgbImage;

use self::boxes::{Candidate, Overlap};
use self::onet::ONet;
use self::pnet::PNet;
use self::rnet::RNet;
use super::NetworkError;
use super::weights::Weights;

pub use self::boxes::FaceBox;
pub use self::pyramid::area_resize;

/// The three networks as they are compiled into the program.
pub const WEIGHTS: [(&str, &[u8]); 3] = [
    ("pnet.safetensors", include_bytes!("../../../models/mtcnn/pnet.safetensors")),
    ("rnet.safetensors", include_bytes!("../../../models/mtcnn/rnet.safetensors")),
    ("onet.safetensors", include_bytes!("../../../models/mtcnn/onet.safetensors")),
];

/// What a caller may choose. The defaults are the reference's, but for the smallest face.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MtcnnSettings {
    /// The shorter side of the smallest face that is looked for, in pixels of the frame.
    pub min_face_px: f32,
    /// Confidence that a box must reach in P-Net and exceed in R-Net and O-Net.
    pub thresholds: [f32; 3],
    /// From one level of the pyramid to the next.
    pub pyramid_factor: f64,
}

impl Default for MtcnnSettings {
    fn default() -> Self {
        Self { min_face_px: 40.0, thresholds: [0.6, 0.7, 0.7], pyramid_factor: 0.709 }
    }
}

/// One face, in pixels of the picture: x to the right, y down, (0, 0) at the top left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// May reach beyond the picture, as the reference's do.
    pub bounds: FaceBox,
    /// O-Net's probability, in (threshold, 1].
    pub confidence: f32,
    /// Left eye, right eye, nose, left and right corner of the mouth; left as the viewer sees it. (x, y).
    pub landmarks: [[f32; 2]; 5],
}

/// The cascade with its weights on one device.
#[derive(Debug)]
pub struct Mtcnn {
    pnet: PNet,
    rnet: RNet,
    onet: ONet,
    device: Device,
}

impl Mtcnn {
    /// The cascade with the weights that are compiled in.
    ///
    /// # Errors
    /// Only a device that refuses: the weights are checked by the tests.
    pub fn new(device: &Device) -> Result<Self, NetworkError> {
        let [p, r, o] = WEIGHTS.map(|(name, bytes)| Weights::from_bytes(name, bytes, device));
        Ok(Self { pnet: PNet::new(&p?)?, rnet: RNet::new(&r?)?, onet: ONet::new(&o?)?, device: device.clone() })
    }

    /// The faces of one picture, the most confident first.
    ///
    /// A picture with a side too short for a face of `min_face_px` has none.
    ///
    /// # Errors
    /// Only a device that fails.
    pub fn detect(&self, picture: &RgbImage, settings: &MtcnnSettings) -> Result<Vec<Face>, NetworkError> {
        let [p_threshold, r_threshold, o_threshold] = settings.thresholds;
        let mut candidates = self.propose(picture, settings, p_threshold)?;

        candidates.retain_mut(|c| c.refine_by_size());
        let (mut candidates, crops) = self.crops(picture, candidates, rnet::INPUT_PX)?;
        if let Some(crops) = crops {
            let found = self.rnet.forward(&crops)?;
            candidates = boxes::keep_above(&candidates, &found.confidences, &found.offsets, r_threshold);
            candidates = boxes::suppress(candidates, Overlap::Union, 0.7);
            candidates.retain_mut(|c| c.refine_inclusive());
            candidates.iter_mut().for_each(Candidate::make_square);
        }

        let (candidates, crops) = self.crops(picture, candidates, onet::INPUT_PX)?;
        let Some(crops) = crops else { return Ok(vec![]) };
        let found = self.onet.forward(&crops)?;
        let landmarks = boxes::landmarks_in_frame(&candidates, &found.landmarks);
        let mut faces = boxes::keep_above(&candidates, &found.confidences, &found.offsets, o_threshold);
        faces.iter_mut().for_each(|c| c.landmarks = landmarks[c.index]);
        faces.retain_mut(|c| c.refine_inclusive());
        let faces = boxes::suppress(faces, Overlap::Smaller, 0.7);
        Ok(faces
            .into_iter()
            .map(|c| Face { bounds: c.bounds, confidence: c.confidence, landmarks: c.landmarks })
            .collect())
    }

    /// P-Net over the pyramid: boxes that overlap little, of all levels together.
    fn propose(
        &self,
        picture: &RgbImage,
        settings: &MtcnnSettings,
        threshold: f32,
    ) -> Result<Vec<Candidate>, NetworkError> {
        let mut all = vec![];
        for scale in pyramid::scales(picture.dimensions(), settings) {
            let level = pyramid::level(picture, scale);
            let found = self.pnet.propose(&level, scale, threshold, &self.device)?;
            all.extend(boxes::suppress(found, Overlap::Union, 0.5));
        }
        let kept = boxes::suppress(all, Overlap::Union, 0.7);
        Ok(kept)
    }

    /// The candidates that have pixels in the picture, and those pixels, resized: [n, 3, side, side].
    fn crops(
        &self,
        picture: &RgbImage,
        mut candidates: Vec<Candidate>,
        side_px: usize,
    ) -> Result<(Vec<Candidate>, Option<candle_core::Tensor>), NetworkError> {
        let size = picture.dimensions();
        candidates.retain(|c| c.bounds.pixels_in(size).is_some());
        if candidates.is_empty() {
            return Ok((candidates, None));
        }
        let mut values = Vec::with_capacity(candidates.len() * 3 * side_px * side_px);
        for candidate in &candidates {
            if let Some(window) = candidate.bounds.pixels_in(size) {
                pyramid::area_resize_into(picture, window, (side_px, side_px), &mut values);
            }
        }
        let shape = (candidates.len(), 3, side_px, side_px);
        let crops = candle_core::Tensor::from_vec(values, shape, &self.device)?;
        Ok((candidates, Some(crops)))
    }
}
