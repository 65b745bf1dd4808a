//! The parts of one slice, side by side → what the scoring stage takes of each media, as if it had just been embedded.
//!
//! The tables of a slice are sorted alike, so each is read once, from its first row to its last. Where the run had several
//! scorers, each media, frame and face stands there several times and is taken once. Vectors go to the
//! heads as they are met; scores come later and find their place by it. Rows that fit nowhere are an error: none is ever passed over.

use std::sync::Arc;

use arrow_array::Array;
use chrono::DateTime;

use super::scoring::Scoring;
use super::serve::Wanted;
use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::formats::codec_named;
use crate::media::sniff::container_named;
use crate::pipeline::detect::Detection;
use crate::pipeline::embed::{Embedded, EmbeddedCrop, FrameFaces, Outcome, Rejected};
use crate::pipeline::list::{Media, SliceAt};
use crate::pipeline::score::media_id;
use crate::scorers::ScoredCrop;
use crate::storage::ObjectMeta;
use crate::tables::media::{NotScored, Status};
use crate::tables::stored::{
    Cursor, EmbeddingColumns, FaceColumns, FrameColumns, MediaColumns, PartFile, Vectors, text,
};

/// What a pass takes of a slice.
#[derive(Debug, Clone)]
pub struct Taken {
    pub wanted: Wanted,
    /// Numbers of each vector.
    pub width: usize,
    /// Whether its crops are whole frames.
    pub of_frames: bool,
    /// How many scorers look.
    pub scorers: usize,
    /// Places among the source's scorers of those that looked at the same: their rows say which vectors were not finite.
    pub seen_by: Vec<usize>,
}

/// Reads one slice.
pub struct Recall {
    media: Cursor<MediaColumns>,
    frames: Cursor<FrameColumns>,
    faces: Cursor<FaceColumns>,
    embeddings: Cursor<EmbeddingColumns>,
    vectors: Vectors,
    takes: Vec<Taken>,
    keep_vectors: bool,
    next_seq: u64,
}

/// A media as it came out, and the bucket that it is in.
pub struct Recalled {
    pub bucket: String,
    pub outcome: Outcome,
}

/// What went wrong, and in which table.
pub type Wrong = (&'static str, String);

impl Recall {
    /// `parts`: `media`, `frames`, `faces`, `embeddings`.
    ///
    /// # Errors
    /// A part that cannot be read.
    pub fn new(parts: [&PartFile; 4], takes: Vec<Taken>, keep_vectors: bool) -> Result<Self, Wrong> {
        let [media, frames, faces, embeddings] = parts;
        let of = |table: &'static str| move |what: String| (table, what);
        let metadata = embeddings.metadata().map_err(of("embeddings"))?;
        Ok(Self {
            media: media.metadata().and_then(|m| Cursor::new(media, &m)).map_err(of("media"))?,
            frames: frames.metadata().and_then(|m| Cursor::new(frames, &m)).map_err(of("frames"))?,
            faces: faces.metadata().and_then(|m| Cursor::new(faces, &m)).map_err(of("faces"))?,
            embeddings: Cursor::new(embeddings, &metadata).map_err(of("embeddings"))?,
            vectors: Vectors::new(embeddings, &Arc::clone(&metadata)).map_err(of("embeddings"))?,
            takes,
            keep_vectors,
            next_seq: 0,
        })
    }

    /// The next media, its vectors handed to `scoring` under the place `at`. With `skip` a media is passed over, rows and
    /// all: then there is none, and there may be more.
    ///
    /// # Errors
    /// Rows that do not fit together.
    pub fn next(
        &mut self,
        scoring: &mut Scoring,
        at: usize,
        skip: impl Fn(&str) -> bool,
    ) -> Result<Option<Option<Recalled>>, Wrong> {
        let in_media = |what: String| ("media", what);
        let Some((columns, row)) = self.media.row().map_err(in_media)? else {
            return self.check_ended().map(|()| None);
        };
        let id = columns.media_id.value(row).to_owned();
        let skipped = skip(&id);
        let recalled = media_of(columns, row, self.next_seq).map_err(|what| ("media", format!("{id}: {what}")))?;
        while let Some((columns, row)) = self.media.row().map_err(in_media)?
            && columns.media_id.value(row) == id
        {
            self.media.step();
        }
        self.next_seq += 1;
        let MediaOf { media, bucket, rejection, n_frames, n_faces } = recalled;
        if rejection.is_some() {
            // What another attempt at its slice may have left of it counts for nothing.
            self.pass_over(&id)?;
        }
        let (frames, mut lost) = self.frames(&id, n_frames)?;
        let frames = self.faces(&id, frames, n_faces, &mut lost)?;
        let crops = self.crops(&id, &frames, &lost, if skipped { None } else { Some((scoring, at)) })?;
        if skipped {
            return Ok(Some(None));
        }
        let outcome = match rejection {
            Some(rejection) => Err(Box::new(Rejected { media, rejection })),
            None => Ok(Embedded { media, frames, crops }),
        };
        Ok(Some(Some(Recalled { bucket, outcome })))
    }

    /// Reads on behind the rows of a media in every other table.
    fn pass_over(&mut self, id: &str) -> Result<(), Wrong> {
        while let Some((columns, row)) = self.frames.row().map_err(|what| ("frames", what))?
            && columns.media_id.value(row) == id
        {
            self.frames.step();
        }
        while let Some((columns, row)) = self.faces.row().map_err(|what| ("faces", what))?
            && columns.media_id.value(row) == id
        {
            self.faces.step();
        }
        while let Some((columns, row)) = self.embeddings.row().map_err(|what| ("embeddings", what))?
            && columns.media_id.value(row) == id
        {
            self.vectors.vector().map_err(|what| ("embeddings", what))?;
            self.embeddings.step();
        }
        Ok(())
    }

    fn frames(&mut self, id: &str, expected: i32) -> Result<(Vec<FrameFaces>, Vec<Lost>), Wrong> {
        let in_frames = |what: String| ("frames", what);
        let (mut frames, mut lost): (Vec<FrameFaces>, Vec<Lost>) = (vec![], vec![]);
        let mut viewer = 0;
        while let Some((columns, row)) = self.frames.row().map_err(in_frames)?
            && columns.media_id.value(row) == id
        {
            let index = columns.frame_index.value(row);
            match frames.last() {
                Some(last) if last.index == index => viewer += 1, // as the next scorer has it
                Some(last) if last.index > index => return Err(("frames", format!("{id}: expected frames in order"))),
                _ => {
                    viewer = 0;
                    frames.push(FrameFaces {
                        index,
                        pts_s: columns.pts_s.is_valid(row).then(|| columns.pts_s.value(row)),
                        size_px: (columns.width.value(row) as u32, columns.height.value(row) as u32),
                        detections: vec![],
                    });
                }
            }
            if text(&columns.not_scored_reason, row) == Some(NotScored::NotFinite.as_str()) {
                lost.push(Lost { frame: frames.len() - 1, face: None, viewer });
            }
            self.frames.step();
        }
        match frames.len() == expected as usize {
            true => Ok((frames, lost)),
            false => Err(("frames", format!("{id}: expected {expected} frames, found {}", frames.len()))),
        }
    }

    fn faces(
        &mut self,
        id: &str,
        mut frames: Vec<FrameFaces>,
        expected: i32,
        lost: &mut Vec<Lost>,
    ) -> Result<Vec<FrameFaces>, Wrong> {
        let in_faces = |what: String| ("faces", what);
        let (mut frame, mut found, mut viewer) = (0, 0, 0);
        while let Some((columns, row)) = self.faces.row().map_err(in_faces)?
            && columns.media_id.value(row) == id
        {
            let (index, face) = (columns.frame_index.value(row), columns.face_index.value(row));
            while frames.get(frame).is_some_and(|frame| frame.index < index) {
                frame += 1;
            }
            let of_frame = frames.get_mut(frame).filter(|frame| frame.index == index);
            let of_frame =
                of_frame.ok_or_else(|| ("faces", format!("{id}: a face of frame {index}, which has no row")))?;
            let known = of_frame.detections.len() as i32;
            if face == known {
                let sharpness = columns.sharpness.is_valid(row).then(|| columns.sharpness.value(row));
                of_frame.detections.push(Detection { face: columns.face(row), sharpness });
                (found, viewer) = (found + 1, 0);
            } else if face + 1 == known {
                viewer += 1;
            } else {
                return Err(("faces", format!("{id}: frame {index}: expected face {known}, found face {face}")));
            }
            if text(&columns.not_scored_reason, row) == Some(NotScored::NotFinite.as_str()) {
                lost.push(Lost { frame, face: Some(face as usize), viewer });
            }
            self.faces.step();
        }
        match found == expected {
            true => Ok(frames),
            false => Err(("faces", format!("{id}: expected {expected} faces, found {found}"))),
        }
    }

    /// Hands the vectors of a media on; without a place to hand them to it only reads on.
    fn crops(
        &mut self,
        id: &str,
        frames: &[FrameFaces],
        lost: &[Lost],
        mut into: Option<(&mut Scoring, usize)>,
    ) -> Result<Vec<EmbeddedCrop>, Wrong> {
        let wrong = |what: String| ("embeddings", format!("{id}: {what}"));
        let faces = frames.iter().map(|frame| frame.detections.len()).sum();
        let mut crops: Vec<EmbeddedCrop> = Vec::with_capacity(faces);
        let mut last = vec![None; self.takes.len()];
        let mut frame = 0;
        while let Some((columns, row)) = self.embeddings.row().map_err(wrong)?
            && columns.media_id.value(row) == id
        {
            let index = columns.frame_index.value(row);
            let face = columns.face_index.is_valid(row).then(|| columns.face_index.value(row) as usize);
            while frames.get(frame).is_some_and(|frame| frame.index < index) {
                frame += 1;
            }
            let of_frame = frames.get(frame).filter(|frame| frame.index == index);
            if of_frame.is_none_or(|frame| face.is_some_and(|face| face >= frame.detections.len())) {
                return Err(wrong(format!("an embedding of frame {index}, face {face:?}, which has no row")));
            }
            let (crop, tower) = (columns.crop.value(row), columns.tower.value(row));
            let pass = self.takes.iter().position(|take| take.wanted.crop == crop && take.wanted.tower == tower);
            let vector = self.vectors.vector().map_err(wrong)?;
            self.embeddings.step();
            let (Some(pass), Some((scoring, at))) = (pass, &mut into) else { continue };
            let take = &self.takes[pass];
            if vector.len() != take.width {
                return Err(wrong(format!("expected vectors of {} numbers, found {}", take.width, vector.len())));
            }
            let place = Some((frame, face));
            if last[pass] >= place || take.of_frames != face.is_none() {
                return Err(wrong(format!("frame {index}, face {face:?}: expected one embedding of a kind, in order")));
            }
            last[pass] = place;
            let pooled = scoring.push(pass, (*at, crops.len()), vector, self.keep_vectors);
            crops.push(EmbeddedCrop { frame, face, pass, scored: ScoredCrop { pooled, scores: vec![] } });
        }
        if into.is_some() {
            self.add_lost(lost, &mut crops);
        }
        Ok(crops)
    }

    /// Crops whose vectors were not finite: they were made and have no embedding, and no head has a score for them.
    fn add_lost(&self, lost: &[Lost], crops: &mut Vec<EmbeddedCrop>) {
        let stored = crops.len();
        for (pass, take) in self.takes.iter().enumerate() {
            for lost in lost.iter().filter(|lost| take.of_frames == lost.face.is_none()) {
                let place = (lost.frame, lost.face, pass);
                let is_it = |crop: &EmbeddedCrop| (crop.frame, crop.face, crop.pass) == place;
                if take.seen_by.contains(&lost.viewer) && !crops.iter().any(is_it) {
                    let scored = ScoredCrop { pooled: vec![f32::NAN], scores: vec![None; take.scorers] };
                    crops.push(EmbeddedCrop { frame: lost.frame, face: lost.face, pass, scored });
                }
            }
        }
        if crops.len() > stored {
            tracing::debug!("{} crops whose vectors were not finite stay without a score", crops.len() - stored);
        }
    }

    /// Behind the last media nothing may be left.
    fn check_ended(&mut self) -> Result<(), Wrong> {
        let left = |table: &'static str, row: Result<bool, String>| match row {
            Ok(false) => Ok(()),
            Ok(true) => Err((table, "expected rows in the order of the media, found some of no media".to_owned())),
            Err(what) => Err((table, what)),
        };
        left("frames", self.frames.row().map(|row| row.is_some()))?;
        left("faces", self.faces.row().map(|row| row.is_some()))?;
        left("embeddings", self.embeddings.row().map(|row| row.is_some()))
    }
}

/// A row that says that what was looked at gave no finite number, by the place of the source's scorer.
struct Lost {
    frame: usize,
    face: Option<usize>,
    viewer: usize,
}

struct MediaOf {
    media: Media,
    bucket: String,
    rejection: Option<Rejection>,
    n_frames: i32,
    n_faces: i32,
}

fn media_of(columns: &MediaColumns, row: usize, seq: u64) -> Result<MediaOf, String> {
    let owned = |column| text(column, row).map(str::to_owned);
    let modified = columns.modified.is_valid(row).then(|| columns.modified.value(row));
    let object = ObjectMeta {
        key: columns.key.value(row).to_owned(),
        size_bytes: columns.size_bytes.value(row) as u64,
        etag: owned(&columns.etag),
        version_id: owned(&columns.version_id),
        modified: modified.and_then(DateTime::from_timestamp_micros),
    };
    let bucket = columns.bucket.value(row).to_owned();
    let id = columns.media_id.value(row);
    if media_id(&bucket, &object) != id {
        return Err("expected the hash of its bucket, key and version as media_id, found another".to_owned());
    }
    let is_rejected = columns.status.value(row) == Status::Rejected.as_str();
    let n_tracks = columns.n_tracks.is_valid(row);
    let size = columns.width.is_valid(row).then(|| (columns.width.value(row) as u32, columns.height.value(row) as u32));
    let media = Media {
        kind: known("kind", text(&columns.kind, row), |name| {
            ["image", "video"].into_iter().find(|kind| *kind == name)
        })?,
        container: known("container", text(&columns.container, row), container_named)?,
        codec: known("codec", text(&columns.codec, row), |name| codec_named(name).map(|codec| codec.name))?,
        size_px: size,
        orientation: columns.orientation.is_valid(row).then(|| columns.orientation.value(row) as u8),
        color_transfer: owned(&columns.color_transfer),
        duration_s: columns.duration_s.is_valid(row).then(|| columns.duration_s.value(row)),
        // A still picture is no sequence, and the only media without tracks that is no row alone.
        frames_sampled: (is_rejected || n_tracks).then(|| columns.frames_sampled.value(row)),
        decoder_message: owned(&columns.decoder_message),
        ..Media::new(seq, SliceAt::default(), object)
    };
    let rejection = match (is_rejected, text(&columns.error_class, row)) {
        (false, _) => None,
        (true, class) => Some(Rejection {
            class: known("error_class", class, RejectionClass::named)?.ok_or("expected an error_class, found none")?,
            message: columns.error_message.value(row).to_owned(),
        }),
    };
    let (n_frames, n_faces) = (columns.frames_decoded.value(row), columns.n_faces.value(row));
    Ok(MediaOf { media, bucket, rejection, n_frames, n_faces })
}

/// A word of a closed set.
fn known<T>(column: &str, name: Option<&str>, find: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    let Some(name) = name else { return Ok(None) };
    find(name).map(Some).ok_or_else(|| format!("{column}: expected a word that this program knows, found {name:?}"))
}
