//! Decodes the bytes of media files into pictures. Nothing here uses a store, a task or a clock.
//!
//! - [`sniff`], [`pictures`], [`containers`]: which format a file has
//! - [`still`], [`heif`], [`animation`]: still pictures, HEIF and AVIF (ffmpeg decodes their coded data), animations
//! - [`orientation`]: how a picture is turned upright
//! - [`sample`]: which frames of a sequence are decoded
//! - [`protection`]: encrypted videos, and segments that cannot be decoded alone
//! - [`tone`]: HDR to SDR
//! - [`formats`]: the table of formats for the README

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
