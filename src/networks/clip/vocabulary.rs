//! A folder with `tokenizer.json`, or with `vocab.json` and `merges.txt` → the tokens and merges of CLIP's tokenizer.
//!
//! Both are data from outside: read up to a bound, and every merge checked against the tokens before it is used.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::networks::NetworkError;

/// CLIP's tokenizer.json has 2 to 4 MB, by how it is written.
const MAX_FILE_BYTES: u64 = 16 << 20;

pub(super) const START: &str = "<|startoftext|>";
pub(super) const END: &str = "<|endoftext|>";
pub(super) const END_OF_WORD: &str = "</w>";

/// Tokens with their ids, and which two become one, the earlier the sooner. Every part and product of a merge is a
/// token, and so are the two marks.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) ids: BTreeMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
}

impl Vocabulary {
    /// # Errors
    /// No such files; files that are too large, malformed, of another kind of tokenizer, or that contradict
    /// themselves.
    pub(super) fn read(folder: &Path) -> Result<Self, NetworkError> {
        let single = folder.join("tokenizer.json");
        let (ids, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
        if single.is_file() {
            return from_tokenizer_json(&read_bounded(&single)?)
                .and_then(Self::checked)
                .map_err(|e| wrong(&single, &e));
        }
        if !(ids.is_file() && merges.is_file()) {
            return Err(wrong(
                folder,
                "expected tokenizer.json, or vocab.json and merges.txt, found neither; they lie beside the \
                 checkpoint's config.json where it was published",
            ));
        }
        let found = serde_json::from_slice(&read_bounded(&ids)?).map_err(|e| wrong(&ids, &malformed(&e)))?;
        let merges_text = String::from_utf8(read_bounded(&merges)?).map_err(|e| wrong(&merges, &malformed(&e)))?;
        from_lines(&merges_text)
            .and_then(|pairs| Self { ids: found, merges: pairs }.checked())
            .map_err(|e| wrong(&merges, &e))
    }

    fn checked(self) -> Result<Self, String> {
        for mark in [START, END] {
            if !self.ids.contains_key(mark) {
                return Err(format!("expected the token {mark:?} of CLIP's vocabulary, found none"));
            }
        }
        for (number, (left, right)) in self.merges.iter().enumerate() {
            for token in [left, right, &format!("{left}{right}")] {
                if !self.ids.contains_key(token) {
                    return Err(format!("merge {number} ({left:?} {right:?}): expected a token {token:?}, found none"));
                }
            }
        }
        Ok(self)
    }
}

/// Of `tokenizer.json` the model alone counts, as for transformers' `CLIPTokenizer`: what the file says of
/// normalising and splitting is CLIP's anyway.
fn from_tokenizer_json(bytes: &[u8]) -> Result<Vocabulary, String> {
    let KindFile { model: kind } = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    // The earliest files do not name the type of the model.
    if let Some(other) = kind.kind.filter(|kind| kind != "BPE") {
        return Err(format!("model.type: expected \"BPE\", which CLIP's is, found {other:?}"));
    }
    if kind.end_of_word_suffix.as_deref() != Some(END_OF_WORD) {
        let found = kind.end_of_word_suffix.unwrap_or_default();
        return Err(format!("model.end_of_word_suffix: expected {END_OF_WORD:?}, which CLIP's is, found {found:?}"));
    }
    let file: TokenizerFile = serde_json::from_slice(bytes).map_err(|e| malformed(&e))?;
    if let Some(token) = file.added_tokens.iter().find(|token| ![START, END].contains(&token.content.as_str())) {
        return Err(format!("added_tokens: expected {START:?} and {END:?} alone, found {:?}", token.content));
    }
    let pair = |merge| match merge {
        MergeEntry::Pair(left, right) => Ok((left, right)),
        MergeEntry::Line(line) => pair_of(&line),
    };
    let merges = file.model.merges.into_iter().map(pair).collect::<Result<_, _>>()?;
    Ok(Vocabulary { ids: file.model.vocab, merges })
}

/// `merges.txt`: a line `#version: …`, then two tokens a line.
fn from_lines(text: &str) -> Result<Vec<(String, String)>, String> {
    let skipped = usize::from(text.starts_with("#version"));
    text.lines().skip(skipped).filter(|line| !line.is_empty()).map(pair_of).collect()
}

fn pair_of(line: &str) -> Result<(String, String), String> {
    match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(format!("expected two tokens with a space between for each merge, found {line:?}")),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, NetworkError> {
    let mut bytes = vec![];
    crate::files::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| wrong(path, &format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(path, &format!("expected at most {MAX_FILE_BYTES} bytes, found more")));
    }
    Ok(bytes)
}

fn malformed(error: &dyn std::fmt::Display) -> String {
    format!("malformed: {error}")
}

fn wrong(path: &Path, what: &str) -> NetworkError {
    NetworkError::Weights(format!("tokenizer {:?}: {what}", path.display().to_string()))
}

#[derive(Deserialize)]
struct KindFile {
    model: ModelKind,
}

#[derive(Deserialize)]
struct ModelKind {
    #[serde(rename = "type")]
    kind: Option<String>,
    end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    model: ModelFile,
}

#[derive(Deserialize)]
struct AddedEntry {
    content: String,
}

#[derive(Deserialize)]
struct ModelFile {
    vocab: BTreeMap<String, u32>,
    merges: Vec<MergeEntry>,
}

/// Older files write `"a b"`, newer ones `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergeEntry {
    Line(String),
    Pair(String, String),
}
