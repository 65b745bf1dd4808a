//! R-Net and O-Net on a CPU: [`LANES`] crops of a picture side by side through convolutions, a dense layer and heads.
//!
//! In: a picture and windows in it. Out: the heads' outputs, one row per window, in order.

use deepsweep_kernels::{AreaColumns, AreaSums, DirectConv, LANES, Planes, WinogradConv, max_pool_lanes};
use image::RgbImage;
use rayon::prelude::*;

use super::boxes::Window;
use super::pyramid::source_of_row;
use super::spaces::Spaces;

/// Convolutions with pooling, a dense layer, and the heads in one.
#[derive(Debug)]
pub(super) struct CropNet {
    pub input_px: usize,
    pub layers: Vec<Layer>,
    pub dense: DirectConv,
    pub heads: DirectConv,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub conv: Conv,
    pub pool: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Conv {
    Direct(DirectConv),
    /// 3 × 3 over enough channels that the transforms pay.
    Winograd(WinogradConv),
}

/// The work space of one thread.
#[derive(Debug, Default)]
pub(super) struct CropSpace {
    a: Planes,
    b: Planes,
    columns: Vec<AreaColumns>,
    sums: AreaSums,
}

impl CropNet {
    /// The heads' outputs for each window of the picture.
    pub fn forward<const HEADS: usize>(
        &self,
        picture: &RgbImage,
        windows: &[Window],
        spaces: &Spaces<CropSpace>,
    ) -> Vec<[f32; HEADS]> {
        let blocks: Vec<Vec<[f32; HEADS]>> = windows
            .par_chunks(LANES)
            .with_max_len(1)
            .map(|windows| spaces.with(CropSpace::default, |space| self.block(picture, windows, space)))
            .collect();
        blocks.concat()
    }

    fn block<const HEADS: usize>(
        &self,
        picture: &RgbImage,
        windows: &[Window],
        space: &mut CropSpace,
    ) -> Vec<[f32; HEADS]> {
        self.crop(picture, windows, space);
        let CropSpace { a, b, .. } = space;
        for Layer { conv, pool } in &self.layers {
            match (conv, pool) {
                (Conv::Direct(conv), pool) => {
                    conv.forward(a, *pool, b);
                    std::mem::swap(a, b);
                }
                (Conv::Winograd(conv), Some(kernel)) => {
                    conv.forward(a, b);
                    max_pool_lanes(b, *kernel, a);
                }
                (Conv::Winograd(conv), None) => {
                    conv.forward(a, b);
                    std::mem::swap(a, b);
                }
            }
        }
        // What is left of the picture becomes channels: [c, h, w · LANES] is [c · h · w, 1, LANES] already.
        (a.channels, a.rows, a.row) = (a.channels * a.rows * a.row / LANES, 1, LANES);
        self.dense.forward(a, None, b);
        self.heads.forward(b, None, a); // [heads, 1, LANES]
        (0..windows.len()).map(|lane| std::array::from_fn(|head| a.values[head * LANES + lane])).collect()
    }

    /// The windows resized, [3, side, side · LANES]. Lanes without a crop keep what they have: nobody reads their outputs.
    fn crop(&self, picture: &RgbImage, windows: &[Window], space: &mut CropSpace) {
        let CropSpace { a, columns, sums, .. } = space;
        let side = self.input_px;
        a.reshape(3, side, side * LANES);
        columns.resize_with(LANES, AreaColumns::default);
        for (lane, (window, columns)) in windows.iter().zip(columns.iter_mut()).enumerate() {
            columns.set(window.x1 - window.x0, side, |x| x * LANES + lane);
        }
        // Row by row, so that what the lanes write between each other's values is still in the first cache.
        for y in 0..side {
            for (window, columns) in windows.iter().zip(columns.iter()) {
                let row = &mut a.values[y * side * LANES..];
                sums.average(&source_of_row(picture, *window, y, side), columns, row, side * side * LANES);
            }
        }
    }
}
