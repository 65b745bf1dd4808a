//! Files that appear whole or not at all.
//!
//! In: tensors of a checkpoint under the names they are to have. Out: a safetensors file, written tensor by tensor, its
//! sha256 taken on the way. Everything is written under a temporary name first; only when all of it is there do the
//! files get their own.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::usage;
use crate::error::Error;
use crate::networks::weights::{Weights, hexadecimal};

/// What a file gets that is created plainly; the umask takes its share.
const FILE_MODE: u32 = 0o666;

/// More tensors than this are a tower, whose shape is told in words.
const MAX_LISTED: usize = 16;

/// A file that is complete, and not yet in its place.
#[derive(Debug)]
pub(super) struct Prepared {
    temporary: NamedTempFile,
    written: Written,
}

/// What a person is told of a file.
#[derive(Debug)]
pub(super) struct Written {
    path: PathBuf,
    size_bytes: u64,
    sha256: String,
    tensors: Vec<(String, TensorInfo)>,
}

/// `parts`: the name that a tensor gets, and the one that it has. Their types stay as they are stored.
///
/// # Errors
/// A tensor that is missing or not finite; a place that cannot be written to.
pub(super) fn prepare_tensors(
    path: &Path,
    weights: &Weights,
    parts: &[(String, String)],
    force: bool,
) -> Result<Prepared, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Input(format!("{:?}: cannot be written: {e}", shown(path)));
    let tensors = layout(weights, parts);
    let metadata = Metadata::new(
        // Other readers ask which framework wrote the file, and refuse one that does not say.
        Some(HashMap::from([("format".to_owned(), "pt".to_owned())])),
        tensors.iter().map(|(name, _, info)| (name.clone(), info.clone())).collect(),
    );
    let mut header = metadata.and_then(|metadata| Ok(serde_json::to_vec(&metadata)?)).map_err(|e| failed(&e))?;
    header.resize(header.len().next_multiple_of(8), b' '); // the data begins aligned
    let mut file = Unfinished::create(path, force)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(&header)?;
    for (_, stored_name, _) in &tensors {
        file.write(&weights.stored(stored_name).map_err(usage)?.bytes)?;
    }
    file.finish(tensors.into_iter().map(|(name, _, info)| (name, info)).collect())
}

/// # Errors
/// A place that cannot be written to.
pub(super) fn prepare_text(path: &Path, text: &str, force: bool) -> Result<Prepared, Error> {
    let mut file = Unfinished::create(path, force)?;
    file.write(text.as_bytes())?;
    file.finish(vec![])
}

/// Gives each file its name, in this order.
///
/// # Errors
/// A file that has appeared meanwhile, or a place that cannot be written to.
pub(super) fn publish(files: Vec<Prepared>, force: bool) -> Result<Vec<Written>, Error> {
    let mut published = vec![];
    for Prepared { temporary, written } in files {
        let path = &written.path;
        let result = if force { temporary.persist(path) } else { temporary.persist_noclobber(path) };
        result.map_err(|failed| match failed.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(path),
            _ => Error::Input(format!("{:?}: cannot be written: {}", shown(path), failed.error)),
        })?;
        published.push(written);
    }
    Ok(published)
}

/// Where each tensor will lie: the widest types first, so that each is aligned, and by name.
fn layout(weights: &Weights, parts: &[(String, String)]) -> Vec<(String, String, TensorInfo)> {
    let shapes: HashMap<&str, &[usize]> = weights.shapes().collect();
    let mut tensors: Vec<(String, String, TensorInfo)> = parts
        .iter()
        .map(|(name, stored_name)| {
            let shape = shapes.get(stored_name.as_str()).map_or_else(Vec::new, |shape| shape.to_vec());
            let dtype = weights.dtype(stored_name).unwrap_or(Dtype::F32); // one that is missing is named when it is read
            (name.clone(), stored_name.clone(), TensorInfo { dtype, shape, data_offsets: (0, 0) })
        })
        .collect();
    tensors.sort_by(|(a, _, a_info), (b, _, b_info)| b_info.dtype.cmp(&a_info.dtype).then(a.cmp(b)));
    let mut end = 0;
    for (_, _, info) in &mut tensors {
        let start = end;
        end += info.shape.iter().product::<usize>() * info.dtype.bitsize() / 8;
        info.data_offsets = (start, end);
    }
    tensors
}

/// A file under a temporary name beside its own; dropped, it is gone.
struct Unfinished {
    path: PathBuf,
    temporary: NamedTempFile,
    hasher: Sha256,
    size_bytes: u64,
}

impl Unfinished {
    fn create(path: &Path, force: bool) -> Result<Self, Error> {
        if !force && path.exists() {
            return Err(exists(path));
        }
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = std::fs::create_dir_all(folder).and_then(|()| {
            tempfile::Builder::new()
                .prefix(".deepsweep-")
                .suffix(".unfinished")
                .permissions(Permissions::from_mode(FILE_MODE))
                .tempfile_in(folder)
        });
        let temporary =
            temporary.map_err(|e| Error::Input(format!("folder {:?}: cannot be written to: {e}", shown(folder))))?;
        Ok(Self { path: path.to_owned(), temporary, hasher: Sha256::new(), size_bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.temporary.write_all(bytes).map_err(|e| self.failed(&e))
    }

    fn finish(self, tensors: Vec<(String, TensorInfo)>) -> Result<Prepared, Error> {
        self.temporary.as_file().sync_all().map_err(|e| self.failed(&e))?;
        let sha256 = hexadecimal(&self.hasher.finalize());
        let written = Written { path: self.path, size_bytes: self.size_bytes, sha256, tensors };
        Ok(Prepared { temporary: self.temporary, written })
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::Input(format!("{:?}: cannot be written: {error}", shown(&self.path)))
    }
}

impl Written {
    /// The file, its size and hash, and its tensors: by name where they are few, else how many of each type.
    pub(super) fn table(&self) -> String {
        let mut text = format!("wrote {}\n  {} bytes, sha256 {}\n", self.path.display(), self.size_bytes, self.sha256);
        // Writing to a String cannot fail.
        if self.tensors.len() > MAX_LISTED {
            let mut counts = BTreeMap::new();
            for (_, info) in &self.tensors {
                *counts.entry(format!("{:?}", info.dtype)).or_insert(0) += 1;
            }
            let counts: Vec<String> = counts.into_iter().map(|(dtype, count)| format!("{count} of {dtype}")).collect();
            let _ = writeln!(text, "  {} tensors: {}", self.tensors.len(), counts.join(", "));
            return text;
        }
        let width = self.tensors.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, info) in &self.tensors {
            let _ = writeln!(text, "  {name:width$}  {:?} {:?}", info.dtype, info.shape);
        }
        text
    }
}

fn exists(path: &Path) -> Error {
    Error::Usage(format!("--out: expected a new file, found {:?}; --force replaces it", shown(path)))
}

/// As scorer.toml may name it from wherever it lies.
pub(super) fn absolute(path: &Path) -> String {
    std::fs::canonicalize(path).map_or_else(|_| shown(path), |path| shown(&path))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
