//! The three networks on a CPU, by the kernels of `deepsweep-kernels`: the same numbers as the candle networks beside
//! this file, but for roundings, at a fraction of their time and memory.
//!
//! P-Net's rows flow through its layers, so that neither a level nor a layer is ever held; R-Net and O-Net put
//! [`LANES`](deepsweep_kernels::LANES) crops side by side. Strips of all levels, and blocks of crops, go to the threads
//! of the pool that this is called in; what comes out is in order whatever finished first.

use std::ops::Range;

use deepsweep_kernels::{AreaColumns, AreaSums, Cell, Proposal, ProposalSpace, Strip};
use image::RgbImage;
use rayon::prelude::*;

use super::boxes::{Candidate, Window};
use super::crops::{Conv, CropNet, CropSpace, Layer};
use super::onet::{self, Finished};
use super::packed::{ConvPrelu, crop_heads, dense_prelu, heads};
use super::pnet::{frame_box_from_cell, probability};
use super::pyramid::{LevelSize, source_of_row};
use super::rnet::{self, Refined};
use super::spaces::Spaces;
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// Cells of P-Net that are computed together, about: less than a millisecond of work, so that threads end together,
/// while the rows that two strips both compute stay few.
const STRIP_CELLS: usize = 8192;

/// Logits further below the threshold than any rounding, but not by much: what is found is asked again, exactly.
const LOGIT_MARGIN: f32 = 0.01;

#[derive(Debug)]
pub(super) struct DirectNetworks {
    pnet: Proposal,
    rnet: CropNet,
    onet: CropNet,
    proposal_spaces: Spaces<(ProposalSpace, AreaSums)>,
    crop_spaces: Spaces<CropSpace>,
}

impl DirectNetworks {
    pub fn new(p: &Weights, r: &Weights, o: &Weights) -> Result<Self, NetworkError> {
        let (p_heads, p_heads_bias) = heads(p, &[("conv4_1", 2), ("conv4_2", 4)], &[32, 1, 1])?;
        Ok(Self {
            pnet: Proposal {
                first: ConvPrelu::new(p, 1, 3, 10, 3)?.first(),
                second: ConvPrelu::new(p, 2, 10, 16, 3)?.winograd(),
                third: ConvPrelu::new(p, 3, 16, 32, 3)?.winograd(),
                heads: p_heads,
                heads_bias: std::array::from_fn(|i| p_heads_bias[i]),
            },
            rnet: CropNet {
                input_px: rnet::INPUT_PX,
                layers: vec![
                    Layer { conv: ConvPrelu::new(r, 1, 3, 28, 3)?.direct(), pool: Some(3) },
                    Layer { conv: Conv::Winograd(ConvPrelu::new(r, 2, 28, 48, 3)?.winograd()), pool: Some(3) },
                    Layer { conv: ConvPrelu::new(r, 3, 48, 64, 2)?.direct(), pool: None },
                ],
                dense: dense_prelu(r, "dense4", "prelu4", 64, 128)?,
                heads: crop_heads(r, &[("dense5_1", 2), ("dense5_2", 4)], 128)?,
            },
            onet: CropNet {
                input_px: onet::INPUT_PX,
                layers: vec![
                    Layer { conv: ConvPrelu::new(o, 1, 3, 32, 3)?.direct(), pool: Some(3) },
                    Layer { conv: Conv::Winograd(ConvPrelu::new(o, 2, 32, 64, 3)?.winograd()), pool: Some(3) },
                    Layer { conv: Conv::Winograd(ConvPrelu::new(o, 3, 64, 64, 3)?.winograd()), pool: Some(2) },
                    Layer { conv: ConvPrelu::new(o, 4, 64, 128, 2)?.direct(), pool: None },
                ],
                dense: dense_prelu(o, "dense5", "prelu5", 128, 256)?,
                heads: crop_heads(o, &[("dense6_1", 2), ("dense6_2", 4), ("dense6_3", 10)], 256)?,
            },
            proposal_spaces: Spaces::default(),
            crop_spaces: Spaces::default(),
        })
    }

    /// Per scale the cells of the picture whose probability reaches `threshold`, row by row.
    pub fn propose(&self, picture: &RgbImage, scales: &[f64], threshold: f32) -> Vec<Vec<Candidate>> {
        let levels: Vec<Level> = scales.iter().map(|scale| Level::new(picture, *scale)).collect();
        // Largest level first; a strip of a large level takes longer than one of a small level.
        let strips: Vec<(usize, Range<usize>)> =
            levels.iter().enumerate().flat_map(|(i, level)| level.strips().map(move |rows| (i, rows))).collect();
        let mut found: Vec<(usize, Vec<Candidate>)> = strips
            .into_par_iter()
            .with_max_len(1)
            .map(|(i, rows)| (i, self.strip(picture, &levels[i], rows, threshold)))
            .collect();
        let mut per_level = vec![vec![]; levels.len()];
        for (level, candidates) in &mut found {
            per_level[*level].append(candidates);
        }
        per_level
    }

    fn strip(&self, picture: &RgbImage, level: &Level, rows: Range<usize>, threshold: f32) -> Vec<Candidate> {
        let odds = threshold.max(0.0) / (1.0 - threshold);
        // Never above 10, where f32 still tells a probability from 1.
        let least_difference = odds.ln().min(10.0) - LOGIT_MARGIN;
        let LevelSize { width, height } = level.size;
        let strip = Strip { width, height, rows, least_difference };
        let (plane, window) = (4 * Strip::section(width), Window::whole(picture));
        let mut cells: Vec<Cell> = vec![];
        self.proposal_spaces.with(
            || (self.pnet.space(), AreaSums::default()),
            |(space, sums)| {
                let mut read = |y: usize, row: &mut [f32]| {
                    sums.average(&source_of_row(picture, window, y, height), &level.columns, row, plane);
                };
                self.pnet.find(&strip, &mut read, space, &mut cells);
            },
        );
        cells.sort_unstable_by_key(|cell| (cell.row, cell.column));
        let passed = cells.into_iter().filter_map(|Cell { row, column, outputs: [no_face, face, offsets @ ..] }| {
            let confidence = probability(no_face, face);
            let bounds = frame_box_from_cell(column, row, level.scale);
            (confidence >= threshold).then(|| Candidate::new(bounds, confidence, offsets))
        });
        passed.collect()
    }

    pub fn refine(&self, picture: &RgbImage, windows: &[Window]) -> Refined {
        let rows = self.rnet.forward::<6>(picture, windows, &self.crop_spaces);
        Refined {
            confidences: rows.iter().map(|row| probability(row[0], row[1])).collect(),
            offsets: rows.iter().map(|row| [row[2], row[3], row[4], row[5]]).collect(),
        }
    }

    pub fn finish(&self, picture: &RgbImage, windows: &[Window]) -> Finished {
        let rows = self.onet.forward::<16>(picture, windows, &self.crop_spaces);
        Finished {
            confidences: rows.iter().map(|row| probability(row[0], row[1])).collect(),
            offsets: rows.iter().map(|row| [row[2], row[3], row[4], row[5]]).collect(),
            landmarks: rows.iter().map(|row| std::array::from_fn(|i| row[6 + i])).collect(),
        }
    }
}

/// One size of the picture.
struct Level {
    scale: f64,
    size: LevelSize,
    /// Column x goes to section x mod 4, place x / 4.
    columns: AreaColumns,
}

impl Level {
    fn new(picture: &RgbImage, scale: f64) -> Self {
        let size = LevelSize::new(picture.dimensions(), scale);
        let section = Strip::section(size.width);
        let mut columns = AreaColumns::default();
        columns.set(picture.width() as usize, size.width, |x| x % 4 * section + x / 4);
        Self { scale, size, columns }
    }

    /// Rows of cells, in pieces of about [`STRIP_CELLS`] that begin at an even row.
    fn strips(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (columns, rows) = (Strip::cells(self.size.width), Strip::cells(self.size.height));
        let per_strip = (STRIP_CELLS / columns.max(1)).max(8).next_multiple_of(2);
        let rows = if columns == 0 { 0 } else { rows };
        (0..rows).step_by(per_strip).map(move |first| first..rows.min(first + per_strip))
    }
}
