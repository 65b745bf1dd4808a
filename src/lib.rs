//! deepsweep sweeps an archive of images and videos for faces and deepfakes: it lists objects, decodes them, finds
//! faces with MTCNN, embeds them with CLIP, scores them with a head, and writes what it found to Parquet.
//!
//! ```text
//!         async I/O                CPU pool          owners of the device              async I/O
//! plan ─▶ list ─▶ fetch ─bytes─▶ decode ─frames─▶ detect ─▶ crop ─▶ embed ─▶ score ─rows─▶ write (= commit)
//! ```
//!
//! # The map
//! A flag becomes a setting ([`cli`], [`job`], [`settings`]). A [`run`] is three steps, which array jobs take apart: [`plan`]
//! decides what there is to do, [`work`] does slices of it with its [`instruments`], through the [`pipeline`], and [`finish`] says
//! that all is done. The protocol between them stands in [`plan`], what stands at a destination is read by [`results`]. What scorers are made of is pulled and checked before ([`models`], [`scorers::store`]). Stages call
//! [`networks`] (tensors in, tensors out) through [`scorers`], and leave the process only through [`storage`]. What
//! they found becomes rows of [`tables`]. Videos are decoded by a child process that is held in ([`ffmpeg`]); [`doctor`]
//! says what of that works on this machine. What a run counts ([`progress`]) is shown as it works ([`heartbeat`]) and told to
//! machines that watch it ([`metrics`]).
//!
//! What a run stored is used again without its media: [`rescore`] makes new rows of old embeddings, and [`labelled`] holds
//! them against what people know (fit, calibrate, evaluate), with [`statistics`] that know nothing of either.
//!
//! # The rules of the house
//! - One direction: a stage imports only what stands to its left; `pipeline/mod.rs` alone knows them all.
//! - [`networks`] and the stages from decode to score are pure: no store, no clock to decide by, no environment.
//! - An [`error::Error`] stops the job; an [`error::Rejection`] is a row. Every listed object gets its row.
//! - Not scored is null with a reason. Nothing falls back in silence, nothing is drawn at random.
//! - Memory is bounded by bytes ([`pipeline::memory`]); every bound stands in [`limits`] with its reason.
//! - Output depends on the input alone, never on which task finished first.
//! - CUDA is named in [`device`] and nowhere else, and touched only when it is asked for.

pub mod cli;
pub mod job;
pub mod settings;

pub mod run;

pub mod finish;
pub mod plan;
pub mod work;

pub mod doctor;
pub mod labelled;
pub mod models;
pub mod rescore;

pub mod fingerprint;
pub mod instruments;
pub mod results;

pub mod pipeline;

pub mod media;

pub mod ffmpeg;

pub mod networks;
pub mod scorers;

pub mod tables;

pub mod storage;

pub mod statistics;

pub mod device;
pub mod error;
pub mod files;
pub mod heartbeat;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod progress;
pub mod shard;
pub mod shutdown;
