//! A vision tower, timed by whoever asks: `cargo bench --bench clip -- TOWER_FOLDER direct|candle THREADS`.
//!
//! In: lines of standard input, each a number of crops. Out: for each a line, the milliseconds and the CPU milliseconds
//! of one pass. That the caller says when lets it take turns between this and the peers.

#![expect(clippy::print_stdout, reason = "what it measures goes there")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use deepsweep::networks::clip::{ClipVision, ClipVisionConfig};
use deepsweep::networks::weights::Weights;
use image::RgbImage;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [folder, path, threads] = arguments.as_slice() else {
        return Err("expected TOWER_FOLDER, direct or candle, THREADS".into());
    };
    let folder = Path::new(folder);
    let config = ClipVisionConfig::read(&folder.join("config.json"))?;
    let weights = Weights::open(folder, &Device::Cpu)?;
    let tower = match path.as_str() {
        "direct" => ClipVision::new(config, &weights)?,
        "candle" => ClipVision::in_candle(config, &weights)?,
        other => return Err(format!("expected direct or candle, found {other:?}").into()),
    };
    let side = tower.config().image_px as u32;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    for line in std::io::stdin().lines() {
        let crops: usize = line?.trim().parse()?;
        let square = RgbImage::from_fn(side, side, |x, y| image::Rgb([(x * 3) as u8, (y * 5) as u8, (x ^ y) as u8]));
        let (cpu, start) = (cpu_ms()?, Instant::now());
        pool.install(|| tower.forward_squares(&vec![&square; crops], [0.5; 3], [0.25; 3]))?;
        println!("{:.2} {:.0}", start.elapsed().as_secs_f64() * 1e3, cpu_ms()? - cpu);
    }
    Ok(())
}

/// What this process has used of all cores, in its own code: Linux counts it in hundredths of a second.
fn cpu_ms() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks = stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(11));
    Ok(ticks.ok_or("no user time in /proc/self/stat")?.parse::<f64>()? * 10.0)
}
