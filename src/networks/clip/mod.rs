//! CLIP's vision tower: pictures in, embeddings out.
//!
//! Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
//! (arXiv 2103.00020); layout and tensor names as in Hugging Face transformers' `CLIPVisionModelWithProjection`.

mod attention;
mod config;
mod layers;
mod vision;

pub use config::{Activation, ClipVisionConfig};
pub use vision::{ClipVision, Embeddings};
