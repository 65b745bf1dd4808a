//! A picture, the pictures that it is made of, and the steps that make it: what a HEIF file comes down to.

use bytes::Bytes;
use image::metadata::Orientation;

use super::coded::Format;
use super::properties::{Nclx, Transform, swaps_sides, then};
use crate::error::Rejection;

/// A picture and the steps that make it.
#[derive(Debug, Clone)]
pub struct Node {
    pub source: Source,
    pub transforms: Vec<Transform>,
    /// Before and after the transforms.
    pub source_px: (u32, u32),
    pub size_px: (u32, u32),
    /// By the item itself, or by what it is made of.
    pub nclx: Option<Nclx>,
    pub alpha: Option<Alpha>,
}

#[derive(Debug, Clone)]
pub enum Source {
    Coded(Place, Format),
    /// A whole JPEG file.
    Jpeg(Bytes),
    /// Tiles in rows, cut at the right and at the bottom.
    Grid {
        columns: u32,
        tiles: Vec<Node>,
    },
    /// Pictures at places, which may be outside; the first is at the bottom.
    Overlay {
        background: [u8; 4],
        layers: Vec<(Node, i32, i32)>,
    },
    Same(Box<Node>),
}

/// Which picture of which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub stream: usize,
    pub picture: usize,
}

#[derive(Debug, Clone)]
pub struct Alpha {
    pub picture: Box<Node>,
    /// The colours are multiplied by it already.
    pub is_premultiplied: bool,
}

impl Transform {
    /// # Errors
    /// A crop that leaves nothing.
    pub fn size_px(&self, size_px: (u32, u32)) -> Result<(u32, u32), Rejection> {
        match self {
            Self::Crop(aperture) => aperture.crop(size_px).map(|crop| (crop.width, crop.height)),
            Self::Turn(turn) if swaps_sides(*turn) => Ok((size_px.1, size_px.0)),
            Self::Turn(_) => Ok(size_px),
        }
    }
}

impl Node {
    /// All turns and mirrors together, below the root too where there is one picture below.
    #[must_use]
    pub fn orientation(&self) -> Orientation {
        let below = match &self.source {
            Source::Same(base) => base.orientation(),
            _ => Orientation::NoTransforms,
        };
        self.transforms.iter().fold(below, |so_far, transform| match transform {
            Transform::Turn(turn) => then(so_far, *turn),
            Transform::Crop(_) => so_far,
        })
    }

    /// Whether composing it makes a mask beside its colours.
    fn has_mask(&self) -> bool {
        let below = match &self.source {
            Source::Coded(..) | Source::Jpeg(_) => false,
            Source::Grid { tiles, .. } => tiles.iter().any(|tile| tile.alpha.is_some()),
            Source::Overlay { .. } => true,
            Source::Same(base) => base.has_mask(),
        };
        below || self.alpha.is_some()
    }

    /// What composing takes: for each picture its colours and its mask, and both once more while it is turned.
    #[must_use]
    pub fn working_bytes(&self) -> u64 {
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let each = if self.has_mask() { 4 } else { 3 };
        let own = if self.transforms.is_empty() { each } else { 2 * each } * pixels(self.source_px);
        let below = match &self.source {
            Source::Coded(..) => 0,
            // Its decoder's own planes, and coefficients where there are several scans.
            Source::Jpeg(_) => 9 * pixels(self.source_px),
            // One after another.
            Source::Grid { tiles, .. } => tiles.iter().map(Self::working_bytes).max().unwrap_or(0),
            Source::Overlay { layers, .. } => layers.iter().map(|(layer, ..)| layer.working_bytes()).max().unwrap_or(0),
            Source::Same(base) => base.working_bytes(),
        };
        let alpha = self.alpha.as_ref().map_or(0, |alpha| alpha.picture.working_bytes());
        own.saturating_add(below).saturating_add(alpha)
    }
}
