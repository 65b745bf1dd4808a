//! The output network: 48×48 crops in; a probability, four offsets and five landmarks each.

use candle_core::Tensor;

use super::layers::{ConvPRelu, Dense, PRelu, face_probability, flatten_transposed, max_pool, rows};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

pub(super) const INPUT_PX: usize = 48;

/// Crops that go through together: four times R-Net's pixels, a quarter of its batch.
const BATCH: usize = 64;

#[derive(Debug)]
pub(super) struct ONet {
    conv1: ConvPRelu,
    conv2: ConvPRelu,
    conv3: ConvPRelu,
    conv4: ConvPRelu,
    dense: Dense,
    prelu: PRelu,
    class: Dense,
    offsets: Dense,
    landmarks: Dense,
}

/// What the network says of crops, one entry each.
#[derive(Debug, Clone)]
pub struct Finished {
    pub confidences: Vec<f32>,
    pub offsets: Vec<[f32; 4]>,
    /// Five x, then five y, as shares of the box.
    pub landmarks: Vec<[f32; 10]>,
}

impl ONet {
    pub fn new(w: &Weights) -> Result<Self, NetworkError> {
        Ok(Self {
            conv1: ConvPRelu::new(w, 1, 3, 32, 3)?,
            conv2: ConvPRelu::new(w, 2, 32, 64, 3)?,
            conv3: ConvPRelu::new(w, 3, 64, 64, 3)?,
            conv4: ConvPRelu::new(w, 4, 64, 128, 2)?,
            dense: Dense::new(w, "dense5", 1152, 256)?,
            prelu: PRelu::new(w, "prelu5", 256)?,
            class: Dense::new(w, "dense6_1", 256, 2)?,
            offsets: Dense::new(w, "dense6_2", 256, 4)?,
            landmarks: Dense::new(w, "dense6_3", 256, 10)?,
        })
    }

    /// `crops`: [n, 3, 48, 48]
    pub fn forward(&self, crops: &Tensor) -> Result<Finished, NetworkError> {
        let mut all = Finished { confidences: vec![], offsets: vec![], landmarks: vec![] };
        let n = crops.dim(0)?;
        for start in (0..n).step_by(BATCH) {
            let x = crops.narrow(0, start, BATCH.min(n - start))?;
            let x = max_pool(&self.conv1.forward(&x)?, 3)?; // [n, 32, 23, 23]
            let x = max_pool(&self.conv2.forward(&x)?, 3)?; // [n, 64, 10, 10]
            let x = max_pool(&self.conv3.forward(&x)?, 2)?; // [n, 64, 4, 4]
            let x = flatten_transposed(&self.conv4.forward(&x)?)?; // [n, 1152]
            let x = self.prelu.forward(&self.dense.forward(&x)?)?; // [n, 256]
            all.confidences.extend(face_probability(&self.class.forward(&x)?)?);
            all.offsets.extend(rows(&self.offsets.forward(&x)?)?);
            all.landmarks.extend(rows(&self.landmarks.forward(&x)?)?);
        }
        Ok(all)
    }
}
