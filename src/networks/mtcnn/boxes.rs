//! Boxes between the networks: refining, squaring, clipping, and non-maximum suppression.
//!
//! The conventions are facenet-pytorch's, "+1" included; each function names the one that it follows.
//! Order is total: equal confidences are told apart by the order in which they came, and nothing here can meet NaN
//! in a comparison, because a box that is not finite is dropped where it is made.

use deepsweep_kernels::{Against, KeptBoxes};

/// Corners in pixels of the frame; x0 ≤ x1 and y0 ≤ y1 are not promised by the networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceBox {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
}

/// The pixels [x0, x1) × [y0, y1) of a picture; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub x0: usize,
    pub y0: usize,
    pub x1: usize,
    pub y1: usize,
}

impl Window {
    pub fn whole(picture: &image::RgbImage) -> Self {
        Self { x0: 0, y0: 0, x1: picture.width() as usize, y1: picture.height() as usize }
    }
}

impl FaceBox {
    /// Truncated towards zero, one-based, clipped to the picture (`pad` of the reference).
    pub(super) fn pixels_in(self, (width_px, height_px): (u32, u32)) -> Option<Window> {
        let x0 = (self.x0 as i64).max(1) - 1;
        let y0 = (self.y0 as i64).max(1) - 1;
        let x1 = (self.x1 as i64).min(i64::from(width_px));
        let y1 = (self.y1 as i64).min(i64::from(height_px));
        (x1 > x0 && y1 > y0).then_some(Window { x0: x0 as usize, y0: y0 as usize, x1: x1 as usize, y1: y1 as usize })
    }

    fn is_finite(self) -> bool {
        [self.x0, self.y0, self.x1, self.y1].iter().all(|v| v.is_finite())
    }
}

/// A box on its way through the cascade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub bounds: FaceBox,
    pub confidence: f32,
    /// What the last network would move the corners by, as shares of the box's sides.
    pub offsets: [f32; 4],
    pub landmarks: [[f32; 2]; 5],
    /// The row in the batch that the last network saw.
    pub index: usize,
}

impl Candidate {
    pub fn new(bounds: FaceBox, confidence: f32, offsets: [f32; 4]) -> Self {
        Self { bounds, confidence, offsets, landmarks: [[0.0; 2]; 5], index: 0 }
    }

    /// After P-Net: offsets are shares of x1 − x0, then the box is made square. False if not finite.
    pub fn refine_by_size(&mut self) -> bool {
        let FaceBox { x0, y0, x1, y1 } = self.bounds;
        let finite = self.refine(x1 - x0, y1 - y0);
        self.make_square();
        finite
    }

    /// After R-Net and O-Net: offsets are shares of x1 − x0 + 1 (`bbreg` of the reference). False if not finite.
    pub fn refine_inclusive(&mut self) -> bool {
        let FaceBox { x0, y0, x1, y1 } = self.bounds;
        self.refine(x1 - x0 + 1.0, y1 - y0 + 1.0)
    }

    fn refine(&mut self, width: f32, height: f32) -> bool {
        let [dx0, dy0, dx1, dy1] = self.offsets;
        let FaceBox { x0, y0, x1, y1 } = self.bounds;
        self.bounds =
            FaceBox { x0: x0 + dx0 * width, y0: y0 + dy0 * height, x1: x1 + dx1 * width, y1: y1 + dy1 * height };
        self.bounds.is_finite()
    }

    /// Grows the shorter side about the centre (`rerec` of the reference).
    pub fn make_square(&mut self) {
        let FaceBox { x0, y0, x1, y1 } = self.bounds;
        let (width, height) = (x1 - x0, y1 - y0);
        let side = width.max(height);
        let x0 = x0 + width * 0.5 - side * 0.5;
        let y0 = y0 + height * 0.5 - side * 0.5;
        self.bounds = FaceBox { x0, y0, x1: x0 + side, y1: y0 + side };
    }
}

/// Those of `candidates` whose new confidence exceeds `threshold`, with their new offsets.
pub(super) fn keep_above(
    candidates: &[Candidate],
    confidences: &[f32],
    offsets: &[[f32; 4]],
    threshold: f32,
) -> Vec<Candidate> {
    candidates
        .iter()
        .enumerate()
        .filter(|(i, _)| confidences[*i] > threshold) // false for NaN
        .map(|(index, c)| Candidate { confidence: confidences[index], offsets: offsets[index], index, ..*c })
        .collect()
}

/// O-Net's landmarks, shares of the box that it was shown, in pixels of the frame.
pub(super) fn landmarks_in_frame(shown: &[Candidate], shares: &[[f32; 10]]) -> Vec<[[f32; 2]; 5]> {
    shown
        .iter()
        .zip(shares)
        .map(|(candidate, share)| {
            let FaceBox { x0, y0, x1, y1 } = candidate.bounds;
            let (width, height) = (x1 - x0 + 1.0, y1 - y0 + 1.0);
            std::array::from_fn(|i| [width * share[i] + x0 - 1.0, height * share[5 + i] + y0 - 1.0])
        })
        .collect()
}

/// Non-maximum suppression: the most confident first, each removes those that overlap it by more than `limit`.
pub(super) fn suppress(candidates: &[Candidate], against: Against, limit: f32) -> Vec<Candidate> {
    // Ties show: O-Net's probabilities of good faces are often exactly 1 in f32. Of equals torchvision takes the
    // earlier, the reference's own code, which sorts upwards and takes from the end, the later.
    let mut order: Vec<usize> = match against {
        Against::Union => (0..candidates.len()).collect(),
        Against::Smaller => (0..candidates.len()).rev().collect(),
    };
    order.sort_by(|a, b| candidates[*b].confidence.total_cmp(&candidates[*a].confidence)); // stable
    let mut boxes = KeptBoxes::new(against);
    let mut kept = vec![];
    for candidate in order.into_iter().map(|i| candidates[i]) {
        let FaceBox { x0, y0, x1, y1 } = candidate.bounds;
        if !boxes.overlap([x0, y0, x1, y1], limit) {
            boxes.keep([x0, y0, x1, y1]);
            kept.push(candidate);
        }
    }
    kept
}
