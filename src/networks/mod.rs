//! Tensors in, tensors out. Nothing here reads a clock, an environment variable or a socket. Of files only
//! those that the caller names are read: [`weights`], and a tower's configuration and vocabulary beside them.

pub mod align;
mod bicubic;
pub mod clip;
pub mod mtcnn;
pub mod preprocess;
mod similarity;
mod spaces;
mod warp;
pub mod weights;

/// What a network, or the loading of one, can fail with. It stops the job: with the same weights it
/// would fail for every object.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A configuration or a tensor that is missing or is not what the network needs.
    #[error("{0}")]
    Weights(String),
    /// What this machine, or this shape, cannot do.
    #[error("{0}")]
    Unsupported(String),
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}
