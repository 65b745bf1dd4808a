//! Golden vectors: pictures whose logits the scorer's author wrote down. A scorer that gives others is not that scorer.

use std::io::Read;

use image::RgbImage;

use super::file::GoldenEntry;
use super::locate::Located;
use super::set::ScorerSet;
use crate::error::Error;
use crate::networks::clip::Precision;

/// How far a score may lie from its golden one, as a probability: sums in another order, of another instruction set,
/// stay far below; another resize rule, tap or activation far above.
const NEAR: f64 = 1e-3;

/// The same of a tower in bfloat16, which is the error that it may have.
const NEAR_BF16: f64 = 1e-2;

/// And how far its logit, as a share of it: where a score is 0 or 1 to three digits only the logit tells scorers apart.
/// Towers in half precision stay below a hundredth.
const NEAR_LOGIT: f32 = 0.05;

/// A crop has a few megapixels; this is a lossless one of 20.
const MAX_PICTURE_BYTES: u64 = 64 << 20;

/// A picture with what must come of it.
#[derive(Debug)]
pub struct Golden {
    pub name: String,
    pub picture: RgbImage,
    pub logit: f32,
}

/// # Errors
/// A picture that cannot be read.
pub(super) fn read(located: &Located) -> Result<Vec<Golden>, String> {
    let read = |entry: &GoldenEntry| {
        let path = located.words.beside(&entry.picture);
        let name = path.display().to_string();
        let wrong = |e: &dyn std::fmt::Display| {
            format!(
                "golden.picture: expected a PNG picture of at most {MAX_PICTURE_BYTES} bytes at {name:?}, found: {e}"
            )
        };
        let mut bytes = vec![];
        let file = crate::files::open(&path).map_err(|e| wrong(&e))?;
        file.take(MAX_PICTURE_BYTES).read_to_end(&mut bytes).map_err(|e| wrong(&e))?;
        let picture = image::load_from_memory(&bytes).map_err(|e| wrong(&e))?;
        Ok(Golden { name, picture: picture.to_rgb8(), logit: entry.logit })
    };
    located.words.file.golden.iter().map(read).collect()
}

/// Scores every golden picture of every scorer.
///
/// # Errors
/// A score that is another than the golden one.
pub(super) fn check(set: &ScorerSet) -> Result<(), Error> {
    for (index, scorer) in set.scorers().iter().enumerate() {
        let near = if scorer.precision == Precision::Bf16 { NEAR_BF16 } else { NEAR };
        for golden in &scorer.goldens {
            let found = set.logit_of(index, &golden.picture)?;
            let probability = |logit: f32| 1.0 / (1.0 + (-f64::from(logit)).exp());
            let is_near = |logit: &f32| {
                (probability(*logit) - probability(golden.logit)).abs() <= near
                    && (logit - golden.logit).abs() <= NEAR_LOGIT * (1.0 + golden.logit.abs())
            };
            if !found.is_some_and(|logit| is_near(&logit)) {
                let or_bf16 = match scorer.precision {
                    Precision::F32 => "",
                    Precision::Bf16 => ", or bfloat16 moves this scorer too far",
                };
                return Err(Error::Input(format!(
                    "scorer {:?}: golden picture {:?}: expected logit {}, found {}: weights, recipe or program are not \
                     those that the golden vectors were made with{or_bf16}",
                    scorer.id,
                    golden.name,
                    golden.logit,
                    found.map_or("no finite number".to_owned(), |logit| logit.to_string()),
                )));
            }
        }
    }
    Ok(())
}
