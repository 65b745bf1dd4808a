//! `deepsweep models import`: what it writes is what the checkpoint had, bit by bit; what it says is enough to go on
//! with; what it refuses leaves nothing behind.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use deepsweep::networks::clip::{ClipVision, ClipVisionConfig};
use deepsweep::networks::weights::{Weights, sha256_of_file};

use crate::checkpoints::{self, answers, check_table, check_tower, config, folder, golden};
use crate::program::{Finished, Sweep, deepsweep, finish, landed_in_folder, media};
use crate::run_memory::measure;

/// `models import` of a golden checkpoint into a place below `folder`.
fn import(checkpoint: &str, out: &Path, flags: &[&str]) -> Finished {
    let file = folder().join(checkpoint);
    let arguments = ["models", "import", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    finish(deepsweep(&[&arguments[..], flags].concat(), &[]))
}

fn succeed(checkpoint: &str, out: &Path, flags: &[&str], said: &[&str]) {
    let finished = import(checkpoint, out, flags);
    assert_eq!(finished.code, Some(0), "{checkpoint} {flags:?}\n{}", finished.stderr);
    for words in said {
        assert!(finished.stdout.contains(words), "{checkpoint}: expected {words:?} in\n{}", finished.stdout);
    }
}

/// Ends with `code`, says all of `said`, and leaves nothing in a new folder.
fn check_refused(checkpoint: &str, out: &str, flags: &[&str], code: i32, said: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let finished = import(checkpoint, &place.path().join(out), flags);
    assert_eq!(finished.code, Some(code), "{checkpoint} {flags:?}\n{}", finished.stderr);
    for words in said {
        assert!(finished.stderr.contains(words), "{checkpoint}: expected {words:?} in\n{}", finished.stderr);
    }
    assert!(landed_in_folder(place.path()).is_empty(), "{checkpoint} {flags:?}");
}

fn open(path: &Path) -> Weights {
    Weights::open(path, &Device::Cpu).unwrap()
}

/// The written head has the tensors of `table` that stand below `prefix`.
fn check_head(path: &Path, file: &str, prefix: &str) {
    let table = golden().remove(file).unwrap();
    let head = table.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)));
    let (written, head) = (open(path), head.collect());
    check_table(&written, &head, file);
    assert_eq!(written.shapes().map(|(name, _)| name).collect::<Vec<_>>(), ["bias", "weight"], "{file}");
}

// --- Heads.

#[test]
fn the_published_head_of_univfd_becomes_safetensors_with_what_to_write_next() {
    let place = tempfile::tempdir().unwrap();
    for file in ["heads/fc_weights.pth", "heads/few_entries.pth"] {
        let head = place.path().join(file.replace('/', "_")).with_extension("safetensors");
        let lines =
            ["[head]\nkind = \"linear\"\nfile = \"", "weight  F32 [1, 768]", "bias    F32 [1]", "sigmoid", "L/14"];
        succeed(file, &head, &[], &lines);
        check_head(&head, file, "");
        let again = import(file, &head, &["--force"]);
        assert!(again.stdout.contains(&sha256_of_file(&head).unwrap()), "{}", again.stdout);
    }
}

#[test]
fn a_head_is_found_under_every_name_that_leaves_no_doubt() {
    let place = tempfile::tempdir().unwrap();
    for (file, prefix) in [
        ("archive_root.pth", ""),
        ("protocol4.pth", ""),
        ("parameters.pt", ""),
        ("attributes.pt", ""),
        ("trainer.pth", ""),
        ("nested.pth", ""),
        ("lightning.ckpt", "model.head."),
        ("fc.pth", "fc."),
        ("model_linear.pth", "model.linear."),
        ("head.pth", "head."),
        ("classifier.pth", "classifier."),
        ("module_fc.pth", "module.fc."),
        ("float16.pth", ""),
        ("bfloat16.pth", ""),
    ] {
        let head = place.path().join(file).with_extension("safetensors");
        succeed(&format!("heads/{file}"), &head, &[], &["wrote", "[head]"]);
        check_head(&head, &format!("heads/{file}"), prefix);
    }
    let head = place.path().join("real.safetensors");
    for (key, prefix) in [("real", "real."), ("fake.", "fake.")] {
        succeed("heads/two_heads.pth", &head, &["--key", key, "--force"], &[]);
        check_head(&head, "heads/two_heads.pth", prefix);
    }
    succeed("tower/wrapped.safetensors", &place.path().join("gend.safetensors"), &[], &["F32 [2, 16]", "softmax"]);
}

#[test]
fn a_head_in_doubt_is_asked_for_and_no_head_is_said() {
    let out = "head.safetensors";
    check_refused("heads/two_heads.pth", out, &[], 2, &["one head", "--key", "\"fake\" [1, 16]", "\"real\" [1, 16]"]);
    check_refused("heads/two_heads.pth", out, &["--key", "fc"], 2, &["--key \"fc\"", "fc.weight", "\"real\" [1, 16]"]);
    check_refused("tower/transformers", out, &[], 2, &["expected a head", "[2, width]", "--out FOLDER"]);
    check_refused(
        "tower/transformers",
        out,
        &["--key", "visual_projection"],
        2,
        &["[8, 16]", "heads in this file: none"],
    );
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let out = "head.safetensors";
    check_refused("bad/nan.pth", out, &[], 2, &["nan.pth", "\"bias\"", "NaN"]);
    check_refused("bad/os_system.pth", out, &[], 2, &["posix.system"]);
    check_refused("bad/legacy.pth", out, &[], 2, &["torch.save("]);
    check_refused("bad/nothing_here.pth", out, &[], 3, &["nothing_here.pth", "found none"]);
    check_refused("tower/epoch_1.pt", "tower", &["--heads", "2"], 2, &["--activation", "quick_gelu", "gelu"]);
    check_refused("tower/epoch_1.pt", out, &["--activation", "gelu"], 2, &["--activation"]);
    check_refused("tower/tuned.pth", out, &["--base", "b"], 2, &["--base", "two files"]);
}

#[test]
fn no_file_is_replaced_unless_it_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let head = place.path().join("head.safetensors");
    std::fs::write(&head, "mine").unwrap();
    let refused = import("heads/fc.pth", &head, &[]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("head.safetensors") && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&head).unwrap(), b"mine");
    succeed("heads/fc.pth", &head, &["--force"], &[]);
    check_head(&head, "heads/fc.pth", "fc.");

    let tower = place.path().join("tower");
    std::fs::create_dir(&tower).unwrap();
    std::fs::write(tower.join("model.safetensors"), "mine").unwrap();
    let flags = ["--heads", "2", "--activation", "quick_gelu"];
    assert_eq!(import("tower/epoch_1.pt", &tower, &flags).code, Some(2));
    assert_eq!(landed_in_folder(&tower).into_keys().collect::<Vec<_>>(), ["model.safetensors"]);
    assert_eq!(std::fs::read(tower.join("model.safetensors")).unwrap(), b"mine");
}

// --- Towers.

const FLAGS: [&str; 4] = ["--heads", "2", "--activation", "quick_gelu"];

#[test]
fn a_tower_under_any_names_becomes_a_folder_that_answers_as_transformers_does() {
    let place = tempfile::tempdir().unwrap();
    for (file, table, case) in [
        ("tower/transformers", "tower", "plain"),
        ("tower/sharded_bin", "tower", "plain"),
        ("tower/open_clip_pytorch_model.bin", "tower", "plain"),
        ("tower/open_clip_model.safetensors", "tower", "plain"),
        ("tower/epoch_1.pt", "tower", "plain"),
        ("tower/openai_state_dict.pt", "tower_half", "half"),
    ] {
        let tower = place.path().join(file.replace(['/', '.'], "_"));
        let said =
            ["16 wide, 2 heads (as given)", "patches of 4 px, pictures of 12 px", "layers: 2\n", "[tower]\npath = "];
        succeed(file, &tower, &FLAGS, &said);
        // In the types in which they were stored, and all of them.
        let (written, table) = (open(&tower), &golden()[table]);
        check_table(&written, table, file);
        assert_eq!(written.shapes().count(), table.len(), "{file}");
        assert_eq!(ClipVisionConfig::read(&tower.join("config.json")).unwrap(), config(), "{file}");
        check_tower(&ClipVision::open(&tower, &Device::Cpu).unwrap(), case, file);
    }
}

#[test]
fn a_configuration_beside_the_weights_is_not_contradicted() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    succeed("tower/epoch_1.pt", &first, &["--activation", "gelu", "--heads", "2"], &[]);
    let arguments = |activation| {
        [
            "models",
            "import",
            first.to_str().unwrap(),
            "--out",
            second.to_str().unwrap(),
            "--activation",
            activation,
            "--heads",
            "2",
        ]
    };
    let refused = finish(deepsweep(&arguments("quick_gelu"), &[]));
    assert_eq!((refused.code, second.exists()), (Some(2), false), "{}", refused.stderr);
    assert!(refused.stderr.contains("config.json") && refused.stderr.contains("\"gelu\""), "{}", refused.stderr);
    let taken = finish(deepsweep(&arguments("gelu"), &[]));
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
}

#[test]
fn the_text_tower_s_settings_are_those_of_the_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let tower = place.path().join("tower");
    succeed(
        "tower/open_clip_pytorch_model.bin",
        &tower,
        &FLAGS,
        &["text tower: 24 wide, 20 words, 6 places, layers: 1"],
    );
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(path.join("config.json")).unwrap()).unwrap()
    };
    let (found, expected) = (read(&tower), read(&folder().join("tower/transformers")));
    for field in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "projection_dim",
        "vocab_size",
        "max_position_embeddings",
        "bos_token_id",
        "eos_token_id",
        "hidden_act",
    ] {
        assert!(!expected["text_config"][field].is_null(), "{field}");
        assert_eq!(found["text_config"][field], expected["text_config"][field], "{field}");
    }
    assert_eq!(found["projection_dim"], expected["projection_dim"]);
}

#[test]
fn a_tower_below_a_prefix_is_taken_alone_and_what_is_left_is_said() {
    let place = tempfile::tempdir().unwrap();
    let tower = place.path().join("tower");
    let said =
        ["below \"feature_extractor.\"", "left out: model.linear.bias [2], model.linear.weight [2, 16]", "no text"];
    succeed("tower/wrapped.safetensors", &tower, &FLAGS, &said);
    check_tower(&ClipVision::open(&tower, &Device::Cpu).unwrap(), "plain", "wrapped");
    let by_key = place.path().join("by_key");
    succeed("tower/wrapped.safetensors", &by_key, &[&FLAGS[..], &["--key", "feature_extractor"]].concat(), &[]);
    let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(bytes(&tower), bytes(&by_key));
}

#[test]
fn a_tower_that_is_none_or_not_whole_is_refused_by_what_is_wrong_with_it() {
    check_refused(
        "heads/fc_weights.pth",
        "tower",
        &FLAGS,
        2,
        &["a CLIP tower", "weight [1, 768]", "--out head.safetensors"],
    );
    check_refused("tower/tuned.pth", "tower", &FLAGS, 2, &["vision_model.embeddings.patch_embedding.weight"]);
    let no_heads = ["--activation", "gelu"];
    check_refused("tower/epoch_1.pt", "tower", &no_heads, 2, &["--heads", "found 16"]);
    check_refused("tower/epoch_1.pt", "tower", &["--heads", "3", "--activation", "gelu"], 2, &["--heads"]);
    let elsewhere = [&FLAGS[..], &["--key", "model"]].concat();
    check_refused("tower/wrapped.safetensors", "tower", &elsewhere, 2, &["tensors of CLIP"]);
}

/// The tower's safetensors with a change, in a folder of their own.
fn changed_tower(change: impl Fn(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let model = folder().join("tower/transformers/model.safetensors");
    let mut tensors = candle_core::safetensors::load(model, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, place.path().join("model.safetensors")).unwrap();
    place
}

#[test]
fn a_tower_with_a_tensor_too_many_too_few_or_of_another_shape_is_refused_by_its_name() {
    let zeros = || Tensor::zeros((16,), DType::F32, &Device::Cpu).unwrap();
    let layer = "vision_model.encoder.layers.1";
    let (scale, bias) = (format!("{layer}.layer_scale1"), format!("{layer}.self_attn.k_proj.bias"));
    let check = |change: &dyn Fn(&mut HashMap<String, Tensor>), said: &[&str]| {
        let place = changed_tower(change);
        check_refused(place.path().to_str().unwrap(), "tower", &FLAGS, 2, said);
    };
    check(&|tensors| drop(tensors.insert(scale.clone(), zeros())), &["others", &scale]);
    check(&|tensors| drop(tensors.remove(&bias)), &["expected a tensor", &bias, "[16]"]);
    let matrix = "text_projection.weight";
    check(&|tensors| drop(tensors.insert(matrix.into(), zeros())), &[matrix, "a matrix", "[16]"]);
    let norm = format!("{layer}.layer_norm2.weight");
    let narrow = zeros().narrow(0, 0, 12).unwrap();
    check(&|tensors| drop(tensors.insert(norm.clone(), narrow.clone())), &[&norm, "[16]", "[12]"]);
    let positions = "vision_model.embeddings.position_embedding.weight";
    let seven = Tensor::zeros((7, 16), DType::F32, &Device::Cpu).unwrap();
    check(&|tensors| drop(tensors.insert(positions.into(), seven.clone())), &[positions, "7 rows"]);
}

#[test]
fn shards_that_overlap_or_lie_elsewhere_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let index = |first: &str, second: &str| {
        let text = format!("{{\"weight_map\": {{\"a\": {first:?}, \"b\": {second:?}}}}}");
        std::fs::write(place.path().join("pytorch_model.bin.index.json"), text).unwrap();
    };
    for name in ["one.bin", "two.bin"] {
        std::fs::copy(folder().join("heads/fc.pth"), place.path().join(name)).unwrap();
    }
    let checkpoint = place.path().to_str().unwrap();
    index("one.bin", "two.bin");
    check_refused(checkpoint, "head.safetensors", &[], 2, &["\"fc.weight\" in two of its files"]);
    index("one.bin", "../one.bin");
    check_refused(checkpoint, "head.safetensors", &[], 2, &["beside the index", "../one.bin"]);
    index("one.bin", "three.bin");
    check_refused(checkpoint, "head.safetensors", &[], 2, &["three.bin", "cannot be read"]);
    index("one.bin", "one.bin");
    succeed(checkpoint, &place.path().join("head.safetensors"), &[], &["F32 [2, 16]"]);
}

// --- Overlays.

#[test]
fn tuned_norms_and_their_head_become_an_overlay_that_answers_as_the_tuned_tower_does() {
    let place = tempfile::tempdir().unwrap();
    let base = folder().join("tower/transformers");
    let flags = ["--base", base.to_str().unwrap()];
    let said = ["overlay = \"overlay.safetensors\"", "file = \"head.safetensors\"", "below \"backbone.\"", "softmax"];
    succeed("tower/tuned.pth", place.path(), &flags, &said);
    let overlay = open(&place.path().join("overlay.safetensors"));
    let weights = checkpoints::open("tower/transformers").overlaid_by(overlay).unwrap();
    let tower = ClipVision::new(config(), &weights).unwrap();
    check_tower(&tower, "tuned", "overlay");

    let head = open(&place.path().join("head.safetensors"));
    let (weight, bias) = (head.get("weight", &[2, 16]).unwrap(), head.get("bias", &[2]).unwrap());
    let pooled = tower.forward(&answers()["pixels"]).unwrap().pooled;
    let classes = pooled.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
    let difference = (classes - &answers()["tuned.classes"]).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f32>().unwrap() < 1e-4, "{difference}");
}

#[test]
fn an_overlay_or_a_head_of_another_tower_is_refused_by_name() {
    let base = folder().join("tower/transformers");
    let flags = ["--base", base.to_str().unwrap()];
    let deep = ["vision_model.encoder.layers.7.layer_norm1.weight", "does not fit"];
    check_refused("tower/tuned_too_deep.pth", "probe", &flags, 2, &deep);
    let narrow = ["vision_model.post_layernorm.weight", "[12]", "[16]"];
    check_refused("tower/tuned_too_narrow.pth", "probe", &flags, 2, &narrow);
    check_refused("tower/tuned_two_heads.pth", "probe", &flags, 2, &["one head", "--head-key", "\"fc\" [1, 12]"]);
    let other = [&flags[..], &["--head-key", "fc"]].concat();
    let width = ["fc.weight", "16 pooled, 8 projected", "found 12", "another tower"];
    check_refused("tower/tuned_two_heads.pth", "probe", &other, 2, &width);
    let place = tempfile::tempdir().unwrap();
    succeed("tower/tuned_two_heads.pth", place.path(), &[&flags[..], &["--head-key", "head"]].concat(), &[]);
}

// --- From checkpoint to score.

#[test]
fn a_scorer_of_imported_parts_scores() {
    let probe = tempfile::tempdir().unwrap();
    succeed("tower/open_clip_pytorch_model.bin", &probe.path().join("tower"), &FLAGS, &[]);
    succeed("heads/fc.pth", &probe.path().join("head.safetensors"), &[], &[]);
    let recipe = "name = \"probe\"\nversion = \"1\"\nlicence = \"MIT\"\nsource = \"a test\"\n[tower]\npath = \"tower\"\n\
        [input]\ncrop = \"frame\"\nresize = \"short-side\"\nsize_px = 12\nmean = [0.5, 0.5, 0.5]\n\
        deviation = [0.3, 0.3, 0.3]\n[embedding]\ntap = \"pooled\"\nl2 = false\n\
        [head]\nkind = \"linear\"\nfile = \"head.safetensors\"\n";
    std::fs::write(probe.path().join("scorer.toml"), recipe).unwrap();
    let (source, out) = (crate::root().join("tests/media/good/no_face.jpg"), tempfile::tempdir().unwrap());
    let [source, destination, scorer] = [&*source, out.path(), probe.path()].map(|path| path.to_str().unwrap());
    Sweep { source, out: destination, scorer, flags: &[] }.succeed(&[]);
    let row = media(&landed_in_folder(out.path()), "no_face.jpg");
    assert!(row["score_mean"].is_number(), "{row:?}");
}

// --- Size.

/// A checkpoint of 5 GB, nearly all of it a hole: 64-bit places, and nothing of it is read that is not asked for.
#[test]
fn a_head_beside_five_gigabytes_is_read_alone() {
    const HOLE_BYTES: u64 = 5 << 30;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("large.pth");
    let small = std::fs::read(folder().join("heads/two_heads.pth")).unwrap();
    let directory = small.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let end_64 = small.windows(4).position(|window| window == b"PK\x06\x06").unwrap();
    let file = std::fs::File::create(&path).unwrap();
    file.write_all_at(&small[..directory], 0).unwrap();
    let mut tail = small[directory..].to_vec();
    let number = |at: usize| u64::from_le_bytes(small[at..at + 8].try_into().unwrap());
    let moved = |tail: &mut [u8], at: usize| {
        tail[at - directory..at - directory + 8].copy_from_slice(&(number(at) + HOLE_BYTES).to_le_bytes());
    };
    moved(&mut tail, end_64 + 48); // where the directory begins
    moved(&mut tail, end_64 + 56 + 8); // where its 64-bit end begins, in the locator
    file.write_all_at(&tail, directory as u64 + HOLE_BYTES).unwrap();
    let head = place.path().join("head.safetensors");
    let arguments = ["models", "import", path.to_str().unwrap(), "--key", "real", "--out", head.to_str().unwrap()];
    let peak_bytes = measure(deepsweep(&arguments, &[]));
    check_head(&head, "heads/two_heads.pth", "real.");
    assert!(peak_bytes < 128 << 20, "{peak_bytes} bytes");
}
