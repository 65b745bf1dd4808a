#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
//! One binary for every test that looks at deepsweep from outside.
//!
//! Numbers against references (`tests/golden/`, made by independent scripts):
//! - `parity_mtcnn`       faces as facenet-pytorch finds them

mod parity_clip;
mod parity_decode;
mod parity_mtcnn;
mod parity_preprocess;
mod servers;
mod storage_contract;
mod storage_faulty;
mod storage_local;
mod storage_s3;

/// The root of the repository.
fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
