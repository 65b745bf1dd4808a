//! The primary item → what is decoded, and how it is put together: coded items, grids, overlays, identities, and the
//! alpha of each.
//!
//! Items may refer to each other in circles and a thousand times: depth and number are bounded, and an item that is used
//! again is decoded once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::boxes::{Reader, corrupt, name_of, unsupported};
use super::coded::{Codec, CodedPicture, Configuration, Format, Stream};
use super::items::{Item, Meta};
use super::node::{Alpha, Node, Place, Source};
use super::properties::{Nclx, Properties};
use super::{HeifPicture, av1, hevc};
use crate::error::Rejection;
use crate::limits;
use crate::media::still::DecodeLimits;

/// What an item is made of, before its transforms and its own colours.
struct Made {
    source: Source,
    size_px: (u32, u32),
    nclx: Option<Nclx>,
}

pub struct Resolver<'a> {
    file: &'a Bytes,
    meta: &'a Meta<'a>,
    limits: DecodeLimits,
    streams: Vec<Stream>,
    /// Coded items that were seen.
    known: BTreeMap<u32, (Place, Format, Option<Nclx>)>,
    /// Set-ups that were seen; most tiles share one.
    configurations: Vec<(Bytes, Arc<Configuration>)>,
    nodes: usize,
    /// Of all items whose bytes were asked for.
    item_bytes: usize,
}

impl<'a> Resolver<'a> {
    #[must_use]
    pub fn new(file: &'a Bytes, meta: &'a Meta<'a>, limits: DecodeLimits) -> Self {
        Self {
            file,
            meta,
            limits,
            streams: vec![],
            known: BTreeMap::new(),
            configurations: vec![],
            nodes: 0,
            item_bytes: 0,
        }
    }

    /// # Errors
    /// See [`super::read`].
    pub fn picture(mut self, primary: u32) -> Result<HeifPicture, Rejection> {
        let root = self.node(primary, 0, true)?;
        self.finish(root)
    }

    /// # Errors
    /// More than the limits allow.
    pub fn finish(self, root: Node) -> Result<HeifPicture, Rejection> {
        HeifPicture::new(root, self.streams, self.limits)
    }

    /// `with_alpha`: whether what it is laid on shows through.
    fn node(&mut self, id: u32, depth: usize, with_alpha: bool) -> Result<Node, Rejection> {
        self.nodes += 1;
        if depth > limits::MAX_HEIF_DEPTH || self.nodes > limits::MAX_HEIF_NODES {
            let (nodes, depth) = (limits::MAX_HEIF_NODES, limits::MAX_HEIF_DEPTH);
            let message =
                format!("expected at most {nodes} pictures, made of each other in at most {depth} steps, found more");
            return Err(corrupt(message));
        }
        let item = self.meta.item(id)?;
        check_kind(id, item.kind)?;
        let properties = Properties::of(self.meta, item)?;
        let Made { source, size_px: source_px, nclx: below } = match &item.kind {
            b"hvc1" | b"hev1" | b"av01" => self.coded(id, item, &properties)?,
            b"jpeg" => self.jpeg(id, &properties)?,
            // Alpha is of the whole grid, or of each of its tiles.
            b"grid" => self.grid(id, depth, with_alpha && self.meta.auxiliaries(id).is_empty())?,
            b"iovl" => self.overlay(id, depth)?,
            _ => {
                // Of a tone map the base picture is the one that every screen shows.
                let base = self.meta.references(b"dimg", id).first().copied();
                let base = base.ok_or_else(|| corrupt(format_args!("item {id}: expected what it is made of")))?;
                let base = self.node(base, depth + 1, with_alpha)?;
                let (size_px, nclx) = (base.size_px, base.nclx);
                Made { source: Source::Same(Box::new(base)), size_px, nclx }
            }
        };
        let mut size_px = source_px;
        self.limits.check_size(size_px)?;
        for transform in &properties.transforms {
            size_px = transform.size_px(size_px)?;
        }
        let alpha = if with_alpha { self.alpha(id, depth)? } else { None };
        Ok(Node {
            source,
            transforms: properties.transforms,
            source_px,
            size_px,
            nclx: properties.nclx.or(below),
            alpha,
        })
    }

    fn alpha(&mut self, id: u32, depth: usize) -> Result<Option<Alpha>, Rejection> {
        for auxiliary in self.meta.auxiliaries(id).iter().copied() {
            let properties = Properties::of(self.meta, self.meta.item(auxiliary)?)?;
            let is_alpha = properties.auxiliary.is_some_and(|name| {
                name == b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha" || name == b"urn:mpeg:hevc:2015:auxid:1"
            });
            if is_alpha {
                let is_premultiplied = self.meta.references(b"prem", id).contains(&auxiliary);
                let picture = Box::new(self.node(auxiliary, depth + 1, false)?);
                return Ok(Some(Alpha { picture, is_premultiplied }));
            }
        }
        Ok(None)
    }

    fn coded(&mut self, id: u32, item: &Item, properties: &Properties<'_>) -> Result<Made, Rejection> {
        let (place, format, nclx) = match self.known.get(&id) {
            Some(known) => *known,
            None => {
                let pieces = self.data(id)?;
                let added = self.add(item.kind, pieces, properties)?;
                self.known.insert(id, added);
                added
            }
        };
        Ok(Made { source: Source::Coded(place, format), size_px: format.size_px, nclx })
    }

    /// The bytes of an item. Items may share some, but not so that little of a file is decoded without end.
    fn data(&mut self, id: u32) -> Result<Vec<Bytes>, Rejection> {
        let pieces = self.meta.data(id, self.file)?;
        self.item_bytes += pieces.iter().map(Bytes::len).sum::<usize>();
        if self.item_bytes > self.file.len().saturating_mul(limits::MAX_HEIF_ITEM_SHARE) {
            return Err(corrupt("its items have more bytes together than the file several times over"));
        }
        Ok(pieces)
    }

    /// A coded picture joins the stream of those that look like it.
    pub fn add(
        &mut self,
        kind: [u8; 4],
        pieces: Vec<Bytes>,
        properties: &Properties<'_>,
    ) -> Result<(Place, Format, Option<Nclx>), Rejection> {
        let body = properties.configuration.map(|found| (found.kind, found.body));
        let (codec, configuration) = match (kind == *b"av01", body) {
            (true, body) => {
                let av1c = body.filter(|(kind, _)| kind == b"av1C").map_or(&[][..], |(_, body)| body);
                let read = av1::Configuration::read(av1c, &pieces, self.file)?;
                let operating_point = properties.operating_point.unwrap_or(0);
                (Codec::Av1 { operating_point }, Arc::new(Configuration::Av1(read)))
            }
            (false, Some((kind, body))) if kind == *b"hvcC" => (Codec::Hevc, self.hevc(body)?),
            (false, _) => return Err(corrupt("expected a property \"hvcC\", found none")),
        };
        let (mut format, nclx) = match &*configuration {
            Configuration::Hevc(read) => (read.format, read.nclx),
            Configuration::Av1(read) => (read.format, read.nclx),
        };
        // Layers of AV1 may be smaller than the sequence says; what is shown of them is scaled.
        if let (Codec::Av1 { .. }, Some(size_px)) = (codec, properties.size_px) {
            format.size_px = size_px;
        }
        self.limits.check_size(format.size_px)?;
        if format.pixel_formats().is_none() {
            return Err(unsupported(format_args!("expected 8, 10 or 12 bits, found {}", format.depth)));
        }
        let known = self.streams.iter().position(|stream| stream.codec == codec && stream.format == format);
        let stream = known.unwrap_or(self.streams.len());
        if known.is_none() {
            if stream >= limits::MAX_HEIF_STREAMS {
                let most = limits::MAX_HEIF_STREAMS;
                return Err(unsupported(format_args!("expected coded pictures of at most {most} forms, found more")));
            }
            self.streams.push(Stream { codec, format, pictures: vec![] });
        }
        let pictures = &mut self.streams[stream].pictures;
        pictures.push(CodedPicture { pieces, configuration });
        Ok((Place { stream, picture: pictures.len() - 1 }, format, nclx))
    }

    fn hevc(&mut self, body: &[u8]) -> Result<Arc<Configuration>, Rejection> {
        if let Some((_, known)) = self.configurations.iter().find(|(known, _)| known == body) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(Configuration::Hevc(hevc::Configuration::read(body, self.file)?));
        if self.configurations.len() < limits::MAX_HEIF_STREAMS {
            self.configurations.push((self.file.slice_ref(body), Arc::clone(&read)));
        }
        Ok(read)
    }

    fn jpeg(&mut self, id: u32, properties: &Properties<'_>) -> Result<Made, Rejection> {
        let mut pieces = self.data(id)?;
        if let Some(tables) = properties.jpeg_tables {
            pieces.insert(0, self.file.slice_ref(tables));
        }
        let bytes = if let [one] = &pieces[..] { one.clone() } else { pieces.concat().into() };
        let header = crate::media::still::read_header(&bytes, crate::media::sniff::StillFormat::Jpeg, self.limits)?;
        Ok(Made { source: Source::Jpeg(bytes), size_px: (header.width_px, header.height_px), nclx: None })
    }

    /// 23008-12, 6.6.2.3
    fn grid(&mut self, id: u32, depth: usize, with_alpha: bool) -> Result<Made, Rejection> {
        let body = self.data(id)?.concat();
        let mut reader = Reader::new(&body);
        let bytes = size_bytes(&mut reader)?;
        let (rows, columns) = (u32::from(reader.u8()?) + 1, u32::from(reader.u8()?) + 1);
        let size_px = (reader.number(bytes)? as u32, reader.number(bytes)? as u32);
        self.limits.check_size(size_px)?;
        let ids = self.meta.references(b"dimg", id);
        if ids.len() as u64 != u64::from(rows) * u64::from(columns) {
            return Err(corrupt(format_args!("grid: expected {rows} × {columns} tiles, found {}", ids.len())));
        }
        let tiles = ids.iter().map(|tile| self.node(*tile, depth + 1, with_alpha)).collect::<Result<Vec<_>, _>>()?;
        let first = tiles.first().map_or((0, 0), |tile| tile.size_px);
        if let Some(other) = tiles.iter().find(|tile| tile.size_px != first) {
            let ((a, b), (c, d)) = (first, other.size_px);
            return Err(corrupt(format_args!("grid: expected tiles of one size, found {a}×{b} and {c}×{d}")));
        }
        let covers = |tile: u32, count: u32, side: u32| u64::from(tile) * u64::from(count) >= u64::from(side);
        if !covers(first.0, columns, size_px.0) || !covers(first.1, rows, size_px.1) {
            return Err(corrupt(format_args!(
                "grid: expected tiles that fill {}×{}, found {columns} × {rows} of {}×{}",
                size_px.0, size_px.1, first.0, first.1
            )));
        }
        let nclx = tiles.first().and_then(|tile| tile.nclx);
        Ok(Made { source: Source::Grid { columns, tiles }, size_px, nclx })
    }

    /// 23008-12, 6.6.2.2
    fn overlay(&mut self, id: u32, depth: usize) -> Result<Made, Rejection> {
        let body = self.data(id)?.concat();
        let mut reader = Reader::new(&body);
        let bytes = size_bytes(&mut reader)?;
        let mut background = [0; 4];
        for level in &mut background {
            *level = (reader.u16()? >> 8) as u8;
        }
        let size_px = (reader.number(bytes)? as u32, reader.number(bytes)? as u32);
        let ids = self.meta.references(b"dimg", id);
        if ids.len() > limits::MAX_HEIF_LAYERS {
            let most = limits::MAX_HEIF_LAYERS;
            return Err(unsupported(format_args!("overlay: expected at most {most} pictures, found {}", ids.len())));
        }
        let mut offset = || -> Result<i32, Rejection> {
            let number = reader.number(bytes)? as u32;
            Ok(if bytes == 2 { i32::from(number as u16 as i16) } else { number.cast_signed() })
        };
        let mut layers = vec![];
        for layer in ids {
            let (x, y) = (offset()?, offset()?);
            layers.push((self.node(*layer, depth + 1, true)?, x, y));
        }
        let nclx = layers.first().and_then(|(layer, ..)| layer.nclx);
        Ok(Made { source: Source::Overlay { background, layers }, size_px, nclx })
    }
}

/// Whether items of this kind are read at all; `iden` and `tmap` are among those.
fn check_kind(id: u32, kind: [u8; 4]) -> Result<(), Rejection> {
    let name = match &kind {
        b"hvc1" | b"hev1" | b"av01" | b"jpeg" | b"grid" | b"iovl" | b"iden" | b"tmap" => return Ok(()),
        b"avc1" => "H.264 (\"avc1\")".to_owned(),
        b"vvc1" => "VVC (\"vvc1\")".to_owned(),
        b"evc1" => "EVC (\"evc1\")".to_owned(),
        b"j2k1" => "JPEG 2000 (\"j2k1\")".to_owned(),
        b"jxl1" => "JPEG XL (\"jxl1\")".to_owned(),
        b"unci" => "uncompressed samples (\"unci\")".to_owned(),
        b"lhv1" => "layers of HEVC (\"lhv1\")".to_owned(),
        b"mime" => "data of a MIME type".to_owned(),
        other => name_of(*other),
    };
    Err(unsupported(format_args!("item {id}: expected a picture coded by HEVC, AV1 or JPEG, found {name}")))
}

/// Version 0, and flags that say how long the numbers are.
fn size_bytes(reader: &mut Reader<'_>) -> Result<usize, Rejection> {
    let (version, flags) = (reader.u8()?, reader.u8()?);
    if version != 0 {
        return Err(unsupported(format_args!("derived item: expected version 0, found {version}")));
    }
    Ok(if flags & 1 == 0 { 2 } else { 4 })
}
