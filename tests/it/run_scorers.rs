//! Several scorers in one run: each has the rows that it has alone, and what they have in common is done once.

use std::path::Path;

use deepsweep::networks::clip::{ClipTextConfig, Precision};
use serde_json::Value;

use crate::made_weights::Fill;
use crate::probe::{BOX, CONFIG, Choices, Folder, HIDDEN, Head, PLAIN, Tensors, named, pictures, write_tensors};
use crate::program::{Finished, Landed, Row, Sweep, deepsweep, finish, landed_in_folder, media, rows};

fn sweep(scorers: &[&Path], more: &[&str]) -> (Finished, Landed) {
    let out = tempfile::tempdir().unwrap();
    let (source, destination) = (pictures(), out.path().to_str().unwrap());
    let mut flags = vec!["--suffix", ".jpg", "--min-face-px", "20"];
    for scorer in scorers {
        flags.extend(["--scorer", scorer.to_str().unwrap()]);
    }
    flags.extend(more);
    let sweep = Sweep { source: source.to_str().unwrap(), out: destination, scorer: "", flags: &flags };
    (finish(sweep.command(&[])), landed_in_folder(out.path()))
}

fn swept(scorers: &[&Path]) -> Landed {
    let (finished, landed) = sweep(scorers, &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    landed
}

/// The rows of one scorer, without what differs between two runs: times, and the hash of all that the run used.
fn rows_of(landed: &Landed, table: &str, scorer: &str) -> Vec<Row> {
    let mut rows = rows(landed, table);
    rows.retain(|row| row["scorer"] == scorer);
    for row in &mut rows {
        row.retain(|name, _| name != "fingerprint" && !name.starts_with("seconds_"));
    }
    rows
}

#[test]
fn each_scorer_has_the_rows_that_it_has_alone() {
    let faces = named("faces", Choices { crop: BOX, ..PLAIN }).write();
    let frames = named("frames", Choices { head: Head::Linear(2), ..PLAIN }).write();
    let both = named("both", Choices { crop: "crop = [\"frame\", \"box\"]\nmargin = 0.25", ..PLAIN }).write();
    let folders = [faces.path(), frames.path(), both.path()];
    let together = swept(&folders);
    for (folder, scorer) in folders.into_iter().zip(["faces@1", "frames@1", "both@1"]) {
        let alone = swept(&[folder]);
        for table in ["media", "frames", "faces"] {
            let (found, expected) = (rows_of(&together, table, scorer), rows_of(&alone, table, scorer));
            assert!(!expected.is_empty(), "{table} of {scorer}");
            assert_eq!(found, expected, "{table} of {scorer}");
        }
    }
    assert_eq!(rows(&together, "media").len(), 3 * 4);
    // Three scorers, but 4 frames and 11 faces went through the one tower.
    assert_eq!(rows(&together, "embeddings").len(), 4 + 11);
}

#[test]
fn a_scorer_of_both_scores_frames_and_faces() {
    let both = Folder::new(Choices { crop: "crop = [\"frame\", \"box\"]\nmargin = 0.25", ..PLAIN }).write();
    let landed = swept(&[both.path()]);
    let (frames, faces) = (rows(&landed, "frames"), rows(&landed, "faces"));
    assert!(frames.iter().all(|row| row["frame_score"].is_number()), "{frames:?}");
    assert!(faces.iter().all(|row| row["score"].is_number()), "{faces:?}");
    // A picture without a face has the score of its frame.
    let row = media(&landed, "no_face.jpg");
    let frame = frames.iter().find(|frame| frame["key"] == "no_face.jpg").unwrap();
    assert_eq!((&row["status"], &row["score_max"]), (&Value::from("ok"), &frame["frame_score"]));
    assert!(frame["best_face_score"].is_null());
}

#[test]
fn crops_of_another_recipe_are_embedded_apart() {
    let wide = named("wide", Choices { crop: "crop = \"box\"\nmargin = 0.5", ..PLAIN }).write();
    let narrow = named("narrow", Choices { crop: BOX, ..PLAIN }).write();
    let embeddings = rows(&swept(&[wide.path(), narrow.path()]), "embeddings");
    assert_eq!(embeddings.len(), 2 * 11);
    let crops: std::collections::BTreeSet<&str> = embeddings.iter().map(|row| row["crop"].as_str().unwrap()).collect();
    assert!(crops.len() == 2 && crops.iter().any(|crop| crop.starts_with("box-0.25-squash-32px@")), "{crops:?}");
}

#[test]
fn an_object_that_is_rejected_has_a_row_for_each_scorer() {
    let (one, two) = (named("one", PLAIN).write(), named("two", PLAIN).write());
    let out = tempfile::tempdir().unwrap();
    let source = crate::root().join("tests/media/bad/text.jpg");
    let flags = ["--scorer", one.path().to_str().unwrap(), "--scorer", two.path().to_str().unwrap()];
    let sweep =
        Sweep { source: source.to_str().unwrap(), out: out.path().to_str().unwrap(), scorer: "", flags: &flags };
    let summary = sweep.succeed(&[]).stdout;
    let media = rows(&landed_in_folder(out.path()), "media");
    let scorers: Vec<&Value> = media.iter().map(|row| &row["scorer"]).collect();
    assert_eq!(scorers, ["one@1", "two@1"]);
    assert!(media.iter().all(|row| row["status"] == "rejected" && row["not_scored_reason"] == "rejected"));
    assert!(summary.contains("objects    1 ") && summary.contains("rejected   1:"), "{summary}");
}

/// The smallest tower with a text tower beside it, and CLIP's tokenizer.
fn with_text_tower(head: &str) -> tempfile::TempDir {
    let mut parts = Folder::new(Choices { crop: BOX, ..PLAIN });
    let text = r#""text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "projection_dim": 4}"#;
    parts.config = format!("{{\"model_type\": \"clip\", \"projection_dim\": 4, \"vision_config\": {CONFIG}, {text}}}");
    let golden = |name: &str| crate::root().join("tests/golden").join(name);
    let fill: Fill = serde_json::from_str(&std::fs::read_to_string(golden("text_towers.json")).unwrap()).unwrap();
    for (name, tensor) in fill.text(&ClipTextConfig::parse(&parts.config).unwrap()) {
        let values = tensor.flatten_all().unwrap().to_vec1().unwrap();
        parts.tower.insert(name, (tensor.dims().to_vec(), values));
    }
    parts.tower.insert("logit_scale".to_owned(), (vec![], vec![4.6052]));
    let (recipe, _) = parts.recipe.split_once("[head]").unwrap();
    parts.recipe = format!("{recipe}[head]\nkind = \"zero-shot\"\n{head}\n");
    let folder = parts.write();
    std::fs::copy(golden("tokenizer/tokenizer.json"), folder.path().join("tower/tokenizer.json")).unwrap();
    folder
}

#[test]
fn prompts_score_as_their_embeddings_do_and_are_embedded_once() {
    let cache = tempfile::tempdir().unwrap();
    let flags = ["--models", cache.path().to_str().unwrap()];
    let faces = |folder: &Path| {
        let (finished, landed) = sweep(&[folder], &flags);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        rows_of(&landed, "faces", "probe@1")
    };
    let prompted = with_text_tower("real = [\"a photo of a real face\", \"a face\"]\nfake = [\"a fake face\"]");
    let expected = faces(prompted.path());
    assert!(!expected.is_empty() && expected.iter().all(|face| face["score"].is_number()), "{expected:?}");

    let embedded = crate::model_fixture::names(&cache.path().join("prompts"));
    let [embedded] = embedded.as_slice() else { panic!("{embedded:?}") };
    let given = with_text_tower("file = \"head.safetensors\"\nlogit_scale = 4.6052");
    std::fs::copy(cache.path().join("prompts").join(embedded), given.path().join("head.safetensors")).unwrap();
    assert_eq!(faces(given.path()), expected);
    assert_eq!(faces(prompted.path()), expected);
    assert_eq!(crate::model_fixture::names(&cache.path().join("prompts")).len(), 1);

    std::fs::remove_file(prompted.path().join("tower/tokenizer.json")).unwrap();
    check_refused(&[prompted.path()], &flags, &["scorer.toml", "tokenizer.json", "vocab.json"]);
}

/// A tower in bfloat16 gives other numbers, so its scorer is another: by name, tower and fingerprint; what was stored of the
/// one is not taken for the other's.
#[test]
fn a_scorer_in_bfloat16_is_a_scorer_of_its_own_or_refused_where_the_cpu_has_none() {
    let folder = named("probe", Choices { crop: BOX, ..PLAIN }).write();
    let ending = format!("{}+bf16", folder.path().display());
    let rounded = Path::new(&ending);
    if !Precision::Bf16.is_here() {
        return check_refused(&[rounded], &[], &["AVX512-BF16"]);
    }
    let out = tempfile::tempdir().unwrap();
    let (source, destination) = (pictures(), out.path().to_str().unwrap());
    let flags = ["--suffix", ".jpg", "--min-face-px", "20", "--run-id", "rounded", "--scorer", &ending];
    Sweep { source: source.to_str().unwrap(), out: destination, scorer: "", flags: &flags }.succeed(&[]);
    let landed = landed_in_folder(out.path());
    let exact = swept(&[folder.path()]);

    let (found, expected) = (rows(&landed, "faces"), rows(&exact, "faces"));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found["scorer"], "probe+bf16@1");
        assert_eq!((&found["key"], &found["box_x0"]), (&expected["key"], &expected["box_x0"]));
        let apart = found["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap();
        assert!(apart.abs() <= 0.01, "{apart}");
    }
    let logits = |rows: &[Row]| rows.iter().map(|row| row["logit"].to_string()).collect::<Vec<_>>();
    assert_ne!(logits(&found), logits(&expected), "not f32 under another name");
    let fingerprint = |landed: &Landed| rows(landed, "media")[0]["fingerprint"].clone();
    assert_ne!(fingerprint(&landed), fingerprint(&exact));
    let towers = |landed: &Landed| rows(landed, "embeddings")[0]["tower"].as_str().unwrap().to_owned();
    assert_eq!(towers(&landed), format!("{}+bf16", towers(&exact)));

    // Side by side in one run each has the rows that it has alone.
    let both = swept(&[rounded, folder.path()]);
    for (id, alone) in [("probe+bf16@1", &found), ("probe@1", &expected)] {
        let scores = |rows: &[Row]| rows.iter().map(|row| row["score"].to_string()).collect::<Vec<_>>();
        assert_eq!(scores(&rows_of(&both, "faces", id)), scores(alone), "{id}");
    }

    let verified = finish(deepsweep(&["models", "verify", &ending], &[]));
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    assert!(verified.stdout.contains("probe+bf16@1: opens"), "{}", verified.stdout);

    // Scored again from what was stored, each only by its own.
    let run = out.path().join("_runs/rounded");
    let again = |scorer: &str| {
        let target = tempfile::tempdir().unwrap();
        let arguments =
            ["rescore", run.to_str().unwrap(), "--scorer", scorer, "--out", target.path().to_str().unwrap()];
        (finish(deepsweep(&arguments, &[])), landed_in_folder(target.path()))
    };
    let (finished, rescored) = again(&ending);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(rows_of(&rescored, "faces", "probe+bf16@1"), rows_of(&landed, "faces", "probe+bf16@1"));
    let (finished, _) = again(folder.path().to_str().unwrap());
    assert_ne!(finished.code, Some(0));
    assert!(finished.stderr.contains("+bf16"), "{}", finished.stderr);
}

/// What is fitted to embeddings in bfloat16 says how it is used, and can be used so.
#[test]
fn a_head_fitted_in_bfloat16_is_used_in_it() {
    if !Precision::Bf16.is_here() {
        return;
    }
    let folder = named("probe", Choices { crop: BOX, ..PLAIN }).write();
    let base = format!("{}+bf16", folder.path().display());
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut labels = "key,label\n".to_owned();
    for (label, picture) in [("real", "astronaut.jpg"), ("fake", "portrait_small.jpg")] {
        for copy in 0..2 {
            let key = format!("{label}-{copy}.jpg");
            std::fs::copy(pictures().join(picture), source.path().join(&key)).unwrap();
            labels += &format!("{key},{label}\n");
        }
    }
    let flags = ["--run-id", "rounded", "--scorer", &base];
    let (from, to) = (source.path().to_str().unwrap(), out.path().to_str().unwrap());
    Sweep { source: from, out: to, scorer: "", flags: &flags }.succeed(&[]);

    let [run, labels_at, fitted] = ["_runs/rounded", "labels.csv", "fitted"].map(|name| out.path().join(name));
    std::fs::write(&labels_at, labels).unwrap();
    let [run, labels_at, fitted] = [&run, &labels_at, &fitted].map(|path| path.to_str().unwrap());
    let fit = ["fit", run, "--labels", labels_at, "--base", &base, "--folds", "2", "--c", "1", "--out", fitted];
    let finished = finish(deepsweep(&fit, &[]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for said in ["scorer fitted+bf16@1 in", &format!("--scorer {fitted}+bf16\n")] {
        assert!(finished.stdout.contains(said), "{said}: {}", finished.stdout);
    }
    let verified = finish(deepsweep(&["models", "verify", &format!("{fitted}+bf16")], &[]));
    assert!(verified.stdout.contains("fitted+bf16@1: opens; golden pictures: 1"), "{}", verified.stdout);
}

fn check_refused(scorers: &[&Path], more: &[&str], named: &[&str]) {
    let (finished, landed) = sweep(scorers, more);
    assert_eq!(finished.code, Some(2), "{named:?}\n{}", finished.stderr);
    assert!(landed.is_empty(), "{named:?}");
    for name in named {
        assert!(finished.stderr.contains(name), "expected {name:?} in\n{}", finished.stderr);
    }
}

#[test]
fn two_scorers_of_one_name_are_refused_and_so_is_none_beside_another() {
    let (one, two) = (Folder::new(PLAIN).write(), Folder::new(Choices { crop: BOX, ..PLAIN }).write());
    check_refused(&[one.path(), two.path()], &[], &["probe@1", "once"]);
    check_refused(&[one.path(), Path::new("none")], &[], &["none alone"]);
}

#[test]
fn a_licence_that_forbids_commerce_must_be_accepted() {
    let mut folder = Folder::new(PLAIN);
    folder.recipe = folder.recipe.replace("\"MIT\"", "\"CC-BY-NC-4.0\"");
    let folder = folder.write();
    check_refused(&[folder.path()], &[], &["probe@1", "CC-BY-NC-4.0", "--accept-licence", "a test"]);
    let (finished, _) = sweep(&[folder.path()], &["--accept-licence"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

/// A golden picture that the tower's own size leaves as it is, and the logit that a run gives it.
fn folder_with_golden(offset: f64) -> tempfile::TempDir {
    let mut folder = Folder::new(PLAIN);
    let written = folder.write();
    let picture = crate::root().join("tests/media/formats/png_rgb8.png");
    let landed = {
        let out = tempfile::tempdir().unwrap();
        let sweep = Sweep {
            source: picture.to_str().unwrap(),
            out: out.path().to_str().unwrap(),
            scorer: written.path().to_str().unwrap(),
            flags: &[],
        };
        sweep.succeed(&[]);
        landed_in_folder(out.path())
    };
    let score = rows(&landed, "frames")[0]["frame_score"].as_f64().unwrap();
    let logit = (score / (1.0 - score)).ln() + offset;
    folder.recipe.push_str(&format!("[[golden]]\npicture = \"golden.png\"\nlogit = {logit}\n"));
    let folder = folder.write();
    std::fs::copy(picture, folder.path().join("golden.png")).unwrap();
    folder
}

#[test]
fn a_scorer_that_misses_its_golden_vectors_is_refused() {
    let (finished, _) = sweep(&[folder_with_golden(0.0).path()], &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let off = folder_with_golden(0.05);
    let (finished, landed) = sweep(&[off.path()], &[]);
    assert_eq!((finished.code, landed.is_empty()), (Some(3), true), "{}", finished.stderr);
    for name in ["probe@1", "golden.png", "expected logit", "found"] {
        assert!(finished.stderr.contains(name), "{}", finished.stderr);
    }
    std::fs::remove_file(off.path().join("golden.png")).unwrap();
    check_refused(&[off.path()], &[], &["golden.picture", "golden.png"]);
}

/// The logits of the faces with a tower under a prefix and, of its tensors, one replaced under this name.
fn logits_with_overlay(name: Option<&str>) -> Vec<Value> {
    let mut parts = Folder::new(Choices { crop: BOX, ..PLAIN });
    parts.tower = parts.tower.into_iter().map(|(name, tensor)| (format!("backbone.{name}"), tensor)).collect();
    let mut words = "path = \"tower\"\nprefix = \"backbone\"\n".to_owned();
    if name.is_some() {
        words.push_str("overlay = \"overlay.safetensors\"\n");
    }
    parts.recipe = parts.recipe.replace("path = \"tower\"", &words);
    let folder = parts.write();
    if let Some(name) = name {
        let overlay = Tensors::from([(name.to_owned(), (vec![HIDDEN], vec![0.5; HIDDEN]))]);
        write_tensors(&overlay, &folder.path().join("overlay.safetensors"));
    }
    rows(&swept(&[folder.path()]), "faces").into_iter().map(|mut face| face.remove("logit").unwrap()).collect()
}

#[test]
fn an_overlay_bears_the_prefix_of_its_tower_or_none() {
    let plain = logits_with_overlay(None);
    let tuned = logits_with_overlay(Some("vision_model.post_layernorm.weight"));
    assert!(!plain.is_empty() && plain != tuned, "{plain:?}");
    assert_eq!(logits_with_overlay(Some("backbone.vision_model.post_layernorm.weight")), tuned);
}
