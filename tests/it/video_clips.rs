//! The clips of `video_formats`: what is odd about each is its name.

use std::path::PathBuf;

use crate::clips::{HEIGHT_PX, WIDTH_PX, clip, encode_beside, remux};
use crate::video_references::boxes;

/// A clip, and what must be said of it.
pub struct Format {
    pub name: &'static str,
    pub codec: &'static str,
    pub container: &'static str,
    /// Upright, and of square pixels.
    pub size_px: (u32, u32),
    /// The frame of the source that is shown as the frame of this number.
    pub source_frame: fn(usize) -> usize,
    /// Nothing but one stream of video, so that the container's duration is the video's.
    pub silent: bool,
    frames: usize,
    inputs: &'static [&'static str],
    filters: &'static str,
    encoder: &'static str,
    /// What only an encoder does that has seen all of it before.
    two_passes: bool,
    /// Copied into another container: arguments before and behind the input.
    remux: &'static [(&'static str, &'static str)],
    /// What is done to the file that came of it.
    patch: Option<fn(Vec<u8>) -> Vec<u8>>,
}

impl Format {
    pub fn made(&self) -> PathBuf {
        let encode = |encoder: &str| encode_beside(self.frames, self.inputs, self.filters, encoder);
        let mut steps = match self.two_passes {
            true => [1, 2]
                .map(|pass| encode(&format!("{} -pass {pass} -passlogfile {{folder}}/log", self.encoder)))
                .to_vec(),
            false => vec![encode(self.encoder)],
        };
        steps.extend(self.remux.iter().map(|(before, output)| remux(before, output)));
        let made = clip(self.name, &steps);
        let Some(patch) = self.patch else { return made };
        let patched = made.with_file_name(format!("patched-{}", made.file_name().unwrap().to_str().unwrap()));
        if !patched.exists() {
            // Apart until it is whole: other tests may look for it at the same time.
            let part = tempfile::NamedTempFile::new_in(made.parent().unwrap()).unwrap();
            std::fs::write(part.path(), patch(std::fs::read(made).unwrap())).unwrap();
            part.persist(&patched).unwrap();
        }
        patched
    }
}

/// Writes a matrix into the header of the first track: `x' = a·x + c·y`, `y' = b·x + d·y`.
fn turned(mut file: Vec<u8>, [a, b, c, d]: [i32; 4]) -> Vec<u8> {
    let header = *boxes(&file, &[b"moov", b"trak", b"tkhd"]).last().unwrap();
    let matrix = header + 48;
    for (place, value) in [(0, a), (4, b), (12, c), (16, d)] {
        file[matrix + place..matrix + place + 4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    file
}

/// Puts a box behind all others of the first sample entry. The movie's header comes last, so that nothing else moves.
fn with_box(mut file: Vec<u8>, kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let parents = boxes(&file, &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]);
    let entry = parents.last().unwrap() + 16;
    let size = |file: &[u8], at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    let end = entry + size(&file, entry) as usize;
    let added = [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat();
    for at in parents.iter().copied().chain([entry]) {
        let grown = size(&file, at) + added.len() as u32;
        file[at..at + 4].copy_from_slice(&grown.to_be_bytes());
    }
    file.splice(end..end, added);
    file
}

/// Dolby Vision, profile 8.4, as phones write it: ffprobe has it before the display matrix.
fn dolby_vision(file: Vec<u8>) -> Vec<u8> {
    let record = [1, 0, 8 << 1, 4 << 3 | 0b101, 4 << 4];
    with_box(file, b"dvvC", &[&record[..], &[0; 19]].concat())
}

/// 49 frames: no multiple of what is sampled falls on a boundary between two.
const H264: Format = Format {
    name: "h264.mp4",
    codec: "h264",
    container: "mp4",
    size_px: (WIDTH_PX, HEIGHT_PX),
    source_frame: |shown| shown,
    silent: true,
    frames: 49,
    inputs: &[],
    filters: "format=yuv420p",
    encoder: "-c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2",
    two_passes: false,
    remux: &[],
    patch: None,
};
const HEVC: Format = Format {
    name: "hevc.mp4",
    codec: "hevc",
    encoder: "-c:v libx265 -preset ultrafast -crf 18 -x265-params log-level=none:keyint=12:bframes=3",
    ..H264
};
const VP8: Format = Format {
    name: "vp8.webm",
    codec: "vp8",
    container: "webm",
    encoder: "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 2M -g 12",
    ..H264
};
const VP9: Format = Format {
    name: "vp9.webm",
    codec: "vp9",
    encoder: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 12",
    ..VP8
};
const AV1: Format = Format {
    name: "av1.mp4",
    codec: "av1",
    encoder: "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 2M -g 12",
    ..H264
};
const MPEG4: Format =
    Format { name: "mpeg4.avi", codec: "mpeg4", container: "avi", encoder: "-c:v mpeg4 -q:v 2 -g 12", ..H264 };
const MJPEG: Format = Format {
    name: "mjpeg.avi",
    codec: "mjpeg",
    container: "avi",
    filters: "format=yuvj420p",
    encoder: "-c:v mjpeg -q:v 2",
    ..H264
};

const MATROSKA: &str = "matroska";
const TS: &str = "mpegts";

#[rustfmt::skip]
pub const SHORT: &[Format] = &[
    // Each codec where people keep it.
    H264, HEVC, VP8, VP9, AV1, MPEG4, MJPEG,
    Format { name: "h264.mov", ..H264 },
    Format { name: "h264.mkv", container: MATROSKA, ..H264 },
    Format { name: "h264.ts", container: TS, ..H264 },
    Format { name: "hevc.mkv", container: MATROSKA, ..HEVC },
    Format { name: "hevc.ts", container: TS, ..HEVC },
    Format { name: "hevc.mov", ..HEVC },
    Format { name: "vp8.mkv", container: MATROSKA, ..VP8 },
    Format { name: "vp8.avi", container: "avi", ..VP8 },
    Format { name: "vp9.mp4", container: "mp4", ..VP9 },
    Format { name: "vp9.mkv", container: MATROSKA, ..VP9 },
    Format { name: "av1.webm", container: "webm", ..AV1 },
    Format { name: "av1.mkv", container: MATROSKA, ..AV1 },
    Format { name: "av1_svt.mp4", encoder: "-c:v libsvtav1 -preset 12 -crf 20 -g 12", ..AV1 },
    Format { name: "mpeg4.mp4", container: "mp4", ..MPEG4 },
    Format { name: "mpeg4.mov", container: "mp4", ..MPEG4 },
    Format { name: "mpeg4.mkv", container: MATROSKA, ..MPEG4 },
    Format { name: "mpeg4.ts", container: TS, ..MPEG4 },
    Format { name: "mjpeg.mov", container: "mp4", ..MJPEG },
    Format { name: "mjpeg.mkv", container: MATROSKA, ..MJPEG },

    // Codecs and containers of earlier years, of cameras and of editing.
    Format { name: "h264.flv", container: "flv", ..H264 },
    Format { name: "flv1.flv", container: "flv", codec: "flv1", encoder: "-c:v flv1 -q:v 2 -g 12", ..H264 },
    Format { name: "mpeg2.mpg", container: "mpegps", codec: "mpeg2video", encoder: "-c:v mpeg2video -q:v 2 -g 12 -bf 2", ..H264 },
    Format { name: "mpeg2.vob", container: "mpegps", codec: "mpeg2video", encoder: "-c:v mpeg2video -q:v 2 -g 12 -bf 2 -flags +ilme+ildct", ..H264 },
    Format { name: "mpeg2.ts", container: TS, codec: "mpeg2video", encoder: "-c:v mpeg2video -q:v 2 -g 12 -bf 2", ..H264 },
    Format { name: "mpeg1.mpg", container: "mpegps", codec: "mpeg1video", encoder: "-c:v mpeg1video -q:v 2 -g 12 -bf 2", ..H264 },
    Format { name: "h263.3gp", codec: "h263", size_px: (704, 576), filters: "pad=704:576,setsar=1,format=yuv420p", encoder: "-c:v h263 -q:v 2 -g 12", ..H264 },
    Format { name: "wmv1.wmv", container: "asf", codec: "wmv1", encoder: "-c:v wmv1 -q:v 2 -g 12", ..H264 },
    Format { name: "wmv2.wmv", container: "asf", codec: "wmv2", encoder: "-c:v wmv2 -q:v 2 -g 12", ..H264 },
    Format { name: "divx3.avi", container: "avi", codec: "msmpeg4v3", encoder: "-c:v msmpeg4 -q:v 2 -g 12", ..H264 },
    Format { name: "prores.mov", codec: "prores", filters: "format=yuv422p10le", encoder: "-c:v prores_ks -profile:v 0", ..H264 },
    Format { name: "dnxhr.mov", codec: "dnxhd", filters: "format=yuv422p", encoder: "-c:v dnxhd -profile:v dnxhr_lb", ..H264 },
    Format { name: "dnxhr.mxf", container: "mxf", codec: "dnxhd", filters: "format=yuv422p", encoder: "-c:v dnxhd -profile:v dnxhr_lb", ..H264 },
    Format { name: "mpeg2.mxf", container: "mxf", codec: "mpeg2video", encoder: "-c:v mpeg2video -q:v 2 -g 12 -bf 2", ..H264 },
    Format { name: "theora.ogv", container: "ogg", codec: "theora", encoder: "-c:v libtheora -q:v 9 -g 12", ..H264 },
    Format { name: "jpeg2000.mov", codec: "jpeg2000", encoder: "-c:v jpeg2000 -q:v 2", ..H264 },
    Format { name: "vp9.ivf", container: "ivf", ..VP9 },
    Format { name: "av1.ivf", container: "ivf", ..AV1 },

    // What comes before the beginning.
    Format { name: "junk_box.mov", patch: Some(|mut file| { file[4..8].copy_from_slice(b"junk"); file }), ..H264 },
    Format { name: "junk.ts", container: TS, patch: Some(|file| [&[0x11; 700][..], &file].concat()), ..H264 },

    // What a picture goes through on its way to the screen. Turned pictures are encoded turned the other way.
    Format { name: "turned_90.mp4", filters: "transpose=clock,format=yuv420p", remux: &[("", "-metadata:s:v rotate=90")], ..H264 },
    Format { name: "turned_180.mp4", filters: "hflip,vflip,format=yuv420p", remux: &[("", "-metadata:s:v rotate=180")], ..H264 },
    Format { name: "turned_270.mov", filters: "transpose=cclock,format=yuv420p", remux: &[("", "-metadata:s:v rotate=270")], ..H264 },
    Format { name: "turned_90_hevc.mp4", filters: "transpose=clock,format=yuv420p", remux: &[("", "-metadata:s:v rotate=90")], ..HEVC },
    Format { name: "mirrored.mp4", filters: "hflip,format=yuv420p", patch: Some(|file| turned(file, [-1, 0, 0, 1])), ..H264 },
    Format { name: "upside_down.mp4", filters: "vflip,format=yuv420p", patch: Some(|file| turned(file, [1, 0, 0, -1])), ..H264 },
    Format { name: "transposed.mp4", filters: "transpose=cclock_flip,format=yuv420p", patch: Some(|file| turned(file, [0, 1, 1, 0])), ..H264 },
    Format { name: "transposed_across.mov", filters: "transpose=clock_flip,format=yuv420p", patch: Some(|file| turned(file, [0, -1, -1, 0])), ..H264 },
    Format { name: "turned_dolby_vision.mov", filters: "transpose=clock,format=yuv420p", remux: &[("", "-metadata:s:v rotate=90")], patch: Some(dolby_vision), ..HEVC },
    Format { name: "narrow_pixels.mp4", filters: "scale=240:272,setsar=2,format=yuv420p", ..H264 },
    Format { name: "narrow_pixels.mkv", filters: "scale=360:272,setsar=4/3,format=yuv420p", container: MATROSKA, ..H264 },
    Format { name: "narrow_pixels_turned.mp4", filters: "scale=240:272,setsar=2,transpose=clock,format=yuv420p", remux: &[("", "-metadata:s:v rotate=90")], ..H264 },
    Format { name: "odd_size.mp4", filters: "crop=479:271:0:0:exact=1,format=yuv444p", size_px: (479, 271), ..H264 },
    Format { name: "odd_size.webm", filters: "format=yuv444p,crop=479:271:0:0:exact=1,format=yuv420p", size_px: (479, 271), ..VP9 },
    Format { name: "odd_size.avi", filters: "format=yuv444p,crop=479:271:0:0:exact=1,format=yuvj420p", size_px: (479, 271), ..MJPEG },
    Format { name: "ten_bit_h264.mkv", filters: "format=yuv420p10le", container: MATROSKA, ..H264 },
    Format { name: "ten_bit_hevc.mp4", filters: "format=yuv420p10le", ..HEVC },
    Format { name: "ten_bit_vp9.webm", filters: "format=yuv420p10le", encoder: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 12 -profile:v 2", ..VP9 },
    Format { name: "ten_bit_av1.mp4", filters: "format=yuv420p10le", ..AV1 },
    Format { name: "ten_bit_422.mov", filters: "format=yuv422p10le", ..H264 },
    Format { name: "interlaced.mp4", encoder: "-c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2 -flags +ilme+ildct -x264-params tff=1", ..H264 },
    Format { name: "interlaced.ts", container: TS, encoder: "-c:v libx264 -preset ultrafast -crf 18 -g 12 -flags +ilme+ildct -x264-params tff=1", ..H264 },
    Format { name: "interlaced_mpeg4.avi", encoder: "-c:v mpeg4 -q:v 2 -g 12 -flags +ilme+ildct -top 1", ..MPEG4 },
    Format { name: "full_range.mkv", container: MATROSKA, filters: "format=yuvj420p", ..H264 },
    Format { name: "grey.mkv", container: MATROSKA, filters: "format=gray", ..H264 },

    // What a frame's number and time go through.
    Format { name: "b_frames.mp4", encoder: "-c:v libx264 -preset veryfast -crf 18 -g 30 -bf 5 -b_strategy 0 -x264-params b-pyramid=normal:scenecut=0", ..H264 },
    Format { name: "b_frames.avi", container: "avi", encoder: "-c:v libx264 -preset veryfast -crf 18 -g 30 -bf 3 -b_strategy 0 -x264-params scenecut=0", ..H264 },
    Format { name: "b_frames_mpeg4.avi", encoder: "-c:v mpeg4 -q:v 2 -g 12 -bf 2", ..MPEG4 },
    Format { name: "open_gop.mp4", encoder: "-c:v libx264 -preset veryfast -crf 18 -g 12 -bf 3 -b_strategy 0 -x264-params open-gop=1:scenecut=0", ..H264 },
    Format { name: "open_gop_hevc.mkv", container: MATROSKA, encoder: "-c:v libx265 -preset ultrafast -crf 18 -x265-params log-level=none:keyint=12:bframes=4:open-gop=1:scenecut=0", ..HEVC },
    Format { name: "intra_refresh.ts", container: TS, encoder: "-c:v libx264 -preset veryfast -crf 18 -g 12 -x264-params intra-refresh=1", ..H264 },
    Format { name: "alternate_reference.webm", two_passes: true, encoder: "-c:v libvpx -deadline good -cpu-used 5 -b:v 1M -g 48 -auto-alt-ref 1 -lag-in-frames 16", ..VP8 },
    Format { name: "alternate_reference_vp9.webm", encoder: "-c:v libvpx-vp9 -deadline good -cpu-used 8 -b:v 1M -g 48 -auto-alt-ref 1 -lag-in-frames 16", ..VP9 },
    Format { name: "alternate_reference_vp9.mp4", container: "mp4", encoder: "-c:v libvpx-vp9 -deadline good -cpu-used 8 -b:v 1M -g 48 -auto-alt-ref 1 -lag-in-frames 16", ..VP9 },
    Format { name: "variable_rate.mp4", filters: "settb=1/90000,setpts='(N+0.45*mod(N,3)+8*gte(N,20))*3600',format=yuv420p", encoder: "-vsync passthrough -enc_time_base 1:90000 -video_track_timescale 90000 -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2", ..H264 },
    Format { name: "variable_rate.mkv", container: MATROSKA, filters: "settb=1/1000,setpts='(N+0.45*mod(N,3)+8*gte(N,20))*40',format=yuv420p", encoder: "-vsync passthrough -enc_time_base 1:1000 -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2", ..H264 },
    Format { name: "uneven_rate.ts", container: TS, filters: "settb=1/90000,setpts='N*3003',format=yuv420p", encoder: "-vsync passthrough -enc_time_base 1:90000 -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2", ..H264 },
    Format { name: "edit_list.mp4", source_frame: |shown| shown + 18, remux: &[("-ss 0.70", "-video_track_timescale 90000")], ..H264 },
    Format { name: "edit_list.mov", source_frame: |shown| shown + 18, remux: &[("-ss 0.70", "")], ..HEVC },
    Format { name: "late_video.mp4", silent: false, inputs: &["-f lavfi -i sine=d=3"], filters: "setpts=PTS+0.5/TB,format=yuv420p", encoder: "-vsync passthrough -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2 -map 2:a -c:a aac", ..H264 },
    Format { name: "one_frame.mp4", frames: 1, ..H264 },
    Format { name: "two_frames.webm", frames: 2, ..VP9 },

    // Where a container keeps what one needs to know first, and what else is in it.
    Format { name: "index_first.mp4", remux: &[("", "-movflags +faststart")], ..H264 },
    Format { name: "fragmented.mp4", remux: &[("", "-movflags frag_keyframe+empty_moov+default_base_moof")], ..H264 },
    Format { name: "fragmented_dash.mp4", remux: &[("", "-movflags dash+frag_keyframe+global_sidx")], ..H264 },
    Format { name: "fragmented_hevc.mov", remux: &[("", "-movflags frag_keyframe+empty_moov")], ..HEVC },
    Format { name: "live.mkv", container: MATROSKA, remux: &[("", "-live 1")], ..H264 },
    Format { name: "late_start.ts", container: TS, remux: &[("", "-output_ts_offset 1000")], ..H264 },
    Format { name: "clock_wraps.ts", container: TS, remux: &[("", "-output_ts_offset 95441.5")], ..H264 },
    Format { name: "blu_ray.m2ts", container: TS, remux: &[("", "-mpegts_m2ts_mode 1")], ..H264 },
    Format { name: "with_sound.mp4", silent: false, inputs: &["-f lavfi -i sine=d=1.96"], encoder: "-c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2 -map 2:a -c:a aac", ..H264 },
    Format { name: "with_sound.ts", container: TS, silent: false, inputs: &["-f lavfi -i sine=d=1.96"], encoder: "-c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2 -map 2:a -c:a aac", ..H264 },
    Format { name: "with_sound.webm", silent: false, inputs: &["-f lavfi -i sine=d=1.96"], encoder: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 12 -map 2:a -c:a libopus", ..VP9 },
    Format { name: "two_videos.mp4", silent: false, inputs: &["-f lavfi -i testsrc=s=640x360:r=30:d=1"], encoder: "-map 2:v -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2", ..H264 },
    Format { name: "two_videos.mkv", container: MATROSKA, silent: false, inputs: &["-f lavfi -i testsrc=s=640x360:r=30:d=1"], encoder: "-map 2:v -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2", ..H264 },
    Format { name: "two_videos.ts", container: TS, silent: false, inputs: &["-f lavfi -i testsrc=s=640x360:r=30:d=1"], encoder: "-map 2:v -c:v libx264 -preset ultrafast -crf 18 -g 12 -bf 2", ..H264 },
    Format { name: "sound_first.mkv", container: MATROSKA, silent: false, inputs: &["-f lavfi -i sine=d=1.96"], encoder: "-c:v libx264 -preset ultrafast -crf 18 -g 12 -map 2:a -c:a aac", remux: &[("", "-map 0:a -map 0:v")], ..H264 },
];

/// Long enough that what lies between two wanted frames is not worth decoding; one keyframe in ten seconds.
#[rustfmt::skip]
pub const LONG: &[Format] = &[
    Format { name: "long.mp4", frames: 525, encoder: "-c:v libx264 -preset ultrafast -crf 20 -g 250 -bf 2 -x264-params scenecut=0", ..H264 },
    Format { name: "long_open_gop.mp4", frames: 525, encoder: "-c:v libx264 -preset veryfast -crf 20 -g 60 -bf 3 -b_strategy 0 -x264-params open-gop=1:scenecut=0", ..H264 },
    Format { name: "long_fragmented.mp4", frames: 525, remux: &[("", "-movflags frag_keyframe+empty_moov+default_base_moof")], ..H264 },
    Format { name: "long_edit_list.mp4", frames: 525, source_frame: |shown| shown + 58, remux: &[("-ss 2.30", "-video_track_timescale 90000")], ..H264 },
    Format { name: "long_variable_rate.mp4", frames: 525, filters: "settb=1/90000,setpts='(N+0.45*mod(N,3)+90*gte(N,200))*3600',format=yuv420p", encoder: "-vsync passthrough -enc_time_base 1:90000 -video_track_timescale 90000 -c:v libx264 -preset ultrafast -crf 20 -g 50 -bf 2", ..H264 },
    Format { name: "long_hevc.mkv", frames: 525, container: MATROSKA, encoder: "-c:v libx265 -preset ultrafast -crf 22 -x265-params log-level=none:keyint=60:bframes=4:open-gop=1", ..HEVC },
    Format { name: "long.mkv", frames: 525, container: MATROSKA, encoder: "-c:v libx264 -preset ultrafast -crf 20 -g 50 -bf 2", ..H264 },
    Format { name: "long_live.mkv", frames: 525, container: MATROSKA, encoder: "-c:v libx264 -preset ultrafast -crf 20 -g 50 -bf 2", remux: &[("", "-live 1")], ..H264 },
    Format { name: "long.ts", frames: 525, container: TS, encoder: "-c:v libx264 -preset ultrafast -crf 20 -g 50 -bf 2", ..H264 },
    Format { name: "long_clock_wraps.ts", frames: 525, container: TS, encoder: "-c:v libx264 -preset ultrafast -crf 20 -g 50 -bf 2", remux: &[("", "-output_ts_offset 95432")], ..H264 },
    Format { name: "long.webm", frames: 525, encoder: "-c:v libvpx-vp9 -deadline good -cpu-used 8 -b:v 1M -g 100 -auto-alt-ref 1 -lag-in-frames 16", ..VP9 },
    Format { name: "long_vp8.webm", two_passes: true, frames: 525, encoder: "-c:v libvpx -deadline good -cpu-used 8 -b:v 1M -g 100 -auto-alt-ref 1 -lag-in-frames 16", ..VP8 },
    Format { name: "long_av1.mp4", frames: 525, encoder: "-c:v libsvtav1 -preset 12 -crf 30 -g 100", ..AV1 },
    Format { name: "long_b_frames.avi", frames: 525, encoder: "-c:v mpeg4 -q:v 3 -g 50 -bf 2", ..MPEG4 },
    Format { name: "long_h264.avi", frames: 525, codec: "h264", encoder: "-c:v libx264 -preset ultrafast -crf 20 -g 50 -bf 2", ..MPEG4 },
    Format { name: "long.mpg", frames: 525, container: "mpegps", codec: "mpeg2video", encoder: "-c:v mpeg2video -q:v 3 -g 50 -bf 2", ..H264 },
    Format { name: "long_intra_refresh.mp4", frames: 525, encoder: "-c:v libx264 -preset veryfast -crf 20 -g 50 -bf 0 -x264-params intra-refresh=1", ..H264 },
    Format { name: "long_mjpeg.mov", frames: 525, container: "mp4", ..MJPEG },
];
