//! k × k convolution without padding, with bias and PReLU.

use pulp::{Arch, Simd, WithSimd};

use crate::{Planes, lanes};

/// Output channels that share a load of the input: 4 × 2 accumulators hide the latency of a fused multiply-add on
/// every machine of the last ten years and leave room in sixteen registers.
const GROUP: usize = 4;

/// A convolution whose weights are packed for the kernel.
#[derive(Debug, Clone)]
pub struct DirectConv {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    /// `[outputs / GROUP][inputs][kernel²][GROUP]`, the last group filled up with zeros.
    packed: Vec<[f32; GROUP]>,
    bias: Vec<[f32; GROUP]>,
    /// What negative values are multiplied by; 1 leaves them as they are.
    negative: Vec<[f32; GROUP]>,
}

impl DirectConv {
    /// `weight`: `[outputs][inputs][kernel][kernel]`; `bias`: `[outputs]`; `negative`: `[outputs]`, PReLU's slopes.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: &[f32], negative: Option<&[f32]>, inputs: usize, kernel: usize) -> Self {
        let outputs = bias.len();
        let taps = inputs * kernel * kernel;
        assert_eq!(weight.len(), outputs * taps, "weights of {outputs} × {inputs} × {kernel}²");
        let groups = outputs.div_ceil(GROUP);
        let grouped = |values: &[f32], fill: f32| -> Vec<[f32; GROUP]> {
            let at = |o: usize| values.get(o).copied().unwrap_or(fill);
            (0..groups).map(|group| std::array::from_fn(|g| at(group * GROUP + g))).collect()
        };
        let mut packed = vec![[0.0; GROUP]; groups * taps];
        for (o, weights) in weight.chunks_exact(taps).enumerate() {
            for (tap, value) in weights.iter().enumerate() {
                packed[o / GROUP * taps + tap][o % GROUP] = *value;
            }
        }
        Self {
            inputs,
            outputs,
            kernel,
            packed,
            bias: grouped(bias, 0.0),
            negative: negative.map_or_else(|| vec![[1.0; GROUP]; groups], |slopes| grouped(slopes, 1.0)),
        }
    }

    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// All rows of `x` → rows − kernel + 1 rows of `out`.
    ///
    /// `step`: values from a pixel to its right neighbour, 1 or [`lanes`]. With step 1 the last values of a row have no
    /// meaning: as many as the kernel hangs over, and the filling of the row.
    ///
    /// # Panics
    /// If `x` has other channels or a row that is no multiple of [`lanes`]: a bug of the caller.
    pub fn forward(&self, x: &Planes, step: usize, out: &mut Planes) {
        assert_eq!(x.channels, self.inputs, "channels");
        assert_eq!(x.row % lanes(), 0, "a row is a whole number of lanes");
        assert!(x.rows >= self.kernel, "rows");
        let overhang = if step == 1 { 0 } else { (self.kernel - 1) * step };
        out.reshape(self.outputs, x.rows - self.kernel + 1, x.row - overhang);
        Arch::new().dispatch(Forward { conv: self, x, step, out });
    }
}

struct Forward<'a> {
    conv: &'a DirectConv,
    x: &'a Planes,
    step: usize,
    out: &'a mut Planes,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, x, step, out } = self;
        let taps = conv.inputs * conv.kernel * conv.kernel;
        let width = 2 * S::F32_LANES;
        let plane = x.rows * x.row;
        let out_plane = out.rows * out.row;
        // With step 1 the last block of a row reads on into what follows it; what it makes of that has no meaning,
        // and [`Planes`] keeps room behind the last row.
        for row in 0..out.rows {
            for (group, ((bias, negative), packed)) in
                conv.bias.iter().zip(&conv.negative).zip(conv.packed.chunks_exact(taps)).enumerate()
            {
                let channels = GROUP.min(conv.outputs - group * GROUP);
                for block in (0..out.row).step_by(width) {
                    let mut sums = [[simd.splat_f32s(0.0); 2]; GROUP];
                    for g in 0..GROUP {
                        sums[g] = [simd.splat_f32s(bias[g]); 2];
                    }
                    let mut packed = packed.iter();
                    for input in 0..conv.inputs {
                        for ky in 0..conv.kernel {
                            let start = input * plane + (row + ky) * x.row + block;
                            let source = &x.values[start..start + width + (conv.kernel - 1) * step];
                            for kx in 0..conv.kernel {
                                let (vectors, _) = S::as_simd_f32s(&source[kx * step..][..width]);
                                let Some(weights) = packed.next() else { return };
                                for g in 0..GROUP {
                                    let weight = simd.splat_f32s(weights[g]);
                                    sums[g][0] = simd.mul_add_e_f32s(vectors[0], weight, sums[g][0]);
                                    sums[g][1] = simd.mul_add_e_f32s(vectors[1], weight, sums[g][1]);
                                }
                            }
                        }
                    }
                    let zero = simd.splat_f32s(0.0);
                    for g in 0..channels {
                        let at = (group * GROUP + g) * out_plane + row * out.row + block;
                        let (target, _) = S::as_mut_simd_f32s(&mut out.values[at..at + width]);
                        let slope = simd.splat_f32s(negative[g]);
                        for (target, sum) in target.iter_mut().zip(sums[g]) {
                            let below = simd.min_f32s(sum, zero);
                            *target = simd.mul_add_e_f32s(below, slope, simd.max_f32s(sum, zero));
                        }
                    }
                }
            }
        }
    }
}
