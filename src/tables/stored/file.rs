//! The bytes of one part, wherever they lie, as the Parquet reader asks for them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use crate::tables::SCHEMA_VERSION;
use crate::tables::part;

/// Buffers of this size and more are kept for the next page: to take fresh ones from the system costs as much as to fill
/// them. Smaller ones the allocator keeps by itself.
const KEPT_BYTES: usize = 64 << 10;

/// What is read at once of a page's header, which is told byte by byte and has some dozen of them.
const HEADER_BYTES: usize = 256;

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum PartBytes {
    File(Arc<File>),
    Memory(Bytes),
}

/// A part that can be read at any place. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct PartFile {
    bytes: PartBytes,
    size_bytes: u64,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl PartFile {
    #[must_use]
    pub fn new(bytes: PartBytes, size_bytes: u64) -> Self {
        Self { bytes, size_bytes, buffers: Arc::default() }
    }

    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Of a small file, every byte.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn whole(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![];
        self.read_from(0).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The bytes from one place on.
    #[must_use]
    pub fn read_from(&self, at: u64) -> ReadFrom {
        ReadFrom { part: self.clone(), at }
    }

    /// What the part says of its rows, if its columns mean what they mean here.
    ///
    /// # Errors
    /// What is wrong with it: no Parquet file, or one of another schema.
    pub fn metadata(&self) -> Result<Arc<ParquetMetaData>, String> {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(self).map_err(|e| e.to_string())?;
        let found = stated(&metadata, part::SCHEMA).unwrap_or("none");
        if found != SCHEMA_VERSION.to_string() {
            return Err(format!("expected tables of schema version {SCHEMA_VERSION}, found {found}"));
        }
        Ok(Arc::new(metadata))
    }
}

/// What a part says of itself under `name`.
#[must_use]
pub fn stated<'a>(metadata: &'a ParquetMetaData, name: &str) -> Option<&'a str> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == name)?.value.as_deref()
}

impl Length for PartFile {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for PartFile {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(HEADER_BYTES, self.read_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let ends_early = || ParquetError::EOF(format!("expected {length} bytes from byte {start} on, the file ends"));
        if start.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(ends_early());
        }
        match &self.bytes {
            PartBytes::Memory(bytes) => {
                let start = start as usize; // below the size of what is in memory
                bytes.get(start..start + length).map(|_| bytes.slice(start..start + length)).ok_or_else(ends_early)
            }
            PartBytes::File(file) => {
                let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut buffer = kept.filter(|_| length >= KEPT_BYTES).unwrap_or_default();
                buffer.resize(length, 0);
                file.read_exact_at(&mut buffer, start).map_err(|e| ParquetError::External(Box::new(e)))?;
                if length < KEPT_BYTES {
                    return Ok(Bytes::from(buffer));
                }
                Ok(Bytes::from_owner(Lent { buffer, back_to: Arc::clone(&self.buffers) }))
            }
        }
    }
}

/// A buffer that goes back when the last who reads it lets go.
struct Lent {
    buffer: Vec<u8>,
    back_to: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.back_to.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.buffer));
    }
}

/// Reads on from a place, as headers of pages are read.
#[derive(Debug)]
pub struct ReadFrom {
    part: PartFile,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.part.size_bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = into.len().min(left);
        let into = &mut into[..wanted];
        let read = match &self.part.bytes {
            PartBytes::File(file) => file.read_at(into, self.at)?,
            PartBytes::Memory(bytes) => {
                let at = self.at as usize; // not behind the end
                into.copy_from_slice(bytes.get(at..at + wanted).unwrap_or(&[]));
                wanted
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}
