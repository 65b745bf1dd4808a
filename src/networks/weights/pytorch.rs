//! A checkpoint as `torch.save` writes it since version 1.6: a zip with a pickle and the bytes behind its tensors.
//!
//! In: the file. Out: views of its tensors by name; nothing but directory and pickle is read. On which device a
//! tensor lay when it was saved does not matter.
//!
//! candle-core has a reader of the same format, which is not used here: it keeps unknown calls instead of refusing
//! them, gives memory to what a pickle claims, panics on calls with too few arguments, copies what the memo shares
//! (a short pickle grows without bound), leaves out what it does not understand with a line on standard error, and
//! knows neither strides other than row- and column-major nor pickles of protocol 4.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use safetensors::tensor::Dtype;

use super::globals::Global;
use super::heap::{Claim, Heap, Id, Value};
use super::pickle::{self, MAX_PICKLE_BYTES};
use super::view::{View, width_bytes};
use super::zip::{Archive, Place, read_at};
use crate::networks::NetworkError;

const PICKLE: &str = "/data.pkl";

/// What training scripts call the table of tensors where they save more beside it; the first that is there counts.
const STATE_DICTS: [&str; 5] = ["state_dict", "model_state_dict", "model", "module", "net"];
/// `{"model": {"state_dict": …}}` is two.
const MAX_DEPTH: usize = 4;

/// # Errors
/// What is cut, packed, of another kind, or says more than a checkpoint needs to say.
pub(super) fn read(path: &Path, file: &File, source: usize) -> Result<Vec<(String, View)>, NetworkError> {
    let in_file = |what: String| NetworkError::Weights(format!("weights {:?}: {what}", path.display().to_string()));
    let archive = Archive::read(file).map_err(in_file)?;
    let root = root(&archive, path).map_err(in_file)?;
    check_byte_order(&archive, file, &root).map_err(in_file)?;
    let pickle_place = archive.place(file, &format!("{root}{PICKLE}")).map_err(in_file)?;
    let Some(place) = pickle_place.filter(|place| place.size_bytes <= MAX_PICKLE_BYTES) else {
        return Err(in_file(format!("expected a data.pkl of at most {MAX_PICKLE_BYTES} bytes, found a longer one")));
    };
    let bytes = read_at(file, place.start, place.size_bytes).map_err(in_file)?;
    let (top, heap) = pickle::run(&bytes).map_err(in_file)?;
    let table = state_dict(&heap, top, 0).map_err(in_file)?;
    let mut reader = Reader { file, archive: &archive, root: &root, heap: &heap, source, places: BTreeMap::new() };
    let mut found = vec![];
    for (name, claim) in table {
        let view = reader.view(claim).map_err(|what| in_file(format!("tensor {name:?}: {what}")))?;
        found.push((name, view));
    }
    Ok(found)
}

/// The folder inside of the archive, which has the name that the file had when it was saved.
fn root(archive: &Archive, path: &Path) -> Result<String, String> {
    let roots: Vec<&str> =
        archive.names().filter_map(|name| name.strip_suffix(PICKLE)).filter(|root| !root.contains('/')).collect();
    let root = match roots.as_slice() {
        [root] => *root,
        [] => {
            let shown: Vec<&str> = archive.names().take(3).collect();
            return Err(format!(
                "expected a zip of torch.save with NAME/data.pkl, found {} entries, such as {}",
                archive.names().count(),
                if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
            ));
        }
        roots => return Err(format!("expected one data.pkl, found {}: in {}", roots.len(), roots.join(", "))),
    };
    let file = path.file_name().map_or_else(|| "FILE".into(), |name| name.to_string_lossy());
    if archive.contains(&format!("{root}/constants.pkl")) {
        return Err(format!(
            "expected a checkpoint of torch.save, found a TorchScript archive ({root}/constants.pkl), which is a \
             program; convert it where there is Python: python -c 'import torch; \
             torch.save(torch.jit.load(\"{file}\", map_location=\"cpu\").state_dict(), \"state_dict.pth\")'"
        ));
    }
    Ok(root.to_owned())
}

/// PyTorch 2.1 and later say in which order the bytes of a number lie; before, it was always the one of here.
fn check_byte_order(archive: &Archive, file: &File, root: &str) -> Result<(), String> {
    const LONGEST_BYTES: u64 = 6; // "little"
    let Some(place) = archive.place(file, &format!("{root}/byteorder"))? else { return Ok(()) };
    let order = read_at(file, place.start, place.size_bytes.min(LONGEST_BYTES))?;
    if order == b"little" {
        return Ok(());
    }
    Err(format!("byteorder: expected \"little\", found {:?}", String::from_utf8_lossy(&order)))
}

/// What a bare pickle is answered with.
pub(super) fn bare_pickle(path: &Path) -> NetworkError {
    let file = path.file_name().map_or_else(|| "FILE".into(), |name| name.to_string_lossy());
    NetworkError::Weights(format!(
        "weights {:?}: expected safetensors or a zip as torch.save writes it since PyTorch 1.6, found a pickle without \
         a zip around it; convert it where there is Python: python -c 'import torch; \
         torch.save(torch.load(\"{file}\", map_location=\"cpu\", weights_only=True), \"state_dict.pth\")'",
        path.display().to_string()
    ))
}

/// The tensors of the table that is the state dict, wherever a training script has put it.
fn state_dict(heap: &Heap, id: Id, depth: usize) -> Result<Vec<(String, Claim)>, String> {
    let Value::Dict(pairs) = heap.value(id) else {
        return Err(format!("expected a dictionary of tensors, found {}", heap.value(id).kind()));
    };
    let mut seen = BTreeSet::new();
    let mut tensors = vec![];
    let mut tables: Vec<(&str, Id)> = vec![];
    for (key, value) in pairs {
        let Value::Text(key) = heap.value(*key) else { continue };
        if !seen.insert(key) {
            return Err(format!("expected each name once, found {key:?} twice"));
        }
        match heap.value(*value) {
            Value::Tensor(claim) => tensors.push((key.clone(), *claim)),
            Value::Dict(inner) if holds_tensors_or_tables(heap, inner) => tables.push((key, *value)),
            _ => {} // an epoch, learning rates by name
        }
    }
    if !tensors.is_empty() {
        return Ok(tensors);
    }
    let known: Vec<&(&str, Id)> = tables.iter().filter(|(key, _)| STATE_DICTS.contains(key)).collect();
    match (known.as_slice(), tables.as_slice()) {
        ([(_, table)], _) | ([], [(_, table)]) if depth < MAX_DEPTH => state_dict(heap, *table, depth + 1),
        ([_, _, ..], _) => {
            let found: Vec<&str> = known.iter().map(|(key, _)| *key).collect();
            Err(format!(
                "expected one table of tensors, found {}: which of them is meant cannot be told; save that one alone",
                found.join(" and ")
            ))
        }
        _ => {
            let found: Vec<&str> = seen.iter().take(8).map(|key| key.as_str()).collect();
            Err(format!(
                "expected tensors by name, or a table of them called {}, found {}",
                STATE_DICTS.join(", "),
                if found.is_empty() { "an empty dictionary".to_owned() } else { found.join(", ") }
            ))
        }
    }
}

fn holds_tensors_or_tables(heap: &Heap, pairs: &[(Id, Id)]) -> bool {
    pairs.iter().any(|(_, value)| matches!(heap.value(*value), Value::Tensor(_) | Value::Dict(_)))
}

/// Turns the claims of a pickle into views that are inside of the file.
struct Reader<'a> {
    file: &'a File,
    archive: &'a Archive,
    root: &'a str,
    heap: &'a Heap,
    source: usize,
    /// Tensors share storages.
    places: BTreeMap<&'a str, Place>,
}

impl<'a> Reader<'a> {
    fn view(&mut self, claim: Claim) -> Result<View, String> {
        let (dtype, place) = self.storage(claim.storage)?;
        let held = place.size_bytes / width_bytes(dtype) as u64;
        let offset = self.whole_number(claim.offset, "offset")?;
        let extents = (self.whole_numbers(claim.shape, "shape")?, self.whole_numbers(claim.strides, "strides")?);
        View::strided((self.source, dtype, place.start, held), offset, extents)
    }

    /// `('storage', class, key, where it lay, number of elements)` → its type and its place in the file.
    fn storage(&mut self, storage: Id) -> Result<(Dtype, Place), String> {
        let Value::Persistent(arguments) = self.heap.value(storage) else {
            return Err(format!("expected a storage, found {}", self.heap.value(storage).kind()));
        };
        let arguments = match self.heap.value(*arguments) {
            Value::Tuple(arguments) => arguments.as_slice(),
            _ => &[],
        };
        let &[_, class, key, _, elements] = arguments else {
            return Err(format!("expected a storage of five parts, found {}", arguments.len()));
        };
        let (Value::Global(Global::Storage(dtype)), Value::Text(key)) = (self.heap.value(class), self.heap.value(key))
        else {
            return Err("expected a storage with a type and a key, found something else".to_owned());
        };
        let elements = self.whole_number(elements, "number of elements of a storage")?;
        let place = match self.places.get(key.as_str()) {
            Some(place) => *place,
            None => {
                let name = format!("{}/data/{key}", self.root);
                let place = self.archive.place(self.file, &name)?;
                let place = place.ok_or_else(|| format!("expected its storage {name:?}, found no such entry"))?;
                self.places.insert(key, place);
                place
            }
        };
        let claimed_bytes = elements.checked_mul(width_bytes(*dtype) as u64);
        if claimed_bytes.is_none_or(|claimed| claimed > place.size_bytes) {
            return Err(format!(
                "storage {key:?}: expected {elements} elements of {dtype:?}, found {} bytes",
                place.size_bytes
            ));
        }
        Ok((*dtype, place))
    }

    fn whole_number(&self, id: Id, what: &str) -> Result<u64, String> {
        match self.heap.value(id) {
            Value::Int(number) => {
                u64::try_from(*number).map_err(|_| format!("{what}: expected 0 or more, found {number}"))
            }
            other => Err(format!("{what}: expected a whole number, found {}", other.kind())),
        }
    }

    fn whole_numbers(&self, id: Id, what: &str) -> Result<Vec<u64>, String> {
        const MAX_AXES: usize = 8; // a kernel of a video network has five
        match self.heap.value(id) {
            Value::Tuple(numbers) | Value::List(numbers) if numbers.len() <= MAX_AXES => {
                numbers.iter().map(|number| self.whole_number(*number, what)).collect()
            }
            Value::Tuple(numbers) => Err(format!("{what}: expected at most {MAX_AXES} axes, found {}", numbers.len())),
            other => Err(format!("{what}: expected a tuple, found {}", other.kind())),
        }
    }
}
