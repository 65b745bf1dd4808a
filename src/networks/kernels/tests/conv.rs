//! The kernels against the definition, computed in f64.

use deepsweep_kernels::{DirectConv, LANES, Planes, WinogradConv, max_pool_lanes};

mod numbers;
use numbers::number;

struct Case {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    height: usize,
    width: usize,
}

#[test]
fn crops_are_convolved_as_the_definition_says() {
    for (inputs, outputs, kernel, height, width) in
        [(3, 28, 3, 24, 24), (3, 10, 3, 9, 7), (48, 64, 2, 4, 4), (576, 128, 1, 1, 1), (128, 6, 1, 1, 1)]
    {
        check(Case { inputs, outputs, kernel, height, width }, Way::Direct);
    }
}

#[test]
fn winograd_s_products_give_what_the_definition_says() {
    for (inputs, outputs, height, width) in [(28, 48, 11, 11), (64, 64, 10, 10), (10, 16, 3, 4), (16, 9, 4, 3)] {
        check(Case { inputs, outputs, kernel: 3, height, width }, Way::Winograd);
    }
}

#[derive(Clone, Copy)]
enum Way {
    Direct,
    Winograd,
}

fn check(case: Case, way: Way) {
    let Case { inputs, outputs, kernel, height, width } = case;
    let row = width * LANES;
    let mut x = Planes::new(inputs, height, row);
    for i in 0..inputs * height * row {
        x.values[i] = number(i);
    }
    let weight: Vec<f32> = (0..outputs * inputs * kernel * kernel).map(|i| number(i + 7_000_000)).collect();
    let bias: Vec<f32> = (0..outputs).map(|i| number(i + 8_000_000)).collect();
    let slope: Vec<f32> = (0..outputs).map(|i| number(i + 9_000_000)).collect();
    let mut out = Planes::default();
    match way {
        Way::Direct => DirectConv::new(&weight, &bias, Some(&slope), inputs, kernel).forward(&x, None, &mut out),
        Way::Winograd => WinogradConv::new(&weight, &bias, &slope, inputs).forward(&x, &mut out),
    }
    assert_eq!((out.channels, out.rows, out.row), (outputs, height - kernel + 1, (width - kernel + 1) * LANES));
    for o in 0..outputs {
        for y in 0..out.rows {
            for v in 0..out.row {
                let mut sum = f64::from(bias[o]);
                for i in 0..inputs {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let at = (i * height + y + ky) * row + v + kx * LANES;
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
    for (kernel, side) in [(3, 8), (3, 9), (2, 8), (2, 7)] {
        let mut x = Planes::new(1, side, side * LANES);
        for i in 0..side * side * LANES {
            x.values[i] = number(i);
        }
        let (mut alone, mut behind) = (Planes::default(), Planes::default());
        max_pool_lanes(&x, kernel, &mut alone);
        // A convolution that changes nothing, with the same pooling behind it.
        DirectConv::new(&[1.0], &[0.0], None, 1, 1).forward(&x, Some(kernel), &mut behind);
        let pooled = (side - kernel).div_ceil(2) + 1;
        for out in [alone, behind] {
            assert_eq!((out.channels, out.rows, out.row), (1, pooled, pooled * LANES));
            for (i, found) in out.plane(0).iter().enumerate() {
                let (y, v, lane) = (i / out.row, i / LANES % pooled, i % LANES);
                let mut expected = f32::NEG_INFINITY;
                for yy in 2 * y..(2 * y + kernel).min(side) {
                    for xx in 2 * v..(2 * v + kernel).min(side) {
                        expected = expected.max(x.values[(yy * side + xx) * LANES + lane]);
                    }
                }
                assert_eq!(*found, expected, "kernel {kernel} side {side} y {y} v {v}");
            }
        }
    }
}
