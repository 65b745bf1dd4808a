//! Whether a box overlaps any of many.

use pulp::{Arch, Simd, WithSimd};

use crate::LANES;

/// What an intersection is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The union, sides as x1 − x0 (`torchvision.ops.nms`).
    Union,
    /// The smaller of the two, sides as x1 − x0 + 1 (`nms_numpy` of facenet-pytorch with "Min").
    Smaller,
}

/// Boxes (x0, y0, x1, y1), [`LANES`] at a time.
#[derive(Debug)]
pub struct KeptBoxes {
    against: Against,
    /// The last of them filled up with boxes that nothing overlaps.
    blocks: Vec<Block>,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    corners: [[f32; LANES]; 4],
    areas: [f32; LANES],
}

const NOWHERE: Block = Block {
    corners: [[f32::MAX; LANES], [f32::MAX; LANES], [f32::MIN; LANES], [f32::MIN; LANES]],
    areas: [0.0; LANES],
};

impl KeptBoxes {
    #[must_use]
    pub fn new(against: Against) -> Self {
        Self { against, blocks: vec![], count: 0 }
    }

    fn one(&self) -> f32 {
        if self.against == Against::Smaller { 1.0 } else { 0.0 }
    }

    fn area(&self, [x0, y0, x1, y1]: [f32; 4]) -> f32 {
        (x1 - x0 + self.one()) * (y1 - y0 + self.one())
    }

    pub fn keep(&mut self, corners: [f32; 4]) {
        let lane = self.count % LANES;
        if lane == 0 {
            self.blocks.push(NOWHERE);
        }
        self.count += 1;
        let area = self.area(corners);
        if let Some(block) = self.blocks.last_mut() {
            for (lanes, corner) in block.corners.iter_mut().zip(corners) {
                lanes[lane] = corner;
            }
            block.areas[lane] = area;
        }
    }

    /// Whether any of the boxes shares more than `limit` with this one. 0 / 0 of empty boxes is no overlap.
    #[must_use]
    pub fn overlap(&self, corners: [f32; 4], limit: f32) -> bool {
        Arch::new().dispatch(Overlap { boxes: self, corners, limit })
    }
}

struct Overlap<'a> {
    boxes: &'a KeptBoxes,
    corners: [f32; 4],
    limit: f32,
}

impl WithSimd for Overlap<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let Self { boxes, corners, limit } = self;
        let (area, one, union) = (boxes.area(corners), boxes.one(), boxes.against == Against::Union);
        boxes.blocks.iter().any(|block| {
            let [x0, y0, x1, y1] = &block.corners;
            let mut over = [0_u32; LANES];
            for i in 0..LANES {
                let width = (x1[i].min(corners[2]) - x0[i].max(corners[0]) + one).max(0.0);
                let height = (y1[i].min(corners[3]) - y0[i].max(corners[1]) + one).max(0.0);
                let inter = width * height;
                let against = if union { block.areas[i] + area - inter } else { block.areas[i].min(area) };
                over[i] = u32::from(inter > 0.0) & u32::from(inter / against > limit);
            }
            over.iter().fold(0, |any, lane| any | lane) != 0
        })
    }
}
