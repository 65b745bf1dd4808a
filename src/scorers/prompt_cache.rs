//! Prompt embeddings on disk: what one run computed, the next one reads.
//!
//! In and out: the vectors of the two classes. A file holds `prompt_embeddings` [2, d], as a zero-shot head's own
//! file does, and the sha256 of its key and values. Never an error: where the file cannot be
//! read, is damaged or cannot be written, a warning says so and the caller computes.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::networks::weights::hexadecimal;

const TENSOR: &str = "prompt_embeddings";
const CHECKSUM: &str = "sha256_of_key_and_values";

/// Two vectors of the widest tower that is accepted take 131 kB, the header less than 1 kB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a file gets that is created plainly; the umask takes its share.
const FILE_MODE: u32 = 0o666;

/// Where the embeddings of one set of prompts and one checkpoint lie.
#[derive(Debug)]
pub(super) struct PromptCache<'a> {
    pub(super) folder: &'a Path,
    pub(super) key: String,
    pub(super) width: usize,
}

impl PromptCache<'_> {
    /// None where nothing lies there yet, or nothing that can be trusted.
    pub(super) fn read(&self) -> Option<[Vec<f32>; 2]> {
        let path = self.path();
        let found = crate::files::open(&path).map_err(|e| (e.kind(), e.to_string())).and_then(|file| {
            let mut bytes = vec![];
            file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|e| (e.kind(), e.to_string()))?;
            self.parse(&bytes).map_err(|what| (io::ErrorKind::InvalidData, what))
        });
        match found {
            Ok(classes) => Some(classes),
            Err((io::ErrorKind::NotFound, _)) => None,
            Err((_, what)) => {
                tracing::warn!("cached prompt embeddings {:?}: {what}; embedding the prompts anew", shown(&path));
                None
            }
        }
    }

    pub(super) fn write(&self, classes: &[Vec<f32>; 2]) {
        let path = self.path();
        if let Err(e) = self.try_write(&path, classes) {
            tracing::warn!(
                "prompt embeddings cannot be kept at {:?}, the next run embeds them again: {e}",
                shown(&path)
            );
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("prompts-{}.safetensors", self.key))
    }

    fn parse(&self, bytes: &[u8]) -> Result<[Vec<f32>; 2], String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let tensor = tensors.tensor(TENSOR).map_err(|e| e.to_string())?;
        let stated = header.metadata().as_ref().and_then(|stated| stated.get(CHECKSUM));
        let expected = [
            (stated == Some(&self.checksum(tensor.data())), "a key and values of the sha256 it states"),
            (tensor.dtype() == Dtype::F32 && tensor.shape() == [2, self.width], "two vectors of the tower's width"),
        ];
        if let Some((_, what)) = expected.iter().find(|(met, _)| !met) {
            return Err(format!("expected {what}, found others"));
        }
        let values: Vec<f32> =
            tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (real, fake) = values.split_at(self.width);
        Ok([real.to_vec(), fake.to_vec()])
    }

    /// A temporary file first: the name shows a whole file or none.
    fn try_write(&self, path: &Path, classes: &[Vec<f32>; 2]) -> io::Result<()> {
        let values: Vec<u8> = classes.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![2, self.width], &values).map_err(io::Error::other)?;
        // One entry: of several the order would be another in every run.
        let stated = HashMap::from([(CHECKSUM.to_owned(), self.checksum(&values))]);
        let bytes = safetensors::serialize([(TENSOR, view)], Some(stated)).map_err(io::Error::other)?;
        fs::create_dir_all(self.folder)?;
        let mut file = tempfile::Builder::new()
            .prefix(".prompts-")
            .permissions(Permissions::from_mode(FILE_MODE))
            .tempfile_in(self.folder)?;
        file.write_all(&bytes)?;
        file.persist(path)?;
        Ok(())
    }

    fn checksum(&self, values: &[u8]) -> String {
        hexadecimal(&Sha256::new().chain_update(&self.key).chain_update(values).finalize())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
