//! GFLOP/s of each layer of MTCNN beside what one core of this machine can do: `cargo bench -p deepsweep-kernels`.
//!
//! Operations are counted as the definition has them, so Winograd's layers may exceed the peak. The best of many runs,
//! one thread; these machines are shared, so compare columns of one run only.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use deepsweep_kernels::{
    AreaColumns, AreaSums, Bf16, Bf16Matrix, Bits, DirectConv, Finish, FirstConv, HeadRows, HeadScratch, LANES,
    LayerNorm, PackedMatrix, Planes, Proposal, Source, Strip, Winograd, WinogradF4, WinogradSpace, attend,
};
use pulp::{Arch, Simd, WithSimd};

fn main() {
    let peak = 2.0 * PEAK_STEPS as f64 * Arch::new().dispatch(Peak) as f64;
    let peak =
        peak / best_secs(|| {
            black_box(Arch::new().dispatch(Peak));
        }) / 1e9;
    println!("peak of fused multiply-adds: {peak:.0} GFLOP/s");
    crop_layers(peak);
    proposal(peak);
    resizing();
    crop();
    products(peak);
    heads(peak);
    norms();
}

fn crop_layers(peak: f64) {
    for (name, inputs, outputs, kernel, side) in [
        ("rnet conv1", 3, 28, 3, 24),
        ("rnet conv2", 28, 48, 3, 11),
        ("rnet conv3", 48, 64, 2, 4),
        ("rnet dense4", 576, 128, 1, 1),
        ("onet conv1", 3, 32, 3, 48),
        ("onet conv2", 32, 64, 3, 23),
        ("onet conv3", 64, 64, 3, 10),
        ("onet conv4", 64, 128, 2, 4),
        ("onet dense5", 1152, 256, 1, 1),
    ] {
        let mut x = Planes::new(inputs, side, side * LANES);
        x.values = numbers(x.values.len());
        let (weight, bias) = (numbers(outputs * inputs * kernel * kernel), numbers(outputs));
        let mut out = Planes::default();
        let direct = DirectConv::new(&weight, &bias, Some(&bias), inputs, kernel);
        let secs = best_secs(|| direct.forward(&x, &mut out));
        let operations = 2.0 * (outputs * inputs * kernel * kernel * out.rows * out.row) as f64;
        report(name, "direct", operations, secs, peak);
        if kernel == 3 {
            let mut space = WinogradSpace::default();
            let three = Winograd::f3(&weight, &bias, &bias, inputs);
            report(name, "F(3, 3)", operations, best_secs(|| three.forward(&x, None, &mut space, &mut out)), peak);
            let four = Winograd::f4(&weight, &bias, &bias, inputs);
            report(name, "F(4, 3)", operations, best_secs(|| four.forward(&x, None, &mut space, &mut out)), peak);
            let secs = best_secs(|| four.forward(&x, Some(3), &mut space, &mut out));
            report(name, "and pool", operations, secs, peak);
        }
    }
}

/// The largest level of 1280 × 720 at a smallest face of 20 px, without resizing.
fn proposal(peak: f64) {
    let (width, height) = (768, 432);
    let net = Proposal {
        first: FirstConv::new(&numbers(270), &numbers(10), &numbers(10)),
        second: WinogradF4::new(&numbers(1440), &numbers(16), &numbers(16), 10),
        third: WinogradF4::new(&numbers(4608), &numbers(32), &numbers(32), 16),
        heads: numbers(192),
        heads_bias: [0.0; 6],
    };
    let (mut space, mut found) = (net.space(), vec![]);
    let strip = Strip { width, height, rows: 0..Strip::cells(height), least_difference: f32::INFINITY };
    let secs = best_secs(|| net.find(&strip, &mut |_, _| {}, &mut space, &mut found));
    // Per pixel 270, per pooled pixel 1,440 + 4,608 + 192.
    report("pnet", "flow", 2.0 * 1830.0 * (width * height) as f64, secs, peak);
}

/// A thread's rows of eight crops of B/32, and of L/14.
fn products(peak: f64) {
    for (name, rows, depth, width) in [
        ("b32 query", 200, 768, 768),
        ("b32 up", 200, 768, 3072),
        ("b32 down", 200, 3072, 768),
        ("l14 query", 200, 1024, 1024),
        ("l14 up", 200, 1024, 4096),
        ("l14 down", 200, 4096, 1024),
        ("one crop", 25, 768, 3072),
        ("one row", 1, 768, 768),
    ] {
        let matrix = PackedMatrix::new(&numbers(depth * width), Some(&numbers(width)), depth);
        let stride = depth + 16; // rows a power of two apart would share the same few lines of the first cache
        let (x, mut out) = (numbers(rows * stride), vec![0.0; rows * (width + 16)]);
        let x: Vec<&[f32]> = x.chunks_exact(stride).map(|row| &row[..depth]).collect();
        for (way, finish) in [("store", Finish::Store), ("gelu", Finish::QuickGelu)] {
            let secs = best_secs(|| {
                let mut out: Vec<&mut [f32]> = out.chunks_exact_mut(width + 16).map(|row| &mut row[..width]).collect();
                matrix.multiply(&x, 0..matrix.panels(), finish, &mut out);
            });
            report(name, way, 2.0 * (rows * depth * width) as f64, secs, peak);
        }
        let Some(machine) = Bf16::detect() else {
            continue;
        };
        let matrix = Bf16Matrix::new(machine, &numbers(depth * width), Some(&numbers(width)), depth);
        let mut rounded = vec![0; rows * stride];
        let secs = best_secs(|| {
            for (rounded, x) in rounded.chunks_exact_mut(stride).zip(&x) {
                machine.round(x, &mut rounded[..depth]);
            }
            let rounded: Vec<&[Bits]> = rounded.chunks_exact(stride).map(|row| &row[..depth]).collect();
            let mut out: Vec<&mut [f32]> = out.chunks_exact_mut(width + 16).map(|row| &mut row[..width]).collect();
            matrix.multiply(machine, &rounded, 0..matrix.panels(), Finish::QuickGelu, &mut out);
        });
        report(name, "bf16", 2.0 * (rows * depth * width) as f64, secs, peak);
    }
}

/// One head of 64 values: B/32's 50 tokens, L/14's 257.
fn heads(peak: f64) {
    for tokens in [50, 257] {
        let (hidden, width) = (768, 64);
        let values = numbers(tokens * hidden);
        let head = HeadRows { values: &values, stride: hidden, rows: tokens, width };
        let (mut scratch, mut out) = (HeadScratch::default(), vec![0.0; tokens * width]);
        let secs = best_secs(|| {
            let mut out: Vec<&mut [f32]> = out.chunks_exact_mut(width).collect();
            attend(head, head, head, &mut scratch, &mut out);
        });
        report("attention", &format!("{tokens}"), 4.0 * (tokens * tokens * width) as f64, secs, peak);
    }
}

fn norms() {
    let width = 768;
    let norm = LayerNorm { weight: numbers(width), bias: numbers(width), epsilon: 1e-5 };
    let (x, mut out) = (numbers(400 * width), vec![0.0; 400 * width]);
    let secs = best_secs(|| {
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            norm.forward(x, out);
        }
    });
    println!("layer norm of 400 × {width}: {:.0} µs", secs * 1e6);
}

/// A window of 60 × 60 pixels → 24 × 24.
fn crop() {
    let (stride, side, to) = (1280 * 3, 60, 24);
    let pixels: Vec<u8> = (0..stride * 720).map(|i| (i % 251) as u8).collect();
    let (mut columns, mut sums) = (AreaColumns::default(), AreaSums::default());
    let mut planes = vec![0.0; 3 * to * to * LANES];
    let secs = best_secs(|| {
        columns.set(side, to, |x| x * LANES);
        for y in 0..to {
            let Range { start, end } = AreaColumns::span(y, side, to);
            let source = Source { pixels: &pixels, stride, rows: 300 + start..300 + end, columns: 400..400 + side };
            sums.average(&source, &columns, &mut planes[y * to * LANES..], to * to * LANES);
        }
    });
    println!("a crop of {side} × {side} → {to} × {to}: {:.1} µs", secs * 1e6);
}

fn resizing() {
    let (width, height, to_width, to_height) = (1280, 720, 768, 432);
    let pixels: Vec<u8> = (0..width * height * 3).map(|i| (i % 251) as u8).collect();
    let (mut columns, mut sums) = (AreaColumns::default(), AreaSums::default());
    columns.set(width, to_width, |x| x);
    let mut row = vec![0.0; 3 * to_width];
    let secs = best_secs(|| {
        for y in 0..to_height {
            let rows = AreaColumns::span(y, height, to_height);
            let source = Source { pixels: &pixels, stride: width * 3, rows, columns: 0..width };
            sums.average(&source, &columns, &mut row, to_width);
        }
    });
    println!("area resizing {width} × {height} → {to_width} × {to_height}: {:.2} ms", secs * 1e3);
}

fn report(layer: &str, way: &str, operations: f64, secs: f64, peak: f64) {
    let rate = operations / secs / 1e9;
    println!("{layer:12} {way:9} {rate:6.0} GFLOP/s {:4.0} % of the peak {:8.0} µs", 100.0 * rate / peak, secs * 1e6);
}

fn best_secs(mut work: impl FnMut()) -> f64 {
    let once = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(once).take(40).fold(f64::INFINITY, f64::min)
}

/// In [−0.5, 0.5].
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 37 % 101) as f32 * 0.01 - 0.5).collect()
}

const PEAK_STEPS: usize = 1_000_000;

/// Twelve independent chains of fused multiply-adds; returns the multiply-adds of a step.
struct Peak;

impl WithSimd for Peak {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let mut sums = [simd.splat_f32s(0.0); 12];
        let (factor, term) = (simd.splat_f32s(0.999), simd.splat_f32s(0.001));
        for _ in 0..PEAK_STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, term);
            }
        }
        black_box(sums);
        12 * S::F32_LANES
    }
}
