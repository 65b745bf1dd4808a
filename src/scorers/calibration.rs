//! `[calibration]` of a scorer: logit → the share of fakes among things with that logit, and from which logit on a thing
//! counts as fake.
//!
//! It was measured on somebody's labelled material and holds for material like that. The raw logit is kept beside it in
//! every row. A higher logit never gets a lower calibrated score.

use serde::{Deserialize, Serialize};

/// What a scorer was calibrated to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CalibrationWords", into = "CalibrationWords")]
pub struct Calibration {
    pub curve: Curve,
    pub threshold: Option<Threshold>,
    pub measured: Option<Measured>,
}

/// From a logit to a calibrated score.
#[derive(Debug, Clone, PartialEq)]
pub enum Curve {
    /// sigmoid(slope · logit + offset), Platt 1999. The slope is not negative.
    Platt { slope: f64, offset: f64 },
    /// Straight lines between knots of logit and score, neither of which descends; level outside them.
    Isotonic { knots: Vec<[f64; 2]> },
}

/// From which logit on a thing counts as fake.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    pub logit: f64,
    /// The share of real things above it that somebody was ready to bear.
    pub wanted_fpr: f64,
    /// 95 % of resamples of the labelled media put the threshold between these logits.
    pub logit_interval: Option<[f64; 2]>,
}

/// What the calibration was measured on, and how good it was there, on media that the curve had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub media: u64,
    pub things: u64,
    pub fakes: u64,
    pub log_loss: f64,
    /// Expected calibration error over `bins` of equal width.
    pub ece: f64,
    /// Count, mean calibrated score and share of fakes of each bin that is not empty.
    pub bins: Vec<Bin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    pub count: u64,
    pub mean_score: f64,
    pub fake_share: f64,
}

impl Calibration {
    /// In [0, 1].
    #[must_use]
    pub fn score(&self, logit: f32) -> f32 {
        self.curve.at(f64::from(logit)) as f32
    }

    /// None without a threshold.
    #[must_use]
    pub fn is_above(&self, logit: f32) -> Option<bool> {
        self.threshold.map(|threshold| f64::from(logit) >= threshold.logit)
    }
}

impl Curve {
    /// In [0, 1] for every finite logit.
    #[must_use]
    pub fn at(&self, logit: f64) -> f64 {
        match self {
            Self::Platt { slope, offset } => 1.0 / (1.0 + (-(slope * logit + offset)).exp()),
            Self::Isotonic { knots } => {
                let after = knots.partition_point(|[at, _]| *at <= logit);
                match (after.checked_sub(1).and_then(|before| knots.get(before)), knots.get(after)) {
                    (Some([x0, y0]), Some([x1, y1])) => y0 + (y1 - y0) * (logit - x0) / (x1 - x0),
                    (Some([_, y]), None) | (None, Some([_, y])) => *y,
                    (None, None) => f64::NAN, // no knots: refused when it was read
                }
            }
        }
    }
}

/// `[calibration]` as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationWords {
    kind: CurveKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    slope: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knots: Option<Vec<[f64; 2]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<Threshold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Measured>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CurveKind {
    Platt,
    Isotonic,
}

impl TryFrom<CalibrationWords> for Calibration {
    type Error = String;

    fn try_from(words: CalibrationWords) -> Result<Self, String> {
        let CalibrationWords { kind, slope, offset, knots, threshold, measured } = words;
        let curve = match (kind, slope, offset, knots) {
            (CurveKind::Platt, Some(slope), Some(offset), None) => {
                if !(slope.is_finite() && slope >= 0.0 && offset.is_finite()) {
                    return Err(format!(
                        "calibration: expected a slope of 0 or more and a finite offset, found {slope} and {offset}"
                    ));
                }
                Curve::Platt { slope, offset }
            }
            (CurveKind::Isotonic, None, None, Some(knots)) => Curve::Isotonic { knots: check_knots(knots)? },
            (CurveKind::Platt, ..) => {
                return Err("calibration: expected slope and offset, and no knots, for kind \"platt\"".to_owned());
            }
            (CurveKind::Isotonic, ..) => {
                return Err(
                    "calibration: expected knots, and neither slope nor offset, for kind \"isotonic\"".to_owned()
                );
            }
        };
        if let Some(Threshold { logit, wanted_fpr, .. }) = threshold
            && !(logit.is_finite() && (0.0..=1.0).contains(&wanted_fpr))
        {
            return Err(format!(
                "calibration.threshold: expected a finite logit and a wanted_fpr from 0 to 1, found {logit} and {wanted_fpr}"
            ));
        }
        Ok(Self { curve, threshold, measured })
    }
}

fn check_knots(knots: Vec<[f64; 2]>) -> Result<Vec<[f64; 2]>, String> {
    let ascends = knots.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] <= pair[1][1]);
    let is_in_range = |[logit, score]: &[f64; 2]| logit.is_finite() && (0.0..=1.0).contains(score);
    if knots.is_empty() || !ascends || !knots.iter().all(is_in_range) {
        return Err("calibration.knots: expected pairs of an ascending logit and a score from 0 to 1 that does not \
                    descend, found others or none"
            .to_owned());
    }
    Ok(knots)
}

impl From<Calibration> for CalibrationWords {
    fn from(Calibration { curve, threshold, measured }: Calibration) -> Self {
        let words = Self { kind: CurveKind::Platt, slope: None, offset: None, knots: None, threshold, measured };
        match curve {
            Curve::Platt { slope, offset } => Self { slope: Some(slope), offset: Some(offset), ..words },
            Curve::Isotonic { knots } => Self { kind: CurveKind::Isotonic, knots: Some(knots), ..words },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Calibration, Curve};

    fn read(words: &str) -> Result<Calibration, String> {
        toml::from_str(words).map_err(|e| e.to_string())
    }

    #[test]
    fn platt_is_a_sigmoid_of_a_line() {
        let calibration = read("kind = 'platt'\nslope = 2.0\noffset = -1.0").unwrap();
        assert!((calibration.score(0.5) - 0.5).abs() < 1e-7);
        assert!((calibration.score(1.0) - 0.731_058_6).abs() < 1e-6);
        assert_eq!(calibration.is_above(9.0), None);
    }

    #[test]
    fn isotonic_goes_straight_between_its_knots_and_is_level_outside() {
        let curve = Curve::Isotonic { knots: vec![[-1.0, 0.1], [1.0, 0.5], [2.0, 0.5], [4.0, 1.0]] };
        for (logit, expected) in
            [(-9.0, 0.1), (-1.0, 0.1), (0.0, 0.3), (1.5, 0.5), (3.0, 0.75), (4.0, 1.0), (99.0, 1.0)]
        {
            assert!((curve.at(logit) - expected).abs() < 1e-12, "{logit}: {}", curve.at(logit));
        }
    }

    #[test]
    fn what_is_written_reads_back_as_it_was() {
        let words = "kind = 'isotonic'\nknots = [[-1.5, 0.0], [2.25, 1.0]]\nthreshold = { logit = 1.5, wanted_fpr = 0.01, \
                     logit_interval = [1.0, 2.0] }\nmeasured = { media = 10, things = 20, fakes = 5, log_loss = 0.3, ece = \
                     0.02, bins = [{ count = 20, mean_score = 0.2, fake_share = 0.25 }] }";
        let calibration = read(words).unwrap();
        assert_eq!(calibration.is_above(1.5), Some(true));
        assert_eq!(calibration.is_above(1.499), Some(false));
        assert_eq!(read(&toml::to_string(&calibration).unwrap()).unwrap(), calibration);
    }

    #[test]
    fn a_calibration_that_is_none_is_refused_by_name() {
        for (words, named) in [
            ("kind = 'platt'\nslope = 1.0", "offset"),
            ("kind = 'platt'\nslope = -1.0\noffset = 0.0", "slope"),
            ("kind = 'platt'\nslope = nan\noffset = 0.0", "slope"),
            ("kind = 'platt'\nslope = 1.0\noffset = 0.0\nknots = [[0.0, 0.0]]", "knots"),
            ("kind = 'isotonic'\nknots = []", "knots"),
            ("kind = 'isotonic'\nknots = [[0.0, 0.5], [1.0, 0.4]]", "descend"),
            ("kind = 'isotonic'\nknots = [[1.0, 0.5], [1.0, 0.6]]", "ascending"),
            ("kind = 'isotonic'\nknots = [[1.0, 1.5]]", "from 0 to 1"),
            ("kind = 'beta'", "beta"),
            ("kind = 'platt'\nslope = 1.0\noffset = 0.0\nthreshold = { logit = 1.0, wanted_fpr = 1.5 }", "wanted_fpr"),
            ("kind = 'platt'\nslope = 1.0\noffset = 0.0\ntemperature = 1.0", "temperature"),
        ] {
            let message = read(words).unwrap_err();
            assert!(message.contains(named), "{words}: {message}");
        }
    }
}
