//! The words of `scorer.toml` that say what a tower is shown and what a head is given.

use image::RgbImage;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::networks::align::{Alignment, MAX_ALIGN_PX, School};
use crate::networks::preprocess::{Resize, square};
use crate::networks::weights::hexadecimal;

/// From a frame to one kind of square: what is cut out, and how it becomes the tower's pixels.
///
/// Two scorers whose recipes are equal share the squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CropRecipe {
    pub cut: Cut,
    pub resize: Resize,
    pub size_px: u32,
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
}

/// What is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// The whole frame, once.
    Frame,
    /// Each face's box; `margin` is added on each side, as a share of the box's side.
    Box { margin: f32 },
    /// Each face, turned upright by its five landmarks.
    Align5(Alignment),
}

impl Cut {
    #[must_use]
    pub fn is_of_frames(self) -> bool {
        self == Self::Frame
    }
}

impl CropRecipe {
    /// The square that the tower takes, from what was cut out.
    #[must_use]
    pub fn square(&self, cut_out: &RgbImage) -> RgbImage {
        square(cut_out, self.resize, self.size_px)
    }

    /// Bytes of one square.
    #[must_use]
    pub fn square_bytes(&self) -> u64 {
        u64::from(self.size_px).pow(2) * 3
    }

    /// `box-0.3-short-side-224px@` and the first eight digits of a hash of the whole recipe.
    #[must_use]
    pub fn id(&self) -> String {
        let cut = match self.cut {
            Cut::Frame => "frame".to_owned(),
            Cut::Box { margin } => format!("box-{margin}"),
            Cut::Align5(Alignment { scale, .. }) => format!("align5-{scale}"),
        };
        let resize = match self.resize {
            Resize::None => "none",
            Resize::ShortSide => "short-side",
            Resize::Squash => "squash",
        };
        // Numbers and words only: it cannot fail.
        let hash = Sha256::digest(serde_json::to_vec(self).unwrap_or_default());
        format!("{cut}-{resize}-{}px@{}", self.size_px, &hexadecimal(&hash)[..8])
    }
}

/// `[input]`: one recipe for each thing that the scorer looks at: faces, frames, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "InputEntry")]
pub struct InputRecipe(Vec<CropRecipe>);

impl InputRecipe {
    #[must_use]
    pub fn one(recipe: CropRecipe) -> Self {
        Self(vec![recipe])
    }

    #[must_use]
    pub fn crops(&self) -> &[CropRecipe] {
        &self.0
    }

    /// `frame`, `box`, `align5`, or two of them.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        let word = |crop: &CropRecipe| match crop.cut {
            Cut::Frame => "frame",
            Cut::Box { .. } => "box",
            Cut::Align5(_) => "align5",
        };
        self.0.iter().map(word).collect()
    }
}

/// `[input]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEntry {
    crop: CropEntry,
    margin: Option<f32>,
    align: Option<School>,
    scale: Option<f64>,
    align_px: Option<u32>,
    resize: Resize,
    size_px: u32,
    mean: [f32; 3],
    deviation: [f32; 3],
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum CropEntry {
    One(String),
    Several(Vec<String>),
}

impl TryFrom<InputEntry> for InputRecipe {
    type Error = String;

    fn try_from(entry: InputEntry) -> Result<Self, String> {
        let InputEntry { crop, margin, align, scale, align_px, resize, size_px, mean, deviation } = entry;
        let words = match crop {
            CropEntry::One(word) => vec![word],
            CropEntry::Several(words) => words,
        };
        let wrong = || {
            format!(
                "input.crop: expected \"frame\", \"box\" or \"align5\", or a list of \"frame\" and one of the others, \
                 found {words:?}"
            )
        };
        let faces = words.iter().filter(|word| *word != "frame").count();
        if words.is_empty() || faces > 1 || words.len() - faces > 1 {
            return Err(wrong());
        }
        let mut cuts = vec![];
        for word in &words {
            cuts.push(match word.as_str() {
                "frame" => Cut::Frame,
                "box" => Cut::Box { margin: needed("margin", margin, 0.0..=4.0)? },
                "align5" => Cut::Align5(Alignment {
                    school: align.unwrap_or(School::GenD),
                    scale: needed("scale", scale, 1.0..=4.0)?,
                    side_px: align_px.map(|px| needed("align_px", Some(px), 1..=MAX_ALIGN_PX)).transpose()?,
                }),
                _ => return Err(wrong()),
            });
        }
        let has = |kind: fn(&Cut) -> bool| cuts.iter().any(kind);
        unless_used("margin", margin.filter(|m| *m != 0.0), has(|cut| matches!(cut, Cut::Box { .. })))?;
        let aligns = has(|cut| matches!(cut, Cut::Align5(_)));
        unless_used("align", align.map(|school| format!("{school:?}").to_lowercase()), aligns)?;
        unless_used("scale", scale, aligns)?;
        unless_used("align_px", align_px, aligns)?;
        if !mean.iter().all(|v| v.is_finite()) {
            return Err(format!("input.mean: expected finite numbers, found {mean:?}"));
        }
        if !deviation.iter().all(|v| (1e-3..=1e3).contains(v)) {
            // Pixels lie in [0, 1]: beyond a thousand either way it is a slip of the pen, and overflows somewhere.
            return Err(format!("input.deviation: expected numbers from 0.001 to 1000, found {deviation:?}"));
        }
        Ok(Self(cuts.into_iter().map(|cut| CropRecipe { cut, resize, size_px, mean, deviation }).collect()))
    }
}

/// A field that the crop asks for. The ranges end where a number can only be a slip of the pen: a margin of 4 on each
/// side shows nine times the face's width.
fn needed<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    let expected = format!("input.{name}: expected {} to {}", range.start(), range.end());
    match value {
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => Err(format!("{expected}, found {value}")),
        None => Err(format!("{expected}, found none")),
    }
}

fn unless_used<T: std::fmt::Display>(name: &str, value: Option<T>, is_used: bool) -> Result<(), String> {
    match value {
        Some(value) if !is_used => Err(format!("input.{name}: expected none with this crop, found {value}")),
        _ => Ok(()),
    }
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
