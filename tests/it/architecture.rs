//! The rules of `src/lib.rs` that a reader relies on, kept by reading the sources as text.

use std::collections::BTreeMap;
use std::path::Path;

/// The stages as data meets them. What several share stands left of those who share it.
const STAGES: [&str; 18] = [
    "list",
    "memory",
    "scratch",
    "compute",
    "fetch",
    "frame",
    "animation",
    "still",
    "heif",
    "video",
    "detect",
    "crop",
    "embed",
    "track",
    "score",
    "slice",
    "commit",
    "write",
];

/// Someone who opens a file should see the end of it.
const MAX_LINES: usize = 400;

/// Every Rust file below `src/` by its path there, without its comments.
fn sources() -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = crate::root().join("src");
    let mut found = BTreeMap::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 40, "{:?}", found.keys());
    found
}

fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The stages whose names stand behind `super::` or `crate::pipeline::`, groups in braces included.
fn stages_named_in(code: &str) -> Vec<&'static str> {
    let words = code.replace("crate::pipeline::", "super::");
    let mut named = vec![];
    for (at, lead) in words.match_indices("super::") {
        let rest = &words[at + lead.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default(),
        };
        let parts = names.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        named.extend(parts.filter_map(|part| STAGES.into_iter().find(|stage| *stage == part)));
    }
    named
}

#[test]
fn a_stage_imports_only_what_stands_to_its_left() {
    let sources = sources();
    let mut imports = 0;
    for (place, stage) in STAGES.iter().enumerate() {
        let code = code(&sources[&format!("pipeline/{stage}.rs")]);
        for named in stages_named_in(&code) {
            imports += 1;
            assert!(STAGES[..place].contains(&named), "pipeline/{stage}.rs imports {named}, which is not to its left");
        }
    }
    assert!(imports > 10, "{imports} imports were seen: the test reads the sources wrong");
    let stages = sources.keys().filter_map(|name| name.strip_prefix("pipeline/")?.strip_suffix(".rs"));
    // A stage that is too long for one file has a folder of its name.
    let stages = stages.map(|name| name.split('/').next().unwrap_or(name));
    let unknown: Vec<&str> = stages.filter(|name| *name != "mod" && !STAGES.contains(name)).collect();
    assert_eq!(unknown, Vec::<&str>::new(), "stages without a place in the order");
}

/// No file below `folder` may hold any of `words`.
fn check_absent(folder: &str, words: &[&str]) {
    let sources = sources();
    let inside: Vec<_> = sources.iter().filter(|(name, _)| name.starts_with(folder)).collect();
    assert!(!inside.is_empty(), "{folder}");
    for (name, text) in inside {
        for word in words {
            assert!(!code(text).contains(word), "src/{name} holds {word:?}");
        }
    }
}

#[test]
fn networks_touch_no_network_no_task_and_no_store() {
    check_absent("networks/", &["std::net", "tokio", "crate::storage", "pipeline", "std::env", "std::process"]);
}

#[test]
fn stages_from_decode_to_score_are_pure() {
    let words = ["storage::s3", "storage::local", "dyn Store", "std::fs", "std::env", "Instant::now", "SystemTime"];
    for stage in ["detect", "crop", "embed", "track", "score"] {
        check_absent(&format!("pipeline/{stage}.rs"), &words);
    }
    check_absent("media/", &words);
    check_absent("media/", &["pipeline", "tokio"]);
}

#[test]
fn statistics_are_pure() {
    let words =
        ["std::fs", "std::env", "tokio", "Instant::now", "SystemTime", "crate::storage", "crate::scorers", "pipeline"];
    check_absent("statistics/", &words);
}

#[test]
fn storage_knows_nothing_of_media() {
    check_absent("storage/", &["pipeline", "tables", "networks", "scorers"]);
}

#[test]
fn only_the_device_file_says_cuda() {
    let where_said: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| code(text).to_ascii_lowercase().contains("cuda"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(where_said, ["device.rs"]);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<(String, usize)> = sources()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert_eq!(long, []);
}
