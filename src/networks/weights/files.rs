//! Which files a checkpoint is made of, what kind each is, and their hashes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{malformed, unreadable};
use crate::networks::NetworkError;

/// What stands in a folder as transformers writes it; the first that is there counts. safetensors come first: both
/// lie side by side in many published folders, and hold the same.
const WHOLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
const INDEX_ENDING: &str = ".index.json";

/// The files of a checkpoint in a stable order: the file itself, or the folder's one file of weights or its shards.
///
/// # Errors
/// A folder without either, or an index that cannot be read.
pub fn checkpoint_files(path: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    for name in WHOLE {
        let whole = path.join(name);
        if whole.is_file() {
            return Ok(vec![whole]);
        }
        let index = path.join(format!("{name}{INDEX_ENDING}"));
        if index.is_file() {
            return shards(path, &index);
        }
    }
    let expected = WHOLE.map(|name| format!("{name} or {name}{INDEX_ENDING}")).join(", ");
    Err(NetworkError::Weights(format!(
        "weights {:?}: expected a file of weights, or a folder with {expected}; found none",
        path.display().to_string()
    )))
}

fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    let text = crate::files::read_text(index).map_err(|e| unreadable(index, &e))?;
    let parsed: ShardIndex = serde_json::from_str(&text).map_err(|e| malformed(&index.display().to_string(), &e))?;
    let mut names: Vec<&String> = parsed.weight_map.values().collect();
    names.sort();
    names.dedup();
    let plain = |name: &str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
    };
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        return Err(NetworkError::Weights(format!(
            "weights {:?}: expected shards beside the index, found {name:?}",
            index.display().to_string()
        )));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

#[derive(serde::Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// What the first bytes of a file say it is.
pub(super) enum Kind {
    Safetensors,
    PyTorchZip,
    /// A pickle without the zip around it, as PyTorch wrote before version 1.6.
    BarePickle,
    /// No weights at all: what it begins with.
    Text(String),
}

/// A file begins with its kind whatever its name ends with.
pub(super) fn kind(first: &[u8]) -> Kind {
    const TEXT_BYTES: usize = 8; // safetensors begins with a length of so many bytes, of which several are 0
    const SHOWN_CHARACTERS: usize = 40;
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match first {
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Kind::PyTorchZip,
        // PROTO and its version. Behind the eight bytes of its length a safetensors header begins with a brace.
        [0x80, 0..=5, ..] if first.get(8) != Some(&b'{') => Kind::BarePickle,
        _ if first.len() >= TEXT_BYTES && first[..TEXT_BYTES].iter().all(is_text) => {
            let text = String::from_utf8_lossy(first);
            Kind::Text(text.trim().lines().next().unwrap_or_default().chars().take(SHOWN_CHARACTERS).collect())
        }
        _ => Kind::Safetensors,
    }
}

/// The sha256 of a file in hexadecimal, read in pieces.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String, NetworkError> {
    const PIECE_BYTES: usize = 1 << 20; // large enough that reading, not calling, takes the time
    let mut file = crate::files::open(path).map_err(|e| unreadable(path, &e))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n = file.read(&mut piece).map_err(|e| unreadable(path, &e))?;
        if n == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&piece[..n]);
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
