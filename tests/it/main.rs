#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
//! One binary for every test that looks at deepsweep from outside.
//!
//! Numbers against references (`tests/golden/`, made by independent scripts):
//! - `parity_decode`      pixels of JPEG and WebP as libjpeg-turbo and libwebp decode them
//! - `parity_stills`      pixels of rare and damaged pictures as Pillow and libvips show them, and their mutants
//! - `parity_animation`   frames of animated GIF and WebP as Pillow and libwebp show them
//! - `parity_heif`       HEIC and AVIF of every kind as libheif and libavif show them, and the faces in them
//! - `parity_mtcnn`       faces as facenet-pytorch finds them
//! - `parity_preprocess`  squares for the tower as transformers makes them with Pillow
//! - `parity_align`       faces turned upright as skimage and OpenCV turn them
//! - `parity_clip`        embeddings of full-size towers as transformers computes them
//! - `parity_text`        tokens, text towers and zero-shot probabilities as transformers computes them
//! - `parity_statistics`  figures, linear heads and calibrations as scikit-learn computes them
//! - `parity_recipes`     whole recipes from a picture to a score, as the authors' libraries compute them
//! - `parity_video`       faces in a video as facenet-pytorch finds them in the frames that OpenCV decodes
//! - `checkpoints`        what PyTorch saved, bit by bit, and towers under other people's names
//!
//! The program, started as a user starts it:
//! - `run_formats`        every format and variant that is decoded
//! - `run_bad`            hostile and broken files: each its row, none stops the run
//! - `run_heif`           HEIC and AVIF: their rows, without videos, without ffmpeg, and files that lie
//! - `run_sources`        the same job through folders, our S3 server and moto; odd keys
//! - `plan_sources`       inventories of S3 and lists of keys (`plan_keys`), and those that are refused (`plan_refused`)
//! - `run_failing_objects`  objects that vanish, change, break off, or may not be read
//! - `sniff`              what an object is, by its first bytes alone
//! - `run_choices`        filters, and jobs that are refused
//! - `run_signals`        SIGINT and SIGTERM in the middle; the same tables whatever the number of threads
//! - `run_readers`        the tables in DuckDB, pyarrow, polars and pandas
//! - `run_memory`         peak memory against the number and the size of pictures
//! - `run_cli`            help, settings and their origins, messages and exit codes
//! - `jobs`               job files and the table of their keys, against the flags
//! - `metrics`            heartbeats, and figures for CloudWatch and Prometheus, against the tables and another parser
//! - `doctor`             what a machine has that a run needs, and the way out where it has not
//! - `doctor_places`      rights at SOURCE and DEST, conditional writes, models
//! - `run_models`         scorers by name: pulled on first use, from a hub or a bucket, or a stop before any work
//! - `run_scorers`        several scorers in one run; licences and golden vectors
//! - `rescore`            new scores from stored embeddings: the rows of a run, bit for bit; several runs; shards
//! - `rescore_stopped`    rescoring that is refused, stopped or fed with broken parts, and what the next attempt makes of it
//! - `learn`              from labels to calibrated scores: the worked example, fit, calibrate, rescore, evaluate
//! - `labelled_refused`   labels that nothing can be learned from, runs that cannot serve
//! - `scorer_files`       pipes and devices where a file is expected
//! - `scorer_scores`      the scores of a scorer of one's own, against plain arithmetic
//! - `scorer_refused`     everything that can be wrong with one
//! - `scorer_prompts`     prompts, tokenizers and their cache, and everything that can be wrong with them
//! - `import`             other people's checkpoints as heads, towers and overlays
//! - `derive`             scorer folders made from other scorers
//! - `checkpoints_bad`    files that carry code, lie or are cut; two thousand mutants
//!
//! At scale, with a plan that many share (`planned` is how tests begin one):
//! - `plan_work_finish`   three steps give the rows of one; what is left out, tried again, missing or refused
//! - `scale_kills`        SIGKILL at every call to S3, carried out or not, and the next attempt
//! - `slice_disputes`     two attempts at one slice that saw different things
//! - `scale_faults`       a tenth of all calls to S3 fails, in every way: the rows of a run in which none does
//! - `scale_servers`      runs that are killed at servers that know no conditions, and at moto
//! - `scale_signals`      SIGTERM to a worker and to a planner
//! - `scale_tiny`         a hundred thousand tiny objects: their rate, and memory that does not grow
//! - `scale_workers`      two workers on a shard, ten of whom three are killed, a schedule that delivers twice
//!
//! Videos and animations:
//! - `video_fetch`        videos as files in memory, without a name on disk, or where they lie; cut bodies, full disks
//! - `video_formats`      every codec and container, each with something odd, against ffprobe; its clips are in `video_clips`
//! - `video_kinds`        kinds of files that were once read wrong in silence: noise after seeks, joined recordings, gaps, HDR …
//! - `video_seeks`        frames that are easily lost on the way to them
//! - `run_animated`       animated pictures, sampled as videos are or one frame of each
//! - `tracks`             the rows of a video: tracks, and what each of several scorers says of them
//! - `video_bad`          hostile and broken videos; keys that look like options; images and videos in one folder
//! - `video_references`   playlists in disguise and containers that point at other files and at the network
//! - `video_mutants`      a thousand clips with flipped bits and cuts
//! - `heif_mutants`       two thousand HEIC and AVIF files with damaged boxes
//! - `video_containment`  what a child may not read, write, reach or start; children that hang, crash or are left behind
//! - `video_escapes`      ways out of it that take several steps; programs in place of ffmpeg that hang or cannot start
//!
//! Models, from a hub of our own that goes wrong as ordered (`servers/hub`):
//! - `model_pull`         downloads that break off, stall, are throttled, change, lie; full disks; two at once
//! - `model_store`        lists, offline machines, tampered files, registries of one's own
//! - `model_mirror`       models in a bucket, for machines without the internet
//!
//! Stores, each against the same contract:
//! - `storage_contract`   memory, folder, our S3 server, moto
//! - `storage_damaged`    bodies that are not what was sent: dropped whole and fetched anew
//! - `storage_throttled`  a server that throttles: fewer requests at once, waited out, never a storm
//! - `servers_s3`         our S3 server does what its rules say
//! - `storage_local`, `storage_s3`, `storage_faulty`   what only one of them can get wrong
//!
//! The code itself:
//! - `architecture`       a stage imports only what stands to its left, networks touch no I/O, files stay small

mod architecture;
mod checkpoints;
mod checkpoints_bad;
mod clips;
mod derive;
mod doctor;
mod doctor_places;
mod ffprobe;
mod heif_mutants;
mod import;
mod jobs;
mod labelled_refused;
mod learn;
mod made_weights;
mod metrics;
mod model_fixture;
mod model_mirror;
mod model_pull;
mod model_store;
mod parity_align;
mod parity_animation;
mod parity_clip;
mod parity_decode;
mod parity_heif;
mod parity_mtcnn;
mod parity_preprocess;
mod parity_recipes;
mod parity_statistics;
mod parity_stills;
mod parity_text;
mod parity_video;
mod plan_keys;
mod plan_made;
mod plan_refused;
mod plan_sorted;
mod plan_sources;
mod plan_work_finish;
mod planned;
mod probe;
mod program;
mod rescore;
mod rescore_stopped;
mod run_animated;
mod run_bad;
mod run_choices;
mod run_cli;
mod run_failing_objects;
mod run_formats;
mod run_heif;
mod run_memory;
mod run_models;
mod run_readers;
mod run_scorers;
mod run_signals;
mod run_sources;
mod scale_faults;
mod scale_kills;
mod scale_servers;
mod scale_signals;
mod scale_tiny;
mod scale_workers;
mod scorer_files;
mod scorer_prompts;
mod scorer_refused;
mod scorer_scores;
mod servers;
mod servers_s3;
mod slice_disputes;
mod sniff;
mod storage_contract;
mod storage_damaged;
mod storage_faulty;
mod storage_local;
mod storage_s3;
mod storage_throttled;
mod tracks;
mod video_bad;
mod video_clips;
mod video_containment;
mod video_escapes;
mod video_fetch;
mod video_formats;
mod video_kinds;
mod video_mutants;
mod video_references;
mod video_seeks;

/// The root of the repository.
fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
