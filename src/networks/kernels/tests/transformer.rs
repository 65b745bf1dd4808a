//! What a transformer is made of, against the definitions computed in f64.

use deepsweep_kernels::{
    Bf16, Bf16Matrix, Bits, Finish, HeadRows, HeadScratch, LayerNorm, PackedMatrix, attend, lanes,
};

/// Numbers in [−1, 1) that differ from place to place.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let number = |i: u64| {
        let z = (i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
    };
    (1..=count as u64).map(number).collect()
}

fn check_near(found: f32, expected: f64, near: f64, what: &str) {
    assert!((f64::from(found) - expected).abs() <= near, "{what}: expected {expected}, found {found}");
}

/// erfc by its series up to 3 and its continued fraction beyond: both to the last digits of f64.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let fraction = (1..=60).rev().fold(0.0, |below, n| f64::from(n) / 2.0 / (x + below));
    (-x * x).exp() / (x + fraction) / std::f64::consts::PI.sqrt()
}

fn finished(sum: f64, before: f32, finish: Finish) -> f64 {
    match finish {
        Finish::Store => sum,
        Finish::Add => sum + f64::from(before),
        Finish::QuickGelu => sum / (1.0 + (-1.702 * sum).exp()),
        Finish::Gelu => sum * erfc(-sum / std::f64::consts::SQRT_2) / 2.0,
    }
}

#[test]
fn products_are_as_defined_whatever_the_shape() {
    let shapes = [(1, 8, 8), (5, 8, 24), (2, 1, 1), (13, 300, 37), (7, 768, 50), (12, 513, 3 * lanes()), (0, 4, 4)];
    for finish in [Finish::Store, Finish::Add, Finish::QuickGelu, Finish::Gelu] {
        for (rows, depth, width) in shapes {
            check_product(rows, depth, width, finish);
        }
    }
}

/// What an instruction of the machine makes of products whose factors are exact in bfloat16: nothing but the order of
/// adding is its own.
#[test]
fn products_in_bfloat16_are_as_defined_whatever_the_shape() {
    let Some(machine) = Bf16::detect() else {
        return;
    };
    for finish in [Finish::Store, Finish::Add, Finish::QuickGelu, Finish::Gelu] {
        for (rows, depth, width) in [(1, 8, 8), (5, 2, 24), (13, 300, 37), (7, 768, 50), (24, 2050, 64), (0, 4, 4)] {
            let what = format!("{rows} × {depth} × {width} {finish:?}");
            let (x, weight) = (eighths(rows * depth, 1), eighths(width * depth, 2_000_000));
            let bias = numbers(width, 3_000_000);
            let matrix = Bf16Matrix::new(machine, &weight, Some(&bias), depth);
            let before = numbers(rows * width, 4_000_000);
            let mut out = before.clone();
            let mut rounded = vec![0; rows * depth];
            machine.round(&x, &mut rounded);
            let x_rows: Vec<&[Bits]> = rounded.chunks_exact(depth).collect();
            let half = matrix.panels() / 2;
            for panels in [0..half, half..matrix.panels()] {
                let columns = matrix.columns(&panels);
                let mut parts: Vec<&mut [f32]> =
                    out.chunks_exact_mut(width).map(|row| &mut row[columns.clone()]).collect();
                matrix.multiply(machine, &x_rows, panels, finish, &mut parts);
            }
            for (i, found) in out.iter().enumerate() {
                let (row, column) = (i / width, i % width);
                let terms = x[row * depth..][..depth].iter().zip(&weight[column * depth..][..depth]);
                let sum = terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() + f64::from(bias[column]);
                check_near(*found, finished(sum, before[i], finish), 2e-6 + 1e-7 * depth as f64, &what);
            }
        }
    }
}

/// Multiples of an eighth in [−1, 1), which bfloat16 holds.
fn eighths(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|value| (value * 8.0).floor() / 8.0).collect()
}

#[test]
fn rounding_to_bfloat16_takes_the_nearest_and_of_two_the_even() {
    let Some(machine) = Bf16::detect() else {
        return;
    };
    let cases: [(u32, Bits); 7] = [
        (0x3F80_0000, 0x3F80),
        (0x3F80_7FFF, 0x3F80),
        (0x3F80_8000, 0x3F80), // halfway, down to the even
        (0x3F80_8001, 0x3F81),
        (0x3F81_8000, 0x3F82), // halfway, up to the even
        (0xBF81_8000, 0xBF82),
        (0x7F80_0000, 0x7F80), // infinity
    ];
    // More than a vector of them, so that the rest is met too.
    let x: Vec<f32> = cases.iter().cycle().take(37).map(|(bits, _)| f32::from_bits(*bits)).collect();
    let mut rounded = vec![0; x.len()];
    machine.round(&x, &mut rounded);
    for (found, (bits, expected)) in rounded.iter().zip(cases.iter().cycle()) {
        assert_eq!(found, expected, "of {bits:08X}");
    }
    let mut nan = [0];
    machine.round(&[f32::NAN], &mut nan);
    assert!(f32::from_bits(u32::from(nan[0]) << 16).is_nan());
}

fn check_product(rows: usize, depth: usize, width: usize, finish: Finish) {
    let what = format!("{rows} × {depth} × {width} {finish:?}");
    let (x, weight, bias) = (numbers(rows * depth, 1), numbers(width * depth, 2_000_000), numbers(width, 3_000_000));
    let matrix = PackedMatrix::new(&weight, Some(&bias), depth);
    assert_eq!((matrix.depth(), matrix.width()), (depth, width));
    let before = numbers(rows * width, 4_000_000);
    let mut out = before.clone();
    let x_rows: Vec<&[f32]> = x.chunks_exact(depth).collect();
    // In two parts of columns, as two threads would.
    let half = matrix.panels() / 2;
    for panels in [0..half, half..matrix.panels()] {
        let columns = matrix.columns(&panels);
        let mut parts: Vec<&mut [f32]> = out.chunks_exact_mut(width).map(|row| &mut row[columns.clone()]).collect();
        matrix.multiply(&x_rows, panels, finish, &mut parts);
    }
    for (i, found) in out.iter().enumerate() {
        let (row, column) = (i / width, i % width);
        let terms = x_rows[row].iter().zip(&weight[column * depth..][..depth]);
        let sum = terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() + f64::from(bias[column]);
        check_near(*found, finished(sum, before[i], finish), 2e-6 + 1e-7 * depth as f64, &what);
    }
}

#[test]
fn activations_hold_from_far_below_zero_to_far_above() {
    let matrix = PackedMatrix::new(&[1.0], None, 1);
    for finish in [Finish::QuickGelu, Finish::Gelu] {
        for i in -40_000..=40_000 {
            let x = i as f32 / 1000.0;
            let mut out = [f32::NAN];
            matrix.multiply(&[&[x]], 0..1, finish, &mut [&mut out]);
            let near = 5e-7 * f64::from(x.abs());
            check_near(out[0], finished(f64::from(x), 0.0, finish), near, &format!("{finish:?} of {x}"));
        }
        for (x, expected) in [(-1e30, 0.0), (-3e4, 0.0), (3e4, 3e4), (1e30, 1e30)] {
            let mut out = [f32::NAN];
            matrix.multiply(&[&[x]], 0..1, finish, &mut [&mut out]);
            check_near(out[0], expected, 1e-7 * expected + 1e-7, &format!("{finish:?} of {x}"));
        }
    }
}

#[test]
fn layer_norms_are_as_defined_whatever_the_width() {
    for width in [1, 5, 8, 37, 768, 1_000] {
        let norm = LayerNorm { weight: numbers(width, 5), bias: numbers(width, 6_000), epsilon: 1e-5 };
        let x: Vec<f32> = numbers(width, 7_000_000).iter().map(|v| v * 3.0 + 2.0).collect();
        let mut out = vec![f32::NAN; width];
        norm.forward(&x, &mut out);
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / width as f64;
        let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / width as f64;
        for i in 0..width {
            let normal = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt();
            let expected = normal * f64::from(norm.weight[i]) + f64::from(norm.bias[i]);
            check_near(out[i], expected, 3e-6, &format!("width {width}"));
        }
    }
}

#[test]
fn attention_is_as_defined_whatever_the_shape() {
    let mut scratch = HeadScratch::default(); // one for all: what one leaves in it must not reach the next
    for (queries, places, width) in [(5, 5, 4), (50, 50, 64), (1, 257, 64), (3, 17, 5), (197, 197, 80), (2, 1, 1)] {
        let stride = 2 * width + 3;
        let q: Vec<f32> = numbers(queries * stride, 8).iter().map(|v| v * 3.0).collect();
        let kv = numbers(places * stride, 9_000_000);
        let mut out = vec![f32::NAN; queries * width];
        let rows = |values, rows| HeadRows { values, stride, rows, width };
        let (k, v) = (rows(&kv[..], places), rows(&kv[width..], places));
        attend(rows(&q, queries), k, v, &mut scratch, &mut out.chunks_exact_mut(width).collect::<Vec<_>>());
        for query in 0..queries {
            let likeness = |place: usize| -> f64 {
                (0..width).map(|c| f64::from(q[query * stride + c]) * f64::from(kv[place * stride + c])).sum()
            };
            let weights: Vec<f64> = (0..places).map(|place| likeness(place).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for c in 0..width {
                let values = (0..places).map(|place| f64::from(kv[place * stride + width + c]));
                let expected = values.zip(&weights).map(|(value, weight)| value * weight).sum::<f64>() / sum;
                let found = out[query * width + c];
                check_near(found, expected, 5e-6, &format!("{queries} queries, {places} places, {width} wide"));
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for finish in [Finish::Store, Finish::Add, Finish::QuickGelu, Finish::Gelu] {
        let matrix = PackedMatrix::new(&[1.0, f32::NAN, 1.0, 1.0], None, 2);
        let mut out = [0.0; 2];
        matrix.multiply(&[&[1.0, 1.0]], 0..1, finish, &mut [&mut out]);
        assert!(out[0].is_nan() && out[1].is_finite(), "{finish:?}: {out:?}");
    }
    let norm = LayerNorm { weight: vec![1.0; 9], bias: vec![0.0; 9], epsilon: 1e-5 };
    let mut out = [0.0; 9];
    norm.forward(&[1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN, 7.0, 8.0, 9.0], &mut out);
    assert!(out.iter().all(|value| value.is_nan()), "{out:?}");
    for wrong in [f32::NAN, f32::INFINITY] {
        for places in [3, 50] {
            let mut keys = vec![0.5; places];
            keys[places - 1] = wrong;
            let values = vec![1.0; places];
            let rows = |values, rows| HeadRows { values, stride: 1, rows, width: 1 };
            let mut out = [0.0];
            let (k, v) = (rows(&keys[..], places), rows(&values[..], places));
            attend(rows(&[1.0], 1), k, v, &mut HeadScratch::default(), &mut [&mut out]);
            assert!(out[0].is_nan(), "{wrong} among {places}: {out:?}");
        }
    }
}
