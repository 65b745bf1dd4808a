//! The first bytes of an object → what it is. The name is never asked.

use image::ImageFormat;

use crate::error::{Rejection, RejectionClass};

/// An image that this program decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageKind {
    pub format: ImageFormat,
    /// As the column `container` spells it.
    pub container: &'static str,
}

/// What was found instead, for the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnImage {
    pub kind: Option<&'static str>,
    pub rejection: Rejection,
}

/// The formats that are decoded, by what their files begin with.
const IMAGES: [ImageKind; 6] = [
    ImageKind { format: ImageFormat::Jpeg, container: "jpeg" },
    ImageKind { format: ImageFormat::Png, container: "png" },
    ImageKind { format: ImageFormat::WebP, container: "webp" },
    ImageKind { format: ImageFormat::Gif, container: "gif" },
    ImageKind { format: ImageFormat::Bmp, container: "bmp" },
    ImageKind { format: ImageFormat::Tiff, container: "tiff" },
];

/// # Errors
/// The row's rejection, where the content is something else.
pub fn sniff(head: &[u8]) -> Result<ImageKind, NotAnImage> {
    if let Ok(format) = image::guess_format(head)
        && let Some(image) = IMAGES.into_iter().find(|image| image.format == format)
    {
        return Ok(image);
    }
    let expected = "expected JPEG, PNG, WebP, GIF, BMP or TIFF";
    let (kind, class, found) = match infer::get(head) {
        Some(found) if IMAGES.iter().any(|image| found.mime_type() == image.format.to_mime_type()) => {
            (Some("image"), RejectionClass::Corrupt, "a damaged beginning of one of them")
        }
        Some(found) => match found.matcher_type() {
            infer::MatcherType::Image => (Some("image"), RejectionClass::Unsupported, found.mime_type()),
            infer::MatcherType::Video => (Some("video"), RejectionClass::Unsupported, found.mime_type()),
            _ => (None, RejectionClass::NotMedia, found.mime_type()),
        },
        None if head.starts_with(&[0x47]) && head.get(188) == Some(&0x47) => {
            (Some("video"), RejectionClass::Unsupported, "video/mp2t")
        }
        None => (None, RejectionClass::NotMedia, "content of no known type"),
    };
    Err(NotAnImage { kind, rejection: Rejection::new(class, format_args!("{expected}, found {found}")) })
}
