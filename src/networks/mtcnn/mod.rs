//! MTCNN: a picture in, faces with five landmarks out.
//!
//! Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
//! Networks" (arXiv 1604.02878). Numbers, thresholds and box conventions follow facenet-pytorch 2.6.0,
//! whose weights these are; `tests/golden/mtcnn.py` holds us to its results.
//!
//! ```text
//! picture ─▶ pyramid ─▶ P-Net on every level ─▶ boxes ─▶ R-Net on 24×24 crops ─▶ boxes ─▶ O-Net on 48×48 crops ─▶ faces
//! ```

mod alone;
mod boxes;
mod crops;
mod direct;
mod layers;
mod onet;
mod packed;
mod pnet;
mod pyramid;
mod rnet;

use candle_core::{Device, Tensor};
use deepsweep_kernels::Against;
use image::RgbImage;
use rayon::prelude::*;

use self::boxes::{Candidate, Window};
use self::crops::Crops;
use self::direct::DirectNetworks;
use self::onet::ONet;
use self::pnet::PNet;
use self::pyramid::LevelSize;
use self::rnet::RNet;
use super::NetworkError;
use super::weights::Weights;

pub use self::boxes::FaceBox;
pub use self::onet::Finished;
pub use self::pnet::Proposed;
pub use self::rnet::Refined;

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
pub struct Mtcnn(Networks);

/// The same three networks, as the device wants them.
#[derive(Debug)]
enum Networks {
    /// On a CPU: direct convolutions.
    Direct(Box<DirectNetworks>),
    /// Anywhere else: candle's operations.
    Candle(Box<CandleNetworks>),
}

#[derive(Debug)]
struct CandleNetworks {
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
        if device.is_cpu() {
            let [p, r, o] = weights(device)?;
            return Ok(Self(Networks::Direct(Box::new(DirectNetworks::new(&p, &r, &o)?))));
        }
        Self::in_candle(device)
    }

    /// The cascade in candle's operations whatever the device: what the direct networks are compared with.
    ///
    /// # Errors
    /// Only a device that refuses.
    pub fn in_candle(device: &Device) -> Result<Self, NetworkError> {
        let [p, r, o] = weights(device)?;
        let (pnet, rnet, onet) = (PNet::new(&p)?, RNet::new(&r)?, ONet::new(&o)?);
        Ok(Self(Networks::Candle(Box::new(CandleNetworks { pnet, rnet, onet, device: device.clone() }))))
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

        candidates.retain_mut(Candidate::refine_by_size);
        let (shown, windows) = with_windows(candidates, picture);
        let found = self.refine(picture, &windows)?;
        let candidates = boxes::keep_above(&shown, &found.confidences, &found.offsets, r_threshold);
        let mut candidates = boxes::suppress(&candidates, Against::Union, 0.7);
        candidates.retain_mut(Candidate::refine_inclusive);
        candidates.iter_mut().for_each(Candidate::make_square);

        let (shown, windows) = with_windows(candidates, picture);
        let found = self.finish(picture, &windows)?;
        let landmarks = boxes::landmarks_in_frame(&shown, &found.landmarks);
        let mut faces = boxes::keep_above(&shown, &found.confidences, &found.offsets, o_threshold);
        faces.iter_mut().for_each(|c| c.landmarks = landmarks[c.index]);
        faces.retain_mut(Candidate::refine_inclusive);
        let faces = boxes::suppress(&faces, Against::Smaller, 0.7);
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
        let scales = pyramid::scales(picture.dimensions(), settings);
        let per_level = match &self.0 {
            Networks::Direct(networks) => networks.propose(picture, &scales, threshold),
            Networks::Candle(it) => {
                let level = |scale: &f64| it.pnet.propose(picture, *scale, threshold, &it.device);
                scales.iter().map(level).collect::<Result<Vec<_>, _>>()?
            }
        };
        let all: Vec<Candidate> =
            per_level.par_iter().map(|found| boxes::suppress(found, Against::Union, 0.5)).collect::<Vec<_>>().concat();
        Ok(boxes::suppress(&all, Against::Union, 0.7))
    }

    fn refine(&self, picture: &RgbImage, windows: &[Window]) -> Result<Refined, NetworkError> {
        match &self.0 {
            Networks::Direct(networks) => Ok(networks.refine(Crops::Cut(picture, windows))),
            Networks::Candle(it) => it.rnet.forward(&crops(picture, windows, rnet::INPUT_PX, &it.device)?),
        }
    }

    fn finish(&self, picture: &RgbImage, windows: &[Window]) -> Result<Finished, NetworkError> {
        match &self.0 {
            Networks::Direct(networks) => Ok(networks.finish(Crops::Cut(picture, windows))),
            Networks::Candle(it) => it.onet.forward(&crops(picture, windows, onet::INPUT_PX, &it.device)?),
        }
    }
}

fn weights(device: &Device) -> Result<[Weights; 3], NetworkError> {
    let [p, r, o] = WEIGHTS.map(|(name, bytes)| Weights::from_bytes(name, bytes, device));
    Ok([p?, r?, o?])
}

/// The candidates that have pixels in the picture, and where those are.
fn with_windows(candidates: Vec<Candidate>, picture: &RgbImage) -> (Vec<Candidate>, Vec<Window>) {
    let size = picture.dimensions();
    candidates.into_iter().filter_map(|c| Some((c, c.bounds.pixels_in(size)?))).unzip()
}

/// The windows of a picture, resized: [n, 3, side, side].
fn crops(picture: &RgbImage, windows: &[Window], side_px: usize, device: &Device) -> Result<Tensor, NetworkError> {
    let size = LevelSize { width: side_px, height: side_px };
    let values: Vec<f32> = windows.iter().flat_map(|window| pyramid::area_resize(picture, *window, size)).collect();
    Ok(Tensor::from_vec(values, (windows.len(), 3, side_px, side_px), device)?)
}
