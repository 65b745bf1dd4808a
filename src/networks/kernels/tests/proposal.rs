//! P-Net's flow of rows, area averaging and overlaps against their definitions.

use deepsweep_kernels::{
    Against, AreaColumns, AreaSums, Cell, FirstConv, KeptBoxes, Proposal, ProposalSpace, Source, Strip, WinogradF4,
};

mod numbers;
use numbers::number;

/// One plane per channel, [channels][height][width], in f64.
struct Layer(Vec<f64>, [usize; 3]);

impl Layer {
    fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.0[(c * self.1[1] + y) * self.1[2] + x]
    }

    fn made(shape: [usize; 3], value: impl Fn(usize, usize, usize) -> f64) -> Self {
        let [channels, height, width] = shape;
        let places = (0..channels * height * width).map(|i| (i / width / height, i / width % height, i % width));
        Self(places.map(|(c, y, x)| value(c, y, x)).collect(), shape)
    }

    fn convolved(&self, (weight, bias, slope): &(Vec<f32>, Vec<f32>, Vec<f32>)) -> Self {
        let [inputs, height, width] = self.1;
        Self::made([bias.len(), height - 2, width - 2], |o, y, x| {
            let taps = (0..inputs * 9)
                .map(|i| f64::from(weight[o * inputs * 9 + i]) * self.at(i / 9, y + i % 9 / 3, x + i % 3));
            let sum = f64::from(bias[o]) + taps.sum::<f64>();
            if sum < 0.0 { sum * f64::from(slope[o]) } else { sum }
        })
    }

    fn pooled(&self) -> Self {
        let [channels, height, width] = self.1;
        Self::made([channels, height.div_ceil(2), width.div_ceil(2)], |c, y, x| {
            let around = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let seen = around.map(|(dy, dx)| self.at(c, (2 * y + dy).min(height - 1), (2 * x + dx).min(width - 1)));
            seen.into_iter().fold(f64::NEG_INFINITY, f64::max)
        })
    }
}

#[test]
fn cells_are_those_of_the_layers_one_by_one() {
    let numbers = |n: usize, from: usize| -> Vec<f32> { (0..n).map(|i| 0.3 * number(i + from)).collect() };
    let layer = |inputs: usize, outputs: usize, from: usize| {
        (numbers(outputs * inputs * 9, from), numbers(outputs, from + 50_000), numbers(outputs, from + 60_000))
    };
    let (first, second, third) = (layer(3, 10, 0), layer(10, 16, 100_000), layer(16, 32, 200_000));
    let (heads, heads_bias) = (numbers(6 * 32, 300_000), std::array::from_fn(|i| number(i + 400_000)));
    let net = Proposal {
        first: FirstConv::new(&first.0, &first.1, &first.2),
        second: WinogradF4::new(&second.0, &second.1, &second.2, 10),
        third: WinogradF4::new(&third.0, &third.1, &third.2, 16),
        heads: heads.clone(),
        heads_bias,
    };
    let mut space = net.space();
    for (width, height) in
        [(12, 12), (13, 14), (15, 13), (40, 31), (77, 30), (78, 25), (79, 22), (140, 20), (141, 25), (330, 27)]
    {
        let picture = Layer::made([3, height, width], |c, y, x| f64::from(number((c * 1_000 + y) * 1_000 + x)));
        let seen = picture.convolved(&first).pooled().convolved(&second).convolved(&third);
        let (rows, columns) = (Strip::cells(height), Strip::cells(width));
        let section = Strip::section(width);
        let mut read = |y: usize, row: &mut [f32]| {
            for c in 0..3 {
                for x in 0..width {
                    row[(c * Strip::SECTIONS + x % Strip::SECTIONS) * section + x / Strip::SECTIONS] =
                        picture.at(c, y, x) as f32;
                }
            }
        };
        let mut cells_in_strips = |of: usize, space: &mut ProposalSpace| {
            let mut found: Vec<Cell> = vec![];
            for start in (0..rows).step_by(of) {
                let rows = start..rows.min(start + of);
                let strip = Strip { width, height, rows, least_difference: f32::NEG_INFINITY };
                net.find(&strip, &mut read, space, &mut found);
            }
            found.sort_unstable_by_key(|cell| (cell.row, cell.column));
            found
        };
        // Wherever a strip ends, if in fours.
        let whole = cells_in_strips(rows.max(1), &mut space);
        for of in [4, 8] {
            assert_eq!(whole, cells_in_strips(of, &mut space), "{width} × {height}: strips of {of} rows show");
        }
        let mut cells = |space: &mut ProposalSpace| cells_in_strips(6, space);
        let found = cells(&mut space);
        // To the last bit, whatever pictures the work space served before.
        let wide = Strip { width: 301, height: 40, rows: 0..Strip::cells(40), least_difference: f32::INFINITY };
        let mut used = net.space();
        net.find(&wide, &mut |_, row| row.fill(1e3), &mut used, &mut vec![]);
        assert_eq!(found, cells(&mut used), "{width} × {height}: another picture shows");
        let mut bright = |_: usize, row: &mut [f32]| {
            for (at, values) in row.chunks_exact_mut(section).enumerate() {
                let there = width.saturating_sub(at % Strip::SECTIONS).div_ceil(Strip::SECTIONS);
                values[..there].fill(1e3);
            }
        };
        let all = Strip { width, height, rows: 0..rows, least_difference: f32::INFINITY };
        net.find(&all, &mut bright, &mut used, &mut vec![]);
        assert_eq!(found, cells(&mut used), "{width} × {height}: a picture of the same size shows");
        assert_eq!(found.len(), rows * columns, "{width} × {height}");
        for Cell { row, column, outputs } in found {
            for (head, output) in outputs.into_iter().enumerate() {
                let terms = (0..32).map(|c| f64::from(heads[head * 32 + c]) * seen.at(c, row, column));
                let expected = f64::from(heads_bias[head]) + terms.sum::<f64>();
                let near = 1e-4 * (1.0 + expected.abs());
                assert!((expected - f64::from(output)).abs() <= near, "{width} × {height}, {row} {column} {head}");
            }
        }
    }
}

#[test]
fn a_mean_is_exact_whatever_the_window() {
    let (width, height) = (61, 700);
    let pixels: Vec<u8> = (0..width * height * 3).map(|i| (128.0 + 127.0 * number(i)) as u8).collect();
    let (mut columns, mut sums) = (AreaColumns::default(), AreaSums::default());
    for (rows, span, outputs) in [(0..1, 3..61, 7), (5..8, 0..61, 61), (690..700, 10..20, 24), (0..700, 0..61, 2)] {
        columns.set(span.len(), outputs, |x| outputs - 1 - x);
        let mut found = vec![0.0; 3 * outputs];
        let source = Source { pixels: &pixels, stride: width * 3, rows: rows.clone(), columns: span.clone() };
        sums.average(&source, &columns, &mut found, outputs);
        for x in 0..outputs {
            let seen = AreaColumns::span(x, span.len(), outputs);
            for c in 0..3 {
                let column = |y: usize| seen.clone().map(move |x| (y * width + span.start + x) * 3 + c);
                let sum: u64 = rows.clone().flat_map(column).map(|at| u64::from(pixels[at])).sum();
                let mean = sum as f32 / (rows.len() * seen.len()) as f32;
                assert_eq!(found[c * outputs + outputs - 1 - x], (mean - 127.5) * 0.007_812_5);
            }
        }
    }
}

#[test]
fn a_box_overlaps_what_it_shares_more_than_the_limit_with() {
    let mut boxes = KeptBoxes::new(Against::Union);
    assert!(!boxes.overlap([0.0, 0.0, 10.0, 10.0], 0.0));
    for i in 0..40 {
        boxes.keep([i as f32 * 100.0, 0.0, i as f32 * 100.0 + 10.0, 10.0]);
    }
    for i in [0.0, 15.0, 16.0, 39.0] {
        assert!(boxes.overlap([i * 100.0 + 5.0, 0.0, i * 100.0 + 15.0, 10.0], 0.33)); // 50 of 150
        assert!(!boxes.overlap([i * 100.0 + 5.0, 0.0, i * 100.0 + 15.0, 10.0], 0.34));
    }
    assert!(!boxes.overlap([50.0, 0.0, 60.0, 10.0], 0.0));
    assert!(!boxes.overlap([5.0, 5.0, 5.0, 5.0], 0.0)); // empty
    let mut smaller = KeptBoxes::new(Against::Smaller);
    smaller.keep([0.0, 0.0, 9.0, 9.0]);
    assert!(smaller.overlap([0.0, 0.0, 99.0, 99.0], 0.99)); // all of the smaller
}
