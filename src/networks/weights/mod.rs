//! Tensors out of checkpoints, by name and shape.
//!
//! In: one file (safetensors, or the zip of `torch.save`: `.bin`, `.pt`, `.pth`), or a folder with one or with shards
//! of either, as transformers writes it. Out: `f32` tensors on the chosen device, read one by one, so that a
//! file with a text tower beside the vision tower costs only what is asked for.
//! A tensor that is missing or has another shape is an error that names it; nothing is ever drawn at random, and no
//! code that a file may carry is ever run.

mod files;
mod globals;
mod heap;
mod layout;
mod pickle;
mod pytorch;
mod safetensors;
mod view;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Dtype, SafeTensors};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use self::files::Kind;
use self::view::View;
use super::NetworkError;

pub use self::files::{checkpoint_files, hexadecimal, sha256_of_file};

/// The tensors of a checkpoint, not yet read.
#[derive(Debug)]
pub struct Weights {
    /// Names the checkpoint in messages.
    origin: String,
    /// What stood before every name, for messages.
    prefix: String,
    device: Device,
    tensors: BTreeMap<String, View>,
    sources: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    File {
        path: PathBuf,
        file: File,
    },
    Bytes(&'static [u8]),
    /// Made in memory, for tests of full-size towers without a file.
    Tensor(Tensor),
}

/// A tensor as its file has it, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Weights {
    /// Opens a file of weights, or a folder laid out as transformers writes it. What a file is, its first bytes say.
    ///
    /// # Errors
    /// A file that is missing, cut, of another kind, or that says more than a checkpoint needs to say.
    pub fn open(path: &Path, device: &Device) -> Result<Self, NetworkError> {
        let mut weights = Self::empty(&path.display().to_string(), device);
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
        let mut weights = Self::empty(origin, device);
        weights.tensors.extend(safetensors::views(&metadata, 0, header_bytes as u64 + 8));
        weights.sources.push(Source::Bytes(bytes));
        Ok(weights)
    }

    /// Tensors that exist already.
    #[must_use]
    pub fn from_tensors(origin: &str, tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        let mut weights = Self::empty(origin, device);
        for (source, (name, tensor)) in tensors.into_iter().enumerate() {
            weights.tensors.insert(name, View::contiguous(source, Dtype::F32, 0, tensor.dims().to_vec()));
            weights.sources.push(Source::Tensor(tensor));
        }
        weights
    }

    /// Where the tensors go that are read.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The tensors whose names begin with `prefix`, without it: `get("a")` reads `"{prefix}a"`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), view))).collect();
        self.prefix.push_str(prefix);
        self
    }

    /// All tensors but these.
    #[must_use]
    pub fn without<'a>(mut self, names: impl Iterator<Item = &'a String>) -> Self {
        for name in names {
            self.tensors.remove(name);
        }
        self
    }

    /// Without what PyTorch's wrappers put before every name (`module.`, `_orig_mod.`).
    #[must_use]
    pub fn without_wrapper(mut self) -> Self {
        while let Some(wrapper) = layout::wrapper(self.tensors.keys()) {
            self = self.with_prefix(wrapper);
        }
        self
    }

    /// The same tensors with those of `overlay` in place of their namesakes.
    ///
    /// # Errors
    /// A tensor of the overlay that is not below it, or has another shape there.
    pub fn overlaid_by(mut self, overlay: Self) -> Result<Self, NetworkError> {
        for (name, view) in &overlay.tensors {
            let Some(below) = self.tensors.get(name) else {
                return Err(self.missing(name, &view.shape)).map_err(|e| in_overlay(&overlay.origin, &e));
            };
            if below.shape != view.shape {
                return Err(self.misshapen(name, below, &view.shape)).map_err(|e| in_overlay(&overlay.origin, &e));
            }
        }
        let before = self.sources.len();
        self.sources.extend(overlay.sources);
        for (name, mut view) in overlay.tensors {
            view.source += before;
            self.tensors.insert(name, view);
        }
        Ok(self)
    }

    /// The tensors by the names of transformers, whichever of transformers, open_clip and OpenAI named them. Nothing is
    /// read yet; what is no part of CLIP keeps its name.
    ///
    /// # Errors
    /// No tensor of CLIP, or one whose shape cannot be its.
    pub fn in_transformers_layout(self) -> Result<Self, NetworkError> {
        let mut weights = self.without_wrapper();
        let tensors = std::mem::take(&mut weights.tensors);
        weights.tensors = layout::to_transformers(tensors).map_err(|what| weights.complaint(&what))?;
        Ok(weights)
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Every tensor's name with its shape, in order of the names.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, view)| (name.as_str(), view.shape.as_slice()))
    }

    /// The type in which a tensor is stored.
    #[must_use]
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|view| view.dtype)
    }

    /// The tensor `name` as `f32`, of exactly `shape`, every value finite.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen, of a type that is no float, cut, or not finite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, NetworkError> {
        let view = self.tensors.get(name).ok_or_else(|| self.missing(name, shape))?;
        if view.shape != shape {
            return Err(self.misshapen(name, view, shape));
        }
        let tensor = match &self.sources[view.source] {
            Source::Tensor(tensor) if view.is_row_major() && tensor.dims() == shape => tensor.clone(),
            _ => self.to_f32(name, view.dtype, shape, &self.bytes(name, view)?)?,
        };
        self.check_finite(name, &tensor)?;
        Ok(tensor.to_device(&self.device)?)
    }

    /// The tensor `name` as it is stored, every value finite where it is a float.
    ///
    /// # Errors
    /// A tensor that is missing, cut, or not finite.
    pub fn stored(&self, name: &str) -> Result<Stored, NetworkError> {
        let view = self.tensors.get(name).ok_or_else(|| self.missing(name, &[]))?;
        let bytes = self.bytes(name, view)?;
        if float(view.dtype).is_some() {
            self.check_finite(name, &self.to_f32(name, view.dtype, &view.shape, &bytes)?)?;
        }
        Ok(Stored { dtype: view.dtype, shape: view.shape.clone(), bytes })
    }

    fn empty(origin: &str, device: &Device) -> Self {
        let (origin, device) = (origin.to_owned(), device.clone());
        Self { origin, prefix: String::new(), device, tensors: BTreeMap::new(), sources: vec![] }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), NetworkError> {
        const FIRST_BYTES: u64 = 128; // enough to know any kind by, and to show a line of a text
        let file = crate::files::open(path).map_err(|e| unreadable(path, &e))?;
        let file_bytes = file.metadata().map_err(|e| unreadable(path, &e))?.len();
        let first = zip::read_at(&file, 0, file_bytes.min(FIRST_BYTES)).map_err(|e| malformed(&self.origin, &e))?;
        let source = self.sources.len();
        let tensors = match files::kind(&first) {
            Kind::Safetensors => safetensors::read(path, &file, source)?,
            Kind::PyTorchZip => pytorch::read(path, &file, source)?,
            Kind::BarePickle => return Err(pytorch::bare_pickle(path)),
            Kind::Text(text) => {
                return Err(NetworkError::Weights(format!(
                    "weights {:?}: expected safetensors or a zip of torch.save, found text that begins with {text:?}: \
                     download the file itself, not the page or the pointer in its place",
                    path.display().to_string()
                )));
            }
        };
        for (name, view) in tensors {
            if self.tensors.insert(name.clone(), view).is_some() {
                return Err(self.complaint(&format!("expected each tensor once, found {name:?} in two of its files")));
            }
        }
        self.sources.push(Source::File { path: path.to_owned(), file });
        Ok(())
    }

    /// In row-major order.
    fn bytes(&self, name: &str, view: &View) -> Result<Vec<u8>, NetworkError> {
        let span_bytes = view.span_bytes();
        let span = match &self.sources[view.source] {
            Source::File { path, file } => {
                let mut span = vec![0; span_bytes];
                file.read_exact_at(&mut span, view.start).map_err(|e| unreadable(path, &e))?;
                span
            }
            Source::Bytes(bytes) => {
                let at = view.start as usize;
                bytes.get(at..at + span_bytes).map(<[u8]>::to_vec).ok_or_else(|| self.missing(name, &view.shape))?
            }
            Source::Tensor(tensor) => {
                let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                let at = view.start as usize;
                bytes[at..at + span_bytes].to_vec()
            }
        };
        Ok(view.gather(span))
    }

    fn to_f32(&self, name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<Tensor, NetworkError> {
        let Some(float) = float(dtype) else {
            let what = format!("tensor {name:?}: expected F32, F16, BF16 or F64, found {dtype:?}");
            return Err(self.complaint(&what));
        };
        Ok(Tensor::from_raw_buffer(bytes, float, shape, &Device::Cpu)?.to_dtype(DType::F32)?)
    }

    fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<(), NetworkError> {
        // Looked at where they lie: a tower has hundreds of megabytes of them.
        let is_finite =
            |values: &[f32]| values.chunks(1024).all(|some| some.iter().fold(true, |ok, v| ok & v.is_finite()));
        let flat = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F32)?.contiguous()?; // copies nothing that is so already
        let (storage, layout) = flat.storage_and_layout();
        if let Storage::Cpu(CpuStorage::F32(values)) = &*storage
            && is_finite(&values[layout.start_offset()..][..flat.elem_count()])
        {
            return Ok(());
        }
        Err(self.complaint(&format!("tensor {name:?}: expected finite values, found NaN or infinity")))
    }

    fn misshapen(&self, name: &str, view: &View, expected: &[usize]) -> NetworkError {
        self.complaint(&format!("tensor {name:?}: expected shape {expected:?}, found {:?}", view.shape))
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
        self.complaint(&format!("expected a tensor {name:?} of shape {shape:?}, found {found}"))
    }

    fn complaint(&self, what: &str) -> NetworkError {
        let below = if self.prefix.is_empty() { String::new() } else { format!(" below {:?}", self.prefix) };
        NetworkError::Weights(format!("weights {:?}{below}: {what}", self.origin))
    }
}

fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F64 => Some(DType::F64),
        _ => None,
    }
}

fn in_overlay(overlay: &str, error: &NetworkError) -> NetworkError {
    NetworkError::Weights(format!("overlay {overlay:?} does not fit: {error}"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> NetworkError {
    NetworkError::Weights(format!("weights {:?}: cannot be read: {error}", path.display().to_string()))
}

fn malformed(origin: &str, error: &dyn std::fmt::Display) -> NetworkError {
    NetworkError::Weights(format!("weights {origin:?}: malformed: {error}"))
}
