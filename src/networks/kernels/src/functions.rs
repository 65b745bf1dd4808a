//! e^x and what activations make of it, on whole vectors. Errors are stated as measured over all that towers reach; what
//! is no number stays none.

use pulp::Simd;

/// e^x within 2e-7 of itself; below −87 and above 88 as at those ends, so that nothing overflows.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// ln 2 in two parts, the first of few digits: their products with whole numbers lose nothing.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// (e^r − 1 − r) / r² for |r| ≤ ln 2 / 2. Source: Cephes, `expf`.
    const TERMS: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    /// Numbers of this size have no digits behind the point: what is added to it is rounded. Its last bits are then
    /// the whole number, raised by the bias of an exponent.
    const ROUNDING: f32 = 12_582_912.0 + 127.0;
    let given = x;
    let x = simd.max_f32s(simd.splat_f32s(-87.3), simd.min_f32s(simd.splat_f32s(88.3), x));
    let rounded = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUNDING));
    let power_of_2 = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let whole = simd.sub_f32s(simd.splat_f32s(ROUNDING), rounded); // negated
    let rest = simd.mul_add_e_f32s(whole, simd.splat_f32s(LN_2[0]), x);
    let rest = simd.mul_add_e_f32s(whole, simd.splat_f32s(LN_2[1]), rest);
    let sum = polynomial(simd, rest, TERMS);
    let sum = simd.mul_add_e_f32s(sum, simd.mul_f32s(rest, rest), simd.add_f32s(rest, simd.splat_f32s(1.0)));
    let power = simd.mul_f32s(sum, simd.transmute_f32s_u32s(power_of_2));
    simd.select_f32s(simd.equal_f32s(given, given), power, given) // `min` and `max` may lose what is no number
}

/// x · sigmoid(1.702 x), within 5e-7 of |x|.
#[inline(always)]
pub(crate) fn quick_gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let below = exp(simd, simd.mul_f32s(x, simd.splat_f32s(-1.702)));
    simd.div_f32s(x, simd.add_f32s(below, simd.splat_f32s(1.0)))
}

/// x · Φ(x) with the error function, within 5e-7 of |x|. Source: Abramowitz and Stegun, 7.1.26.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const TERMS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let one = simd.splat_f32s(1.0);
    let size = simd.abs_f32s(x);
    let z = simd.mul_f32s(size, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(z, simd.splat_f32s(0.327_591_1), one));
    let bell = exp(simd, simd.neg_f32s(simd.mul_f32s(z, z)));
    let erfc = simd.mul_f32s(simd.mul_f32s(polynomial(simd, t, TERMS), t), bell);
    // max(x, 0) − |x| erfc(|x| / √2) / 2: nothing cancels where x is far below zero.
    let half = simd.mul_f32s(size, simd.splat_f32s(-0.5));
    simd.mul_add_e_f32s(half, erfc, simd.max_f32s(simd.splat_f32s(0.0), x))
}

/// The first term is that of the highest power.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, terms: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(0.0);
    for term in terms {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(term));
    }
    sum
}
