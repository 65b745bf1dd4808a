//! Bytes of a media file → pictures, without a pipeline: what a file is ([`sniff`]), which way up it is ([`orientation`]),
//! still pictures ([`still`]), animations ([`animation`]), HEIF and AVIF ([`heif`], whose coded pictures somebody else
//! decodes), which frames of a sequence are decoded ([`sample`]), what keeps a video from being decoded ([`protection`]), and
//! what HDR looks like on other screens ([`tone`]). No store, no task, no clock.

pub mod animation;
pub mod containers;
pub mod formats;
pub mod heif;
pub mod orientation;
pub mod pictures;
pub mod protection;
pub mod sample;
pub mod sniff;
pub mod still;
pub mod tone;
