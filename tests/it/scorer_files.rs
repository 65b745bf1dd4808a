//! Files that never end, or are no files, where a scorer names one: an error at once, and never a run that hangs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::probe::{Folder, PLAIN, pictures};
use crate::program::{deepsweep, finish};

fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Ends soon with 2 or 3 and says what it found.
fn check(arguments: &[&str], found: &str) {
    let finished = finish(deepsweep(arguments, &[]));
    assert!(matches!(finished.code, Some(2 | 3)), "{arguments:?}\n{}", finished.stderr);
    assert!(finished.stderr.contains(found), "{arguments:?}: expected {found:?} in\n{}", finished.stderr);
    assert!(finished.elapsed < Duration::from_secs(60), "{arguments:?}: {:?}", finished.elapsed);
}

fn check_in_folder(name: &str, words: &str) {
    let mut parts = Folder::new(PLAIN);
    parts.recipe = parts.recipe.replace("path = \"tower\"", &format!("path = \"tower\"\n{words}"));
    let folder = parts.write();
    pipe(&folder.path().join(name));
    let (out, source) = (tempfile::tempdir().unwrap(), pictures());
    let [source, out, scorer] = [&*source, out.path(), folder.path()].map(|path| path.to_str().unwrap());
    check(&["run", source, "--out", out, "--scorer", scorer], "a pipe or a device");
}

#[test]
fn a_pipe_in_place_of_a_file_is_named_and_nothing_hangs() {
    for name in ["scorer.toml", "tower/config.json"] {
        check_in_folder(name, "");
    }
    check_in_folder("overlay.safetensors", "overlay = \"overlay.safetensors\"");
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("registry.toml");
    pipe(&registry);
    check(&["models", "list", "--registry", registry.to_str().unwrap()], "a pipe or a device");
    check(&["models", "list", "--registry", "/dev/zero"], "a pipe or a device");
    let job = folder.path().join("job.toml");
    pipe(&job);
    check(&["run", job.to_str().unwrap()], "a pipe or a device");
}
