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
use super::crops::{CropNet, CropSpace, Crops, Layer};
use super::onet::{self, Finished};
use super::packed::{ConvPrelu, crop_heads, dense_prelu, heads};
use super::pnet::{Proposed, frame_box_from_cell, probability};
use super::pyramid::{LevelSize, source_of_row};
use super::rnet::{self, Refined};
use crate::networks::NetworkError;
use crate::networks::spaces::Spaces;
use crate::networks::weights::Weights;

/// Cells of P-Net that are computed together, at least: little more than a millisecond of work. Two strips both compute
/// some ten rows of the picture, so they are as large as threads that end together allow.
const STRIP_CELLS: usize = 16_384;

/// Strips of all levels for each thread.
const STRIPS_A_THREAD: usize = 2;

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
                second: ConvPrelu::new(p, 2, 10, 16, 3)?.tiles(),
                third: ConvPrelu::new(p, 3, 16, 32, 3)?.tiles(),
                heads: p_heads,
                heads_bias: std::array::from_fn(|i| p_heads_bias[i]),
            },
            rnet: CropNet {
                input_px: rnet::INPUT_PX,
                layers: vec![
                    Layer::Winograd(ConvPrelu::new(r, 1, 3, 28, 3)?.f4(), 3),
                    Layer::Winograd(ConvPrelu::new(r, 2, 28, 48, 3)?.f3(), 3),
                    Layer::Direct(ConvPrelu::new(r, 3, 48, 64, 2)?.direct()),
                ],
                dense: dense_prelu(r, "dense4", "prelu4", 64, 128)?,
                heads: crop_heads(r, &[("dense5_1", 2), ("dense5_2", 4)], 128)?,
            },
            onet: CropNet {
                input_px: onet::INPUT_PX,
                layers: vec![
                    Layer::Winograd(ConvPrelu::new(o, 1, 3, 32, 3)?.f4(), 3),
                    Layer::Winograd(ConvPrelu::new(o, 2, 32, 64, 3)?.f3(), 3),
                    Layer::Winograd(ConvPrelu::new(o, 3, 64, 64, 3)?.f4(), 2),
                    Layer::Direct(ConvPrelu::new(o, 4, 64, 128, 2)?.direct()),
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
        let at_once = strip_cells(levels.iter().map(|level| level.size));
        // Largest level first; a strip of a large level takes longer than one of a small level.
        let of_level = |(i, level): (usize, &Level)| strips(level.size, at_once).map(move |rows| (i, rows));
        let strips: Vec<(usize, Range<usize>)> = levels.iter().enumerate().flat_map(of_level).collect();
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
        let (height, section) = (level.size.height, Strip::section(level.size.width));
        let (plane, window) = (Strip::SECTIONS * section, Window::whole(picture));
        let cells = self.cells(level.size, rows, threshold, |sums, y, row| {
            sums.average(&source_of_row(picture, window, y, height), &level.columns, row, plane);
        });
        cells
            .into_iter()
            .map(|cell| {
                let bounds = frame_box_from_cell(cell.column, cell.row, level.scale);
                Candidate::new(bounds, cell.probability, cell.offsets)
            })
            .collect()
    }

    /// P-Net over `rows` of cells of a level whose rows `read` fills in, as [`Proposal::find`] wants them.
    fn cells(
        &self,
        LevelSize { width, height }: LevelSize,
        rows: Range<usize>,
        threshold: f32,
        read: impl Fn(&mut AreaSums, usize, &mut [f32]),
    ) -> Vec<Proposed> {
        let odds = threshold.max(0.0) / (1.0 - threshold);
        // Never above 10, where f32 still tells a probability from 1.
        let least_difference = odds.ln().min(10.0) - LOGIT_MARGIN;
        let strip = Strip { width, height, rows, least_difference };
        let mut cells: Vec<Cell> = vec![];
        self.proposal_spaces.with(
            || (self.pnet.space(), AreaSums::default()),
            |(space, sums)| self.pnet.find(&strip, &mut |y, row| read(sums, y, row), space, &mut cells),
        );
        cells.sort_unstable_by_key(|cell| (cell.row, cell.column));
        let judged = cells.into_iter().map(|Cell { row, column, outputs: [no_face, face, offsets @ ..] }| Proposed {
            row,
            column,
            probability: probability(no_face, face),
            offsets,
        });
        judged.filter(|cell| cell.probability >= threshold).collect()
    }

    /// P-Net over a level, [3, height, width].
    pub fn propose_in_level(&self, level: &[f32], size: LevelSize, threshold: f32) -> Vec<Proposed> {
        let (width, section) = (size.width, Strip::section(size.width));
        let found: Vec<Vec<Proposed>> = strips(size, strip_cells(std::iter::once(size)))
            .collect::<Vec<_>>()
            .into_par_iter()
            .with_max_len(1)
            .map(|rows| {
                self.cells(size, rows, threshold, |_, y, row| {
                    for (colour, target) in row.chunks_exact_mut(Strip::SECTIONS * section).enumerate() {
                        let values = &level[(colour * size.height + y) * width..][..width];
                        for (place, side_by_side) in values.chunks(Strip::SECTIONS).enumerate() {
                            for (x, value) in side_by_side.iter().enumerate() {
                                target[x * section + place] = *value;
                            }
                        }
                    }
                })
            })
            .collect();
        found.concat()
    }

    pub fn refine(&self, crops: Crops) -> Refined {
        let rows = self.rnet.forward::<6>(crops, &self.crop_spaces);
        Refined {
            confidences: rows.iter().map(|row| probability(row[0], row[1])).collect(),
            offsets: rows.iter().map(|row| [row[2], row[3], row[4], row[5]]).collect(),
        }
    }

    pub fn finish(&self, crops: Crops) -> Finished {
        let rows = self.onet.forward::<16>(crops, &self.crop_spaces);
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
    /// Dealt out over sections, as a [`Strip`] wants them.
    columns: AreaColumns,
}

impl Level {
    fn new(picture: &RgbImage, scale: f64) -> Self {
        let size = LevelSize::new(picture.dimensions(), scale);
        let section = Strip::section(size.width);
        let mut columns = AreaColumns::default();
        columns.set(picture.width() as usize, size.width, |x| x % Strip::SECTIONS * section + x / Strip::SECTIONS);
        Self { scale, size, columns }
    }
}

/// How many cells of these levels make a strip.
fn strip_cells(levels: impl Iterator<Item = LevelSize>) -> usize {
    let cells: usize = levels.map(|size| Strip::cells(size.width) * Strip::cells(size.height)).sum();
    STRIP_CELLS.max(cells / (STRIPS_A_THREAD * rayon::current_num_threads()))
}

/// Rows of cells, in pieces of about `at_once` cells, in fours as tiles are: cells are the same wherever a strip begins.
fn strips(size: LevelSize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    let (columns, rows) = (Strip::cells(size.width), Strip::cells(size.height));
    let per_strip = (at_once / columns.max(1)).max(8).next_multiple_of(4);
    let rows = if columns == 0 { 0 } else { rows };
    (0..rows).step_by(per_strip).map(move |first| first..rows.min(first + per_strip))
}
