//! What ffprobe shows of a clip when it decodes all of it, and which of those frames each way of sampling wants.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A choice of frames nearer than this to a boundary between two may fall on either side: containers round times,
/// some to a thousandth of a second.
const EITHER_WAY_S: f64 = 0.0021;

/// The frames in the order in which they are shown.
#[derive(Debug)]
pub struct Film {
    pub frames: Vec<Shown>,
    /// When the last frame ends, on the clock of `pts_s`.
    pub end_s: f64,
}

#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// From the container's start; from the first frame where the container has no clock of its own (AVI).
    pub pts_s: f64,
    pub keyframe: bool,
}

/// A way of sampling: what is asked for, and the flags that ask.
#[derive(Debug, Clone, Copy)]
pub enum Sampling {
    Frames(usize),
    EveryMs(usize),
    Keyframes,
    All,
}

impl Sampling {
    pub fn flags(self) -> Vec<String> {
        match self {
            Self::Frames(count) => vec!["--frames".to_owned(), count.to_string()],
            Self::EveryMs(step) => vec!["--every".to_owned(), format!("{step}ms")],
            Self::Keyframes => vec!["--keyframes".to_owned()],
            Self::All => vec!["--all-frames".to_owned()],
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

impl Film {
    pub fn of(clip: &Path) -> Self {
        let entries = "frame=best_effort_timestamp_time,key_frame,pkt_duration_time,duration_time\
            :format=start_time,format_name";
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-of", "json", "-select_streams", "v:0", "-show_entries", entries]).arg(clip);
        let said: Value = serde_json::from_slice(&ffprobe.output().unwrap().stdout).unwrap();
        let shown = said["frames"].as_array().unwrap();
        assert!(!shown.is_empty(), "{}: ffprobe shows no frames", clip.display());
        let lasts_s = |frame: &Value| number(&frame["duration_time"]).or_else(|| number(&frame["pkt_duration_time"]));
        let mut times: Vec<f64> = vec![];
        for frame in shown {
            // AVI has no times of its own: what the decoder held back to the end comes without one.
            let known = number(&frame["best_effort_timestamp_time"]);
            let next = || times.last().unwrap() + lasts_s(frame).unwrap();
            times.push(known.unwrap_or_else(next));
        }
        let clockless = said["format"]["format_name"] == "avi";
        let start_s = if clockless { times[0] } else { number(&said["format"]["start_time"]).unwrap_or(times[0]) };
        let frames: Vec<Shown> = shown
            .iter()
            .zip(&times)
            .map(|(frame, time)| Shown { pts_s: time - start_s, keyframe: frame["key_frame"] == 1 })
            .collect();
        // Without one, as long as the frame before it.
        let before = times.len().checked_sub(2).map_or(0.0, |at| times[at + 1] - times[at]);
        let end_s = frames.last().unwrap().pts_s + lasts_s(shown.last().unwrap()).unwrap_or(before);
        Self { frames, end_s }
    }

    /// Places of the frames that are wanted: of each any one of a few, where it is a matter of rounding.
    pub fn wanted(&self, sampling: Sampling) -> Vec<Vec<usize>> {
        let first_s = self.frames[0].pts_s;
        let length_s = self.end_s - first_s;
        let all = 0..self.frames.len();
        match sampling {
            Sampling::All => all.map(|at| vec![at]).collect(),
            Sampling::Keyframes => all.filter(|at| self.frames[*at].keyframe).map(|at| vec![at]).collect(),
            Sampling::Frames(count) if count >= self.frames.len() => all.map(|at| vec![at]).collect(),
            Sampling::Frames(count) => {
                let step_s = length_s / count as f64;
                self.shown_at((0..count).map(|at| first_s + (at as f64 + 0.5) * step_s))
            }
            Sampling::EveryMs(step) => {
                let step_s = step as f64 / 1e3;
                let count = ((length_s - 1e-9) / step_s) as usize + 1;
                self.shown_at((0..count).map(|at| first_s + at as f64 * step_s))
            }
        }
    }

    /// The frame that is on the screen at each of these times, once where it is there at several.
    fn shown_at(&self, times_s: impl Iterator<Item = f64>) -> Vec<Vec<usize>> {
        let at = |time_s: f64| self.frames.iter().rposition(|frame| frame.pts_s <= time_s).unwrap_or(0);
        let mut wanted: Vec<Vec<usize>> = vec![];
        for time_s in times_s {
            let mut either = vec![at(time_s - EITHER_WAY_S), at(time_s + EITHER_WAY_S)];
            either.dedup();
            if wanted.last() != Some(&either) {
                wanted.push(either);
            }
        }
        wanted
    }
}
