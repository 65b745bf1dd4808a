//! Wanted frames of a video → those frames, by decoders that start where that is cheap and right.
//!
//! A decoder that starts at a key frame may lack what only the beginning of the stream has: the version of the encoder, whose
//! faults it must repeat (old x264, Xvid), parameter sets that are sent once, pictures that a refresh bit by bit builds on.
//! It then gives noise, and often says nothing. So:
//! 1. Where parameter sets of H.264 or HEVC change and later keys do not repeat them, everything is decoded from the
//!    beginning.
//! 2. Unless the codec promises that nothing before a key matters, the frames at the second key are decoded twice before the
//!    first seek: from the beginning, and from that key. Of H.264 those at the last key too: from there, and from two keys
//!    before. If they differ by one sample, everything is decoded from the beginning.
//! 3. A frame before which a decoder complained after a seek is not taken. It is decoded again from an earlier key, and
//!    where that complains too, from the beginning. What is said then is said of the row.
//!
//! A frame that cannot be decoded is replaced by another: of a number of frames by one between those that can be decoded,
//! else by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{self, Sender};

use super::Sink;
use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::complaint::{Severity, severity};
use crate::ffmpeg::decode::{DecodedFrame, Picture, SegmentEnd};
use crate::ffmpeg::formats::{Seeks, seeks};
use crate::ffmpeg::segment::Segment;
use crate::ffmpeg::table::Key;
use crate::ffmpeg::video::Video;
use crate::ffmpeg::{Ffmpeg, MediaFile};
use crate::limits;
use crate::media::sample::{Sampling, segments};

/// Frames from a key on that are compared: enough for one of each kind, intra, predicted and bidirectional.
const TRIAL_FRAMES: usize = 4;

/// How far after a frame that cannot be decoded another is looked for: two seconds of most videos.
const NEXT_FRAMES: usize = 60;

type Digest32 = [u8; 32];

/// One video that is decoded.
#[derive(Debug)]
pub struct Pieces<'a> {
    pub ffmpeg: &'a Ffmpeg,
    pub media: MediaFile<'a>,
    pub video: &'a Video,
    pub sampling: Sampling,
    /// Decoders that may run at once.
    pub side_by_side: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The frames that were sent.
    pub frames: BTreeSet<usize>,
    /// What the decoders complained of, first things first.
    pub complaints: Vec<String>,
    /// How long decoders were waited for.
    pub busy: Duration,
    /// Frames that were sent in the place of ones that cannot be decoded.
    pub replaced: usize,
    /// The stream's own description of its pictures changes on the way.
    pub headers_change: bool,
    /// Every frame is decoded from the beginning on.
    is_sequential: bool,
}

impl Decoded {
    fn undone(&self, wanted: impl IntoIterator<Item = usize>) -> Vec<usize> {
        wanted.into_iter().filter(|frame| !self.frames.contains(frame)).collect()
    }

    /// Keeps what a piece said that was taken as it came.
    fn keep(&mut self, piece: &Segment, end: &SegmentEnd) {
        let is_expected =
            |line: &&String| piece.key.is_some_and(|key| key.is_open) && severity(line) == Severity::MissingReference;
        self.complaints.extend(end.complaints.iter().filter(|line| !is_expected(line)).cloned());
    }
}

impl Pieces<'_> {
    /// Sends the wanted frames, ascending within a piece, and pieces in any order. Ends early where nobody takes them.
    ///
    /// # Errors
    /// A decoder that had to be stopped.
    pub async fn decode(&self, wanted: &[usize], output: &Sink<'_>) -> Result<Decoded, Rejection> {
        let table = &self.video.table;
        let is_sequential = table.is_counted || seeks(self.media.demuxer) == Seeks::Never;
        let mut decoded = Decoded { is_sequential, ..Decoded::default() };
        let mut pieces = self.plan(wanted, &decoded);
        // Recordings of broadcasts are what is joined; of other files only what is long enough to seek in is asked.
        let is_broadcast = ["mpegts", "mpeg"].contains(&self.media.demuxer);
        let first_key = pieces.iter().find_map(|piece| piece.key).and(table.second_key());
        let first_key = first_key.filter(|_| !self.video.codec.is_intra_only);
        let (ffmpeg, media, video) = (self.ffmpeg, self.media, self.video);
        if first_key.is_none() && is_broadcast {
            decoded.headers_change = ffmpeg.headers_change(media, video).await?;
        }
        if let Some(key) = first_key {
            let last_key = pieces.last().and_then(|piece| piece.key);
            let (headers_change, have_sets, begin_anew) = tokio::try_join!(
                ffmpeg.headers_change(media, video),
                ffmpeg.keys_have_their_parameter_sets(media, video),
                ffmpeg.keys_begin_anew(media, video),
            )?;
            decoded.headers_change = headers_change;
            let is_safe = have_sets
                && (begin_anew
                    || self.trial(key, None, wanted, &mut decoded, output).await?
                        && self.late_trial(key, last_key, &mut decoded, output).await?);
            decoded.is_sequential = !is_safe;
            pieces = self.plan(&decoded.undone(wanted.iter().copied()), &decoded);
        }
        let doubted = self.round(pieces, &mut decoded, output).await?;
        // Once more, from an earlier key: an index may lie, a demuxer may land behind the key, a key may be none.
        let earlier = |piece: &Segment| {
            let key = piece.key.and_then(|key| table.key_before(key.time - 1));
            let frames = decoded.undone(piece.frames());
            sequential(&frames).into_iter().map(move |again| Segment { key, ..again }).collect::<Vec<_>>()
        };
        let again: Vec<Segment> = doubted.iter().flat_map(earlier).collect();
        let doubted = self.round(again, &mut decoded, output).await?;
        let undone = decoded.undone(doubted.iter().flat_map(Segment::frames));
        self.round(sequential(&undone), &mut decoded, output).await?;
        self.substitutes(wanted, &mut decoded, output).await?;
        Ok(decoded)
    }

    fn plan(&self, frames: &[usize], decoded: &Decoded) -> Vec<Segment> {
        let (width, height) = self.video.coded_px;
        match decoded.is_sequential {
            true => sequential(frames),
            false => segments(frames, &self.video.table, self.sampling, u64::from(width) * u64::from(height)),
        }
    }

    /// The same at the last key that is used, against decoding from the key before the one before it: a recording may be
    /// refreshed picture by picture later on only, and no picture is whole before two such rounds are over.
    async fn late_trial(
        &self,
        first: Key,
        last: Option<Key>,
        decoded: &mut Decoded,
        output: &Sink<'_>,
    ) -> Result<bool, Rejection> {
        let table = &self.video.table;
        let before = |key: Key| table.key_before(key.time - 1);
        match last.filter(|last| self.video.codec.name == "h264" && last.time > first.time) {
            Some(last) => self.trial(last, before(last).and_then(before), &[], decoded, output).await,
            None => Ok(true),
        }
    }

    /// Whether the frames at `key` are the same, decoded from `reference` (none: the beginning) and from there. Sends those that
    /// are wanted on the way to it.
    async fn trial(
        &self,
        key: Key,
        reference: Option<Key>,
        wanted: &[usize],
        decoded: &mut Decoded,
        output: &Sink<'_>,
    ) -> Result<bool, Rejection> {
        let table = &self.video.table;
        let first = table.frame_at(key.time);
        let next = key.next.map_or(table.frames(), |next| table.frame_at(next));
        let keys_only = self.sampling == Sampling::Keyframes;
        let end = if keys_only { first + 1 } else { next.min(first + TRIAL_FRAMES).max(first + 1) };
        let trial: Vec<usize> = (first..end).collect();
        let before = wanted.iter().copied().filter(|frame| *frame < first);
        let on_the_way: Vec<usize> = before.chain(trial.iter().copied()).collect();
        let from_key = Segment { key: Some(key), keys_only, ..segment(&trial) };
        // By frame: from the beginning, and from the key.
        let mut seen: BTreeMap<usize, [Option<Digest32>; 2]> = BTreeMap::new();
        let mut sent = BTreeSet::new();
        let mut pieces: Vec<Segment> =
            sequential(&on_the_way).into_iter().map(|piece| Segment { key: reference, ..piece }).collect();
        pieces.push(from_key.clone());
        let ends = self
            .run(&pieces, output, |piece, frame| {
                if trial.contains(&frame.index) {
                    seen.entry(frame.index).or_default()[usize::from(piece + 1 == pieces.len())] =
                        digest(&frame.picture);
                }
                // Only what comes from the beginning is known to be right.
                piece + 1 < pieces.len() && wanted.binary_search(&frame.index).is_ok() && sent.insert(frame.index)
            })
            .await?;
        decoded.frames.append(&mut sent);
        for (piece, end) in pieces.iter().zip(&ends) {
            decoded.busy += end.busy;
            if piece.key.is_none() {
                decoded.keep(piece, end);
            }
        }
        // A frame of one colour is the same whatever a decoder lacks.
        let is_same = trial.iter().all(|frame| match seen.get(frame) {
            Some([Some(one), Some(other)]) => one == other,
            _ => false,
        });
        if !is_same {
            tracing::debug!(
                frame = first,
                "decoding from a key frame gives other pictures: decoding from the beginning"
            );
        }
        Ok(is_same)
    }

    /// Decodes the pieces, and gives those of which frames are missing that another attempt may have.
    async fn round(
        &self,
        pieces: Vec<Segment>,
        decoded: &mut Decoded,
        output: &Sink<'_>,
    ) -> Result<Vec<Segment>, Rejection> {
        if pieces.is_empty() || output.is_closed() {
            return Ok(vec![]);
        }
        let mut sent = BTreeSet::new();
        let (frames, of) = (&decoded.frames, &pieces);
        let take = |piece: usize, frame: &DecodedFrame| {
            let is_wanted = of[piece].runs.iter().any(|(first, last)| (*first..=*last).contains(&frame.index));
            is_wanted && !frames.contains(&frame.index) && sent.insert(frame.index)
        };
        let ends = self.run(&pieces, output, take).await?;
        decoded.frames.append(&mut sent);
        let mut doubted = vec![];
        for (piece, end) in pieces.into_iter().zip(ends) {
            decoded.busy += end.busy;
            let is_whole = decoded.undone(piece.frames()).is_empty();
            if is_whole || piece.key.is_none() && !piece.keys_only {
                decoded.keep(&piece, &end);
            } else {
                doubted.push(piece);
            }
        }
        Ok(doubted)
    }

    /// Decodes others in the place of those that are missing.
    async fn substitutes(&self, wanted: &[usize], decoded: &mut Decoded, output: &Sink<'_>) -> Result<(), Rejection> {
        let missing = decoded.undone(wanted.iter().copied());
        let (Some(first), Some(last)) = (decoded.frames.first().copied(), decoded.frames.last().copied()) else {
            return Ok(());
        };
        let is_free = |frame: &usize| !decoded.frames.contains(frame) && missing.binary_search(frame).is_err();
        let chosen: BTreeSet<usize> = match self.sampling {
            _ if missing.is_empty() || output.is_closed() => return Ok(()),
            Sampling::All | Sampling::Keyframes => return Ok(()),
            Sampling::Every(_) => {
                let end = self.video.table.frames();
                missing.iter().filter_map(|frame| (frame + 1..end.min(frame + NEXT_FRAMES)).find(is_free)).collect()
            }
            Sampling::Frames(_) => {
                let free: Vec<usize> = (first..last).filter(is_free).collect();
                let count = missing.len().min(free.len());
                (0..count).map(|at| free[(2 * at + 1) * free.len() / (2 * count)]).collect()
            }
        };
        let chosen: Vec<usize> = chosen.into_iter().collect();
        let before = decoded.frames.len();
        self.round(self.plan(&chosen, decoded), decoded, output).await?;
        decoded.replaced = decoded.frames.len() - before;
        Ok(())
    }

    /// Runs a decoder for each piece. `take` is asked of each frame, with the number of its piece, whether to send it.
    async fn run(
        &self,
        pieces: &[Segment],
        output: &Sink<'_>,
        mut take: impl FnMut(usize, &DecodedFrame) -> bool,
    ) -> Result<Vec<SegmentEnd>, Rejection> {
        let (of_all, mut all) = mpsc::channel::<DecodedFrame>(1);
        let decoding = async {
            let ends = futures::stream::iter(pieces.iter().enumerate()).map(|(number, piece)| {
                let of_all = of_all.clone();
                async move { self.piece(number, piece, &of_all).await }
            });
            let ends = ends.buffered(self.side_by_side).try_collect::<Vec<_>>().await;
            drop(of_all);
            ends
        };
        let forwarding = async {
            while let Some(frame) = all.recv().await {
                if take(frame.piece, &frame) && !output.send(frame).await? {
                    break;
                }
            }
            drop(all);
            Ok::<_, Rejection>(())
        };
        let (ends, forwarded) = tokio::join!(decoding, forwarding);
        forwarded?;
        ends
    }

    async fn piece(
        &self,
        number: usize,
        piece: &Segment,
        of_all: &Sender<DecodedFrame>,
    ) -> Result<SegmentEnd, Rejection> {
        if of_all.is_closed() {
            return Ok(SegmentEnd::default());
        }
        let accepted = match piece.key {
            None => Severity::Damage,
            Some(key) if key.is_open => Severity::MissingReference,
            Some(_) => Severity::Harmless,
        };
        or_complaint(self.ffmpeg.decode(self.media, self.video, piece, accepted, number, of_all).await)
    }
}

/// A piece that cannot be decoded does not take the others with it.
fn or_complaint(end: Result<SegmentEnd, Rejection>) -> Result<SegmentEnd, Rejection> {
    match end {
        Err(Rejection { class: RejectionClass::Corrupt, message }) => {
            Ok(SegmentEnd { complaints: vec![message], ..SegmentEnd::default() })
        }
        end => end,
    }
}

/// From the beginning, with every frame decoded: in as few passes as words for them fit into a command.
fn sequential(frames: &[usize]) -> Vec<Segment> {
    let mut pieces: Vec<Segment> = vec![];
    for &frame in frames {
        match pieces.last_mut() {
            Some(piece) if piece.last_wanted() + 1 == frame || piece.runs.len() < limits::SEQUENTIAL_RUNS => {
                piece.push(frame);
            }
            _ => pieces.push(Segment::new(None, frame, false)),
        }
    }
    pieces
}

/// Of at least one frame.
fn segment(frames: &[usize]) -> Segment {
    let mut piece = Segment::new(None, frames[0], false);
    frames[1..].iter().for_each(|frame| piece.push(*frame));
    piece
}

/// Of the samples; None of a frame of one colour.
fn digest(picture: &Picture) -> Option<Digest32> {
    match picture {
        Picture::Sdr(picture) => {
            let samples = picture.as_raw();
            (!is_of_one_colour(samples)).then(|| Sha256::digest(samples).into())
        }
        Picture::Hdr(picture) => {
            let samples = picture.as_raw();
            let bytes = || samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
            (!is_of_one_colour(samples)).then(|| Sha256::digest(bytes()).into())
        }
    }
}

fn is_of_one_colour<T: PartialEq>(samples: &[T]) -> bool {
    samples.chunks_exact(3).all(|pixel| pixel == &samples[..3])
}
