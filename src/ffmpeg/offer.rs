//! What an ffmpeg was built with, as it says itself: started as for a video, so that asking shows that it starts there.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::Ffmpeg;
use super::child::{ChildLimits, Contained};
use super::formats::{CODECS, DEMUXERS};
use crate::error::{Rejection, RejectionClass};

/// Saying it takes a tenth of a second; the libraries that are loaded for it take most of the address space.
const LIMITS: ChildLimits = ChildLimits {
    address_space_bytes: 4 << 30,
    cpu: Duration::from_secs(30),
    wall: Duration::from_secs(30),
    silence: Duration::from_secs(30),
};

/// The longest list of an ffmpeg with everything built in has forty thousand.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The oldest that knows every word of the command lines (the filter `estdif`).
pub const OLDEST: (u32, u32) = (4, 4);

impl Ffmpeg {
    /// Codecs that are decoded ([`CODECS`]), each with whether this ffmpeg has a decoder for it that needs no hardware.
    ///
    /// # Errors
    /// An ffmpeg that does not start in its containment.
    pub async fn decoders(&self) -> Result<Vec<(&'static str, bool)>, Rejection> {
        let names = self.listed("-decoders").await?;
        let has = |decoder: &str| names.iter().any(|name| name == decoder);
        Ok(CODECS.into_iter().map(|codec| (codec.name, has(codec.decoder))).collect())
    }

    /// Containers that are read, and the plain streams in which HEIC (`hevc`) and AVIF (`ivf`) are handed over, each with whether this ffmpeg reads it.
    ///
    /// # Errors
    /// As [`Self::decoders`].
    pub async fn demuxers(&self) -> Result<Vec<(&'static str, bool)>, Rejection> {
        let names = self.listed("-demuxers").await?;
        let has = |demuxer: &str| names.iter().flat_map(|name| name.split(',')).any(|name| name == demuxer);
        Ok(DEMUXERS.into_iter().map(|demuxer| (demuxer.name, has(demuxer.name))).collect())
    }

    /// Whether it knows every word that it is told.
    #[must_use]
    pub fn is_new_enough(&self) -> bool {
        self.release() >= OLDEST
    }

    /// The names in a list such as ` V....D h264   H.264 / AVC`, which begins below a line of dashes.
    async fn listed(&self, what: &str) -> Result<Vec<String>, Rejection> {
        let text = answer(&self.contained, &self.ffmpeg, &["-v", "error", what]).await?;
        let rows = text.lines().skip_while(|line| !line.trim_start().starts_with("--")).skip(1);
        Ok(rows.filter_map(|row| row.split_whitespace().nth(1).map(str::to_owned)).collect())
    }
}

/// What a program prints that is given nothing to read.
///
/// # Errors
/// One that does not start in its containment, fails, hangs, or prints without end.
pub(super) async fn answer(contained: &Contained, program: &Path, words: &[&str]) -> Result<String, Rejection> {
    let failed = |e| Rejection::new(RejectionClass::Panicked, format_args!("/dev/null: {e}"));
    let nothing = File::open("/dev/null").map_err(failed)?;
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let mut child = contained.spawn(program, &words, &nothing, &LIMITS)?;
    let (mut text, mut buffer) = (vec![], vec![0; 64 << 10]);
    loop {
        match child.read(&mut buffer).await? {
            0 => break,
            read => text.extend_from_slice(&buffer[..read]),
        }
        if text.len() > MAX_ANSWER_BYTES {
            let message = format!("expected an answer of at most {MAX_ANSWER_BYTES} bytes, found more");
            return Err(Rejection::new(RejectionClass::Corrupt, message));
        }
    }
    child.finish().await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
