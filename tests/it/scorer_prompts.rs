//! Prompts of a zero-shot head: what is wrong with them, with their tokenizer or their tower is named; what was
//! embedded once is read again, and never from a damaged file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use deepsweep::networks::NetworkError;
use deepsweep::networks::clip::{ClipText, ClipTextConfig, ClipTokenizer};
use deepsweep::networks::weights::Weights;
use deepsweep::scorers::prompts::{self, PromptEmbeddings, Prompts, TextCheckpoint};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::made_weights::Fill;

const TOKEN_EMBEDDING: &str = "text_model.embeddings.token_embedding.weight";

/// A small tower in a folder, each part of which a case may spoil.
struct Checkpoint {
    folder: TempDir,
    tensors: BTreeMap<String, Tensor>,
    digest: &'static str,
}

fn config() -> Value {
    json!({
        "model_type": "clip", "projection_dim": 12,
        "text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    })
}

fn golden(name: &str) -> PathBuf {
    crate::root().join("tests/golden").join(name)
}

fn tokenizer_json() -> Value {
    serde_json::from_str(&fs::read_to_string(golden("tokenizer/tokenizer.json")).unwrap()).unwrap()
}

fn prompts(real: &[&str], fake: &[&str]) -> Prompts {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Prompts { real: owned(real), fake: owned(fake), logit_scale: None }
}

fn usual() -> Prompts {
    prompts(&["a photo of a real face"], &["a photo of a fake face", "a face swap"])
}

impl Checkpoint {
    fn new() -> Self {
        let fill: Fill = serde_json::from_str(&fs::read_to_string(golden("text_towers.json")).unwrap()).unwrap();
        let mut tensors = fill.text(&ClipTextConfig::parse(&config().to_string()).unwrap());
        tensors.insert("logit_scale".to_owned(), fill.tensor("logit_scale", &[]));
        let folder = tempfile::tempdir().unwrap();
        fs::copy(golden("tokenizer/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        fs::write(folder.path().join("config.json"), config().to_string()).unwrap();
        Self { folder, tensors, digest: "3f9c" }
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn embed(&self, prompts: &Prompts, cache: Option<&Path>) -> Result<PromptEmbeddings, NetworkError> {
        let weights = Weights::from_tensors("small.safetensors", self.tensors.clone(), &Device::Cpu);
        let config = self.folder.path().join("config.json");
        let checkpoint =
            TextCheckpoint { config: &config, tokenizer: self.folder.path(), weights: &weights, digest: self.digest };
        prompts::embed(prompts, &checkpoint, cache)
    }
}

/// The error names each of `expected`.
fn check(prompts: &Prompts, spoil: impl FnOnce(&mut Checkpoint), expected: &[&str]) {
    let mut checkpoint = Checkpoint::new();
    spoil(&mut checkpoint);
    let error = checkpoint.embed(prompts, None).unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
}

#[test]
fn prompts_that_are_missing_empty_or_too_long_are_named() {
    let none = |_: &mut Checkpoint| {};
    check(&prompts(&[], &["x"]), none, &["head.real: expected at least one prompt, found none"]);
    check(&prompts(&["x"], &[]), none, &["head.fake: expected at least one prompt, found none"]);
    check(&prompts(&["x", ""], &["x"]), none, &["head.real: expected words in every prompt, found \"\""]);
    check(&prompts(&["x"], &[" \t\u{3000}"]), none, &["head.fake: expected words in every prompt"]);
    let long = format!("b {}", "a ".repeat(75));
    check(&prompts(&["x"], &[&long]), none, &["head.fake: expected prompts of at most 77 tokens, found 78 in \"b a a"]);
}

#[test]
fn a_prompt_that_just_fits_is_taken() {
    let just = "a ".repeat(75); // and the two marks
    let found = Checkpoint::new().embed(&prompts(&[&just], &["x"]), None).unwrap();
    assert_eq!((found.real.len(), found.fake.len(), found.logit_scale), (12, 12, 4.6052));
    let length: f32 = found.real.iter().map(|v| v * v).sum();
    assert!((length - 1.0).abs() < 1e-6, "{length}");
}

#[test]
fn what_the_vocabulary_does_not_know_is_no_prompt() {
    let expected = ["head.real: expected words that the vocabulary has tokens for", "found \"a photo of a real face\""];
    let without_an_f = |checkpoint: &mut Checkpoint| {
        let mut file = tokenizer_json();
        file["model"]["merges"] = json!([]);
        file["model"]["vocab"].as_object_mut().unwrap().remove("f");
        file["model"]["vocab"].as_object_mut().unwrap().remove("f</w>");
        checkpoint.put("tokenizer.json", file.to_string());
    };
    check(&usual(), without_an_f, &expected);
    let marked = "a <|endoftext|> photo";
    check(&prompts(&[marked], &["x"]), |_| {}, &["head.real", "none of its marks", marked]);
}

#[test]
fn a_checkpoint_without_a_text_tower_says_what_to_do() {
    let advice = "take a full CLIP checkpoint, or give prompt embeddings by head.file";
    check(
        &usual(),
        |checkpoint| checkpoint.tensors.retain(|name, _| !name.starts_with("text")),
        &["small.safetensors", TOKEN_EMBEDDING, "[49408, 16]", advice],
    );
    let vision_only = r#"{"model_type": "clip_vision_model", "hidden_size": 768}"#;
    check(&usual(), |checkpoint| checkpoint.put("config.json", vision_only), &["config.json", "text_config", advice]);
}

#[test]
fn what_is_wrong_with_the_tower_is_named() {
    let with = |field: &'static str, value: Value| {
        move |checkpoint: &mut Checkpoint| {
            let mut file = config();
            file["text_config"][field] = value;
            checkpoint.put("config.json", file.to_string());
        }
    };
    check(
        &usual(),
        with("hidden_act", "relu".into()),
        &["hidden_act: expected \"quick_gelu\" or \"gelu\", found \"relu\""],
    );
    check(&usual(), with("num_attention_heads", 3.into()), &["expected a multiple of num_attention_heads 3, found 16"]);
    check(
        &usual(),
        with("max_position_embeddings", 0.into()),
        &["max_position_embeddings: expected 1 to 4096, found 0"],
    );
    check(&usual(), with("vocab_size", 1_u64.wrapping_shl(40).into()), &["vocab_size: expected 1 to 4000000"]);
    check(&usual(), with("eos_token_id", 5.into()), &["expected token 5 (eos_token_id) in every text"]);
    check(
        &usual(),
        |checkpoint| drop(checkpoint.tensors.remove("text_model.encoder.layers.1.mlp.fc2.bias")),
        &["small.safetensors", "text_model.encoder.layers.1.mlp.fc2.bias", "[16]"],
    );
    check(
        &usual(),
        |checkpoint| drop(checkpoint.tensors.remove("logit_scale")),
        &["small.safetensors", "\"logit_scale\"", "or state it as head.logit_scale"],
    );
    let other = |checkpoint: &mut Checkpoint| {
        let mut file = tokenizer_json();
        file["model"]["vocab"]["<|endoftext|>"] = 60_000.into();
        checkpoint.put("tokenizer.json", file.to_string());
    };
    check(&usual(), other, &["expected tokens below 49408, found 60000: the tokenizer is another tower's"]);
}

#[test]
fn a_scale_that_is_given_counts_before_the_checkpoint_s() {
    let mut checkpoint = Checkpoint::new();
    let given = Prompts { logit_scale: Some(2.5), ..usual() };
    assert_eq!(checkpoint.embed(&given, None).unwrap().logit_scale, 2.5);
    checkpoint.tensors.insert("logit_scale".to_owned(), Tensor::new(&[3.5_f32], &Device::Cpu).unwrap());
    assert_eq!(checkpoint.embed(&usual(), None).unwrap().logit_scale, 3.5);
    checkpoint.tensors.remove("logit_scale");
    assert_eq!(checkpoint.embed(&given, None).unwrap().logit_scale, 2.5);
}

/// The error of a tokenizer folder with these files, in which each of `expected` stands.
fn check_tokenizer(files: &[(&str, &[u8])], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let error = ClipTokenizer::open(folder.path()).unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
}

fn check_tokenizer_json(spoil: impl FnOnce(&mut Value), expected: &[&str]) {
    let mut file = tokenizer_json();
    spoil(&mut file);
    check_tokenizer(&[("tokenizer.json", file.to_string().as_bytes())], &[expected, &["tokenizer.json"]].concat());
}

#[test]
fn a_missing_tokenizer_names_the_files_that_were_looked_for() {
    let expected = ["expected tokenizer.json, or vocab.json and merges.txt, found neither"];
    check_tokenizer(&[], &expected);
    check_tokenizer(&[("vocab.json", b"{}")], &expected);
}

#[test]
fn a_tokenizer_of_another_kind_is_named() {
    check_tokenizer_json(
        |file| file["model"] = json!({"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0}),
        &["model.type: expected \"BPE\"", "found \"Unigram\""],
    );
    check_tokenizer_json(
        |file| file["model"]["end_of_word_suffix"] = Value::Null,
        &["model.end_of_word_suffix: expected \"</w>\"", "found \"\""],
    );
    check_tokenizer_json(
        |file| file["added_tokens"][0]["content"] = "<cat-toy>".into(),
        &["added_tokens", "found \"<cat-toy>\""],
    );
    check_tokenizer_json(
        |file| drop(file["model"]["vocab"].as_object_mut().unwrap().remove("<|startoftext|>")),
        &["expected the token \"<|startoftext|>\""],
    );
}

#[test]
fn hostile_tokenizers_are_errors() {
    let merge = |pair: Value| move |file: &mut Value| file["model"]["merges"] = json!([pair]);
    check_tokenizer_json(merge(json!(["i", "zz"])), &["merge 0 (\"i\" \"zz\"): expected a token \"zz\", found none"]);
    check_tokenizer_json(
        merge(json!(["<|startoftext|>", "<|endoftext|>"])),
        &["merge 0", "<|startoftext|><|endoftext|>"],
    );
    check_tokenizer_json(merge(json!("i n t")), &["expected two tokens with a space between", "\"i n t\""]);
    check_tokenizer_json(merge(json!("in")), &["expected two tokens with a space between", "\"in\""]);
    check_tokenizer_json(merge(json!(7)), &["malformed"]);
    for id in [json!(-1), json!(1_u64 << 32), json!(0.5), json!("0"), json!(null)] {
        check_tokenizer_json(|file| file["model"]["vocab"]["a"] = id, &["malformed"]);
    }
    let whole = tokenizer_json().to_string();
    let not_a_number = whole.replacen("\"a\":", "\"a\":NaN,\"unused\":", 1);
    let deep = format!("{{\"model\":{}", "[".repeat(1_000_000));
    let texts: [&[u8]; 6] =
        [b"", b"null", &whole.as_bytes()[..whole.len() / 2], not_a_number.as_bytes(), deep.as_bytes(), b"\xff\xfe{}"];
    for bytes in texts {
        check_tokenizer(&[("tokenizer.json", bytes)], &["tokenizer.json", "malformed"]);
    }
    check_tokenizer(&[("vocab.json", b"[]"), ("merges.txt", b"")], &["vocab.json", "malformed"]);
    let ids = br#"{"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}"#;
    check_tokenizer(
        &[("vocab.json", ids), ("merges.txt", b"#version: 0.2\na b\n")],
        &["merges.txt", "merge 0", "\"b\""],
    );
    check_tokenizer(&[("vocab.json", ids), ("merges.txt", b"\xff \xff\n")], &["merges.txt", "malformed"]);
}

#[test]
fn a_tokenizer_past_the_bound_is_not_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("tokenizer.json")).unwrap();
    file.set_len(1 << 40).unwrap(); // takes no room on the disk, and would take a terabyte in memory
    let error = ClipTokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("expected at most 16777216 bytes, found more"), "{error}");
}

#[test]
fn texts_that_no_tower_can_take_are_errors() {
    let Checkpoint { folder, tensors, .. } = Checkpoint::new();
    candle_core::safetensors::save(&tensors.into_iter().collect(), folder.path().join("model.safetensors")).unwrap();
    let tower = ClipText::open(folder.path(), &Device::Cpu).unwrap();
    let cases: [(&[Vec<u32>], &str); 5] = [
        (&[], "expected at least one text, found none"),
        (&[vec![49_407], vec![]], "expected a text of 1 to 77 tokens, found 0"),
        (&[vec![49_407; 78]], "expected a text of 1 to 77 tokens, found 78"),
        (&[vec![49_408, 49_407]], "expected tokens below 49408, found 49408"),
        (&[vec![320]], "expected token 49407 (eos_token_id) in every text, found one without"),
    ];
    for (texts, expected) in cases {
        let error = tower.forward(texts).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in: {error}");
    }
}

/// The only file of the cache.
fn cached_file(cache: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// What `embed` gives, and what it logs.
fn logged(checkpoint: &Checkpoint, cache: &Path) -> (Result<PromptEmbeddings, NetworkError>, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(log.reopen().unwrap())).finish();
    let found = tracing::subscriber::with_default(subscriber, || checkpoint.embed(&usual(), Some(cache)));
    (found, fs::read_to_string(log.path()).unwrap())
}

/// A checkpoint that has enough to look into the cache, and not enough to embed.
fn hollow() -> Checkpoint {
    let mut checkpoint = Checkpoint::new();
    checkpoint.tensors.retain(|name, _| name == TOKEN_EMBEDDING || name == "logit_scale");
    checkpoint
}

#[test]
fn what_was_embedded_once_is_read_again() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("not yet there");
    let checkpoint = Checkpoint::new();
    let (first, log) = logged(&checkpoint, &cache);
    let first = first.unwrap();
    assert_eq!(log, "");
    assert_eq!(first, checkpoint.embed(&usual(), None).unwrap(), "the cache changes nothing");
    let (second, log) = logged(&hollow(), &cache);
    assert_eq!((second.unwrap(), log.as_str()), (first, ""));
    cached_file(&cache);
    assert!(hollow().embed(&usual(), None).is_err(), "the hollow checkpoint can embed nothing itself");
}

#[test]
fn other_prompts_weights_or_settings_are_not_read_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    Checkpoint::new().embed(&usual(), Some(cache.path())).unwrap();
    let cached = |checkpoint: &Checkpoint, prompts: &Prompts| checkpoint.embed(prompts, Some(cache.path())).is_ok();
    assert!(cached(&hollow(), &usual()));
    assert!(cached(&hollow(), &Prompts { logit_scale: Some(1.0), ..usual() }), "the scale is not part of it");
    let usual_fake = ["a photo of a fake face", "a face swap"];
    assert!(!cached(&hollow(), &prompts(&["a photo of a real face."], &usual_fake)));
    assert!(!cached(&hollow(), &prompts(&usual_fake, &["a photo of a real face"])), "classes changed over");
    assert!(!cached(&Checkpoint { digest: "9c3f", ..hollow() }, &usual()));
    let gelu = hollow();
    let mut file = config();
    file["text_config"]["hidden_act"] = "gelu".into();
    gelu.put("config.json", file.to_string());
    assert!(!cached(&gelu, &usual()));
}

#[test]
fn a_damaged_cache_is_embedded_anew_with_a_warning() {
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 6] = [
        ("cut", |bytes| bytes.truncate(bytes.len() - 1)),
        ("empty", Vec::clear),
        ("longer", |bytes| bytes.resize(2 << 20, 0)),
        ("one bit of a value", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("values that are no numbers", |bytes| {
            let start = bytes.len() - 96;
            bytes[start..].fill(0xff);
        }),
        ("whole, of other prompts", |bytes| {
            let cache = tempfile::tempdir().unwrap();
            Checkpoint::new().embed(&prompts(&["a face"], &["a face swap"]), Some(cache.path())).unwrap();
            *bytes = fs::read(cached_file(cache.path())).unwrap();
        }),
    ];
    let checkpoint = Checkpoint::new();
    let expected = checkpoint.embed(&usual(), None).unwrap();
    for (damage, spoil) in damages {
        let cache = tempfile::tempdir().unwrap();
        checkpoint.embed(&usual(), Some(cache.path())).unwrap();
        let path = cached_file(cache.path());
        let whole = fs::read(&path).unwrap();
        let mut spoilt = whole.clone();
        spoil(&mut spoilt);
        File::create(&path).unwrap().write_all(&spoilt).unwrap();
        let (found, log) = logged(&checkpoint, cache.path());
        assert_eq!(found.unwrap(), expected, "{damage}");
        assert!(log.contains("WARN") && log.contains("embedding the prompts anew"), "{damage}: {log}");
        assert_eq!(fs::read(cached_file(cache.path())).unwrap(), whole, "{damage}: mended");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("a file");
    fs::write(&cache, "in the way").unwrap();
    let checkpoint = Checkpoint::new();
    let (found, log) = logged(&checkpoint, &cache);
    assert_eq!(found.unwrap(), checkpoint.embed(&usual(), None).unwrap());
    assert!(log.contains("WARN") && log.contains("cannot be kept at"), "{log}");
    assert_eq!(fs::read_to_string(&cache).unwrap(), "in the way");
}
