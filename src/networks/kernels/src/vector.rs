//! Vectors of this machine, as many as make [`LANES`] values.

use pulp::{Arch, Simd, WithSimd};

use crate::LANES;

/// Output channels that share a load of the input: with AVX-512's 32 registers twice as many as elsewhere.
pub(crate) fn group() -> usize {
    struct Group;
    impl WithSimd for Group {
        type Output = usize;

        fn with_simd<S: Simd>(self, _: S) -> usize {
            if S::F32_LANES == LANES { 8 } else { 4 }
        }
    }
    Arch::new().dispatch(Group)
}

/// Calls `$run::<S, vectors in LANES, group, …>`, all known when it is compiled.
macro_rules! for_this_machine {
    ($s:ident, $run:ident $(::<$($more:ident),*>)? ( $($argument:expr),* )) => {
        match $s::F32_LANES {
            16 => $run::<$s, 1, 8, $($($more),*)?>($($argument),*),
            8 => $run::<$s, 2, 4, $($($more),*)?>($($argument),*),
            4 => $run::<$s, 4, 4, $($($more),*)?>($($argument),*),
            _ => $run::<$s, { $crate::LANES }, 4, $($($more),*)?>($($argument),*),
        }
    };
}
pub(crate) use for_this_machine;

/// Calls `$run::<S, N, vectors in LANES, vectors of N in half of them, group>($simd, narrow, …)`, where `narrow` is of `N`: AVX2
/// beside AVX-512, whose vectors are no halves, and `S` elsewhere.
macro_rules! for_halves {
    ($s:ident, $run:ident ( $simd:ident, $($argument:expr),* )) => {
        match $s::F32_LANES {
            #[cfg(target_arch = "x86_64")]
            16 => match pulp::x86::V3::try_new() {
                Some(narrow) => $run::<$s, pulp::x86::V3, 1, 1, 8>($simd, narrow, $($argument),*),
                None => $run::<$s, $s, 1, 1, 8>($simd, $simd, $($argument),*),
            },
            #[cfg(not(target_arch = "x86_64"))]
            16 => $run::<$s, $s, 1, 1, 8>($simd, $simd, $($argument),*),
            8 => $run::<$s, $s, 2, 1, 4>($simd, $simd, $($argument),*),
            4 => $run::<$s, $s, 4, 2, 4>($simd, $simd, $($argument),*),
            _ => $run::<$s, $s, { $crate::LANES }, { $crate::LANES / 2 }, 4>($simd, $simd, $($argument),*),
        }
    };
}
pub(crate) use for_halves;

/// The first `V` vectors of `values`, which are [`LANES`].
#[inline(always)]
pub(crate) fn load<S: Simd, const V: usize>(values: &[f32]) -> [S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(&values[..LANES]);
    let mut loaded = [vectors[0]; V];
    loaded.copy_from_slice(&vectors[..V]);
    loaded
}

/// The first vector of `values`.
#[inline(always)]
pub(crate) fn load_one<S: Simd>(values: &[f32]) -> S::f32s {
    S::as_simd_f32s(&values[..S::F32_LANES]).0[0]
}

#[inline(always)]
pub(crate) fn store_one<S: Simd>(values: &mut [f32], vector: S::f32s) {
    S::as_mut_simd_f32s(&mut values[..S::F32_LANES]).0[0] = vector;
}

/// max(x, 0) + slope · min(x, 0), which is PReLU for every slope.
#[inline(always)]
pub(crate) fn prelu<S: Simd>(simd: S, x: S::f32s, slope: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.mul_add_e_f32s(simd.min_f32s(x, zero), slope, simd.max_f32s(x, zero))
}

/// `values` with zeros, or what `fill` says, up to whole groups of `group`.
pub(crate) fn filled_up(values: &[f32], group: usize, fill: f32) -> Vec<f32> {
    let mut filled = values.to_vec();
    filled.resize(values.len().next_multiple_of(group), fill);
    filled
}
