//! Layer normalisation of rows.

use pulp::{Arch, Simd, WithSimd};

/// Scale and shift of a layer normalisation, as wide as the rows it takes.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

impl LayerNorm {
    /// One row: (x − mean) / √(variance + ε) · weight + bias.
    ///
    /// # Panics
    /// If a row has another width: a bug of the caller.
    pub fn forward(&self, x: &[f32], out: &mut [f32]) {
        let width = self.weight.len();
        assert_eq!((self.bias.len(), x.len(), out.len()), (width, width, width), "width");
        Arch::new().dispatch(Forward { norm: self, x, out });
    }
}

struct Forward<'a> {
    norm: &'a LayerNorm,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { norm: LayerNorm { weight, bias, epsilon }, x, out } = self;
        let width = x.len() as f32;
        let (vectors, rest) = S::as_simd_f32s(x);
        let mean = (sum::<S, false>(simd, vectors, simd.splat_f32s(0.0)) + rest.iter().sum::<f32>()) / width;
        let means = simd.splat_f32s(mean);
        let squares = sum::<S, true>(simd, vectors, means);
        let variance = (squares + rest.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>()) / width;
        let scale = 1.0 / (variance + epsilon).sqrt();
        let scales = simd.splat_f32s(scale);

        let (weights, rest_of_weight) = S::as_simd_f32s(weight);
        let (biases, rest_of_bias) = S::as_simd_f32s(bias);
        let (targets, rest_of_out) = S::as_mut_simd_f32s(out);
        for (((target, x), weight), bias) in targets.iter_mut().zip(vectors).zip(weights).zip(biases) {
            let normal = simd.mul_f32s(simd.sub_f32s(*x, means), scales);
            *target = simd.mul_add_e_f32s(normal, *weight, *bias);
        }
        for (((target, x), weight), bias) in rest_of_out.iter_mut().zip(rest).zip(rest_of_weight).zip(rest_of_bias) {
            *target = (x - mean) * scale * weight + bias;
        }
    }
}

/// Σ (v − centre), or of its squares. Four sums side by side hide the latency of an addition.
#[inline(always)]
fn sum<S: Simd, const SQUARED: bool>(simd: S, vectors: &[S::f32s], centre: S::f32s) -> f32 {
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (fours, rest) = vectors.as_chunks::<4>();
    for four in fours {
        for i in 0..4 {
            let apart = simd.sub_f32s(four[i], centre);
            sums[i] = if SQUARED { simd.mul_add_e_f32s(apart, apart, sums[i]) } else { simd.add_f32s(sums[i], apart) };
        }
    }
    for v in rest {
        let apart = simd.sub_f32s(*v, centre);
        sums[0] = if SQUARED { simd.mul_add_e_f32s(apart, apart, sums[0]) } else { simd.add_f32s(sums[0], apart) };
    }
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])))
}
