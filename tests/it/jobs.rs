//! `jobs/`: its files say what flags say, and its README says all of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory};
use deepsweep::cli::JobFlags;

/// Every file below `jobs/`, by its path there.
fn files() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let root = crate::root().join("jobs");
    let mut found = vec![];
    walk(&root, &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

fn readme() -> String {
    std::fs::read_to_string(crate::root().join("jobs/README.md")).unwrap()
}

/// Key → default, as the table under "Every field" has them; marks of code and quotation count for nothing.
fn documented() -> Vec<(String, String)> {
    let readme = readme();
    let (_, section) = readme.split_once("\n## Every field\n").expect("a section \"Every field\"");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| {
        let cells: Vec<String> = row.split('|').map(|cell| cell.replace(['`', '"'], "").trim().to_owned()).collect();
        assert_eq!(cells.len(), 5, "expected | `key` | unit | default | meaning |, found | `{row}");
        assert!(!cells[3].is_empty(), "{}: no meaning", cells[0]);
        (cells[0].clone(), cells[2].clone())
    });
    rows.collect()
}

/// Key → default, as `--help` has them.
fn known() -> BTreeMap<String, String> {
    let command = JobFlags::command();
    let keys = command.get_arguments().map(|argument| {
        let flag = argument.get_long().expect("a key of a job file is a flag");
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let told = help.rsplit_once("[default: ").and_then(|(_, tail)| tail.strip_suffix(']'));
        let default = match (flag, argument.get_action()) {
            ("source" | "out", _) => "required",
            (_, ArgAction::SetTrue) => "false",
            _ => told.unwrap_or_default(),
        };
        (flag.replace('-', "_"), default.to_owned())
    });
    keys.collect()
}

#[test]
fn the_readme_lists_every_key_of_a_job_file_with_its_default() {
    let documented = documented();
    let once: BTreeMap<String, String> = documented.iter().cloned().collect();
    assert_eq!(once.len(), documented.len(), "a key stands there twice");
    let known = known();
    assert!(known.len() > 40, "{known:?}");
    let missing: Vec<_> = known.keys().filter(|key| !once.contains_key(*key)).collect();
    let unknown: Vec<_> = once.keys().filter(|key| !known.contains_key(*key)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, not a key {unknown:?}");
    for (key, default) in known {
        assert_eq!(once[&key], default, "{key}: left what jobs/README.md says, right what --help says");
    }
}

#[test]
fn every_job_file_says_what_flags_say() {
    let mut read = 0;
    for file in files().iter().filter(|file| file.ends_with(".toml")) {
        let job = deepsweep::job::read(&crate::root().join("jobs").join(file)).unwrap_or_else(|e| panic!("{e}"));
        assert!(job.source.is_some() && job.flags.out.is_some(), "{file}: no source, or no out");
        read += 1;
    }
    assert!(read >= 3, "{read}");
}

#[test]
fn every_line_of_a_job_file_has_its_reason() {
    for file in files().iter().filter(|file| file.ends_with(".toml")) {
        let text = std::fs::read_to_string(crate::root().join("jobs").join(file)).unwrap();
        // Beside the key, or above the keys that it is about.
        let mut explained = false;
        for line in text.lines() {
            explained = line.contains('#') || (explained && !line.is_empty());
            assert!(explained || line.is_empty(), "{file}: {line}");
        }
    }
}

#[test]
fn the_readme_names_every_file() {
    let readme = readme();
    for file in files() {
        assert!(file == "README.md" || readme.contains(&format!("({file})")), "jobs/README.md has no link to {file}");
    }
}
