//! What a coded picture looks like when it is decoded: size, planes and bits; and pictures that look alike, which one
//! decoder takes one after another.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;

use super::{av1, hevc};
use crate::error::Rejection;

/// How many colour samples there are for the samples of light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chroma {
    /// None: 4:0:0.
    Grey,
    /// One for two by two: 4:2:0.
    Half,
    /// One for two beside each other: 4:2:2.
    HalfAcross,
    /// As many: 4:4:4.
    Full,
}

/// Size and form of a decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What is shown of the coded picture.
    pub size_px: (u32, u32),
    pub chroma: Chroma,
    /// Bits of a sample.
    pub depth: u8,
}

/// Who decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Hevc,
    /// And of several operating points the one that is shown.
    Av1 {
        operating_point: u8,
    },
}

/// Pictures of one form in one stream.
#[derive(Debug, Clone)]
pub struct Stream {
    pub codec: Codec,
    pub format: Format,
    pub pictures: Vec<CodedPicture>,
}

/// The bytes of one item, and how its decoder is set up.
#[derive(Debug, Clone)]
pub struct CodedPicture {
    pub pieces: Vec<Bytes>,
    pub configuration: Arc<Configuration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configuration {
    Hevc(hevc::Configuration),
    Av1(av1::Configuration),
}

impl Chroma {
    /// Pixels that share a sample of colour, across and down.
    #[must_use]
    pub fn pixels_a_sample(self) -> (u32, u32) {
        match self {
            Self::Grey | Self::Full => (1, 1),
            Self::Half => (2, 2),
            Self::HalfAcross => (2, 1),
        }
    }
}

impl Format {
    #[must_use]
    pub fn bytes_a_sample(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    #[must_use]
    pub fn pixels(&self) -> u64 {
        u64::from(self.size_px.0) * u64::from(self.size_px.1)
    }

    /// Of a plane of colour, in samples.
    #[must_use]
    pub fn chroma_size(&self) -> (u32, u32) {
        let (across, down) = self.chroma.pixels_a_sample();
        (self.size_px.0.div_ceil(across), self.size_px.1.div_ceil(down))
    }

    /// All planes of one picture.
    #[must_use]
    pub fn picture_bytes(&self) -> u64 {
        let (width, height) = self.chroma_size();
        let colour = if self.chroma == Chroma::Grey { 0 } else { 2 * u64::from(width) * u64::from(height) };
        (self.pixels() + colour) * self.bytes_a_sample() as u64
    }

    /// Names of ffmpeg's pixel formats whose planes are these, one after another as they were coded. Red, green and blue
    /// are planes as others are: green first. None for a depth that is not decoded.
    #[must_use]
    pub fn pixel_formats(&self) -> Option<String> {
        let ending = match self.depth {
            8 => "",
            10 => "10le",
            12 => "12le",
            _ => return None,
        };
        let old =
            |name: &str| if self.depth == 8 { format!("|{}", name.replace("yuv", "yuvj")) } else { String::new() };
        Some(match self.chroma {
            Chroma::Grey => format!("gray{ending}"),
            Chroma::Half => format!("yuv420p{ending}{}", old("yuv420p")),
            Chroma::HalfAcross => format!("yuv422p{ending}{}", old("yuv422p")),
            Chroma::Full => format!("yuv444p{ending}{}|gbrp{ending}", old("yuv444p")),
        })
    }
}

impl Codec {
    /// As ffmpeg calls the demuxer of the stream that [`Stream::write`] makes.
    #[must_use]
    pub fn demuxer(self) -> &'static str {
        match self {
            Self::Hevc => "hevc",
            Self::Av1 { .. } => "ivf",
        }
    }

    /// As ffmpeg calls it.
    #[must_use]
    pub fn decoder(self) -> &'static str {
        match self {
            Self::Hevc => "hevc",
            Self::Av1 { .. } => "libdav1d",
        }
    }
}

impl Stream {
    /// The most that it takes.
    #[must_use]
    pub fn coded_bytes(&self) -> u64 {
        self.pictures.iter().flat_map(|picture| &picture.pieces).map(|piece| piece.len() as u64).sum()
    }

    /// # Errors
    /// The outer one is the writer's; the inner one a picture that is broken.
    pub fn write(&self, output: &mut impl Write) -> io::Result<Result<(), Rejection>> {
        if matches!(self.codec, Codec::Av1 { .. }) {
            av1::write_header(self.format.size_px, self.pictures.len(), output)?;
        }
        let mut before = None;
        for (number, picture) in self.pictures.iter().enumerate() {
            let is_new = before != Some(&picture.configuration);
            let written = match &*picture.configuration {
                Configuration::Hevc(configuration) => configuration.write(&picture.pieces, is_new, output)?,
                Configuration::Av1(configuration) => configuration.write(&picture.pieces, number, output)?,
            };
            if written.is_err() {
                return Ok(written);
            }
            before = Some(&picture.configuration);
        }
        Ok(Ok(()))
    }
}
