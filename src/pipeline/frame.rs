//! A decoded picture on its way to the detector.

use std::sync::Arc;

use image::RgbImage;
use tokio::sync::OwnedSemaphorePermit;

use super::memory::Reserved;

/// One decoded picture, and the memory it holds.
#[derive(Debug)]
pub struct Frame {
    /// From 0; 0 for an image.
    pub index: i32,
    /// When it is shown; none for an image.
    pub pts_s: Option<f64>,
    pub picture: RgbImage,
    /// Frames of one video share what was set aside for it.
    pub reserved: Arc<Reserved>,
    /// Its place among those of a video that may exist at once.
    pub place: Option<OwnedSemaphorePermit>,
}
