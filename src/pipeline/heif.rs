//! A HEIC, HEIF or AVIF picture → its one frame: the boxes are read here, the coded pictures are decoded by contained
//! children, and the planes are put together here.
//!
//! What all of that takes is set aside before the first byte is decoded.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::compute::Compute;
use super::frame::Frame;
use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::on_demand::OnDemand;
use crate::ffmpeg::stills::Stills;
use crate::files;
use crate::media::heif::coded::{Codec, Stream};
use crate::media::heif::colour::transfer_name;
use crate::media::heif::properties::Nclx;
use crate::media::heif::{compose, read};
use crate::media::still::DecodeLimits;
use crate::media::tone::{self, HdrTransfer, Primaries};

/// Who and what decodes.
#[derive(Debug, Clone, Copy)]
pub struct HeifDecoding<'a> {
    pub ffmpeg: &'a OnDemand,
    pub compute: &'a Compute,
    pub pixels: &'a ByteBudget,
    pub limits: DecodeLimits,
}

impl HeifDecoding<'_> {
    /// Sends the frame; `media` learns what the picture is. `compressed` is what was set aside for `bytes`.
    ///
    /// # Errors
    /// The row's rejection.
    pub async fn decode(
        &self,
        bytes: Bytes,
        compressed: Reserved,
        media: &mut Media,
        output: Sender<Frame>,
    ) -> Result<(), Rejection> {
        let limits = self.limits;
        let (picture, reading) = self.compute.run(move || read(&bytes, limits)).await?;
        media.seconds.decode = reading.as_secs_f64();
        let picture = Arc::new(picture?);
        media.container = Some(picture.container);
        media.size_px = Some(picture.size_px);
        media.orientation = Some(picture.orientation.to_exif());
        media.color_transfer = picture.color_transfer().map(str::to_owned);
        let Some(reserved) = self.pixels.reserve(picture.decode_bytes).await else {
            return Err(Rejection::new(RejectionClass::TooLarge, "the memory budget is closed"));
        };
        let (mut planes, mut complaints) = (vec![], vec![]);
        let start = Instant::now();
        for number in 0..picture.streams.len() {
            let ffmpeg = self.ffmpeg.get().await.map_err(no_decoder)?;
            ffmpeg.warn_of_missing_layers();
            let streams = Arc::clone(&picture);
            let writing = tokio::task::spawn_blocking(move || file_of(&streams.streams[number])).await;
            let file =
                writing.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| failed(&error))??;
            let decoded = ffmpeg.decode_stills(&file, &stills(&picture.streams[number])?).await?;
            planes.push(decoded.planes);
            complaints.extend(decoded.complaints);
        }
        let decoding = start.elapsed();
        let composed = Arc::clone(&picture);
        let composing = self.compute.run(move || compose::compose(&composed, &planes, limits, Some(to_sdr)));
        let (frame, composing) = composing.await?;
        drop(compressed);
        media.seconds.decode += (decoding + composing).as_secs_f64();
        media.decoder_message = message(&complaints);
        let frame = Frame { index: 0, pts_s: None, picture: frame?, reserved: Arc::new(reserved), place: None };
        let _ = output.send(frame).await;
        Ok(())
    }
}

/// PQ and HLG as other screens show them.
fn to_sdr(nclx: Nclx, row: &mut [[f32; 3]]) {
    if let Some(transfer) = transfer_name(nclx.transfer).and_then(HdrTransfer::named) {
        tone::row_to_sdr(row, transfer, Primaries::numbered(nclx.primaries));
    }
}

/// Its pictures in a file without a name: in memory, and where a system has no such files in its temporary folder.
fn file_of(stream: &Stream) -> io::Result<Result<File, Rejection>> {
    let file = files::in_memory("deepsweep picture").or_else(|_| tempfile::tempfile())?;
    let mut output = BufWriter::new(&file);
    if let Err(rejection) = stream.write(&mut output)? {
        return Ok(Err(rejection));
    }
    output.flush()?;
    drop(output);
    let _ = files::seal(&file); // of a file in a folder it cannot be had
    files::again(&file).map(Ok)
}

fn stills(stream: &Stream) -> Result<Stills, Rejection> {
    let format = stream.format;
    let pixel_formats = format.pixel_formats().ok_or_else(|| {
        Rejection::new(RejectionClass::Unsupported, format_args!("expected 8, 10 or 12 bits, found {}", format.depth))
    })?;
    let options = match stream.codec {
        Codec::Hevc | Codec::Av1 { operating_point: 0 } => vec![],
        Codec::Av1 { operating_point } => vec!["-oppoint".to_owned(), operating_point.to_string()],
    };
    Ok(Stills {
        demuxer: stream.codec.demuxer(),
        decoder: stream.codec.decoder(),
        options,
        size_px: format.size_px,
        pixel_formats,
        picture_bytes: format.picture_bytes(),
        pictures: stream.pictures.len(),
    })
}

/// What the decoder complained of, and what that means for the picture.
fn message(complaints: &[String]) -> Option<String> {
    let first = complaints.first()?;
    Some(format!("parts of the picture may be wrong, since its coded data is damaged: {first}"))
}

fn no_decoder(why: &str) -> Rejection {
    Rejection::new(
        RejectionClass::NoDecoder,
        format_args!("HEIC and AVIF are decoded by ffmpeg (with its decoder hevc, and libdav1d for AVIF): {why}"),
    )
}

fn failed(error: &io::Error) -> Rejection {
    Rejection::new(RejectionClass::Panicked, format_args!("no room for the coded picture beside its file: {error}"))
}
