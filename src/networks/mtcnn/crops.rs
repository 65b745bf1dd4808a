//! R-Net and O-Net on a CPU: [`LANES`] crops of a picture side by side through convolutions, a dense layer and heads.
//!
//! In: a picture and windows in it, or crops. Out: the heads' outputs, one row per crop, in order.

use deepsweep_kernels::{AreaColumns, AreaSums, DirectConv, LANES, Planes, Winograd, WinogradSpace};
use image::RgbImage;
use rayon::prelude::*;

use super::boxes::Window;
use super::pyramid::source_of_row;
use crate::networks::spaces::Spaces;

/// What the network is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Crops<'a> {
    /// Windows of a picture, to be resized.
    Cut(&'a RgbImage, &'a [Window]),
    /// [n, 3, side, side], normalised.
    Made(&'a [f32]),
}

/// Convolutions with pooling, a dense layer, and the heads in one.
#[derive(Debug)]
pub(super) struct CropNet {
    pub input_px: usize,
    pub layers: Vec<Layer>,
    pub dense: DirectConv,
    pub heads: DirectConv,
}

#[derive(Debug)]
pub(super) enum Layer {
    Direct(DirectConv),
    /// 3 × 3, and max pooling of so many values a side behind it.
    Winograd(Winograd, usize),
}

/// The work space of one thread.
#[derive(Debug, Default)]
pub(super) struct CropSpace {
    a: Planes,
    b: Planes,
    rows: WinogradSpace,
    columns: Vec<AreaColumns>,
    sums: AreaSums,
}

impl CropNet {
    /// The heads' outputs for each crop.
    pub fn forward<const HEADS: usize>(&self, crops: Crops, spaces: &Spaces<CropSpace>) -> Vec<[f32; HEADS]> {
        let size = 3 * self.input_px * self.input_px;
        let blocks: Vec<Crops> = match crops {
            Crops::Cut(picture, windows) => windows.chunks(LANES).map(|windows| Crops::Cut(picture, windows)).collect(),
            Crops::Made(values) => values.chunks(LANES * size).map(Crops::Made).collect(),
        };
        let rows: Vec<Vec<[f32; HEADS]>> = blocks
            .into_par_iter()
            .with_max_len(1)
            .map(|crops| spaces.with(CropSpace::default, |space| self.block(crops, space)))
            .collect();
        rows.concat()
    }

    fn block<const HEADS: usize>(&self, crops: Crops, space: &mut CropSpace) -> Vec<[f32; HEADS]> {
        let count = match crops {
            Crops::Cut(picture, windows) => {
                self.cut(picture, windows, space);
                windows.len()
            }
            Crops::Made(values) => self.deal_out(values, space),
        };
        let CropSpace { a, b, rows, .. } = space;
        for layer in &self.layers {
            match layer {
                Layer::Direct(conv) => conv.forward(a, b),
                Layer::Winograd(conv, pool) => conv.forward(a, Some(*pool), rows, b),
            }
            std::mem::swap(a, b);
        }
        // What is left of the picture becomes channels: [c, h, w · LANES] is [c · h · w, 1, LANES] already.
        (a.channels, a.rows, a.row) = (a.channels * a.rows * a.row / LANES, 1, LANES);
        self.dense.forward(a, b);
        self.heads.forward(b, a); // [heads, 1, LANES]
        (0..count).map(|lane| std::array::from_fn(|head| a.values[head * LANES + lane])).collect()
    }

    /// The windows resized, [3, side, side · LANES]. Lanes without a crop keep what they have: nobody reads their outputs.
    fn cut(&self, picture: &RgbImage, windows: &[Window], space: &mut CropSpace) {
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

    /// Crops, one a lane; how many there are.
    fn deal_out(&self, crops: &[f32], space: &mut CropSpace) -> usize {
        let side = self.input_px;
        space.a.reshape(3, side, side * LANES);
        let crops = crops.chunks_exact(3 * side * side);
        let count = crops.len();
        for (lane, crop) in crops.enumerate() {
            for (target, value) in space.a.values.chunks_exact_mut(LANES).zip(crop) {
                target[lane] = *value;
            }
        }
        count
    }
}
