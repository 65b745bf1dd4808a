//! A display matrix (ISO 14496-12, 8.3.2.3; QuickTime's transformation matrix) → how a picture is turned to be upright.

use image::metadata::Orientation;

use super::answer::SideData;

/// Reads the first display matrix of the side data, at any position. The picture is not turned where there is none, or where
/// it turns by an angle that is no quarter: players show that unturned.
#[must_use]
pub fn orientation(side_data: &[SideData]) -> Orientation {
    let matrix = side_data.iter().find_map(|data| data.displaymatrix.as_deref());
    matrix.and_then(numbers).map_or(Orientation::NoTransforms, |matrix| of_matrix(&matrix))
}

/// ffprobe prints three rows of three numbers, each after its row number and a colon.
fn numbers(text: &str) -> Option<[i64; 9]> {
    let rows = text.lines().filter_map(|line| line.split_once(':'));
    let all: Vec<i64> =
        rows.flat_map(|(_, row)| row.split_whitespace().map(|word| word.parse().unwrap_or(0))).collect();
    all.try_into().ok()
}

/// `x' = a·x + c·y`, `y' = b·x + d·y`, with y pointing down.
fn of_matrix(&[a, b, _, c, d, ..]: &[i64; 9]) -> Orientation {
    // A degree or two off is still that quarter.
    let is_small = |off: [i64; 2], main: [i64; 2]| {
        let most = main.map(i64::unsigned_abs).into_iter().min().unwrap_or(0);
        most > 0 && off.map(i64::unsigned_abs).into_iter().all(|value| value <= most / 32)
    };
    if is_small([b, c], [a, d]) {
        return match (a > 0, d > 0) {
            (true, true) => Orientation::NoTransforms,
            (false, true) => Orientation::FlipHorizontal,
            (false, false) => Orientation::Rotate180,
            (true, false) => Orientation::FlipVertical,
        };
    }
    if is_small([a, d], [b, c]) {
        return match (b > 0, c > 0) {
            (true, false) => Orientation::Rotate90,
            (false, true) => Orientation::Rotate270,
            (true, true) => Orientation::Rotate90FlipH,
            (false, false) => Orientation::Rotate270FlipH,
        };
    }
    Orientation::NoTransforms
}

/// The filters that turn a stored picture upright.
#[must_use]
pub fn filters(orientation: Orientation) -> &'static str {
    match orientation {
        Orientation::NoTransforms => "",
        Orientation::FlipHorizontal => ",hflip",
        Orientation::Rotate180 => ",hflip,vflip",
        Orientation::FlipVertical => ",vflip",
        Orientation::Rotate90FlipH => ",transpose=cclock_flip",
        Orientation::Rotate90 => ",transpose=clock",
        Orientation::Rotate270FlipH => ",transpose=clock_flip",
        Orientation::Rotate270 => ",transpose=cclock",
    }
}

/// Whether width and height change places.
#[must_use]
pub fn swaps_sides(orientation: Orientation) -> bool {
    orientation.to_exif() >= 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quarter_and_its_mirror_image_is_known_and_no_other_angle() {
        const ONE: i64 = 1 << 16;
        for (matrix, exif) in [
            ([ONE, 0, 0, ONE], 1),
            ([-ONE, 0, 0, ONE], 2),
            ([-ONE, 0, 0, -ONE], 3),
            ([ONE, 0, 0, -ONE], 4),
            ([0, ONE, ONE, 0], 5),
            ([0, ONE, -ONE, 0], 6),
            ([0, -ONE, -ONE, 0], 7),
            ([0, -ONE, ONE, 0], 8),
            ([46_341, 46_341, -46_341, 46_341], 1),
            ([0, 0, 0, 0], 1),
            ([ONE / 2, 0, 0, ONE / 2], 1),
        ] {
            let [a, b, c, d] = matrix;
            assert_eq!(of_matrix(&[a, b, 0, c, d, 0, 0, 0, 1 << 30]).to_exif(), exif, "{matrix:?}");
        }
    }

    #[test]
    fn the_matrix_is_found_behind_other_side_data() {
        let data = |kind: &str, matrix: Option<&str>| SideData {
            side_data_type: kind.to_owned(),
            displaymatrix: matrix.map(str::to_owned),
            ..SideData::default()
        };
        let matrix = "\n00000000:            0      -65536           0\n00000001:        65536           0           0\n\
                      00000002:            0           0  1073741824\n";
        let all = [data("DOVI configuration record", None), data("Display Matrix", Some(matrix))];
        assert_eq!(orientation(&all), Orientation::Rotate270);
        assert_eq!(orientation(&all[..1]), Orientation::NoTransforms);
        assert_eq!(orientation(&[data("Display Matrix", Some("rubbish"))]), Orientation::NoTransforms);
    }
}
