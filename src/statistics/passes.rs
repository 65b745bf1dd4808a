//! Rows of features × a linear function → its logistic loss and gradient, in one pass over the rows.
//!
//! In: features as they lie in memory, never copied. Blocks of rows run in parallel, each in f64 and in a fixed order;
//! what they found is added up in the order of the blocks. So the result is the same for any number of threads, and,
//! since nothing is fused or reordered, on any processor: wider vectors (`pulp`) only make it faster.

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::{sigmoid, softplus};

/// Enough for a block's sums to weigh nothing beside its rows, and for a hundred thousand rows to keep all cores busy.
const BLOCK_ROWS: usize = 1024;

/// Rows that share a load of the coefficients, and of the sums.
const ROWS: usize = 4;

/// Partial sums of a row. They hide the latency of an addition, and are vectors of any length up to AVX-512's.
const LANES: usize = 8;

/// Rows with what is known of each.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// [n, width], row by row.
    pub x: &'a [f32],
    pub width: usize,
    pub fake: &'a [bool],
    pub weights: RowWeights<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum RowWeights<'a> {
    ByClass { real: f64, fake: f64 },
    PerRow(&'a [f64]),
}

impl Rows<'_> {
    pub fn weight(&self, row: usize) -> f64 {
        match self.weights {
            RowWeights::ByClass { real, fake } => {
                if self.fake[row] {
                    fake
                } else {
                    real
                }
            }
            RowWeights::PerRow(weights) => weights[row],
        }
    }

    /// Σ weight · log(1 + e^(−y · (w · x + b))) with y = ±1, its gradient in w, and in b.
    pub fn loss(&self, w: &[f64], b: f64) -> Sums {
        self.sum(
            |row, margin| {
                let (margin, weight) = (margin + b, self.weight(row));
                let (signed, target) = if self.fake[row] { (-margin, 1.0) } else { (margin, 0.0) };
                (weight * softplus(signed), weight * (sigmoid(margin) - target))
            },
            w,
        )
    }

    /// Σ weight · x, and Σ weight as `slope`.
    pub fn sums(&self) -> Sums {
        self.sum(|row, _| (0.0, self.weight(row)), &vec![0.0; self.width])
    }

    /// Σ weight · (x − centre)² for each feature.
    pub fn squares(&self, centre: &[f64]) -> Vec<f64> {
        let of_block = |block: usize| {
            let mut sums = vec![0.0; self.width];
            for row in self.block(block) {
                let weight = self.weight(row);
                for ((sum, x), centre) in sums.iter_mut().zip(self.row(row)).zip(centre) {
                    let from_centre = f64::from(*x) - centre;
                    *sum += weight * from_centre * from_centre;
                }
            }
            Sums { loss: 0.0, gradient: sums, slope: 0.0 }
        };
        self.add_up(of_block).gradient
    }

    /// `of_row`: row and w · x → what it adds to the loss, and the loss's slope in w · x.
    fn sum(&self, of_row: impl Fn(usize, f64) -> (f64, f64) + Sync, w: &[f64]) -> Sums {
        self.add_up(|block| Arch::new().dispatch(Block { rows: self, numbers: self.block(block), w, of_row: &of_row }))
    }

    fn add_up(&self, of_block: impl Fn(usize) -> Sums + Sync + Send) -> Sums {
        let blocks: Vec<Sums> =
            (0..self.fake.len().div_ceil(BLOCK_ROWS)).into_par_iter().with_max_len(1).map(of_block).collect();
        let mut total = Sums { loss: 0.0, gradient: vec![0.0; self.width], slope: 0.0 };
        for block in blocks {
            total.loss += block.loss;
            total.slope += block.slope;
            total.gradient.iter_mut().zip(block.gradient).for_each(|(total, sum)| *total += sum);
        }
        total
    }

    fn block(&self, block: usize) -> std::ops::Range<usize> {
        block * BLOCK_ROWS..((block + 1) * BLOCK_ROWS).min(self.fake.len())
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &[f32] {
        &self.x[row * self.width..][..self.width]
    }
}

/// Over rows.
pub(super) struct Sums {
    pub loss: f64,
    /// In w.
    pub gradient: Vec<f64>,
    /// In b.
    pub slope: f64,
}

struct Block<'a, F> {
    rows: &'a Rows<'a>,
    numbers: std::ops::Range<usize>,
    w: &'a [f64],
    of_row: &'a F,
}

impl<F: Fn(usize, f64) -> (f64, f64)> WithSimd for Block<'_, F> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let Self { rows, numbers, w, of_row } = self;
        let mut sums = Sums { loss: 0.0, gradient: vec![0.0; rows.width], slope: 0.0 };
        let mut row = numbers.start;
        while row + ROWS <= numbers.end {
            add::<ROWS, F>(rows, row, w, of_row, &mut sums);
            row += ROWS;
        }
        for row in row..numbers.end {
            add::<1, F>(rows, row, w, of_row, &mut sums);
        }
        sums
    }
}

/// Adds `N` rows from `first` on, while they lie in the nearest cache.
#[inline(always)]
fn add<const N: usize, F: Fn(usize, f64) -> (f64, f64)>(
    rows: &Rows,
    first: usize,
    w: &[f64],
    of_row: &F,
    sums: &mut Sums,
) {
    let x: [&[f32]; N] = std::array::from_fn(|at| rows.row(first + at));
    let margins = dots(x, w);
    let mut slopes = [0.0; N];
    for (at, slope) in slopes.iter_mut().enumerate() {
        let loss;
        (loss, *slope) = of_row(first + at, margins[at]);
        sums.loss += loss;
        sums.slope += *slope;
    }
    let x = x.map(|row| row.as_chunks::<LANES>());
    let (chunks, rest) = sums.gradient.as_chunks_mut::<LANES>();
    let lengths = x.map(|(chunks, _)| chunks.len());
    assert!(lengths.iter().all(|length| *length == chunks.len())); // so that the loop has no bounds to check
    for (at, sum) in chunks.iter_mut().enumerate() {
        let mut lanes = *sum; // in registers over all rows
        for (slope, (x, _)) in slopes.iter().zip(x) {
            for lane in 0..LANES {
                lanes[lane] += slope * f64::from(x[at][lane]);
            }
        }
        *sum = lanes;
    }
    for (at, sum) in rest.iter_mut().enumerate() {
        for (slope, (_, x)) in slopes.iter().zip(x) {
            *sum += slope * f64::from(x[at]);
        }
    }
}

#[inline(always)]
fn dots<const N: usize>(x: [&[f32]; N], w: &[f64]) -> [f64; N] {
    let x = x.map(|row| row.as_chunks::<LANES>());
    let (chunks, rest) = w.as_chunks::<LANES>();
    let lengths = x.map(|(chunks, _)| chunks.len());
    assert!(lengths.iter().all(|length| *length == chunks.len()));
    let mut sums = [[0.0; LANES]; N];
    for (at, w) in chunks.iter().enumerate() {
        for (sum, (x, _)) in sums.iter_mut().zip(x) {
            for lane in 0..LANES {
                sum[lane] += f64::from(x[at][lane]) * w[lane];
            }
        }
    }
    std::array::from_fn(|row| {
        let rest: f64 = x[row].1.iter().zip(rest).map(|(x, w)| f64::from(*x) * w).sum();
        sums[row].iter().sum::<f64>() + rest
    })
}
