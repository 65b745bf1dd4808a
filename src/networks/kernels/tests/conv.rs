//! The kernels against the definition, computed in f64.

use deepsweep_kernels::{DirectConv, LANES, Planes, Winograd, WinogradSpace};

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
    for (inputs, outputs, height, width) in
        [(28, 48, 11, 11), (64, 64, 10, 10), (32, 64, 23, 23), (10, 16, 3, 4), (16, 9, 4, 3), (5, 7, 7, 8)]
    {
        for way in [Way::F3, Way::F4] {
            check(Case { inputs, outputs, kernel: 3, height, width }, way);
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Direct,
    F3,
    F4,
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
    let (mut space, mut out) = (WinogradSpace::default(), Planes::default());
    match way {
        Way::Direct => DirectConv::new(&weight, &bias, Some(&slope), inputs, kernel).forward(&x, &mut out),
        Way::F3 => Winograd::f3(&weight, &bias, &slope, inputs).forward(&x, None, &mut space, &mut out),
        Way::F4 => Winograd::f4(&weight, &bias, &slope, inputs).forward(&x, None, &mut space, &mut out),
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
    for (kernel, height, width) in
        [(3, 10, 10), (3, 11, 13), (2, 10, 10), (2, 9, 12), (3, 5, 5), (3, 25, 24), (2, 12, 5)]
    {
        let (inputs, outputs) = (3, 9);
        let mut x = Planes::new(inputs, height, width * LANES);
        for i in 0..inputs * height * width * LANES {
            x.values[i] = number(i);
        }
        let weight: Vec<f32> = (0..outputs * inputs * 9).map(|i| number(i + 7_000_000)).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| number(i + 8_000_000)).collect();
        for conv in [Winograd::f3(&weight, &bias, &bias, inputs), Winograd::f4(&weight, &bias, &bias, inputs)] {
            let mut space = WinogradSpace::default();
            let (mut layer, mut out) = (Planes::default(), Planes::default());
            conv.forward(&x, None, &mut space, &mut layer);
            conv.forward(&x, Some(kernel), &mut space, &mut out);
            let pooled = |side: usize| (side - kernel).div_ceil(2) + 1;
            let (rows, columns) = (layer.rows, layer.row / LANES);
            assert_eq!((out.channels, out.rows, out.row), (outputs, pooled(rows), pooled(columns) * LANES));
            for channel in 0..outputs {
                for (i, found) in out.plane(channel).iter().enumerate() {
                    let (y, v, lane) = (i / out.row, i % out.row / LANES, i % LANES);
                    let seen = |from: usize, side: usize| 2 * from..(2 * from + kernel).min(side);
                    let values =
                        seen(y, rows).flat_map(|y| seen(v, columns).map(move |x| (y * columns + x) * LANES + lane));
                    let expected = values.map(|at| layer.plane(channel)[at]).fold(f32::NEG_INFINITY, f32::max);
                    assert_eq!(*found, expected, "{kernel} of {height} × {width}: channel {channel} y {y} v {v}");
                }
            }
        }
    }
}
