//! Tensors out of safetensors files, by name and shape.
//!
//! In: one `.safetensors` file, or a folder with `model.safetensors` or with the shards of
//! `model.safetensors.index.json`. Out: `f32` tensors on the chosen device, read one by one, so that a
//! file with a text tower beside the vision tower costs only what is asked for.
//! A tensor that is missing or has another shape is an error that names it; nothing is ever drawn at random.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use sha2::{Digest, Sha256};

use super::NetworkError;

/// The header of the largest published checkpoints is below 1 MB; the format's own parser stops at 100 MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The tensors of a checkpoint, not yet read.
#[derive(Debug)]
pub struct Weights {
    /// Names the checkpoint in messages.
    origin: String,
    device: Device,
    tensors: BTreeMap<String, Entry>,
    files: Vec<Source>,
}

#[derive(Debug)]
struct Entry {
    source: usize,
    info: TensorInfo,
}

#[derive(Debug)]
enum Source {
    File {
        path: PathBuf,
        file: Mutex<File>,
        data_start: u64,
    },
    Bytes {
        bytes: &'static [u8],
        data_start: u64,
    },
    /// Made in memory, for tests of full-size towers without a file.
    Tensors(BTreeMap<String, Tensor>),
}

impl Weights {
    /// Opens a `.safetensors` file, or a folder laid out as transformers writes it.
    ///
    /// # Errors
    /// A file that is missing, cut, or whose header is not that of safetensors.
    pub fn open(path: &Path, device: &Device) -> Result<Self, NetworkError> {
        let mut weights = Self {
            origin: path.display().to_string(),
            device: device.clone(),
            tensors: BTreeMap::new(),
            files: vec![],
        };
        for file in checkpoint_files(path)? {
            weights.add_file(&file)?;
        }
        Ok(weights)
    }

    /// Tensors that are compiled into the program.
    ///
    /// # Errors
    /// Bytes that are not safetensors.
    pub fn from_bytes(origin: &str, bytes: &'static [u8], device: &Device) -> Result<Self, NetworkError> {
        let (header_bytes, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| malformed(origin, &e))?;
        let mut weights =
            Self { origin: origin.to_owned(), device: device.clone(), tensors: BTreeMap::new(), files: vec![] };
        weights.add_entries(&metadata);
        weights.files.push(Source::Bytes { bytes, data_start: header_bytes as u64 + 8 });
        Ok(weights)
    }

    /// Tensors that exist already.
    #[must_use]
    pub fn from_tensors(origin: &str, tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        let mut entries = BTreeMap::new();
        for (name, tensor) in &tensors {
            let info = TensorInfo { dtype: Dtype::F32, shape: tensor.dims().to_vec(), data_offsets: (0, 0) };
            entries.insert(name.clone(), Entry { source: 0, info });
        }
        Self {
            origin: origin.to_owned(),
            device: device.clone(),
            tensors: entries,
            files: vec![Source::Tensors(tensors)],
        }
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Every tensor's name with its shape, in order of the names.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, entry)| (name.as_str(), entry.info.shape.as_slice()))
    }

    /// The tensor `name` as `f32`, of exactly `shape`, every value finite.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen, of a type that is no float, cut, or not finite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, NetworkError> {
        let entry = self.tensors.get(name).ok_or_else(|| self.missing(name, shape))?;
        if entry.info.shape != shape {
            return Err(NetworkError::Weights(format!(
                "weights {:?}: tensor {name:?}: expected shape {shape:?}, found {:?}",
                self.origin, entry.info.shape
            )));
        }
        let tensor = self.read(name, entry)?;
        // One sum meets every value: it is finite only if all are (f64 cannot overflow from f32 values).
        let sum = tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        if sum.is_finite() {
            Ok(tensor.to_device(&self.device)?)
        } else {
            Err(NetworkError::Weights(format!(
                "weights {:?}: tensor {name:?}: expected finite values, found NaN or infinity",
                self.origin
            )))
        }
    }

    fn read(&self, name: &str, entry: &Entry) -> Result<Tensor, NetworkError> {
        let (start, end) = entry.info.data_offsets;
        let bytes = match &self.files[entry.source] {
            Source::Tensors(tensors) => return Ok(tensors[name].clone()),
            Source::Bytes { bytes, data_start } => {
                let at = *data_start as usize;
                bytes[at + start..at + end].to_vec()
            }
            Source::File { path, file, data_start } => {
                let mut bytes = vec![0; end - start];
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(data_start + start as u64))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|e| unreadable(path, &e))?;
                bytes
            }
        };
        let dtype = match entry.info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => {
                return Err(NetworkError::Weights(format!(
                    "weights {:?}: tensor {name:?}: expected F32, F16, BF16 or F64, found {other:?}",
                    self.origin
                )));
            }
        };
        let tensor = Tensor::from_raw_buffer(&bytes, dtype, &entry.info.shape, &Device::Cpu)?;
        Ok(tensor.to_dtype(DType::F32)?)
    }

    fn missing(&self, name: &str, shape: &[usize]) -> NetworkError {
        let last = name.rsplit('.').next().unwrap_or(name);
        let similar: Vec<&str> =
            self.tensors.keys().map(String::as_str).filter(|found| found.ends_with(last)).take(3).collect();
        let found = if similar.is_empty() {
            format!("{} tensors, none with such an ending", self.tensors.len())
        } else {
            format!("{} tensors, such as {}", self.tensors.len(), similar.join(", "))
        };
        NetworkError::Weights(format!(
            "weights {:?}: expected a tensor {name:?} of shape {shape:?}, found {found}",
            self.origin
        ))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), NetworkError> {
        let origin = path.display().to_string();
        let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
        let file_bytes = file.metadata().map_err(|e| unreadable(path, &e))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|e| unreadable(path, &e))?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES.min(file_bytes.saturating_sub(8)) {
            return Err(NetworkError::Weights(format!(
                "weights {origin:?}: expected a safetensors header inside the file's {file_bytes} bytes, \
                 found one that claims {header_bytes}"
            )));
        }
        let mut header = vec![0; header_bytes as usize];
        file.read_exact(&mut header).map_err(|e| unreadable(path, &e))?;
        // The crate checks shapes, types and offsets against each other while it reads.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| malformed(&origin, &e))?;
        let expected_bytes = 8 + header_bytes + metadata.data_len() as u64;
        if expected_bytes != file_bytes {
            return Err(NetworkError::Weights(format!(
                "weights {origin:?}: expected {expected_bytes} bytes by its header, found {file_bytes}: \
                 the file is cut or damaged"
            )));
        }
        self.add_entries(&metadata);
        self.files.push(Source::File { path: path.to_owned(), file: Mutex::new(file), data_start: 8 + header_bytes });
        Ok(())
    }

    fn add_entries(&mut self, metadata: &Metadata) {
        let source = self.files.len();
        for name in metadata.offset_keys() {
            if let Some(info) = metadata.info(&name) {
                self.tensors.insert(name, Entry { source, info: info.clone() });
            }
        }
    }
}

/// The files of a checkpoint in a stable order: the file itself, `model.safetensors`, or its shards.
///
/// # Errors
/// A folder without either, or an index that cannot be read.
pub fn checkpoint_files(path: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let single = path.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = path.join("model.safetensors.index.json");
    if !index.is_file() {
        return Err(NetworkError::Weights(format!(
            "weights {:?}: expected model.safetensors or model.safetensors.index.json, found neither",
            path.display().to_string()
        )));
    }
    let text = std::fs::read_to_string(&index).map_err(|e| unreadable(&index, &e))?;
    let parsed: ShardIndex = serde_json::from_str(&text).map_err(|e| malformed(&index.display().to_string(), &e))?;
    let mut names: Vec<&String> = parsed.weight_map.values().collect();
    names.sort();
    names.dedup();
    if let Some(name) = names.iter().find(|name| Path::new(name).components().count() != 1) {
        return Err(NetworkError::Weights(format!(
            "weights {:?}: expected shards beside the index, found {name:?}",
            index.display().to_string()
        )));
    }
    Ok(names.into_iter().map(|name| path.join(name)).collect())
}

#[derive(serde::Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The sha256 of a file in hexadecimal, read in pieces.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String, NetworkError> {
    const PIECE_BYTES: usize = 1 << 20; // large enough that reading, not calling, takes the time
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
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

fn unreadable(path: &Path, error: &std::io::Error) -> NetworkError {
    NetworkError::Weights(format!("weights {:?}: cannot be read: {error}", path.display().to_string()))
}

fn malformed(origin: &str, error: &dyn std::fmt::Display) -> NetworkError {
    NetworkError::Weights(format!("weights {origin:?}: malformed: {error}"))
}
