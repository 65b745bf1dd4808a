//! Tiny objects, where everything costs but decoding: their rate, and memory that does not grow with their number.
//!
//! Source and destination are both on our own S3 server, in the test's process: the child's memory is its own.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::time::Instant;

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

use crate::program::{Sweep, landed_in_bucket, rows};
use crate::run_memory::measured;
use crate::run_sources::{BUCKET, RESULTS};
use crate::servers::s3s_server::S3Server;

const MIB: u64 = 1024 * 1024;

/// What more objects may cost, beside a tenth: 50 bytes each of the 75,000 more of the long form. Whoever plans keeps nothing
/// of them, whoever works one file of the plan.
const MORE: u64 = 4 * MIB;

/// Pictures of 16 × 16 pixels, all different, and of ten objects one that is none.
fn archive(objects: usize) -> S3Server {
    let server = S3Server::start();
    server.create_bucket(RESULTS);
    for at in 0..objects {
        let body = if at % 10 == 9 {
            format!("no picture {at}").into_bytes()
        } else {
            let [red, green, blue, _] = (at as u32).to_le_bytes();
            let mut body = Cursor::new(vec![]);
            RgbImage::from_pixel(16, 16, Rgb([red, green, blue])).write_to(&mut body, ImageFormat::Png).unwrap();
            body.into_inner()
        };
        server.put(BUCKET, &format!("{:03}/{at:07}.png", at / 500), body);
    }
    server
}

/// The peak of a run over so many.
fn peak_of(objects: usize) -> u64 {
    let server = archive(objects);
    let sweep = Sweep { source: "s3://archive", out: "s3://results", scorer: "none", flags: &[] };
    let began = Instant::now();
    let (peak, finished) = measured(sweep.command(&server.environment()));
    let took = began.elapsed().as_secs_f64();
    let rate = objects as f64 / took;
    println!("{objects} objects: {took:.1} s, {rate:.0}/s, peak {} MiB\n{}", peak / MIB, finished.stdout);
    let landed = landed_in_bucket(&server, RESULTS, "");
    let success: Value = serde_json::from_slice(&landed["_runs/first/SUCCESS.json"]).unwrap();
    println!("{}", success["tally"]["seconds"]);
    let media = rows(&landed, "media");
    let keys: BTreeSet<&str> = media.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!((media.len(), keys.len()), (objects, objects), "every object has one row");
    let of_status = |status: &str| media.iter().filter(|row| row["status"] == status).count();
    assert_eq!((of_status("no_face"), of_status("rejected")), (objects - objects / 10, objects / 10));
    assert_eq!(success["tally"]["objects"], objects);
    peak
}

fn check_flat(few: usize, many: usize) {
    let (few, many) = (peak_of(few), peak_of(many));
    assert!(many <= few + few / 10 + MORE, "{} MiB became {} MiB", few / MIB, many / MIB);
}

#[test]
fn five_thousand_tiny_objects_have_a_row_each_and_take_no_more_memory_than_a_quarter_of_them() {
    check_flat(1_250, 5_000);
}

#[test]
#[ignore = "nightly: minutes"]
fn a_hundred_thousand_tiny_objects_have_a_row_each_and_take_no_more_memory_than_a_quarter_of_them() {
    check_flat(25_000, 100_000);
}
