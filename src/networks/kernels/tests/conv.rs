//! The kernels against the definition, computed in f64.

use deepsweep_kernels::{DirectConv, Planes, lanes, max_pool_lanes, max_pool_row_pairs};

/// Numbers in [−1, 1) that differ from place to place.
fn number(i: usize) -> f32 {
    let z = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
}

struct Case {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    height: usize,
    width: usize,
}

#[test]
fn a_picture_is_convolved_as_the_definition_says() {
    for (inputs, outputs, kernel, height, width) in
        [(3, 10, 3, 9, 37), (10, 16, 3, 5, 16), (16, 32, 3, 3, 64), (48, 64, 2, 4, 5), (32, 6, 1, 3, 33)]
    {
        check(Case { inputs, outputs, kernel, height, width }, 1);
    }
}

#[test]
fn many_crops_are_convolved_as_the_definition_says() {
    for (inputs, outputs, kernel, height, width) in [(3, 28, 3, 24, 24), (48, 64, 2, 4, 4), (576, 128, 1, 1, 1)] {
        check(Case { inputs, outputs, kernel, height, width }, lanes());
    }
}

/// `step` 1: one picture; else that many of them.
fn check(case: Case, step: usize) {
    let Case { inputs, outputs, kernel, height, width } = case;
    let row = (width * step).next_multiple_of(lanes());
    let mut x = Planes::new(inputs, height, row);
    for i in 0..inputs * height * row {
        x.values[i] = number(i);
    }
    let weight: Vec<f32> = (0..outputs * inputs * kernel * kernel).map(|i| number(i + 7_000_000)).collect();
    let bias: Vec<f32> = (0..outputs).map(|i| number(i + 8_000_000)).collect();
    let slope: Vec<f32> = (0..outputs).map(|i| number(i + 9_000_000)).collect();
    let conv = DirectConv::new(&weight, &bias, Some(&slope), inputs, kernel);
    let mut out = Planes::default();
    conv.forward(&x, step, &mut out);
    assert_eq!((out.channels, out.rows), (outputs, height - kernel + 1));
    for o in 0..outputs {
        for y in 0..out.rows {
            for v in 0..(width - kernel + 1) * step {
                let mut sum = f64::from(bias[o]);
                for i in 0..inputs {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let at = (i * height + y + ky) * row + v + kx * step;
                            let w = weight[((o * inputs + i) * kernel + ky) * kernel + kx];
                            sum += f64::from(w) * f64::from(x.values[at]);
                        }
                    }
                }
                let expected = if sum < 0.0 { sum * f64::from(slope[o]) } else { sum };
                let found = f64::from(out.plane(o)[y * out.row + v]);
                // Roundings of f32 grow with the number of terms, each at most 1.
                let near = 1e-6 * (inputs * kernel * kernel) as f64;
                assert!((expected - found).abs() <= near, "o {o} y {y} v {v}: expected {expected}, found {found}");
            }
        }
    }
}

#[test]
fn pooling_takes_the_largest_and_the_last_window_hangs_over() {
    let (height, width) = (5, 7);
    let mut x = Planes::new(2, height, lanes().max(8));
    for i in 0..2 * height * x.row {
        x.values[i] = number(i);
    }
    let mut out = Planes::default();
    max_pool_row_pairs(&x, width, &mut out);
    for c in 0..2 {
        for y in 0..3 {
            for v in 0..4 {
                let at = |dy: usize, dx: usize| {
                    x.plane(c)[(2 * y + dy).min(height - 1) * x.row + (2 * v + dx).min(width - 1)]
                };
                let expected = at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1));
                assert_eq!(out.plane(c)[y * out.row + v], expected);
            }
        }
    }

    let lanes = lanes();
    let side = 8; // 3 × 3 at stride 2: windows start at 0, 2, 4 and, hanging over, 6
    let mut x = Planes::new(1, side, side * lanes);
    for i in 0..side * side * lanes {
        x.values[i] = number(i);
    }
    max_pool_lanes(&x, 3, &mut out);
    assert_eq!((out.rows, out.row), (4, 4 * lanes));
    for y in 0..4 {
        for v in 0..4 {
            for lane in 0..lanes {
                let mut expected = f32::NEG_INFINITY;
                for yy in 2 * y..(2 * y + 3).min(side) {
                    for xx in 2 * v..(2 * v + 3).min(side) {
                        expected = expected.max(x.values[(yy * side + xx) * lanes + lane]);
                    }
                }
                assert_eq!(out.values[(y * 4 + v) * lanes + lane], expected);
            }
        }
    }
}
