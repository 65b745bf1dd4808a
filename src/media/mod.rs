//! Bytes of a media file → pictures, without a pipeline: what a file is ([`sniff`]), still pictures ([`still`]), animations
//! ([`animation`]), HEIF and AVIF ([`heif`], whose coded pictures somebody else decodes), and which frames of a sequence are decoded ([`sample`]). No store, no task, no clock.

pub mod animation;
pub mod heif;
pub mod sample;
pub mod sniff;
pub mod still;
