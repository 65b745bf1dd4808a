//! Each network by itself, without the cascade around it: to be compared with others' on the same numbers.
//!
//! In: tensors, normalised: (value − 127.5) / 128. Out: what the network says of each cell or crop, in order.

use candle_core::Tensor;

use super::crops::Crops;
use super::onet::Finished;
use super::pnet::Proposed;
use super::pyramid::{CELL_PX, LevelSize};
use super::rnet::Refined;
use super::{Mtcnn, Networks, onet, rnet};
use crate::networks::NetworkError;

impl Mtcnn {
    /// The cells of a level, [1, 3, h, w], whose probability reaches `threshold`, row by row.
    ///
    /// # Errors
    /// Another shape, a side below 12, or a device that fails.
    pub fn p_net(&self, level: &Tensor, threshold: f32) -> Result<Vec<Proposed>, NetworkError> {
        let (b, colours, height, width) = level.dims4()?;
        if (b, colours) != (1, 3) || width.min(height) < CELL_PX as usize {
            return Err(wrong_shape("[1, 3, h, w] of sides of 12 or more", level));
        }
        match &self.0 {
            Networks::Direct(it) => {
                let values: Vec<f32> = level.flatten_all()?.to_vec1()?;
                Ok(it.propose_in_level(&values, LevelSize { width, height }, threshold))
            }
            Networks::Candle(it) => it.pnet.propose_in_level(level, threshold),
        }
    }

    /// `crops`: [n, 3, 24, 24].
    ///
    /// # Errors
    /// Another shape, or a device that fails.
    pub fn r_net(&self, crops: &Tensor) -> Result<Refined, NetworkError> {
        expect_crops(crops, rnet::INPUT_PX)?;
        match &self.0 {
            Networks::Direct(it) => Ok(it.refine(Crops::Made(&crops.flatten_all()?.to_vec1::<f32>()?))),
            Networks::Candle(it) => it.rnet.forward(crops),
        }
    }

    /// `crops`: [n, 3, 48, 48].
    ///
    /// # Errors
    /// Another shape, or a device that fails.
    pub fn o_net(&self, crops: &Tensor) -> Result<Finished, NetworkError> {
        expect_crops(crops, onet::INPUT_PX)?;
        match &self.0 {
            Networks::Direct(it) => Ok(it.finish(Crops::Made(&crops.flatten_all()?.to_vec1::<f32>()?))),
            Networks::Candle(it) => it.onet.forward(crops),
        }
    }
}

fn expect_crops(crops: &Tensor, side: usize) -> Result<(), NetworkError> {
    let (_, colours, height, width) = crops.dims4()?;
    if (colours, height, width) != (3, side, side) {
        return Err(wrong_shape(&format!("[n, 3, {side}, {side}]"), crops));
    }
    Ok(())
}

fn wrong_shape(expected: &str, found: &Tensor) -> NetworkError {
    NetworkError::Compute(candle_core::Error::Msg(format!("expected {expected}, found {:?}", found.dims())))
}
