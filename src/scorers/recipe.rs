//! The words of `scorer.toml` that say what a tower is shown and what a head is given.

use serde::{Deserialize, Serialize};

use crate::networks::preprocess::Resize;

/// `[input]`: from a frame to the tower's pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRecipe {
    pub crop: CropKind,
    /// Added on each side of a face box, as a share of the box's side. Only for `crop = "box"`.
    #[serde(default)]
    pub margin: f32,
    pub resize: Resize,
    pub size_px: u32,
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
}

/// What is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CropKind {
    /// The whole frame, once.
    Frame,
    /// Each face's box with its margin.
    Box,
}

/// `[embedding]`: from the tower to the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingRecipe {
    pub tap: Tap,
    /// Whether the vector is brought to unit length before the head.
    pub l2: bool,
}

/// Which of the tower's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tap {
    Pooled,
    Projected,
}

impl InputRecipe {
    /// # Errors
    /// One line naming the field, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if self.crop == CropKind::Frame && self.margin != 0.0 {
            return Err(format!("input.margin: expected none with crop = \"frame\", found {}", self.margin));
        }
        if !(0.0..=4.0).contains(&self.margin) {
            // 4 on each side shows nine times the face's width: past that it is a slip of the pen.
            return Err(format!("input.margin: expected 0 to 4, found {}", self.margin));
        }
        if !self.mean.iter().all(|v| v.is_finite()) {
            return Err(format!("input.mean: expected finite numbers, found {:?}", self.mean));
        }
        if !self.deviation.iter().all(|v| v.is_finite() && *v > 0.0) {
            return Err(format!("input.deviation: expected positive numbers, found {:?}", self.deviation));
        }
        Ok(())
    }
}
