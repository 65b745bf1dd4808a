//! The box `meta` of a file → its items, where their bytes are, and how they refer to each other (ISO/IEC 14496-12, 8.11;
//! ISO/IEC 23008-12, 9.3).
//!
//! Every version of every box is read. What is kept is bounded by the length of the box or by [`limits`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::boxes::{Boxed, Reader, boxes, child, corrupt, unsupported};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// What `meta` says.
#[derive(Debug, Default)]
pub struct Meta<'a> {
    pub primary: Option<u32>,
    items: BTreeMap<u32, Item>,
    references: BTreeMap<([u8; 4], u32), Vec<u32>>,
    /// Auxiliary items by what they belong to.
    auxiliaries: BTreeMap<u32, Vec<u32>>,
    /// `ipco`, counted from 1 where it is referred to.
    properties: Vec<Boxed<'a>>,
    idat: Option<&'a [u8]>,
}

/// One item.
#[derive(Debug, Default, Clone)]
pub struct Item {
    pub kind: [u8; 4],
    is_protected: bool,
    location: Option<Location>,
    /// Numbers of properties, each with whether a reader must know it.
    associations: Vec<(u16, bool)>,
}

#[derive(Debug, Clone)]
struct Location {
    construction: u8,
    data_reference: u16,
    /// Where each piece begins, and its length; 0: to the end.
    extents: Vec<(u64, u64)>,
}

impl<'a> Meta<'a> {
    /// `body` is what is in the box `meta`.
    ///
    /// # Errors
    /// Boxes that are broken or too many.
    pub fn read(body: &'a [u8]) -> Result<Self, Rejection> {
        // QuickTime's `meta` has no version and begins with its first box.
        let begins_with_box = body.get(4..8) == Some(b"hdlr");
        let body = if begins_with_box { body } else { body.get(4..).unwrap_or_default() };
        let mut meta = Self::default();
        let mut associations = vec![];
        for found in boxes(body) {
            let found = found?;
            match &found.kind {
                b"pitm" => meta.primary = Some(primary(found.body)?),
                b"iinf" => meta.item_infos(found.body)?,
                b"iloc" => meta.locations(found.body)?,
                b"iref" => meta.read_references(found.body)?,
                b"idat" => meta.idat = Some(found.body),
                b"iprp" => {
                    meta.properties = boxes(child(found.body, b"ipco")?.unwrap_or_default())
                        .take(usize::from(u16::MAX))
                        .collect::<Result<_, _>>()?;
                    associations = boxes(found.body).collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        for found in associations.iter().filter(|found| found.kind == *b"ipma") {
            meta.associations(found.body)?;
        }
        Ok(meta)
    }

    /// # Errors
    /// An item that is not there, or that is encrypted.
    pub fn item(&self, id: u32) -> Result<&Item, Rejection> {
        let item = self.items.get(&id).filter(|item| item.kind != [0; 4]);
        let item = item.ok_or_else(|| corrupt(format_args!("expected item {id}, found none of that number")))?;
        if item.is_protected {
            return Err(Rejection::new(RejectionClass::Encrypted, format_args!("HEIF: item {id} is encrypted")));
        }
        Ok(item)
    }

    /// The items that `from` refers to under this name, in their order.
    #[must_use]
    pub fn references(&self, kind: &[u8; 4], from: u32) -> &[u32] {
        self.references.get(&(*kind, from)).map_or(&[], Vec::as_slice)
    }

    /// The auxiliary pictures of an item: alpha, depth and others.
    #[must_use]
    pub fn auxiliaries(&self, of: u32) -> &[u32] {
        self.auxiliaries.get(&of).map_or(&[], Vec::as_slice)
    }

    /// The properties of an item in their order, each with whether a reader must know it.
    ///
    /// # Errors
    /// A number that no property has.
    pub fn properties(&self, item: &Item) -> Result<Vec<(Boxed<'a>, bool)>, Rejection> {
        let used = item.associations.iter().filter(|(number, _)| *number != 0);
        let property = |(number, essential): &(u16, bool)| {
            let found = self.properties.get(usize::from(*number) - 1);
            let missing = || corrupt(format_args!("expected property {number}, found {}", self.properties.len()));
            found.map(|found| (*found, *essential)).ok_or_else(missing)
        };
        used.map(property).collect()
    }

    /// The bytes of an item, in pieces of `file`.
    ///
    /// # Errors
    /// Places outside of the file, in other files, or named in a way that is not read.
    pub fn data(&self, id: u32, file: &Bytes) -> Result<Vec<Bytes>, Rejection> {
        let location = self.item(id)?.location.as_ref();
        let location = location.ok_or_else(|| corrupt(format_args!("expected a place of item {id}, found none")))?;
        if location.data_reference != 0 {
            return Err(unsupported(format_args!("item {id}: expected its bytes in this file, found them in another")));
        }
        let within = match (location.construction, self.idat) {
            (0, _) => &file[..],
            (1, Some(idat)) => idat,
            (1, None) => return Err(corrupt("expected a box \"idat\", found none")),
            (other, _) => {
                let message = format!("item {id}: expected a place in the file or in \"idat\", found method {other}");
                return Err(unsupported(message));
            }
        };
        let piece = |(offset, length): &(u64, u64)| {
            let most = within.len() as u64;
            let length = if *length == 0 { most.saturating_sub(*offset) } else { *length };
            let end = offset.checked_add(length).filter(|end| *end <= most);
            let end = end.ok_or_else(|| {
                corrupt(format_args!(
                    "item {id}: expected {length} bytes at {offset}, found that the file or its box ends at {most}"
                ))
            })?;
            Ok(file.slice_ref(&within[*offset as usize..end as usize]))
        };
        let pieces = location.extents.iter().map(piece).collect::<Result<Vec<_>, _>>()?;
        // Pieces that overlap would make more of a file than there is in it.
        let total: usize = pieces.iter().map(Bytes::len).sum();
        if total > file.len() {
            return Err(corrupt(format_args!("item {id}: expected at most {} bytes, found {total}", file.len())));
        }
        Ok(pieces)
    }

    fn item_infos(&mut self, body: &[u8]) -> Result<(), Rejection> {
        let mut reader = Reader::new(body);
        let (version, _) = reader.version_and_flags()?;
        reader.take(if version == 0 { 2 } else { 4 })?; // how many: the boxes themselves say it
        for found in boxes(reader.rest()) {
            let found = found?;
            let mut entry = Reader::new(found.body);
            let (version, _) = entry.version_and_flags()?;
            if found.kind != *b"infe" || version < 2 {
                continue; // before version 2 an item had no type
            }
            let id = entry.number(if version == 2 { 2 } else { 4 })? as u32;
            let is_protected = entry.u16()? != 0;
            let item = self.entry(id)?;
            (item.kind, item.is_protected) = (entry.four()?, is_protected);
        }
        Ok(())
    }

    fn locations(&mut self, body: &[u8]) -> Result<(), Rejection> {
        let mut reader = Reader::new(body);
        let (version, _) = reader.version_and_flags()?;
        if version > 2 {
            return Err(unsupported(format_args!("box \"iloc\": expected version 0 to 2, found {version}")));
        }
        let sizes = reader.u16()?;
        let size = |shift: u16| usize::from(sizes >> shift & 0xf);
        let (offset, length, base, index) = (size(12), size(8), size(4), if version == 0 { 0 } else { size(0) });
        if [offset, length, base, index].into_iter().any(|bytes| !matches!(bytes, 0 | 4 | 8)) {
            return Err(corrupt(format_args!("box \"iloc\": expected sizes of 0, 4 or 8 bytes, found {sizes:#06x}")));
        }
        let items = reader.number(if version < 2 { 2 } else { 4 })?;
        let mut total = 0;
        for _ in 0..items {
            let id = reader.number(if version < 2 { 2 } else { 4 })? as u32;
            let construction = if version == 0 { 0 } else { (reader.u16()? & 0xf) as u8 };
            let data_reference = reader.u16()?;
            let base = reader.number(base)?;
            let count = usize::from(reader.u16()?);
            total += count;
            if total > limits::MAX_HEIF_EXTENTS {
                let most = limits::MAX_HEIF_EXTENTS;
                return Err(corrupt(format_args!("box \"iloc\": expected at most {most} pieces, found more")));
            }
            let mut extents = Vec::new();
            for _ in 0..count {
                reader.take(index)?;
                let begins = base.checked_add(reader.number(offset)?);
                let begins = begins.ok_or_else(|| corrupt(format_args!("item {id}: its place is beyond 2^64")))?;
                extents.push((begins, reader.number(length)?));
            }
            self.entry(id)?.location = Some(Location { construction, data_reference, extents });
        }
        Ok(())
    }

    fn associations(&mut self, body: &[u8]) -> Result<(), Rejection> {
        let mut reader = Reader::new(body);
        let (version, flags) = reader.version_and_flags()?;
        for _ in 0..reader.u32()? {
            let id = reader.number(if version == 0 { 2 } else { 4 })? as u32;
            let count = reader.u8()?;
            let mut associations = Vec::with_capacity(usize::from(count));
            for _ in 0..count {
                let (word, essential) =
                    if flags & 1 == 0 { (u16::from(reader.u8()?), 0x80) } else { (reader.u16()?, 0x8000) };
                associations.push((word & !essential, word & essential != 0));
            }
            let item = self.entry(id)?;
            item.associations.extend(associations);
            if item.associations.len() > limits::MAX_HEIF_PROPERTIES {
                let most = limits::MAX_HEIF_PROPERTIES;
                return Err(corrupt(format_args!("item {id}: expected at most {most} properties, found more")));
            }
        }
        Ok(())
    }

    fn read_references(&mut self, body: &[u8]) -> Result<(), Rejection> {
        let mut reader = Reader::new(body);
        let (version, _) = reader.version_and_flags()?;
        let bytes = if version == 0 { 2 } else { 4 };
        for found in boxes(reader.rest()) {
            let found = found?;
            let mut reader = Reader::new(found.body);
            let from = reader.number(bytes)? as u32;
            for _ in 0..reader.u16()? {
                let to = reader.number(bytes)? as u32;
                self.references.entry((found.kind, from)).or_default().push(to);
                if found.kind == *b"auxl" {
                    self.auxiliaries.entry(to).or_default().push(from);
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, id: u32) -> Result<&mut Item, Rejection> {
        if self.items.len() >= limits::MAX_HEIF_ITEMS && !self.items.contains_key(&id) {
            return Err(corrupt(format_args!("expected at most {} items, found more", limits::MAX_HEIF_ITEMS)));
        }
        Ok(self.items.entry(id).or_default())
    }
}

fn primary(body: &[u8]) -> Result<u32, Rejection> {
    let mut reader = Reader::new(body);
    let (version, _) = reader.version_and_flags()?;
    Ok(reader.number(if version == 0 { 2 } else { 4 })? as u32)
}
