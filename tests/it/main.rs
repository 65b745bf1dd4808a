#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
//! One binary for every test that looks at deepsweep from outside.
//!
//! Numbers against references (`tests/golden/`, made by independent scripts):
//! - `parity_decode`      pixels of JPEG and WebP as libjpeg-turbo and libwebp decode them
//! - `parity_mtcnn`       faces as facenet-pytorch finds them
//! - `parity_preprocess`  squares for the tower as transformers makes them with Pillow
//! - `parity_clip`        embeddings of full-size towers as transformers computes them
//!
//! The program, started as a user starts it:
//! - `run_formats`        every format and variant that is decoded
//! - `run_bad`            hostile and broken files: each its row, none stops the run
//! - `run_sources`        the same job through folders, our S3 server and moto; odd keys; objects that change
//! - `run_signals`        SIGINT and SIGTERM in the middle; the same tables whatever the number of threads
//! - `run_readers`        the tables in DuckDB, pyarrow, polars and pandas
//! - `run_memory`         peak memory against the number and the size of pictures
//! - `run_cli`            help, settings and their origins, messages and exit codes
//! - `scorer_folders`     scorers of one's own, and everything that can be wrong with them
//!
//! Stores, each against the same contract:
//! - `storage_contract`   memory, folder, our S3 server, moto
//! - `storage_local`, `storage_s3`, `storage_faulty`   what only one of them can get wrong
//!
//! The code itself:
//! - `architecture`       a stage imports only what stands to its left, networks touch no I/O, files stay small

mod architecture;
mod parity_clip;
mod parity_decode;
mod parity_mtcnn;
mod parity_preprocess;
mod program;
mod run_bad;
mod run_cli;
mod run_formats;
mod run_memory;
mod run_readers;
mod run_signals;
mod run_sources;
mod scorer_folders;
mod servers;
mod storage_contract;
mod storage_faulty;
mod storage_local;
mod storage_s3;

/// The root of the repository.
fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
