//! The packets of a stream as ffmpeg copies them through a bitstream filter: nothing is decoded.

use super::child::Running;
use super::packets::{Packet, check_packets};
use super::table::FrameTable;
use super::video::Video;
use super::{Ffmpeg, MediaFile};
use crate::error::Rejection;
use crate::limits;

/// A packet that came out of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub packet: Packet,
    /// Of its bytes.
    pub checksum: u32,
}

impl Ffmpeg {
    /// What comes out of `filter`. None where this ffmpeg cannot do so.
    ///
    /// # Errors
    /// A child that hangs, or prints without end.
    pub async fn copied(
        &self,
        media: MediaFile<'_>,
        stream: u32,
        filter: &str,
    ) -> Result<Option<Vec<Copied>>, Rejection> {
        let _permit = self.running.acquire().await;
        let muxer = ["-avoid_negative_ts", "disabled", "-f", "framecrc"];
        let mut child = self.copying(media, stream, filter, &muxer)?;
        let (mut copied, mut line) = (vec![], vec![]);
        read(&mut child, |bytes| {
            for byte in bytes {
                if *byte == b'\n' {
                    copied.extend(of_line(&String::from_utf8_lossy(&line)));
                    line.clear();
                } else if line.len() < limits::PROBE_ELEMENT_BYTES {
                    line.push(*byte);
                }
            }
            check_packets(copied.len())
        })
        .await?;
        Ok(child.finish().await.is_ok().then_some(copied))
    }

    /// Whether a decoder that starts at any key has the parameter sets that it needs: they do not change, or every key after a
    /// change brings its own. Of codecs other than H.264 and HEVC nothing is asked.
    ///
    /// # Errors
    /// As [`Self::copied`].
    pub async fn keys_have_their_parameter_sets(&self, media: MediaFile<'_>, video: &Video) -> Result<bool, Rejection> {
        // Sequence and picture parameter sets; of HEVC video parameter sets too.
        let filter = match video.codec.name {
            "h264" => "filter_units=pass_types=7|8",
            "hevc" => "filter_units=pass_types=32|33|34",
            _ => return Ok(true),
        };
        let Some(sets) = self.copied(media, video.stream, filter).await? else { return Ok(true) };
        Ok(are_with_keys(&sets, &video.table))
    }

    /// A child that copies the packets of a stream through `filter` to its standard output, by the muxer that `output` names.
    fn copying(&self, media: MediaFile<'_>, stream: u32, filter: &str, output: &[&str]) -> Result<Running, Rejection> {
        let mut arguments: Vec<String> = ["-nostdin", "-hide_banner"].map(str::to_owned).to_vec();
        arguments.extend(Self::words(media));
        let (map, url) = (format!("0:{stream}"), media.url());
        let copy = ["-copyts", "-i", &url, "-map", &map, "-c", "copy", "-bsf:v", filter];
        arguments.extend(copy.iter().chain(output).chain(&["pipe:1"]).map(|argument| (*argument).to_owned()));
        let limits = self.limits(limits::PROBE_ADDRESS_SPACE_BYTES);
        self.contained.spawn(&self.ffmpeg, &arguments, media.file, &limits)
    }

    /// Whether a decoder that has the parameter sets needs nothing else of what comes before a key, by what the codec promises:
    /// keys of HEVC, VP8, VP9 and AV1 begin anew; those of H.264 where all are IDR pictures, unless the encoder is an x264 so old
    /// that a decoder must know its faults. Of other codecs nothing is promised.
    ///
    /// # Errors
    /// As [`Self::copied`].
    pub async fn keys_begin_anew(&self, media: MediaFile<'_>, video: &Video) -> Result<bool, Rejection> {
        match video.codec.name {
            "hevc" | "vp8" | "vp9" | "av1" => Ok(true),
            "h264" => {
                let Some(idr) = self.copied(media, video.stream, "filter_units=pass_types=5").await? else {
                    return Ok(false);
                };
                let times: std::collections::BTreeSet<i64> = idr.iter().filter_map(|idr| idr.packet.pts).collect();
                Ok(video.table.key_times().all(|time| times.contains(&time))
                    && !self.is_by_old_x264(media, video).await?)
            }
            _ => Ok(false),
        }
    }

    /// By the message that x264 writes into its first picture. Since core 151 its 4:4:4 is as the standard has it, and ffmpeg
    /// decodes that of earlier ones otherwise.
    async fn is_by_old_x264(&self, media: MediaFile<'_>, video: &Video) -> Result<bool, Rejection> {
        const RIGHT_SINCE: u32 = 151;
        const NAME: &[u8] = b"x264 - core ";
        let _permit = self.running.acquire().await;
        let first = ["-frames:v", "1", "-f", "data"];
        let mut child = self.copying(media, video.stream, "filter_units=pass_types=6", &first)?;
        let mut message = vec![];
        read(&mut child, |bytes| {
            let room = limits::PROBE_ELEMENT_BYTES.saturating_sub(message.len());
            message.extend_from_slice(&bytes[..bytes.len().min(room)]);
            Ok(())
        })
        .await?;
        let Some(at) = message.windows(NAME.len()).position(|window| window == NAME) else { return Ok(false) };
        let digits = message[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit()).take(6);
        Ok(digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')) < RIGHT_SINCE)
    }

    /// Whether the headers that state size, shape and colours of the pictures change on the way. Of codecs other than H.264,
    /// HEVC and MPEG-2 nothing is asked.
    ///
    /// # Errors
    /// As [`Self::copied`].
    pub async fn headers_change(&self, media: MediaFile<'_>, video: &Video) -> Result<bool, Rejection> {
        let filter = match video.codec.name {
            "h264" => "filter_units=pass_types=7",
            "hevc" => "filter_units=pass_types=33",
            "mpeg2video" => "filter_units=pass_types=179",
            _ => return Ok(false),
        };
        let Some(headers) = self.copied(media, video.stream, filter).await? else { return Ok(false) };
        Ok(headers.windows(2).any(|pair| pair[0].checksum != pair[1].checksum))
    }
}

/// `sets`: the packets that carry parameter sets, and those alone.
fn are_with_keys(sets: &[Copied], table: &FrameTable) -> bool {
    let times: Vec<(i64, u32)> = sets.iter().filter_map(|set| Some((set.packet.pts?, set.checksum))).collect();
    let first = table.time(0);
    // What the first packet brings, or what the header of the file has and no packet repeats.
    let known = times.iter().find(|(time, _)| *time <= first).map(|(_, checksum)| *checksum);
    let Some(change) = times.iter().find(|(_, checksum)| Some(*checksum) != known).map(|(time, _)| *time) else {
        return true;
    };
    let with_sets: std::collections::BTreeSet<i64> = times.iter().map(|(time, _)| *time).collect();
    table.key_times().filter(|time| *time >= change).all(|time| with_sets.contains(&time))
}

/// Hands what a child prints to `take`, as it comes.
pub(super) async fn read(
    child: &mut Running,
    mut take: impl FnMut(&[u8]) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match child.read(&mut buffer).await? {
            0 => return Ok(()),
            count => take(&buffer[..count])?,
        }
    }
}

/// A line such as `0,  40,  40,  40,  225, 0x51276d1d, F=0x0`: stream, dts, pts, duration, bytes, checksum, and flags
/// where it is no key.
fn of_line(line: &str) -> Option<Copied> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if line.starts_with('#') || fields.len() < 6 {
        return None;
    }
    let number = |at: usize| fields[at].parse().ok();
    // Flags of a packet: 1 marks a key, 4 a packet that is not shown. The muxer prints none for a key without other flags.
    let flags = fields[6..].iter().find_map(|field| u32::from_str_radix(field.strip_prefix("F=0x")?, 16).ok());
    let flags = flags.unwrap_or(1);
    let checksum = u32::from_str_radix(fields[5].strip_prefix("0x")?, 16).ok()?;
    let packet = Packet {
        pts: number(2),
        dts: number(1),
        duration: number(3),
        is_key: flags & 1 != 0,
        is_hidden: flags & 4 != 0,
        is_encrypted: false,
    };
    Some(Copied { packet, checksum })
}

#[cfg(test)]
mod tests {
    use super::super::table::TimeBase;
    use super::*;

    #[test]
    fn flags_of_packets_are_read_as_the_muxer_prints_them() {
        let read =
            |line: &str| of_line(line).map(|copied| (copied.packet.pts, copied.packet.is_key, copied.packet.is_hidden));
        assert_eq!(read("0,          0,          0,       40,     7810, 0x7da93018"), Some((Some(0), true, false)));
        assert_eq!(
            read("0,         40,         40,       40,      225, 0x51276d1d, F=0x0"),
            Some((Some(40), false, false))
        );
        assert_eq!(
            read("0,         80,         80,       40,      225, 0x51276d1d, F=0x4"),
            Some((Some(80), false, true))
        );
        assert_eq!(
            read("0,        120,        120,       40,      225, 0x51276d1d, F=0x5"),
            Some((Some(120), true, true))
        );
        assert_eq!(read("#tb 0: 1/1000"), None);
    }

    #[test]
    fn parameter_sets_that_change_must_come_with_every_key_from_there_on() {
        let packet = |time: i64| Packet {
            pts: Some(time),
            dts: Some(time),
            duration: Some(40),
            is_key: time % 400 == 0,
            is_hidden: false,
            is_encrypted: false,
        };
        let packets: Vec<Packet> = (0..50).map(|frame| packet(frame * 40)).collect();
        let table = FrameTable::new(TimeBase { num: 1, den: 1000 }, &packets, None).unwrap();
        let check = |sets: &[(i64, u32)], expected: bool| {
            let copied: Vec<Copied> =
                sets.iter().map(|(time, checksum)| Copied { packet: packet(*time), checksum: *checksum }).collect();
            assert_eq!(are_with_keys(&copied, &table), expected, "{sets:?}");
        };
        check(&[], true);
        check(&[(0, 1)], true);
        check(&[(0, 1), (400, 1), (800, 1)], true);
        check(&[(0, 1), (400, 1), (800, 2)], false);
        check(&[(0, 1), (800, 2), (1_200, 2), (1_600, 2)], true);
        check(&[(800, 2)], false);
        check(&[(0, 1), (520, 2)], false);
    }
}
