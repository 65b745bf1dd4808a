//! Clips made by ffmpeg from a sample portrait, in which each frame shows its own number: the face stands where
//! [`face_centre_px`] says, eight pixels from where it stands in any other frame. So a row of `faces` tells which
//! frame it was found in, whatever a container, a decoder or a seek made of the order.
//!
//! Kept under `target/tmp/clips` by a hash of the commands, the portrait and ffmpeg's version.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// Of the picture in which the face moves.
pub const WIDTH_PX: u32 = 480;
pub const HEIGHT_PX: u32 = 272;
pub const FRAMES_PER_S: f64 = 25.0;
/// Three times what MTCNN's box of this face wavers by.
pub const STEP_PX: usize = 8;
/// Steps from left to right; then one down, and back.
const ROW: usize = 35;
/// Rows that the picture has room for.
const ROWS: usize = 15;
/// Frames that can be told apart.
pub const MOST_FRAMES: usize = ROW * ROWS;
/// Where the face is in `portrait_small.jpg`, which `make_good.py` cuts around it.
const FACE_IN_PORTRAIT_PX: (f64, f64) = (100.0, 76.0);

/// Where the face is in a frame of the source, counted from 0.
pub fn face_centre_px(frame: usize) -> (f64, f64) {
    let (row, place) = (frame / ROW, frame % ROW);
    let column = if row.is_multiple_of(2) { place } else { ROW - 1 - place };
    (FACE_IN_PORTRAIT_PX.0 + (STEP_PX * column) as f64, FACE_IN_PORTRAIT_PX.1 + (STEP_PX * row) as f64)
}

/// One call of ffmpeg. `{source}` in an argument stands for the file that the step before wrote, `{folder}` for a folder
/// that lasts as long as the steps.
pub type Step = Vec<String>;

/// So many frames of the moving face through `filters` (may be empty) into `output`, the arguments of an encoder.
pub fn encode(frames: usize, filters: &str, output: &str) -> Step {
    encode_beside(frames, &[], filters, output)
}

/// Likewise, with more inputs; the first of them is input 2 for `-map`.
pub fn encode_beside(frames: usize, inputs: &[&str], filters: &str, output: &str) -> Step {
    assert!(frames <= MOST_FRAMES, "{frames}");
    let portrait = crate::root().join("tests/media/good/portrait_small.jpg");
    // Counted by time: what `n` starts with depends on ffmpeg's version.
    let number = format!("round(t*{FRAMES_PER_S})");
    let place = format!("mod({number},{})", 2 * ROW);
    let column = format!("if(lt({place},{ROW}),{place},{}-{place})", 2 * ROW - 1);
    let filters = if filters.is_empty() { String::new() } else { format!(",{filters}") };
    let graph = format!(
        "[0][1]overlay=x='{STEP_PX}*{column}':y='{STEP_PX}*floor({number}/{ROW})':format=rgb,trim=end_frame={frames}{filters}[v]"
    );
    let ground = format!("color=c=0x6a7078:s={WIDTH_PX}x{HEIGHT_PX}:r={FRAMES_PER_S}");
    let mut step = words("-f lavfi -i");
    step.extend([ground, "-i".to_owned(), portrait.to_str().unwrap().to_owned()]);
    step.extend(inputs.iter().flat_map(|input| words(input)));
    step.extend(["-filter_complex".to_owned(), graph]);
    step.extend(words("-map [v]"));
    step.extend(words(output));
    step
}

/// What the step before wrote, in another container.
pub fn remux(before: &str, output: &str) -> Step {
    let mut step = words(before);
    step.extend(words("-i {source} -c copy"));
    step.extend(words(output));
    step
}

/// Arguments without spaces in them.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The file that these steps make; the ending of `name` chooses the container of the last one.
pub fn clip(name: &str, steps: &[Step]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
    std::fs::create_dir_all(&folder).unwrap();
    let portrait = std::fs::read(crate::root().join("tests/media/good/portrait_small.jpg")).unwrap();
    let mut hash = Sha256::new();
    hash.update(format!("{steps:?}\n{}", ffmpeg_version()));
    hash.update(portrait);
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let made = folder.join(format!("{digest}-{name}"));
    if made.exists() {
        return made;
    }
    // Apart until it is whole: other tests may look for it at the same time.
    let work = tempfile::tempdir_in(&folder).unwrap();
    let mut source = PathBuf::new();
    for (number, step) in steps.iter().enumerate() {
        let last = number + 1 == steps.len();
        let ending = if last { name.rsplit('.').next().unwrap() } else { "mkv" };
        // A step may name the ending that it writes, where the next one needs it.
        let target = work.path().join(format!("step{number}.{ending}"));
        let [from, beside] = [&*source, work.path()].map(|path| path.to_str().unwrap().to_owned());
        let arguments = step.iter().map(|word| word.replace("{source}", &from).replace("{folder}", &beside));
        run(arguments.chain([target.to_str().unwrap().to_owned()]));
        source = target;
    }
    std::fs::rename(source, &made).unwrap();
    made
}

fn ffmpeg_version() -> String {
    let said = Command::new("ffmpeg").arg("-version").output().expect("the tests make their clips with ffmpeg");
    String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned()
}

fn run(arguments: impl Iterator<Item = String>) {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments);
    let finished = command.output().unwrap();
    let said = String::from_utf8_lossy(&finished.stderr);
    assert!(finished.status.success(), "{command:?}\n{said}");
}
