//! The faces of a video's frames → tracks: which of them are one face on its way through the pictures.
//!
//! By place alone, never by looks: a box goes on where a box of about that size was seen last. That holds as long as
//! frames lie close together; of frames that are minutes apart a track says that a face stood there again. A cut to
//! another face in the same place is not seen, nor are two that change places between two frames.

use super::embed::FrameFaces;
use crate::networks::mtcnn::FaceBox;

/// Boxes that overlap by so much (intersection over union) are one face, however their sizes differ.
const MIN_OVERLAP: f32 = 0.3;

/// Boxes that overlap less are one face where the centre moved by no more than the face's width …
const MAX_SHIFT_WIDTHS: f32 = 1.0;

/// … and the area changed by no more than this, a side by a half: where boxes do not overlap, size is all that is left
/// to tell a face that moved from the one that stood behind it.
const MAX_AREA_RATIO: f32 = 2.25;

/// A track is open for so many of the video's frames after the last face of it: the detector loses a face that
/// turns or blinks for one or two. The longer a track is open the likelier it is that somebody else stands there.
const OPEN_FRAMES: usize = 3;

/// And for so long, where frames are closer: as many frames of a film are over in a tenth of a second.
const OPEN_S: f64 = 0.5;

/// For each frame and each of its faces the track that it belongs to, numbered from 0 as they appear.
///
/// `frames`: in the order in which they are shown. Links are made one to one, the closest boxes first; which that
/// are depends on the boxes alone, and of equally close ones the older track and the more confident face go first.
/// Every face of a frame is held against every open track: a few thousand faces take less than finding them did.
#[must_use]
pub fn tracks(frames: &[FrameFaces]) -> Vec<Vec<i32>> {
    let mut open: Vec<Track> = vec![]; // ascending by id
    let mut next_id = 0;
    let of_frame = |(at, frame): (usize, &FrameFaces)| {
        open.retain(|track| track.is_open(at, frame.pts_s));
        let mut ids: Vec<Option<i32>> = vec![None; frame.detections.len()];
        let mut went_on = vec![false; open.len()];
        for Link { track, face, .. } in links(&open, frame) {
            if !went_on[track] && ids[face].is_none() {
                went_on[track] = true;
                let bounds = frame.detections[face].face.bounds;
                open[track] = Track { last: bounds, at, pts_s: frame.pts_s, ..open[track] };
                ids[face] = Some(open[track].id);
            }
        }
        let ids = ids.into_iter().zip(&frame.detections).map(|(id, detection)| {
            id.unwrap_or_else(|| {
                open.push(Track { id: next_id, last: detection.face.bounds, at, pts_s: frame.pts_s });
                next_id += 1;
                next_id - 1
            })
        });
        ids.collect()
    };
    frames.iter().enumerate().map(of_frame).collect()
}

/// A track that may go on.
#[derive(Debug, Clone, Copy)]
struct Track {
    id: i32,
    /// Its last face, and the place and time of the frame which that was in.
    last: FaceBox,
    at: usize,
    pts_s: Option<f64>,
}

impl Track {
    fn is_open(&self, at: usize, pts_s: Option<f64>) -> bool {
        let is_recent = self.pts_s.zip(pts_s).is_some_and(|(last, now)| now - last <= OPEN_S);
        at - self.at <= OPEN_FRAMES || is_recent
    }
}

/// What could be one face.
struct Link {
    distance: f32,
    track: usize,
    face: usize,
}

/// The closest first.
fn links(open: &[Track], frame: &FrameFaces) -> Vec<Link> {
    let mut links = vec![];
    for (track, Track { last, .. }) in open.iter().enumerate() {
        for (face, detection) in frame.detections.iter().enumerate() {
            links.extend(distance(*last, detection.face.bounds).map(|distance| Link { distance, track, face }));
        }
    }
    links.sort_by(|a, b| a.distance.total_cmp(&b.distance).then((a.track, a.face).cmp(&(b.track, b.face))));
    links
}

/// Below 1 for boxes that overlap enough, from 1 on for those that do not; None where they are not one face.
fn distance(last: FaceBox, now: FaceBox) -> Option<f32> {
    let overlap = overlap(last, now);
    if overlap >= MIN_OVERLAP {
        return Some(1.0 - overlap);
    }
    let shift_widths = (centre(last).0 - centre(now).0).hypot(centre(last).1 - centre(now).1) / (last.x1 - last.x0);
    let area_ratio = area(last).max(area(now)) / area(last).min(area(now));
    // A box without an area makes one of them infinite or NaN, and both refuse that.
    (shift_widths <= MAX_SHIFT_WIDTHS && area_ratio <= MAX_AREA_RATIO).then_some(1.0 + shift_widths)
}

fn overlap(a: FaceBox, b: FaceBox) -> f32 {
    let width = a.x1.min(b.x1) - a.x0.max(b.x0);
    let height = a.y1.min(b.y1) - a.y0.max(b.y0);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    width * height / (area(a) + area(b) - width * height)
}

fn area(bounds: FaceBox) -> f32 {
    (bounds.x1 - bounds.x0).max(0.0) * (bounds.y1 - bounds.y0).max(0.0)
}

fn centre(bounds: FaceBox) -> (f32, f32) {
    (f32::midpoint(bounds.x0, bounds.x1), f32::midpoint(bounds.y0, bounds.y1))
}

#[cfg(test)]
mod tests {
    use super::{FaceBox, FrameFaces, tracks};
    use crate::networks::mtcnn::Face;
    use crate::pipeline::detect::Detection;

    /// A square face: left, top, side.
    type Square = (f32, f32, f32);

    fn frame(index: i32, pts_s: Option<f64>, squares: &[Square]) -> FrameFaces {
        let detection = |(x0, y0, side): &Square| Detection {
            face: Face {
                bounds: FaceBox { x0: *x0, y0: *y0, x1: x0 + side, y1: y0 + side },
                landmarks: [[0.0; 2]; 5],
                confidence: 0.9,
            },
            sharpness: None,
        };
        FrameFaces { index, pts_s, size_px: (1920, 1080), detections: squares.iter().map(detection).collect() }
    }

    /// Frames a second apart.
    fn check(squares: &[&[Square]], expected: &[&[i32]]) {
        let frames: Vec<_> = (0_i32..).zip(squares).map(|(at, of)| frame(at, Some(f64::from(at)), of)).collect();
        assert_eq!(tracks(&frames), expected, "{squares:?}");
    }

    #[test]
    fn a_face_that_trembles_grows_or_moves_stays_one() {
        check(&[&[(100., 100., 50.)], &[(103., 98., 52.)], &[(99., 101., 49.)]], &[&[0], &[0], &[0]]);
        check(&[&[(100., 100., 50.)], &[(95., 95., 60.)], &[(85., 85., 75.)]], &[&[0], &[0], &[0]]);
        // By nearly its width each time: the boxes hardly touch.
        check(&[&[(100., 100., 50.)], &[(148., 100., 50.)], &[(196., 100., 50.)]], &[&[0], &[0], &[0]]);
    }

    #[test]
    fn a_face_too_far_away_or_of_another_size_is_another() {
        check(&[&[(100., 100., 50.)], &[(151., 100., 50.)]], &[&[0], &[1]]);
        check(&[&[(100., 100., 50.)], &[(100., 150., 50.)]], &[&[0], &[0]]);
        // Overlap 0.25 and 0.16: sides twice and two and a half times as long.
        check(&[&[(100., 100., 50.)], &[(100., 100., 100.)]], &[&[0], &[1]]);
        check(&[&[(100., 100., 125.)], &[(130., 130., 50.)]], &[&[0], &[1]]);
    }

    #[test]
    fn faces_that_pass_each_other_keep_their_tracks() {
        // From left to right above, from right to left below; the more confident is now the one, now the other.
        let (right, left) = (|at: f32| (100.0 + 20.0 * at, 100.0, 60.0), |at: f32| (220.0 - 20.0 * at, 130.0, 60.0));
        let frames: Vec<Vec<Square>> = (0_u8..8)
            .map(f32::from)
            .map(|at| if at % 2.0 == 0.0 { vec![right(at), left(at)] } else { vec![left(at), right(at)] })
            .collect();
        let frames: Vec<&[Square]> = frames.iter().map(Vec::as_slice).collect();
        let (even, odd): (&[i32], &[i32]) = (&[0, 1], &[1, 0]);
        check(&frames, &[even, odd, even, odd, even, odd, even, odd]);
    }

    #[test]
    fn the_closest_boxes_are_linked_first_and_each_once() {
        // Both could be the face of before: the nearer one is, though the other is more confident.
        check(&[&[(100., 100., 50.)], &[(120., 100., 50.), (105., 100., 50.)]], &[&[0], &[1, 0]]);
        // One that stays and one that comes: overlap goes before a shift.
        check(&[&[(100., 100., 50.)], &[(140., 100., 50.), (122., 100., 50.)]], &[&[0], &[1, 0]]);
        // Two in one place after the other: the older track goes on, equally close as they are.
        check(&[&[(100., 100., 50.), (140., 100., 50.)], &[(120., 100., 50.)]], &[&[0, 1], &[0]]);
    }

    #[test]
    fn a_face_that_is_lost_for_a_moment_goes_on_and_one_that_left_does_not() {
        let here: &[Square] = &[(100., 100., 50.)];
        check(&[here, &[], &[], here], &[&[0], &[], &[], &[0]]);
        check(&[here, &[], &[], &[], here], &[&[0], &[], &[], &[], &[1]]);
    }

    #[test]
    fn close_frames_count_by_time() {
        let at_rate = |frames_per_s: f64, lost: i32| {
            let there = |at: i32| if at == 0 || at == lost + 1 { vec![(100., 100., 50.)] } else { vec![] };
            let frames: Vec<_> =
                (0..lost + 2).map(|at| frame(at, Some(f64::from(at) / frames_per_s), &there(at))).collect();
            tracks(&frames).into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(at_rate(30.0, 14), [0, 0]);
        assert_eq!(at_rate(30.0, 15), [0, 1]);
        // Without times only frames count.
        let frames: Vec<_> = [true, false, false, false, true]
            .iter()
            .zip(0..)
            .map(|(there, at)| frame(at, None, if *there { &[(100., 100., 50.)] } else { &[] }))
            .collect();
        assert_eq!(tracks(&frames), [vec![0], vec![], vec![], vec![], vec![1]]);
    }

    #[test]
    fn a_cut_ends_tracks_unless_the_next_face_stands_in_the_same_place() {
        let (before, after): (&[Square], &[Square]) =
            (&[(100., 100., 50.), (300., 100., 60.)], &[(600., 400., 200.), (302., 99., 61.)]);
        check(&[before, before, after, after], &[&[0, 1], &[0, 1], &[2, 1], &[2, 1]]);
    }

    #[test]
    fn boxes_without_an_area_are_tracks_of_their_own() {
        check(&[&[(100., 100., 0.)], &[(100., 100., 0.)], &[(100., 100., -5.)]], &[&[0], &[1], &[2]]);
        check(&[], &[]);
        check(&[&[], &[]], &[&[], &[]]);
    }

    #[test]
    fn many_faces_at_once_keep_their_tracks() {
        // 400 faces, each of which moves: 160,000 pairs a frame, and the same tracks throughout.
        let faces = |at: u16| {
            let square = move |i: u16| (f32::from(i % 20) * 90.0 + f32::from(at), f32::from(i / 20) * 50.0, 40.0);
            (0..400).map(square).collect::<Vec<_>>()
        };
        let frames: Vec<_> = (0..20).map(|at| frame(i32::from(at), None, &faces(at))).collect();
        let expected: Vec<i32> = (0..400).collect();
        assert!(tracks(&frames).iter().all(|ids| *ids == expected));
    }
}
