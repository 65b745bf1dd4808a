//! Every bound in one place: its unit in its name, its default, and the reason for it.
//!
//! Those that a person may change are fields of [`crate::settings::Settings`] and start from here.

/// All media in flight, compressed and decoded. Two of the largest pictures allowed beside a day's usual ones;
/// the smallest cloud machines with two cores have 4 GiB.
pub const MEMORY_BYTES: u64 = 2 << 30;

/// The smallest budget that lets a 12-megapixel photograph through, progressive and turned (180 MB).
pub const MIN_MEMORY_BYTES: u64 = 256 << 20;

/// Of the memory budget, the share for compressed bytes: photographs unpack to about ten times their size.
pub const COMPRESSED_SHARE: f64 = 0.15;

/// The share for crops that wait for the tower: 700 at 224 px with the default budget. The rest is for frames.
pub const CROPS_SHARE: f64 = 0.05;

/// The budget (`--memory`) whose share for frames is so large, in whole quarters of a GiB, as a person writes it.
#[must_use]
pub fn memory_for_pixels(bytes: u64) -> String {
    const QUARTER: u64 = 256 << 20;
    let whole = (bytes as f64 / (1.0 - COMPRESSED_SHARE - CROPS_SHARE)) as u64;
    let quarters = whole / QUARTER + 1;
    if quarters.is_multiple_of(4) { format!("{}GiB", quarters / 4) } else { format!("{}MiB", quarters * 256) }
}

/// The largest picture that is fetched whole; videos have [`SCRATCH_BYTES`]. Photographs of 100 megapixels stay below 200 MB in every format
/// but uncompressed 16-bit TIFF.
pub const MAX_OBJECT_BYTES: u64 = 256 << 20;

/// The largest picture that is decoded: medium-format cameras end at 102 megapixels of JPEG.
pub const MAX_PIXELS: u64 = 110_000_000;

/// The longest side that is decoded; JPEG itself ends at 65,535, no camera comes near.
pub const MAX_SIDE_PX: u32 = 32_768;

/// Scans of one JPEG: encoders write about ten, each more costs the decoder another pass over the picture.
pub const MAX_JPEG_SCANS: usize = 200;

/// What is read of an object before it is decided whether the rest is wanted: longer than every magic number, and five
/// packets of MPEG-TS or the first box of MP4 behind some thousand bytes of something else.
pub const SNIFF_BYTES: usize = 4096;

/// Videos up to this size wait in memory, as photographs of that size do: most messages and short clips, and a disk is
/// spared. With [`MEMORY_FILE_SHARE`] of the budget for compressed bytes at most, so that a few do not fill it.
pub const MEMORY_FILE_BYTES: u64 = 16 << 20;
pub const MEMORY_FILE_SHARE: u64 = 8;

/// All videos in flight that are too large for memory: some dozen of an hour each. The root disks of cloud machines
/// start at 20 to 30 GB.
pub const SCRATCH_BYTES: u64 = 16 << 30;

/// What is gathered of a video before it is written: few enough hops to the threads that write, and with [`FETCHES`]
/// still nothing beside the budget.
pub const SCRATCH_PIECE_BYTES: usize = 256 << 10;
/// Frames of one animated GIF or WebP: an hour at 25 frames a second. Their times are kept, eight bytes each.
pub const MAX_ANIMATION_FRAMES: usize = 100_000;

/// Canvas pixels that are drawn on the way to the last frame that is wanted, since no frame of an animation stands
/// alone: 10,000 frames of a megapixel, or 90 of the largest picture. That is a minute or two on one core.
pub const MAX_ANIMATION_PIXELS: u64 = 10_000_000_000;

/// Objects fetched at once. An S3 GET of a photograph takes 20–100 ms of waiting; two dozen keep 16 cores fed.
pub const FETCHES: usize = 24;

/// How often the bytes of one object are asked for, the first time included. With [`FETCH_PAUSE_MS`] doubling
/// that is half a minute of outage.
pub const FETCH_ATTEMPTS: u32 = 7;
pub const FETCH_PAUSE_MS: u64 = 250;

/// How often a body may fail to begin. The store has then retried by itself for 15 s each time, and one object that
/// is never handed out must not hold its place among the [`FETCHES`] for minutes.
pub const FETCH_OPENINGS: u32 = 2;

/// From a signal to the end of a run whose destination does not answer: AWS Batch kills after 30 s.
pub const SHUTDOWN_SECS: u64 = 20;

/// How long `doctor` waits out a throttle: longer than a moment's, and a person sits there.
pub const DOCTOR_PATIENCE_SECS: u64 = 10;

/// The longest wait for the next bytes of a body before the connection is given up.
pub const FETCH_SILENCE_SECS: u64 = 20;

/// Objects waiting between two stages: enough that neither side stalls, few enough to mean nothing in memory
/// (what they carry is counted by the memory budget).
pub const CHANNEL_OBJECTS: usize = 32;

/// Crops that are gathered for a tower: as many as a GPU wants at once, and work for every core.
pub const EMBED_BATCH: usize = 32;

/// Media that wait for the tower. Their crops are counted, but the fewer wait the less memory a slow tower takes.
pub const CHANNEL_CROPPED: usize = 4;

/// Objects whose rows stand in one part file, at most: a thousand rows of `media` have 100 kB.
pub const SLICE_OBJECTS: u64 = 1_000;

/// Expected work of a slice: a minute on two cores, which is what a kill may cost.
pub const SLICE_CORE_SECONDS: f64 = 120.0;

/// Slices that each shard has at least, where there is work for them: balance, and less to lose.
pub const SLICES_PER_SHARD: u64 = 4;

/// Less than this is cut no further but to give every shard something: five requests go with each slice.
pub const SMALL_SLICE_CORE_SECONDS: f64 = 10.0;

/// Expected work of a shard where nobody says how many there are: an hour on two cores. Machines that may be taken away
/// run for longer, and an array of more children than that spends its time starting them.
pub const SHARD_CORE_SECONDS: f64 = 7_200.0;

/// Children of one array job, as AWS Batch has it; Kubernetes and Slurm take more.
pub const MAX_SHARDS: u32 = 10_000;

/// Slices of one file of a plan: a hundred thousand objects have three megabytes there.
pub const PLAN_FILE_SLICES: usize = 100;

/// Files of a plan that are written side by side.
pub const PLAN_FILES_AT_ONCE: usize = 8;

/// Slices of objects between the listing and the disk.
pub const SPILLED_SLICES: usize = 8;

/// Objects whose rows are encoded together. As rows they take ten times the room that they take in a part.
pub const ENCODED_OBJECTS: u64 = 50;

/// Frames that count towards the "mean of the top k" of a media row.
pub const TOP_K: usize = 3;

/// The stack of a compute thread: decoders recurse, and a thread that waits for a part of its work may take up another.
pub const COMPUTE_STACK_BYTES: usize = 16 << 20;

/// The share of objects that may be unreadable (rights, network; not broken files) before a run counts as failed.
pub const MAX_FAILED_SHARE: f64 = 0.1;

/// From one heartbeat to the next: a line where there is no terminal, and metrics. Metrics are kept by the minute, and
/// none should pass without.
pub const PROGRESS_LINE_SECS: u64 = 30;

/// How long no object is finished before a heartbeat is a warning: longer than a request and all of its tries may take,
/// and than most videos.
pub const SILENCE_WARNING_SECS: u64 = 300;

/// The longest that a host of models may send nothing; `HF_HUB_DOWNLOAD_TIMEOUT` overrides it. The hub's own tools
/// wait 10 s, and people behind slow proxies raise that.
pub const PULL_SILENCE_SECS: u64 = 30;

/// How often in a row a file of a model is asked for without a byte gained. With [`PULL_PAUSE_MS`] doubling that is a
/// quarter of a minute; longer outages are the scheduler's to wait out, and what came is kept.
pub const PULL_ATTEMPTS: u32 = 6;
pub const PULL_PAUSE_MS: u64 = 500;

/// The longest wait that a throttling host is granted; the hub counts requests over five minutes.
pub const PULL_MAX_RETRY_AFTER_SECS: u64 = 300;

/// The hub sends a request on once or twice: to a renamed repository, to the place of the bytes.
pub const PULL_REDIRECTS: usize = 5;

/// Frames of a video that are looked at: what papers on deepfakes take, and what a minute of video costs least of.
pub const FRAMES: u32 = 32;

/// Frames that are wanted of one media: their rows wait in memory, about 10 kB each with three faces and their vectors.
pub const MAX_FRAMES: u32 = 10_000;

/// Packets of one video stream: a day at 48 frames a second, and 200 MB of them while they are sorted.
pub const MAX_VIDEO_PACKETS: usize = 1 << 22;

/// Frames of one video between the decoder and the tower. The decoder waits in between, and so does its memory.
pub const VIDEO_FRAMES_IN_FLIGHT: usize = 3;

/// Pixels that a decoder could go through while it starts: 80 ms on one core, in which it decodes 12 frames of 1080p.
pub const DECODER_START_PIXELS: u64 = 24_000_000;

/// Runs of wanted frames that one decoder is told of; it compares each frame with all of them.
pub const SEGMENT_RUNS: usize = 64;

/// The same of one that starts at the beginning because it must: an argument of a command has 128 KiB at most, and a run
/// takes up to 100 bytes. Comparing a frame with all of them takes a tenth of a millisecond.
pub const SEQUENTIAL_RUNS: usize = 1_000;

/// How far a decoder goes beyond the last wanted frame, where that frame cannot be had.
pub const DECODE_BEYOND_SECS: f64 = 2.0;

/// The longest that one decoder may work. 32 frames out of the middle of two hours of 4K take minutes on one core.
pub const VIDEO_TIMEOUT_SECS: u64 = 1_800;

/// The longest that a decoder may neither read nor write. Nothing decodes for a second without one of them.
pub const DECODER_SILENCE_SECS: u64 = 30;

/// ffmpeg's own bound on one allocation: a frame of [`MAX_PIXELS`] at 16 bits a sample.
pub const DECODER_MAX_ALLOC_BYTES: u64 = 512 << 20;

/// Address space of a decoder beside its pictures: programs map their libraries and their threads' stacks.
pub const DECODER_ADDRESS_SPACE_BYTES: u64 = 2 << 30;

/// Address space of ffprobe: it decodes some frames to know the stream. An index that lies about its length takes gigabytes.
pub const PROBE_ADDRESS_SPACE_BYTES: u64 = 1 << 30;

/// Pictures that a decoder and its filters hold beside those that others may refer to: the one that is being decoded, and
/// two between the filters.
pub const DECODER_PICTURES_ON_THEIR_WAY: u64 = 4;

/// What a decoder takes whatever the size of the video: 50 MB of ffmpeg 5 and its libraries.
pub const DECODER_BASE_BYTES: u64 = 50 << 20;

/// The longest element of ffprobe's JSON that is kept: a packet takes 200, a stream with its side data two thousand.
pub const PROBE_ELEMENT_BYTES: usize = 64 << 10;

/// Streams of one container: a whole DVB multiplex has a hundred or two. ffmpeg's own limit is 1,000.
pub const MAX_STREAMS: u32 = 1_000;

/// Decoders that go through pieces of one video side by side. More help only where there is nothing else to do.
pub const DECODERS_OF_ONE_VIDEO: usize = 4;

/// Slices of a run that are scored again side by side. Of a bucket each waits most of its time for answers; memory is
/// bounded by bytes.
pub const RESCORED_SLICES: usize = 16;

/// Parts up to this size are read into memory from a bucket, larger ones into the scratch folder: a thousand pictures
/// with a face or two have 6 MB of embeddings.
pub const MEMORY_PART_BYTES: u64 = 16 << 20;

/// What a slice takes while it is scored, beside its parts: pages of a megabyte, batches of rows, rows of the longest video.
pub const RESCORE_BASE_BYTES: u64 = 32 << 20;

/// Stored vectors that are scored together: enough that the projection's matrix is read from memory once for many of
/// them, few enough that they stay in the second cache.
pub const STORED_BATCH: usize = 200;

/// Media, frames and faces whose rows are encoded together when they are scored again: enough that calling the encoder
/// does not show, few enough that nothing made of them is so large that the allocator hands it back to the system.
pub const ENCODED_ROWS: usize = 700;

/// Finished runs that a message looks through for the one that would serve.
pub const NAMED_RUNS: usize = 100;

/// What the parts of a compacted run hold: fewer files than a reader notices, none larger than one reads in a piece.
pub const COMPACT_PART_BYTES: usize = 128 << 20;

/// Small parts that are fetched ahead while they are merged.
pub const COMPACTED_PARTS: usize = 8;

/// Shards whose missing slices a message lists.
pub const SHOWN_SHARDS: usize = 20;

/// Entries of an inventory or a list of keys that are sorted in memory before they go to the scratch folder: half a million.
pub const SORT_BYTES: usize = 64 << 20;

/// What is read ahead of all sorted runs together when they are merged: ten million entries are some dozen runs.
pub const MERGE_BYTES: usize = 32 << 20;

/// Objects of a list that are looked up side by side, 20 ms each: three thousand a second, which S3 gives below one prefix.
pub const LOOKUPS: usize = 64;

/// A manifest.json has 150 bytes for each of its files: four hundred thousand of them.
pub const MANIFEST_BYTES: u64 = 64 << 20;

/// One row of a list: a key has 1,024 bytes, three times as many encoded, and query results have columns that nobody reads.
pub const LIST_ROW_BYTES: usize = 1 << 20;

/// Items of one HEIF file: the largest grid of tiles that a phone writes has some hundreds.
pub const MAX_HEIF_ITEMS: usize = 1 << 16;

/// Pieces of all items of one HEIF file together: an item has one, or a few where a file was written in pieces. 1 MB of places.
pub const MAX_HEIF_EXTENTS: usize = 1 << 16;

/// Properties of one item; a photograph's have ten.
pub const MAX_HEIF_PROPERTIES: usize = 256;

/// Pictures that one HEIF picture is made of, tiles included: [`MAX_PIXELS`] in tiles of 96 pixels a side.
pub const MAX_HEIF_NODES: usize = 12_000;

/// How often a picture may be made of others: an identity of an overlay of grids has three steps.
pub const MAX_HEIF_DEPTH: usize = 5;

/// Pictures in one overlay; the standard's own examples have three.
pub const MAX_HEIF_LAYERS: usize = 64;

/// Forms (codec, size, depth) of the coded pictures of one HEIF picture, each with a decoder of its own. A photograph has one,
/// and one for its alpha.
pub const MAX_HEIF_STREAMS: usize = 16;

/// How many times the bytes of a HEIF file its items may have together: items that share bytes are rare.
pub const MAX_HEIF_ITEM_SHARE: usize = 4;

/// Pictures that a decoder of still pictures holds: none refers to another, but one may wait for the next to be shown.
pub const STILL_DECODER_PICTURES: u64 = 4;
