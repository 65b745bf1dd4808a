//! Tensors in, tensors out. Nothing here reads a clock, an environment variable or a socket; files are
//! read by [`weights`] alone, and only those that the caller names.

mod bicubic;
pub mod clip;
pub mod mtcnn;
pub mod preprocess;
pub mod weights;

/// What a network, or the loading of one, can fail with. It stops the job: with the same weights it
/// would fail for every object.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A configuration or a tensor that is missing or is not what the network needs.
    #[error("{0}")]
    Weights(String),
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}
