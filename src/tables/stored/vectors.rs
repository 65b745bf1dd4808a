//! The column `vector` of `embeddings`, one vector after another, straight out of the pages.
//!
//! A reader of columns in general gives each of a vector's numbers two levels of its own and copies it twice; here a page
//! is read once, its lists are told apart by runs of levels, and numbers stay where they are until they are asked for.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::file::PartFile;
use super::levels::list_lengths;

/// What must stand in the schema: lists and their items that are never null, so that levels are 0 and 1.
const COLUMN: &str = "vector.list.element";

/// Reads vectors one by one, from the first row to the last.
pub struct Vectors {
    part: Arc<PartFile>,
    metadata: Arc<ParquetMetaData>,
    column: usize,
    next_row_group: usize,
    pages: Option<SerializedPageReader<PartFile>>,
    page: Values,
}

/// What is left of a page: numbers, and the lengths of the vectors that they make.
#[derive(Default)]
struct Values {
    bytes: Bytes,
    lengths: std::vec::IntoIter<u32>,
    at: usize,
}

impl Vectors {
    /// # Errors
    /// A part without vectors, or with others than this program writes.
    pub fn new(part: &PartFile, metadata: &Arc<ParquetMetaData>) -> Result<Self, String> {
        let schema = metadata.file_metadata().schema_descr();
        let column = schema.columns().iter().position(|column| column.path().string() == COLUMN);
        let column = column.ok_or_else(|| format!("expected a column {COLUMN:?}, found none"))?;
        let found = schema.column(column);
        let (kind, levels) = (found.physical_type(), (found.max_def_level(), found.max_rep_level()));
        if (kind, levels) != (Type::FLOAT, (1, 1)) {
            return Err(format!("column {COLUMN:?}: expected floats of which none is null, found {kind} {levels:?}"));
        }
        Ok(Self {
            part: Arc::new(part.clone()),
            metadata: Arc::clone(metadata),
            column,
            next_row_group: 0,
            pages: None,
            page: Values::default(),
        })
    }

    /// The numbers of the next vector as they are stored, four bytes each, the lowest first.
    ///
    /// # Errors
    /// A page that is cut or broken, or no vector left.
    pub fn vector(&mut self) -> Result<&[[u8; 4]], String> {
        let length = loop {
            if let Some(length) = self.page.lengths.next() {
                break length as usize;
            }
            self.page = self.next_page()?;
        };
        let start = self.page.at;
        self.page.at += 4 * length;
        let bytes = self.page.bytes.get(start..self.page.at).ok_or("a vector ends early")?;
        Ok(bytes.as_chunks().0)
    }

    fn next_page(&mut self) -> Result<Values, String> {
        loop {
            if let Some(pages) = &mut self.pages
                && let Some(page) = pages.get_next_page().map_err(|e| e.to_string())?
            {
                return values(&page);
            }
            if self.next_row_group == self.metadata.num_row_groups() {
                return Err("expected a vector in each row, found fewer".to_owned());
            }
            let group = self.metadata.row_group(self.next_row_group);
            let rows = usize::try_from(group.num_rows()).map_err(|e| e.to_string())?;
            let pages = SerializedPageReader::new(Arc::clone(&self.part), group.column(self.column), rows, None);
            self.pages = Some(pages.map_err(|e| e.to_string())?);
            self.next_row_group += 1;
        }
    }
}

fn values(page: &Page) -> Result<Values, String> {
    const CUT: &str = "a page of vectors ends early";
    let (levels, values) = match page {
        Page::DataPage { buf, rep_level_encoding, def_level_encoding, .. } => {
            for encoding in [rep_level_encoding, def_level_encoding] {
                if *encoding != Encoding::RLE {
                    return Err(format!("expected levels in RLE, found {encoding}"));
                }
            }
            let (levels, behind) = with_length(buf).ok_or(CUT)?;
            let (_, values) = with_length(&behind).ok_or(CUT)?;
            (levels, values)
        }
        Page::DataPageV2 { buf, rep_levels_byte_len, def_levels_byte_len, .. } => {
            let (levels, behind) = (*rep_levels_byte_len as usize, *def_levels_byte_len as usize);
            let values = buf.get(levels + behind..).ok_or(CUT)?;
            (buf.slice(..levels), buf.slice_ref(values))
        }
        Page::DictionaryPage { .. } => return Err("expected vectors without a dictionary, found one".to_owned()),
    };
    if page.encoding() != Encoding::PLAIN {
        return Err(format!("expected vectors in plain encoding, found {}", page.encoding()));
    }
    let count = page.num_values() as usize;
    // A list without items has a level and no value; no tower gives such a vector.
    if values.len() != 4 * count {
        return Err(format!("expected {count} numbers in a page, found {} bytes", values.len()));
    }
    Ok(Values { bytes: values, lengths: list_lengths(&levels, count)?.into_iter(), at: 0 })
}

/// What stands behind its own length, and what follows.
fn with_length(bytes: &Bytes) -> Option<(Bytes, Bytes)> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    let end = 4 + u32::from_le_bytes(*length) as usize;
    bytes.get(4..end)?;
    Some((bytes.slice(4..end), bytes.slice(end..)))
}
