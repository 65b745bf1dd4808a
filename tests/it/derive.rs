//! A scorer folder made from another scorer: whatever stands elsewhere is found again, and nothing else changes.

use std::path::Path;

use deepsweep::scorers::ScorerChoice;
use deepsweep::scorers::derive::Derived;
use deepsweep::scorers::read_folder;
use deepsweep::scorers::registry::Registry;

use crate::probe::{BOX, Choices, Folder, Head, PLAIN, open};

fn derived(scorer: &str) -> Derived {
    let choice: ScorerChoice = scorer.parse().unwrap();
    Derived::from(&choice, &Registry::open(None).unwrap()).unwrap()
}

/// Written elsewhere and opened, it is the same scorer to the last weight.
fn check_same(folder: &Path, place: &Path) {
    derived(folder.to_str().unwrap()).write(place).unwrap();
    let (before, after) = (open(folder), open(place));
    assert_eq!(before.scorers()[0].digest, after.scorers()[0].digest);
    assert_eq!(before.scorers()[0].golden_pictures(), after.scorers()[0].golden_pictures());
}

#[test]
fn a_scorer_of_ones_own_is_the_same_wherever_its_folder_is_written() {
    for (name, choices) in [
        ("linear", PLAIN),
        ("softmax", Choices { head: Head::Linear(2), crop: BOX, ..PLAIN }),
        ("zero-shot", Choices { head: Head::ZeroShot, ..PLAIN }),
        ("both", Choices { crop: "crop = [\"frame\", \"box\"]\nmargin = 0.25", tap: "pooled", ..PLAIN }),
    ] {
        let folder = Folder::new(choices).write();
        let elsewhere = tempfile::tempdir().unwrap();
        check_same(folder.path(), &elsewhere.path().join(name));
        check_same(folder.path(), &elsewhere.path().join("deep/er").join(name));
        check_same(folder.path(), &folder.path().join("beside"));
    }
}

#[test]
fn golden_pictures_go_along_and_absolute_towers_stay_where_they_are() {
    let mut parts = Folder::new(PLAIN);
    let plain = parts.write();
    let tower = plain.path().join("tower");
    parts.recipe = parts.recipe.replace("path = \"tower\"", &format!("path = {:?}", tower.to_str().unwrap()));
    parts.recipe += "[[golden]]\npicture = \"golden.png\"\nlogit = LOGIT\n";
    let folder = parts.write();
    std::fs::copy(crate::root().join("models/untrained-demo/golden.png"), folder.path().join("golden.png")).unwrap();
    // The logit that the scorer gives is in the message of one that is wrong.
    let logit = logit_of(folder.path(), &parts.recipe);
    std::fs::write(folder.path().join("scorer.toml"), parts.recipe.replace("LOGIT", &logit)).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    check_same(folder.path(), &elsewhere.path().join("copy"));
    let words = std::fs::read_to_string(elsewhere.path().join("copy/scorer.toml")).unwrap();
    assert!(words.contains(tower.to_str().unwrap()), "{words}");
}

fn logit_of(folder: &Path, recipe: &str) -> String {
    use crate::program::{Sweep, finish};
    std::fs::write(folder.join("scorer.toml"), recipe.replace("LOGIT", "123.0")).unwrap();
    let (source, out) = (crate::root().join("tests/media/good"), tempfile::tempdir().unwrap());
    let [source, out, scorer] = [source.as_path(), out.path(), folder].map(|path| path.to_str().unwrap());
    let refused = finish(Sweep { source, out, scorer, flags: &[] }.command(&[]));
    let (_, found) = refused.stderr.split_once("found ").unwrap();
    found.split(':').next().unwrap().to_owned()
}

#[test]
fn every_scorer_with_a_name_can_be_written_as_a_folder() {
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, beside) in [
        ("clip-b32", &[][..]),
        ("clip-b32-laion", &[]),
        ("univfd", &[]),
        ("gend-clip-l14", &["clip-vit-large-patch14.json"]),
        ("untrained-demo", &["head.safetensors"]),
    ] {
        let place = elsewhere.path().join(name);
        derived(name).write(&place).unwrap();
        assert_eq!(read_folder(&place).unwrap().name, name);
        let mut files: Vec<String> =
            place.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let mut expected = [beside, &["scorer.toml"]].concat();
        expected.sort_unstable();
        assert_eq!(files, expected, "{name}");
    }
    assert!(Derived::from(&ScorerChoice::None, &Registry::open(None).unwrap()).is_err());
}

#[test]
fn a_folder_that_is_there_is_left_as_it_is() {
    let folder = Folder::new(PLAIN).write();
    let place = tempfile::tempdir().unwrap();
    let error = derived(folder.path().to_str().unwrap()).write(place.path()).unwrap_err().to_string();
    assert!(error.contains("exists"), "{error}");
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
}
