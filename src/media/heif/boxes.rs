//! Boxes of the ISO base media file format (ISO/IEC 14496-12, 4.2) and the numbers in them.
//!
//! In: bytes that may say anything. Out: numbers and pieces of the same bytes, or a rejection. Nothing is copied, and no
//! length is believed before the bytes are there.

use crate::error::{Rejection, RejectionClass};

/// Reads big-endian numbers from the front of a piece of a file.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// One box: its type and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boxed<'a> {
    pub kind: [u8; 4],
    pub body: &'a [u8],
    /// Whether the file ends before the box does.
    pub is_cut: bool,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// # Errors
    /// Fewer bytes than asked for, here and below.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Rejection> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| corrupt(format_args!("expected {length} more bytes in a box, found {}", self.rest.len())))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of 0 to 8 bytes; of none it is 0.
    pub fn number(&mut self, bytes: usize) -> Result<u64, Rejection> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub fn u8(&mut self) -> Result<u8, Rejection> {
        Ok(self.take(1)?[0])
    }

    pub fn u16(&mut self) -> Result<u16, Rejection> {
        self.number(2).map(|number| number as u16)
    }

    pub fn u32(&mut self) -> Result<u32, Rejection> {
        self.number(4).map(|number| number as u32)
    }

    pub fn four(&mut self) -> Result<[u8; 4], Rejection> {
        self.u32().map(u32::to_be_bytes)
    }

    /// Version and flags of a full box (4.2.2).
    pub fn version_and_flags(&mut self) -> Result<(u8, u32), Rejection> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// The next box; None at the end. A box that states a size beyond the end of its parent ends with the parent.
    ///
    /// # Errors
    /// A size that cannot be.
    pub fn next_box(&mut self) -> Result<Option<Boxed<'a>>, Rejection> {
        if self.rest.len() < 8 {
            return Ok(None); // a few bytes of padding are common
        }
        let whole = self.rest;
        let size = u64::from(self.u32()?);
        let kind = self.four()?;
        let (header, size) = match size {
            0 => (8, whole.len() as u64),
            1 => (16, self.number(8)?),
            size => (8, size),
        };
        if size < header {
            let name = name_of(kind);
            return Err(corrupt(format_args!("box {name}: expected a size of at least {header}, found {size}")));
        }
        let is_cut = size > whole.len() as u64;
        let end = usize::try_from(size).unwrap_or(usize::MAX).min(whole.len());
        self.rest = &whole[end..];
        Ok(Some(Boxed { kind, body: &whole[header as usize..end], is_cut }))
    }
}

/// The boxes in `bytes`, up to the first that is broken, which is an error.
pub fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<Boxed<'_>, Rejection>> {
    let mut reader = Reader::new(bytes);
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let next = reader.next_box();
        ended = next.is_err();
        next.transpose()
    })
}

/// What is in the first box of this type.
///
/// # Errors
/// A box before it that is broken.
pub fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>, Rejection> {
    for found in boxes(bytes) {
        let found = found?;
        if found.kind == *kind {
            return Ok(Some(found.body));
        }
    }
    Ok(None)
}

/// A four-character code as a message shows it.
#[must_use]
pub fn name_of(kind: [u8; 4]) -> String {
    let shown = |byte: u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
    format!("\"{}\"", kind.map(shown).iter().collect::<String>())
}

pub fn corrupt(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionClass::Corrupt, format_args!("HEIF: {message}"))
}

pub fn unsupported(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionClass::Unsupported, format_args!("HEIF: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_every_kind_are_read_and_impossible_ones_refused() {
        let long = [&1u32.to_be_bytes()[..], b"free", &18u64.to_be_bytes(), b"xy"].concat();
        let bytes = [b"\0\0\0\x09mdatA", &long[..], b"\0\0\0\0metaBC"].concat();
        let found: Vec<_> = boxes(&bytes).map(|found| found.unwrap()).map(|found| (found.kind, found.body)).collect();
        assert_eq!(found, [(*b"mdat", &b"A"[..]), (*b"free", b"xy"), (*b"meta", b"BC")]);
        for broken in [&b"\0\0\0\x07metaBCDE"[..], b"\0\0\0\x01metaBC", b"\0\0\0\x01meta\0\0\0\0\0\0\0\x0f"] {
            assert!(boxes(broken).any(|found| found.is_err()), "{broken:?}");
        }
        let cut = boxes(b"\0\0\xff\xffmetaBC").next().unwrap().unwrap();
        assert_eq!((cut.body, cut.is_cut), (&b"BC"[..], true));
    }
}
