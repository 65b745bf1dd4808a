//! GFLOP/s of each layer of MTCNN beside what one core of this machine can do: `cargo bench -p deepsweep-kernels`.
//!
//! Operations are counted as the definition has them, so Winograd's layers may exceed the peak. The best of many runs,
//! one thread; these machines are shared, so compare columns of one run only.

use std::hint::black_box;
use std::time::Instant;

use deepsweep_kernels::{
    AreaColumns, AreaSums, DirectConv, FirstConv, LANES, Planes, Proposal, Source, Strip, WinogradConv,
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
        let secs = best_secs(|| direct.forward(&x, None, &mut out));
        let operations = 2.0 * (outputs * inputs * kernel * kernel * out.rows * out.row) as f64;
        report(name, "direct", operations, secs, peak);
        if kernel == 3 && inputs > 3 {
            let winograd = WinogradConv::new(&weight, &bias, &bias, inputs);
            report(name, "winograd", operations, best_secs(|| winograd.forward(&x, &mut out)), peak);
        }
    }
}

/// The largest level of 1280 × 720 at a smallest face of 20 px, without resizing.
fn proposal(peak: f64) {
    let (width, height) = (768, 432);
    let net = Proposal {
        first: FirstConv::new(&numbers(270), &numbers(10), &numbers(10)),
        second: WinogradConv::new(&numbers(1440), &numbers(16), &numbers(16), 10),
        third: WinogradConv::new(&numbers(4608), &numbers(32), &numbers(32), 16),
        heads: numbers(192),
        heads_bias: [0.0; 6],
    };
    let (mut space, mut found) = (net.space(), vec![]);
    let strip = Strip { width, height, rows: 0..Strip::cells(height), least_difference: f32::INFINITY };
    let secs = best_secs(|| net.find(&strip, &mut |_, _| {}, &mut space, &mut found));
    // Per pixel 270, per pooled pixel 1,440 + 4,608 + 192.
    report("pnet", "flow", 2.0 * 1830.0 * (width * height) as f64, secs, peak);
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
