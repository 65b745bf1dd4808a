//! CLIP's two towers: pictures in, embeddings out; texts in, embeddings of the same space out.
//!
//! Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
//! (arXiv 2103.00020); layout and tensor names as in Hugging Face transformers' `CLIPVisionModelWithProjection`
//! and `CLIPTextModelWithProjection`.

mod attention;
mod block;
mod candle_vision;
mod config;
mod direct;
mod layers;
mod projection;
mod text;
mod text_config;
mod tokenizer;
mod vision;
mod vocabulary;

pub use config::{Activation, ClipVisionConfig};
pub use projection::Projection;
pub use text::{ClipText, TOKEN_EMBEDDING};
pub use text_config::{ClipTextConfig, PooledAt};
pub use tokenizer::ClipTokenizer;
pub use vision::{ClipVision, Embeddings, Precision};
