//! Bytes of a media file → pictures, without a pipeline: what a file is ([`sniff`]), which way up it is ([`orientation`]), still pictures ([`still`]), animations
//! ([`animation`]), and which frames of a sequence are decoded ([`sample`]). No store, no task, no clock.

pub mod animation;
pub mod orientation;
pub mod pictures;
pub mod sample;
pub mod sniff;
pub mod still;
