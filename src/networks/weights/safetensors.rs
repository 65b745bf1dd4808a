//! The header of a safetensors file → views of its tensors. The data is not touched.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::Metadata;

use super::view::View;
use super::{malformed, unreadable};
use crate::networks::NetworkError;

/// The header of the largest published checkpoints is below 1 MB; the format's own parser stops at 100 MB.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// # Errors
/// A file that is cut, or whose header is not that of safetensors.
pub(super) fn read(path: &Path, mut file: &File, source: usize) -> Result<Vec<(String, View)>, NetworkError> {
    let origin = path.display().to_string();
    let file_bytes = file.metadata().map_err(|e| unreadable(path, &e))?.len();
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(path, &e))?;
    file.read_exact(&mut length).map_err(|e| unreadable(path, &e))?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES.min(file_bytes.saturating_sub(8)) {
        return Err(NetworkError::Weights(format!(
            "weights {origin:?}: expected a safetensors header inside the file's {file_bytes} bytes, found one that \
             claims {header_bytes}: the file is cut, or of another kind than safetensors and PyTorch's zip"
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
    Ok(views(&metadata, source, 8 + header_bytes))
}

/// Views of a header's tensors, whose data begins at `data_start`.
pub(super) fn views(metadata: &Metadata, source: usize, data_start: u64) -> Vec<(String, View)> {
    let names = metadata.offset_keys().into_iter();
    names
        .filter_map(|name| {
            let info = metadata.info(&name)?;
            let start = data_start + info.data_offsets.0 as u64;
            Some((name, View::contiguous(source, info.dtype, start, info.shape.clone())))
        })
        .collect()
}
