//! The refinement network: 24×24 crops in; a probability and four offsets each.

use candle_core::Tensor;

use super::layers::{ConvPRelu, Dense, PRelu, face_probability, flatten_transposed, max_pool, rows};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

pub(super) const INPUT_PX: usize = 24;

/// Crops that go through together: enough to fill the matrix products, few enough for 50 MB of work space.
const BATCH: usize = 256;

#[derive(Debug)]
pub(super) struct RNet {
    conv1: ConvPRelu,
    conv2: ConvPRelu,
    conv3: ConvPRelu,
    dense: Dense,
    prelu: PRelu,
    class: Dense,
    offsets: Dense,
}

/// What the network says of crops, one entry each.
#[derive(Debug, Clone)]
pub struct Refined {
    pub confidences: Vec<f32>,
    pub offsets: Vec<[f32; 4]>,
}

impl RNet {
    pub fn new(w: &Weights) -> Result<Self, NetworkError> {
        Ok(Self {
            conv1: ConvPRelu::new(w, 1, 3, 28, 3)?,
            conv2: ConvPRelu::new(w, 2, 28, 48, 3)?,
            conv3: ConvPRelu::new(w, 3, 48, 64, 2)?,
            dense: Dense::new(w, "dense4", 576, 128)?,
            prelu: PRelu::new(w, "prelu4", 128)?,
            class: Dense::new(w, "dense5_1", 128, 2)?,
            offsets: Dense::new(w, "dense5_2", 128, 4)?,
        })
    }

    /// `crops`: [n, 3, 24, 24]
    pub fn forward(&self, crops: &Tensor) -> Result<Refined, NetworkError> {
        let mut all = Refined { confidences: vec![], offsets: vec![] };
        let n = crops.dim(0)?;
        for start in (0..n).step_by(BATCH) {
            let x = crops.narrow(0, start, BATCH.min(n - start))?;
            let x = max_pool(&self.conv1.forward(&x)?, 3)?; // [n, 28, 11, 11]
            let x = max_pool(&self.conv2.forward(&x)?, 3)?; // [n, 48, 4, 4]
            let x = flatten_transposed(&self.conv3.forward(&x)?)?; // [n, 576]
            let x = self.prelu.forward(&self.dense.forward(&x)?)?; // [n, 128]
            all.confidences.extend(face_probability(&self.class.forward(&x)?)?);
            all.offsets.extend(rows(&self.offsets.forward(&x)?)?);
        }
        Ok(all)
    }
}
