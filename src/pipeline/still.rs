//! A picture in memory → its one frame; of an animation that is sampled, its frames.
//!
//! The header is read first; then what decoding will take is set aside.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::animation::{self, Animation};
use super::compute::Compute;
use super::frame::Frame;
use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use crate::error::{Rejection, RejectionClass};
use crate::media::animation::frame_times;
use crate::media::sample::SamplingSettings;
use crate::media::sniff::StillFormat;
use crate::media::still::{self, Damage, DecodeLimits, Decoded};

/// What decodes pictures, and how.
#[derive(Debug, Clone, Copy)]
pub struct StillDecoder<'a> {
    pub compute: &'a Compute,
    pub pixels: &'a ByteBudget,
    pub limits: DecodeLimits,
    pub damage: Damage,
    /// How animations are sampled, where they are.
    pub animated: Option<SamplingSettings>,
}

impl StillDecoder<'_> {
    /// Sends the frame, or those of an animation; `media` learns what the picture is and how decoding went. `compressed` is what
    /// was set aside for `bytes`.
    ///
    /// # Errors
    /// The row's rejection.
    pub async fn decode(
        &self,
        bytes: Bytes,
        format: StillFormat,
        compressed: Reserved,
        media: &mut Media,
        frames: Sender<Frame>,
    ) -> Result<(), Rejection> {
        let (limits, animated, bytes_of) = (self.limits, self.animated.is_some(), bytes.clone());
        let headers = move || {
            let header = still::read_header(&bytes_of, format, limits)?;
            let times = if animated { frame_times(&bytes_of, format)? } else { None };
            Ok::<_, Rejection>((header, times))
        };
        let (headers, header_time) = self.compute.run(headers).await?;
        let (header, times) = headers?;
        media.size_px = Some(header.upright_size_px());
        media.orientation = Some(header.orientation.to_exif());
        media.seconds.decode = header_time.as_secs_f64();
        if let Some((times, settings)) = times.zip(self.animated) {
            let animation = Animation { bytes, format, header, times };
            return animation::decode(animation, settings, self.pixels, media, frames).await;
        }
        let Some(reserved) = self.pixels.reserve(header.decode_bytes).await else {
            return Err(Rejection::new(RejectionClass::TooLarge, "the memory budget is closed"));
        };
        let damage = self.damage;
        let (decoded, time) = self.compute.run(move || still::decode(&bytes, format, header, damage)).await?;
        drop(compressed);
        media.seconds.decode += time.as_secs_f64();
        let Decoded { picture, complaint } = decoded?;
        media.decoder_message = complaint;
        let frame = Frame { index: 0, pts_s: None, picture, reserved: Arc::new(reserved), place: None };
        let _ = frames.send(frame).await;
        Ok(())
    }
}
