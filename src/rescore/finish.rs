//! The slices that others wrote, or an earlier attempt did → what SUCCESS.json says of them.

use std::path::Path;

use crate::error::{Error, RejectionClass};
use crate::fingerprint::Fingerprint;
use crate::progress::{Finished, Progress};
use crate::results::fetch::{Fetched, fetch};
use crate::results::standing::footer;
use crate::storage::{ObjectMeta, Store};
use crate::tables::media::{Seconds, Status};
use crate::tables::part::{CommittedPart, DETECTION_FINGERPRINT, FINGERPRINT};
use crate::tables::stored::{Cursor, MediaColumns, stated, text};

/// How many rows a part has that somebody else wrote; of a media part its media are counted.
///
/// # Errors
/// A part that cannot be read.
pub async fn look_at(
    store: &dyn Store,
    object: &ObjectMeta,
    scratch: &Path,
    progress: &Progress,
) -> Result<(CommittedPart, Option<Fingerprint>), Error> {
    let wrong = |what: String| Error::Input(format!("part {:?}: {what}", object.key));
    let committed = |rows: i64| CommittedPart {
        key: object.key.clone(),
        etag: object.etag.clone(),
        rows: rows as usize,
        bytes: object.size_bytes as usize,
    };
    if !object.key.starts_with("media/") {
        return Ok((committed(footer(store, object).await?.file_metadata().num_rows()), None));
    }
    let part = fetch(store, object, scratch).await?;
    let (rows, fingerprint) = count(&part, progress).map_err(wrong)?;
    Ok((committed(rows), Some(fingerprint)))
}

fn count(media: &Fetched, progress: &Progress) -> Result<(i64, Fingerprint), String> {
    let metadata = media.part.metadata()?;
    let said =
        |name| stated(&metadata, name).map(str::to_owned).ok_or_else(|| format!("expected a {name}, found none"));
    let fingerprint = Fingerprint { detection: said(DETECTION_FINGERPRINT)?, whole: said(FINGERPRINT)? };
    let mut rows = Cursor::<MediaColumns>::new(&media.part, &metadata)?;
    let mut last: Option<(String, Finished)> = None;
    while let Some((columns, row)) = rows.row()? {
        use arrow_array::Array;
        let (id, is_scored) = (columns.media_id.value(row), columns.score_max.is_valid(row));
        match &mut last {
            Some((same, media)) if same == id => media.is_scored |= is_scored,
            last => {
                let is_rejected = columns.status.value(row) == Status::Rejected.as_str();
                let class = text(&columns.error_class, row).and_then(RejectionClass::named);
                let media = Finished {
                    bytes: columns.size_bytes.value(row) as u64,
                    frames: columns.frames_decoded.value(row) as u64,
                    faces: columns.n_faces.value(row) as u64,
                    is_scored,
                    is_short_of_frames: !is_rejected
                        && columns.frames_decoded.value(row) < columns.frames_sampled.value(row),
                    has_message: !is_rejected && columns.decoder_message.is_valid(row),
                    rejection: class.filter(|_| is_rejected),
                    seconds: Seconds::default(),
                };
                if let Some((_, media)) = last.replace((id.to_owned(), media)) {
                    progress.count(&media);
                }
            }
        }
        rows.step();
    }
    if let Some((_, media)) = last {
        progress.count(&media);
    }
    Ok((metadata.file_metadata().num_rows(), fingerprint))
}
