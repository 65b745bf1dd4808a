//! From the pooled output to the one that pictures and texts have in common: W · pooled, without bias.
//!
//! The sums of a row are its own: whichever rows stand beside it and on however many threads, its numbers are the same
//! to the last bit. So a vector that was stored gives the very numbers that it gave when it came out of the tower.

use deepsweep_kernels::{Finish, PackedMatrix};

use super::config::ClipVisionConfig;
use super::direct::{Picked, multiply};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// `visual_projection.weight`, packed for a CPU.
#[derive(Debug)]
pub struct Projection(PackedMatrix); // [hidden, projection]

impl Projection {
    /// # Errors
    /// A tensor that is missing or misshapen, by name.
    pub fn new(config: &ClipVisionConfig, w: &Weights) -> Result<Self, NetworkError> {
        let weight = w.get("visual_projection.weight", &[config.projection, config.hidden])?;
        Ok(Self(PackedMatrix::new(&weight.flatten_all()?.to_vec1::<f32>()?, None, config.hidden)))
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// [b, hidden] → [b, projection], dealt out to the threads of the pool that this is called in.
    #[must_use]
    pub fn project(&self, pooled: &[f32]) -> Vec<f32> {
        let mut projected = vec![0.0; pooled.len() / self.0.depth() * self.width()];
        let targets = Picked::all(self.width()).rows_mut(&mut projected);
        multiply(Picked::all(self.0.depth()).rows(pooled), &self.0, Finish::Store, targets);
        projected
    }

    /// The same on this thread alone, for callers that keep every thread at work by themselves.
    #[must_use]
    pub fn project_here(&self, pooled: &[f32]) -> Vec<f32> {
        let mut projected = vec![0.0; pooled.len() / self.0.depth() * self.width()];
        let rows: Vec<&[f32]> = pooled.chunks_exact(self.0.depth()).collect();
        let mut targets: Vec<&mut [f32]> = projected.chunks_exact_mut(self.width()).collect();
        self.0.multiply(&rows, 0..self.0.panels(), Finish::Store, &mut targets);
        projected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [−1, 1) without a pattern that sums could hide behind.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn a_row_is_projected_alike_in_every_batch_and_on_any_number_of_threads() {
        // B/32's and L/14's shapes, and one that no vector divides.
        for (hidden, width) in [(768, 512), (1024, 768), (389, 37)] {
            let projection = Projection(PackedMatrix::new(&numbers(1, width * hidden), None, hidden));
            let pooled = numbers(2, 211 * hidden);
            let alone: Vec<f32> = pooled.chunks(hidden).flat_map(|row| projection.project_here(row)).collect();
            for rows in [1, 2, 5, 6, 7, 8, 32, 200, 211] {
                let batches = pooled.chunks(rows * hidden);
                let here: Vec<f32> = batches.clone().flat_map(|batch| projection.project_here(batch)).collect();
                assert!(bits(&here) == bits(&alone), "{hidden} → {width}: {rows} rows on one thread");
                for threads in [1, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let dealt: Vec<f32> =
                        pool.install(|| batches.clone().flat_map(|b| projection.project(b)).collect());
                    assert!(bits(&dealt) == bits(&alone), "{hidden} → {width}: {rows} rows on {threads} threads");
                }
            }
        }
    }
}
