//! A file → what video is in it, by ffprobe: codec, size, orientation, and when each frame is shown.
//!
//! What the container says is enough where its times tell the frames apart. Where they do not, every frame is decoded once
//! to count them. Some kinds of file are asked for more:
//! - VP8 does not say which packets are shown, so its frames are decoded. VP9 packets that show nothing are joined to the
//!   next one by ffmpeg's own filter first.
//! - AVI says when a frame is decoded, not when it is shown: the decoder says by how much that is late.
//! - The containers of most codecs state a size that need not be the stream's: the first frame is decoded for it.
//! - A recording that begins in the middle has packets that no decoder shows: its first group is decoded.

use super::answer::{Answer, Frame, SideData, Stream};
use super::copied::read;
use super::formats::{CODECS, Codec, codec_named, decoder_list};
use super::packets::{Packet, begins_in_the_middle, irregularity};
use super::table::{FrameTable, MAX_TIME, TimeBase};
use super::times::repair;
use super::video::Video;
use super::{Ffmpeg, MediaFile};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

const STREAM: &str = "stream=index,codec_name,codec_tag,codec_tag_string,pix_fmt,width,height,sample_aspect_ratio,has_b_frames,level,\
                      field_order,time_base,avg_frame_rate,r_frame_rate,color_transfer,color_primaries,color_space:\
                      stream_disposition=default,attached_pic,timed_thumbnails:\
                      stream_side_data=side_data_type,displaymatrix,dv_profile,dv_bl_signal_compatibility_id:format=start_time";
const PACKET: &str = "packet=stream_index,pts,dts,duration,flags:packet_side_data=side_data_type";
const FRAME: &str = "frame=best_effort_timestamp,duration,pkt_duration,key_frame,width,height,pix_fmt,color_transfer:\
                     frame_side_data=side_data_type,displaymatrix";

/// Packets from which a decoder gives its first frames: as many as it may hold back, three times.
const FIRST_FRAME_PACKETS: usize = 48;

/// ffprobe on one file.
struct Probe<'a> {
    ffmpeg: &'a Ffmpeg,
    media: MediaFile<'a>,
}

/// Frames as a decoder gives them.
#[derive(Default)]
struct Frames {
    first: Option<Frame>,
    /// Their times, in its order.
    shown: Vec<Packet>,
}

impl Ffmpeg {
    /// `wants_keys`: whether it matters which frames are key frames, beyond where decoding can start.
    ///
    /// # Errors
    /// The row's rejection: no video stream, a codec that is not decoded, an encrypted stream, a file that breaks its
    /// format's rules.
    pub async fn probe(&self, media: MediaFile<'_>, wants_keys: bool) -> Result<Video, Rejection> {
        let probe = Probe { ffmpeg: self, media };
        let answer = probe.ask("v", &["-show_entries", &format!("{PACKET}:{STREAM}")]).await?;
        let start_s = answer.start_s;
        let (stream, packets) = chosen(answer)?;
        check_decodable(&stream, &packets)?;
        let Some(codec) = codec_named(&stream.codec_name) else {
            let known = CODECS.map(|codec| codec.name).join(", ");
            let found = if stream.codec_name.is_empty() { "one that ffmpeg does not know" } else { &stream.codec_name };
            let tag = match stream.codec_tag_string.as_str() {
                "" | "[0][0][0][0]" => String::new(),
                tag => format!(" ({tag})"),
            };
            let message = format!("a video whose codec is not decoded: expected one of {known}, found {found}{tag}");
            return Err(Rejection::new(RejectionClass::Unsupported, message));
        };
        let time_base = stream.time_base().ok_or_else(|| {
            Rejection::new(RejectionClass::Corrupt, "expected a time base of the video stream, found none")
        })?;
        let start = start_s.map(|seconds| (seconds / time_base.seconds(1)).round() as i64);
        probe.video(stream, packets, codec, time_base, start, wants_keys).await
    }
}

impl Probe<'_> {
    async fn video(
        &self,
        stream: Stream,
        packets: Vec<Packet>,
        codec: Codec,
        time_base: TimeBase,
        start: Option<i64>,
        wants_keys: bool,
    ) -> Result<Video, Rejection> {
        // Containers without times of their own: AVI.
        let has_decode_times_only = self.media.demuxer == "avi"
            && codec.name != "vp8"
            && packets.iter().any(|packet| packet.pts.is_none() && !packet.is_hidden)
            && packets.iter().all(|packet| packet.dts.is_some());
        let keys_are_elsewhere = wants_keys && has_decode_times_only && stream.has_b_frames > 0;
        let packets = if codec.name == "vp9" { self.joined(&stream).await?.unwrap_or(packets) } else { packets };
        let by_decode_time = || packets.iter().map(|packet| Packet { pts: packet.dts, ..*packet }).collect::<Vec<_>>();
        // Which packets of VP8 are shown only a decoder tells, and then its frames have times.
        let is_decoded_first = codec.name == "vp8" || keys_are_elsewhere;
        let mut irregular = match (is_decoded_first, has_decode_times_only) {
            (true, _) => None,
            (false, true) => irregularity(&by_decode_time(), time_base),
            (false, false) => irregularity(&packets, time_base),
        };
        // Of H.264 and HEVC ffprobe has decoded some frames to know the stream; but where lines are interlaced, a packet may be
        // half a frame.
        let is_known = matches!(codec.name, "h264" | "hevc") && stream.is_progressive() && !has_decode_times_only;
        let mut frames = Frames::default();
        if irregular.is_none() && !is_decoded_first && !is_known {
            frames = self.frames(&stream, Some(FIRST_FRAME_PACKETS)).await?;
            if !has_decode_times_only && !is_told_by_packets(&frames.shown, &packets) {
                irregular = Some("packets of the container are not its frames");
            }
        }
        if irregular.is_some() || is_decoded_first {
            frames = self.frames(&stream, None).await?;
        }
        let first = frames.first.as_ref();
        let mut note = None;
        let table = if let Some(why) = irregular {
            let (table, found) = counted(&frames.shown, &stream, time_base, start)?;
            // Elementary streams have no times of their own: that is no flaw.
            let has_no_clock = ["h264", "hevc", "mpegvideo"].contains(&self.media.demuxer);
            note = (!has_no_clock).then(|| format!("{why}; {found}"));
            table
        } else if is_decoded_first {
            let mut shown = frames.shown.clone();
            fill_in(&mut shown);
            let start = start.filter(|_| !has_decode_times_only);
            match irregularity_of_frames(&shown) {
                Some(why) => {
                    let (table, found) = counted(&frames.shown, &stream, time_base, start)?;
                    note = Some(format!("{why}; {found}"));
                    table
                }
                None => FrameTable::new(time_base, &shown, start)?,
            }
        } else if has_decode_times_only {
            let table = FrameTable::new(time_base, &by_decode_time(), None)?;
            match frames.shown.iter().find_map(|frame| frame.pts) {
                Some(time) => table.shifted_to(time)?,
                None => table,
            }
        } else {
            let table = FrameTable::new(time_base, &packets, start)?;
            match begins_in_the_middle(&packets) && !codec.is_intra_only {
                true => self.without_unseen(table, &stream, &packets).await?,
                false => table,
            }
        };
        if table.is_stray && note.is_none() {
            note =
                Some("the time of the last frame is far after all others, and is not part of the duration".to_owned());
        }
        Video::new(codec, &stream, first, table, has_decode_times_only, note)
    }

    /// Decodes the first group of pictures, and leaves out the frames before the first one that comes of it.
    async fn without_unseen(
        &self,
        table: FrameTable,
        stream: &Stream,
        packets: &[Packet],
    ) -> Result<FrameTable, Rejection> {
        let keys = packets.iter().enumerate().filter(|(_, packet)| packet.is_key).map(|(at, _)| at);
        let group = keys.filter(|at| *at > 0).nth(usize::from(!packets[0].is_key)).unwrap_or(packets.len());
        let frames = self.frames(stream, Some(group + FIRST_FRAME_PACKETS)).await?;
        let first = frames.shown.iter().filter_map(|frame| frame.pts).min();
        Ok(match first {
            Some(first) => table.from(first),
            None => table,
        })
    }

    /// Frames as a decoder gives them: all of them, or those of the first packets.
    async fn frames(&self, stream: &Stream, of_packets: Option<usize>) -> Result<Frames, Rejection> {
        let interval = of_packets.map(|packets| format!("%+#{packets}"));
        let (decoders, max_pixels) = (decoder_list(), limits::MAX_PIXELS.to_string());
        let mut question = vec!["-threads", "1", "-codec_whitelist:v", &decoders, "-max_pixels:v", &max_pixels];
        question.extend(["-show_entries", FRAME]);
        if let Some(interval) = &interval {
            question.extend(["-read_intervals", interval]);
        }
        let Answer { frames, first, .. } = self.ask(&stream.index.to_string(), &question).await?;
        Ok(Frames { first, shown: frames })
    }

    /// The packets of a VP9 stream, each with those that show nothing joined to the next one that does: what a packet that
    /// is counted as a frame must be. None where ffmpeg cannot do so.
    async fn joined(&self, stream: &Stream) -> Result<Option<Vec<Packet>>, Rejection> {
        let copied = self.ffmpeg.copied(self.media, stream.index, "vp9_superframe").await?;
        Ok(copied.map(|copied| copied.into_iter().map(|copied| copied.packet).collect()))
    }

    async fn ask(&self, streams: &str, question: &[&str]) -> Result<Answer, Rejection> {
        let mut words = Ffmpeg::words(self.media);
        words.extend(["-select_streams", streams, "-of", "json=compact=1"].map(str::to_owned));
        words.extend(question.iter().map(|word| (*word).to_owned()));
        words.push(self.media.url());
        let _permit = self.ffmpeg.running.acquire().await;
        let limits = self.ffmpeg.limits(limits::PROBE_ADDRESS_SPACE_BYTES);
        let mut child = self.ffmpeg.contained.spawn(&self.ffmpeg.ffprobe, &words, self.media.file, &limits)?;
        let mut answer = Answer::default();
        read(&mut child, |bytes| answer.take(bytes)).await?;
        match child.finish().await {
            Ok(_) => Ok(answer),
            // Enough was read all the same: what the end is missing the decoder will say.
            Err(rejection)
                if rejection.class == RejectionClass::Corrupt
                    && !(answer.streams.is_empty() && answer.frames.is_empty()) =>
            {
                Ok(answer)
            }
            Err(rejection) => Err(rejection),
        }
    }
}

/// The stream that is decoded, and its packets: of those that move and have packets the first that the container marks
/// as its default, else the first.
fn chosen(answer: Answer) -> Result<(Stream, Vec<Packet>), Rejection> {
    let Answer { streams, packets, .. } = answer;
    let moving: Vec<Stream> = streams.into_iter().filter(Stream::is_moving).collect();
    if moving.is_empty() {
        let message = "expected a video stream, found none (sound, or cover pictures alone)";
        return Err(Rejection::new(RejectionClass::NoVideo, message));
    }
    let has_packets = |stream: &&Stream| packets.iter().any(|(index, _)| *index == stream.index);
    let is_default = |stream: &&&Stream| stream.disposition.default == 1;
    let filled: Vec<&Stream> = moving.iter().filter(has_packets).collect();
    let Some(stream) = filled.iter().find(is_default).or(filled.first()) else {
        // What is in it the stream says all the same.
        return match moving.into_iter().find(|stream| codec_named(&stream.codec_name).is_none()) {
            Some(stream) => Ok((stream, vec![])),
            None => Err(Rejection::new(
                RejectionClass::Corrupt,
                "expected frames, found a video stream without any (a file that breaks off, or one whose content is elsewhere)",
            )),
        };
    };
    let stream = (*stream).clone();
    let packets = packets.into_iter().filter(|(index, _)| *index == stream.index).map(|(_, packet)| packet).collect();
    Ok((stream, packets))
}

/// # Errors
/// What nobody can see right without a key, or without what only Dolby's decoders know.
fn check_decodable(stream: &Stream, packets: &[Packet]) -> Result<(), Rejection> {
    let encrypted = packets.iter().filter(|packet| packet.is_encrypted).count();
    // MPEG-TS: stream types 0xDB and 0xDC of SAMPLE-AES.
    let is_sample_aes = ["0x00db", "0x00dc"].contains(&stream.codec_tag.as_str());
    if encrypted > 0 || is_sample_aes {
        let clear = packets.len() - encrypted;
        let some = match clear {
            0 => String::new(),
            _ if is_sample_aes => String::new(),
            clear => format!("; {clear} of its {} frames are not, and are not decoded alone", packets.len()),
        };
        let message = format!("expected a video that can be seen without a key, found an encrypted one{some}");
        return Err(Rejection::new(RejectionClass::Encrypted, message));
    }
    let is_bare = |data: &SideData| data.dv_profile == Some(5) && data.dv_bl_signal_compatibility_id.unwrap_or(0) == 0;
    if stream.side_data_list.iter().any(is_bare) {
        let message = "Dolby Vision profile 5: expected a profile whose colours other decoders show right (7 or 8), found one \
                       that only Dolby's decoders do";
        return Err(Rejection::new(RejectionClass::Unsupported, message));
    }
    Ok(())
}

/// The table of frames that were all decoded to count them, and what was found.
fn counted(
    frames: &[Packet],
    stream: &Stream,
    time_base: TimeBase,
    start: Option<i64>,
) -> Result<(FrameTable, String), Rejection> {
    let in_bounds = |time: &i64| (-MAX_TIME..=MAX_TIME).contains(time);
    let given: Vec<Option<i64>> = frames.iter().map(|frame| frame.pts.filter(in_bounds)).collect();
    let durations = frames.iter().filter_map(|frame| frame.duration).filter(|duration| *duration > 0);
    let rate = stream.frame_rate().map(|rate| time_base.units(1.0 / rate.max(1e-3)));
    let mut between: Vec<i64> =
        given.windows(2).filter_map(|pair| pair[1]?.checked_sub(pair[0]?)).filter(|step| *step > 0).collect();
    between.sort_unstable();
    let usual = between.get(between.len() / 2).copied();
    // So short that no sum of them leaves what a clock can have.
    let longest = MAX_TIME / (frames.len() as i64 + 1);
    let step = durations.min().or(rate).or(usual).unwrap_or(1).clamp(1, longest.max(1));
    let repaired = repair(&given, step);
    let is_key: Vec<bool> = frames.iter().map(|frame| frame.is_key).collect();
    let start = start.filter(|_| given.iter().any(Option::is_some));
    let found = match (repaired.restarts, repaired.made_up) {
        (0, made_up) if made_up == frames.len() => {
            format!("its {made_up} frames were counted, and shown at the rate that it states")
        }
        (0, 0) => format!("its {} frames were counted", frames.len()),
        (0, made_up) => {
            format!(
                "its {} frames were counted, and {made_up} of them were given times between those of their neighbours",
                frames.len()
            )
        }
        (1, _) => format!("its {} frames were counted, and times continue where the clock starts again", frames.len()),
        (restarts, _) => format!(
            "its {} frames were counted, and times continue where the clock starts again ({restarts} times)",
            frames.len()
        ),
    };
    Ok((FrameTable::counted(time_base, repaired.times, &is_key, step, start)?, found))
}

/// Why the times of decoded frames do not tell them apart; None where they do.
fn irregularity_of_frames(frames: &[Packet]) -> Option<&'static str> {
    let is_known = frames.iter().all(|frame| frame.pts.is_some());
    let ascends = frames.is_sorted_by(|a, b| a.pts < b.pts);
    (!is_known || !ascends).then_some("several frames have the same time, or none")
}

/// Whether the first frames are those that the first packets announce, one each, at their times. Some may be missing: a
/// recording may begin in the middle or be damaged; but not half of them, as where a packet is a field.
fn is_told_by_packets(frames: &[Packet], packets: &[Packet]) -> bool {
    let shown = |packet: &&Packet| !packet.is_hidden;
    let first = &packets[..packets.len().min(FIRST_FRAME_PACKETS)];
    let times: std::collections::BTreeSet<i64> = first.iter().filter(shown).filter_map(|packet| packet.pts).collect();
    let known = frames.iter().filter_map(|frame| frame.pts).filter(|time| times.contains(time)).count();
    known * 4 >= frames.len() * 3 && (frames.is_empty() || frames.len() * 4 >= first.iter().filter(shown).count() * 3)
}

/// The frames that a decoder still held at the end of the file come without a time: each where the one before it ends,
/// from 0 on where there is none before it.
fn fill_in(frames: &mut [Packet]) {
    let mut next = if frames.iter().any(|frame| frame.pts.is_some()) { None } else { Some(0) };
    for frame in frames {
        frame.pts = frame.pts.or(next);
        next = frame.pts.and_then(|pts| pts.checked_add(frame.duration.unwrap_or(1).max(1)));
    }
}
