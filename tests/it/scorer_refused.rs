//! Everything that is wrong with a scorer folder is named before any work starts.

use std::path::Path;

use crate::probe::{ALIGNED, Choices, Folder, HIDDEN, Head, PLAIN, PROJECTION, Tensors, add, pictures};
use crate::program::{Sweep, finish, landed_in_folder};

/// Ends with 2 and a message with each of `named` in it.
fn check_refused(folder: &Path, named: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let source = pictures();
    let [source, destination, scorer] = [&*source, out.path(), folder].map(|path| path.to_str().unwrap());
    let finished = finish(Sweep { source, out: destination, scorer, flags: &[] }.command(&[]));
    assert_eq!(finished.code, Some(2), "{named:?}\n{}", finished.stderr);
    for name in named {
        assert!(finished.stderr.contains(name), "expected {name:?} in\n{}", finished.stderr);
    }
    assert!(landed_in_folder(out.path()).is_empty(), "{named:?}");
}

/// The recipe with one text in place of another.
fn check_recipe(from: &str, to: &str, named: &[&str]) {
    let mut parts = Folder::new(PLAIN);
    assert!(parts.recipe.contains(from), "{from:?}");
    parts.recipe = parts.recipe.replace(from, to);
    check_refused(parts.write().path(), &[&["scorer.toml"], named].concat());
}

#[test]
fn a_recipe_that_says_too_much_too_little_or_something_else_is_refused() {
    check_recipe("licence", "license", &["license"]);
    check_recipe("l2 = true\n", "", &["l2"]);
    check_recipe("l2 = true", "l2 = true\nlayer = 3", &["layer"]);
    check_recipe("source = \"a test\"\n", "", &["source"]);
    check_recipe("\"squash\"", "\"stretch\"", &["stretch"]);
    check_recipe("\"projected\"", "\"logits\"", &["logits"]);
    check_recipe("crop = \"frame\"", "crop = \"face\"", &["input.crop", "face"]);
    check_recipe("crop = \"frame\"", "crop = [\"box\", \"align5\"]", &["input.crop", "align5"]);
    check_recipe("crop = \"frame\"", "crop = []", &["input.crop"]);
    check_recipe("crop = \"frame\"", "crop = \"align5\"\nalign_px = 32", &["input.scale", "none"]);
    check_recipe("crop = \"frame\"", "crop = \"align5\"\nalign = \"arcface\"\nscale = 1.3", &["arcface", "gend"]);
    check_recipe("crop = \"frame\"", &format!("{ALIGNED}\nmargin = 0.3"), &["input.margin", "0.3"]);
    check_recipe("crop = \"frame\"", &format!("{ALIGNED}\nalign_px = 0"), &["input.align_px", "found 0"]);
    check_recipe("crop = \"frame\"", &ALIGNED.replace("1.3", "0.5"), &["input.scale", "0.5"]);
    check_recipe("crop = \"frame\"", "crop = \"box\"", &["input.margin", "none"]);
    check_recipe("crop = \"frame\"", "crop = \"frame\"\nscale = 1.3", &["input.scale", "1.3"]);
    check_recipe("crop = \"frame\"", "crop = \"frame\"\nmargin = 0.3", &["input.margin", "0.3"]);
    check_recipe("crop = \"frame\"", "crop = \"box\"\nmargin = -0.1", &["input.margin", "-0.1"]);
    check_recipe("size_px = 32", "size_px = 224", &["size_px", "32", "224"]);
    check_recipe("deviation = [0.27", "deviation = [0.0", &["input.deviation"]);
    check_recipe("mean = [0.48", "mean = [nan", &["input.mean"]);
    check_recipe("kind = \"linear\"", "kind = \"mlp\"", &["mlp"]);
    check_recipe("name = \"probe\"", "name = \"my probe\"", &["name", "my probe"]);
    check_recipe("file = \"head.safetensors\"", "file = \"nowhere.safetensors\"", &["nowhere.safetensors"]);
    check_recipe("path = \"tower\"", "path = \"nowhere\"", &["nowhere"]);
    check_recipe("path = \"tower\"", "path = \"tower\"\nrepository = \"a/b\"", &["tower", "either path"]);
    check_recipe("path = \"tower\"", "repository = \"a/b\"\nrevision = \"main\"", &["tower.revision", "main"]);
}

#[test]
fn a_zero_shot_head_on_the_pooled_tap_or_with_a_scale_that_is_no_logarithm_is_refused() {
    let pooled = Folder::new(Choices { head: Head::ZeroShot, tap: "pooled", ..PLAIN });
    check_refused(pooled.write().path(), &["embedding.tap", "projected", "pooled"]);
    let mut exponentiated = Folder::new(Choices { head: Head::ZeroShot, ..PLAIN });
    exponentiated.head.insert("logit_scale".to_owned(), (vec![], vec![100.0]));
    check_refused(exponentiated.write().path(), &["logit_scale", "logarithm", "100"]);
    let mut in_recipe = Folder::new(Choices { head: Head::ZeroShot, ..PLAIN });
    in_recipe.recipe.push_str("logit_scale = 100.0\n");
    check_refused(in_recipe.write().path(), &["logit_scale", "logarithm", "100"]);
    let mut zeros = Folder::new(Choices { head: Head::ZeroShot, ..PLAIN });
    zeros.head.insert("prompt_embeddings".to_owned(), (vec![2, PROJECTION], vec![0.0; 2 * PROJECTION]));
    check_refused(zeros.write().path(), &["prompt", "zeros"]);
}

#[test]
fn a_configuration_that_no_tower_has_is_refused() {
    for (from, to, named) in [
        ("quick_gelu", "swish", "swish"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "num_attention_heads"),
        ("\"hidden_size\": 8", "\"hidden_size\": 0", "hidden_size"),
        ("clip_vision_model", "vit", "vit"),
        ("{", "", "config.json"),
    ] {
        let mut parts = Folder::new(PLAIN);
        parts.config = parts.config.replacen(from, to, 1);
        check_refused(parts.write().path(), &["config.json", named]);
    }
}

#[test]
fn weights_that_are_missing_misshapen_or_not_finite_are_refused_by_name() {
    let projection = "visual_projection.weight";
    let mut missing = Folder::new(PLAIN);
    missing.tower.remove(projection);
    check_refused(missing.write().path(), &["/tower", projection]);
    let mut misshapen = Folder::new(PLAIN);
    add(&mut misshapen.tower, projection, &[PROJECTION + 1, HIDDEN]);
    check_refused(misshapen.write().path(), &[projection, "[4, 8]", "[5, 8]"]);
    let mut not_finite = Folder::new(PLAIN);
    not_finite.tower.get_mut(projection).unwrap().1[3] = f32::NAN;
    check_refused(not_finite.write().path(), &[projection, "NaN"]);
    let mut head_missing = Folder::new(PLAIN);
    head_missing.head.remove("bias");
    check_refused(head_missing.write().path(), &["head.safetensors", "bias"]);
    let mut three_classes = Folder::new(Choices { head: Head::Linear(3), ..PLAIN });
    check_refused(three_classes.write().path(), &["weight", "3 rows"]);
    three_classes.head =
        Tensors::from([("weight".to_owned(), (vec![], vec![1.0])), ("bias".to_owned(), (vec![1], vec![1.0]))]);
    check_refused(three_classes.write().path(), &["weight"]);
    let mut other_width = Folder::new(PLAIN);
    add(&mut other_width.head, "weight", &[1, HIDDEN]);
    check_refused(other_width.write().path(), &["weight", "[1, 4]", "[1, 8]"]);
}

/// The file `name` of a good folder, with its bytes changed.
fn check_file(name: &str, change: impl Fn(&mut Vec<u8>), named: &[&str]) {
    let folder = Folder::new(PLAIN).write();
    let path = folder.path().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    check_refused(folder.path(), &[&[name], named].concat());
}

#[test]
fn files_that_are_cut_or_lie_about_their_length_are_refused() {
    for name in ["head.safetensors", "tower/model.safetensors"] {
        check_file(name, |bytes| bytes.truncate(bytes.len() - 3), &["cut"]);
        check_file(name, |bytes| bytes.truncate(30), &["header"]);
        check_file(name, |bytes| bytes.truncate(5), &["cannot be read"]);
        check_file(name, Vec::clear, &["cannot be read"]);
        check_file(name, |bytes| bytes[..8].copy_from_slice(&10_000_000_000_u64.to_le_bytes()), &["10000000000"]);
        check_file(name, |bytes| bytes[8..12].copy_from_slice(b"zzzz"), &["malformed"]);
        check_file(name, |bytes| bytes.extend([0; 9]), &["damaged"]);
    }
}
