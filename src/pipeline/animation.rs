//! An animation → its wanted frames, one at a time, drawn on a thread of its own: it waits for their taker, which a
//! thread of the CPU pool must not.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::frame::Frame;
use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::table::TimeBase;
use crate::limits;
use crate::media::animation::{FrameTimes, decode_frames, working_bytes};
use crate::media::sample::{SamplingSettings, Shown};
use crate::media::sniff::StillFormat;
use crate::media::still::Header;

/// An animation that was read and not yet decoded.
#[derive(Debug)]
pub struct Animation {
    pub bytes: Bytes,
    pub format: StillFormat,
    pub header: Header,
    pub times: FrameTimes,
}

/// Sends the wanted frames; `media` learns when they are shown and how decoding went. Ends early where nobody takes them.
///
/// # Errors
/// The row's rejection, where there is not one frame or no memory for them.
pub async fn decode(
    animation: Animation,
    settings: SamplingSettings,
    budget: &ByteBudget,
    media: &mut Media,
    output: Sender<Frame>,
) -> Result<(), Rejection> {
    let Animation { bytes, format, header, times: FrameTimes { starts_s, duration_s, complaint } } = animation;
    media.duration_s = Some(duration_s);
    // Delays are whole milliseconds.
    let ms = |seconds: f64| (seconds * 1000.0).round() as i64;
    let starts: Vec<i64> = starts_s.iter().copied().map(ms).collect();
    let shown = Shown { starts: &starts, end: ms(duration_s), time_base: TimeBase { num: 1, den: 1000 } };
    // The first frame alone stands without those before it.
    let wanted = settings.sampling.wanted(shown, || vec![0]);
    media.frames_sampled = i32::try_from(wanted.len()).ok();
    settings.check(&wanted)?;
    let reserved = Arc::new(set_aside(&header, budget).await?);
    let drawing = move || {
        let start = Instant::now();
        let mut waited = Duration::ZERO;
        let drawn = decode_frames(&bytes, format, &header, &wanted, |index, picture| {
            let reserved = Arc::clone(&reserved);
            let frame = Frame { index: index as i32, pts_s: Some(starts_s[index]), picture, reserved, place: None };
            let drawn = Instant::now();
            let sent = output.blocking_send(frame);
            waited += drawn.elapsed();
            if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (drawn, start.elapsed() - waited)
    };
    let (drawn, time) = tokio::task::spawn_blocking(drawing)
        .await
        .map_err(|e| Rejection::new(RejectionClass::Panicked, format_args!("a decoder panicked: {e}")))?;
    media.seconds.decode += time.as_secs_f64();
    media.decoder_message = drawn?.or(complaint);
    Ok(())
}

/// Memory for the canvas and for the frames on their way.
async fn set_aside(header: &Header, budget: &ByteBudget) -> Result<Reserved, Rejection> {
    let frame_bytes = u64::from(header.width_px) * u64::from(header.height_px) * 3;
    let bytes = working_bytes(header) + (limits::VIDEO_FRAMES_IN_FLIGHT as u64 + 2) * frame_bytes;
    budget.reserve(bytes).await.ok_or_else(|| {
        Rejection::new(
            RejectionClass::TooLarge,
            format_args!(
                "expected an animation that takes at most {} bytes to decode (a part of --memory), found one of {}×{} that \
                 takes {bytes}; give more --memory",
                budget.capacity_bytes(),
                header.width_px,
                header.height_px
            ),
        )
    })
}
