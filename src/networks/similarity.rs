//! Points and where they should lie → the rotation, scale and shift that takes the ones to the others.
//!
//! In: two times five points. Out: a [`Similarity`], or nothing where the points have none. Never a reflection, never
//! a number that is not finite.

/// x′ = a·x − b·y + `shift[0]`, y′ = b·x + a·y + `shift[1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    pub a: f64,
    pub b: f64,
    pub shift: [f64; 2],
}

pub(super) type Points = [[f32; 2]; 5];

/// The similarity with the least sum of squared distances in the target, over the points that `counts` picks.
///
/// Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (PAMI 1991), which in
/// the plane needs no decomposition: with points as complex numbers, a + ib is the slope of the regression line.
pub(super) fn least_squares(from: &Points, to: &Points, counts: [bool; 5]) -> Option<Similarity> {
    let picked = || from.iter().zip(to).zip(counts).filter_map(|(pair, counts)| counts.then_some(pair));
    let (mut n, mut from_mean, mut to_mean) = (0.0, [0.0; 2], [0.0; 2]);
    for (from, to) in picked() {
        n += 1.0;
        for axis in 0..2 {
            from_mean[axis] += f64::from(from[axis]);
            to_mean[axis] += f64::from(to[axis]);
        }
    }
    let (from_mean, to_mean) = (from_mean.map(|sum| sum / n), to_mean.map(|sum| sum / n));
    let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
    for (from, to) in picked() {
        let [x, y] = std::array::from_fn(|i| f64::from(from[i]) - from_mean[i]);
        let [u, v] = std::array::from_fn(|i| f64::from(to[i]) - to_mean[i]);
        along += x * u + y * v;
        across += x * v - y * u;
        spread += x * x + y * y;
    }
    let (a, b) = (along / spread, across / spread);
    let shift =
        [to_mean[0] - (a * from_mean[0] - b * from_mean[1]), to_mean[1] - (b * from_mean[0] + a * from_mean[1])];
    // No spread gives NaN; no agreement at all gives a scale of 0, which no picture can be warped with.
    let usable = (a * a + b * b).is_normal() && shift.iter().all(|v| v.is_finite());
    usable.then_some(Similarity { a, b, shift })
}

/// The pairs that OpenCV's generator, which always starts from the same state, draws of five points in its thirteen
/// tries, without those that come again: four of the ten possible pairs never come.
const TRIED_PAIRS: [(usize, usize); 6] = [(0, 4), (0, 3), (1, 2), (1, 0), (1, 4), (3, 1)];

/// `cv2.estimateAffinePartial2D(…, method=LMEDS)` for five points: of the similarities through two points the one with
/// the least median of squared distances (Rousseeuw, "Least median of squares regression", JASA 1984), then least
/// squares over the points that lie near it. One misplaced landmark, as on a turned head, so falls out.
pub(super) fn least_median(from: &Points, to: &Points) -> Option<Similarity> {
    let mut best: Option<(f32, Similarity)> = None;
    for (i, j) in TRIED_PAIRS {
        let pair = std::array::from_fn(|at| at == i || at == j);
        let Some(through_pair) = least_squares(from, to, pair) else { continue };
        let mut distances = squared_distances(&through_pair, from, to);
        distances.sort_by(f32::total_cmp);
        if best.is_none_or(|(least, _)| distances[2] < least) {
            best = Some((distances[2], through_pair));
        }
    }
    let (median, through_pair) = best?;
    // Rousseeuw and Leroy's robust deviation for 5 points and 2 to fit, times 2.5; OpenCV's floor beneath it.
    let reach = (2.5 * 1.4826 * (1.0 + 5.0 / 3.0) * f64::from(median).sqrt()).max(0.001);
    let near = squared_distances(&through_pair, from, to).map(|distance| distance <= (reach * reach) as f32);
    least_squares(from, to, near)
}

/// In f32 as OpenCV has them: which points count must not hang on more digits.
fn squared_distances(similarity: &Similarity, from: &Points, to: &Points) -> [f32; 5] {
    let (a, b) = (similarity.a as f32, similarity.b as f32);
    let shift = similarity.shift.map(|v| v as f32);
    std::array::from_fn(|i| {
        let [x, y] = from[i];
        let (dx, dy) = (a * x - b * y + shift[0] - to[i][0], b * x + a * y + shift[1] - to[i][1]);
        dx * dx + dy * dy
    })
}
