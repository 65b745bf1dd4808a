//! What is handed to ffmpeg, and by which of its decoders and demuxers: the allow lists of every child.
//!
//! ffmpeg has hundreds of decoders, and most of its faults lie in those that nobody uses. So each one here has its reason:
//! files of this kind exist in archives, play in browsers, on phones or in VLC, and are part of the tests.

/// A codec that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec {
    /// As ffprobe and the column `codec` spell it.
    pub name: &'static str,
    /// The decoder's own name, for `-codec_whitelist`.
    pub decoder: &'static str,
    /// Where such files come from.
    pub found_in: &'static str,
    /// Every picture is coded by itself: decoding may start anywhere, and nothing before it can matter.
    pub is_intra_only: bool,
}

const fn codec(name: &'static str, found_in: &'static str) -> Codec {
    Codec { name, decoder: name, found_in, is_intra_only: false }
}

const fn intra(name: &'static str, found_in: &'static str) -> Codec {
    Codec { is_intra_only: true, ..codec(name, found_in) }
}

/// Every codec that is decoded.
pub const CODECS: [Codec; 23] = [
    codec("h264", "phones, cameras, the web, data sets of deepfakes"),
    codec("hevc", "phones since 2017, cameras"),
    codec("vp8", "WebM, recorded calls"),
    codec("vp9", "WebM, video platforms"),
    Codec { decoder: "libdav1d", ..codec("av1", "video platforms, screen recordings") },
    codec("mpeg4", "DivX and Xvid, early phones"),
    intra("mjpeg", "photo cameras, webcams"),
    Codec { decoder: "flv", ..codec("flv1", "Flash video before 2008 (Sorenson H.263)") },
    codec("vp6f", "Flash video from 2005 on (On2 VP6)"),
    codec("vp6a", "the same with alpha"),
    codec("mpeg1video", "Video CD"),
    codec("mpeg2video", "DVD, broadcast, camcorders"),
    codec("h263", "3GP files of phones before 2010"),
    codec("wmv1", "Windows Media 7"),
    codec("wmv2", "Windows Media 8"),
    codec("wmv3", "Windows Media 9"),
    codec("vc1", "Windows Media, Blu-ray"),
    Codec { decoder: "msmpeg4", ..codec("msmpeg4v3", "DivX 3") },
    intra("prores", "editing, iPhones"),
    intra("dvvideo", "DV camcorders"),
    intra("dnxhd", "editing (DNxHD, DNxHR)"),
    codec("theora", "Ogg video"),
    intra("jpeg2000", "Motion JPEG 2000, digital cinema, archives"),
];

/// The codec that ffprobe names so.
#[must_use]
pub fn codec_named(name: &str) -> Option<Codec> {
    CODECS.into_iter().find(|codec| codec.name == name)
}

/// The decoders, as ffmpeg wants its list.
#[must_use]
pub fn decoder_list() -> String {
    CODECS.map(|codec| codec.decoder).join(",")
}

/// A demuxer that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demuxer {
    /// As `-f` takes it.
    pub name: &'static str,
    /// Every name that it has: ffmpeg compares the whole list of them with `-format_whitelist`.
    pub all_names: &'static str,
    pub seeks: Seeks,
}

/// How a demuxer seeks to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeks {
    /// It lands on the key that is shown then or last before it, by an index.
    ToKeys,
    /// It lands on the packet that is decoded then or last before it, key or not.
    ToPackets,
    /// It has no index, or none that can be relied on: decoding starts at the beginning.
    Never,
}

const fn demuxer(name: &'static str, all_names: &'static str, seeks: Seeks) -> Demuxer {
    Demuxer { name, all_names, seeks }
}

/// Every demuxer that is used.
pub const DEMUXERS: [Demuxer; 14] = [
    demuxer("mov", "mov,mp4,m4a,3gp,3g2,mj2", Seeks::ToKeys),
    demuxer("matroska", "matroska,webm", Seeks::ToKeys),
    demuxer("avi", "avi", Seeks::ToKeys),
    demuxer("mpegts", "mpegts", Seeks::ToPackets),
    demuxer("flv", "flv", Seeks::Never),
    demuxer("mpeg", "mpeg", Seeks::ToPackets),
    demuxer("mpegvideo", "mpegvideo", Seeks::Never),
    demuxer("asf", "asf", Seeks::Never),
    demuxer("ogg", "ogg", Seeks::Never),
    demuxer("mxf", "mxf", Seeks::Never),
    demuxer("h264", "h264", Seeks::Never),
    demuxer("hevc", "hevc", Seeks::Never),
    demuxer("ivf", "ivf", Seeks::Never),
    demuxer("dv", "dv", Seeks::Never),
];

/// How the demuxer of this name seeks.
#[must_use]
pub fn seeks(name: &str) -> Seeks {
    DEMUXERS.into_iter().find(|demuxer| demuxer.name == name).map_or(Seeks::Never, |demuxer| demuxer.seeks)
}

/// The demuxers, as ffmpeg wants its list.
#[must_use]
pub fn demuxer_list() -> String {
    DEMUXERS.map(|demuxer| demuxer.all_names).join(",")
}
