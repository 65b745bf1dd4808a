//! The tower itself. In: pictures, normalised or to be. Out: the class token, before and after the projection.

use std::path::Path;

use candle_core::{Device, Tensor};
use deepsweep_kernels::Bf16;
use image::RgbImage;

use super::candle_vision::CandleVision;
use super::config::ClipVisionConfig;
use super::direct::{DirectVision, Pictures};
use crate::networks::weights::Weights;
use crate::networks::{NetworkError, preprocess};

/// The two taps of one pass, for `b` pictures.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// [b, hidden]: the class token after the last layer norm. Serves every head of the same tower.
    pub pooled: Tensor,
    /// [b, projection]: `pooled` · Wᵀ, without bias, not normalised.
    pub projected: Tensor,
}

/// In which numbers a tower multiplies. Sums, norms, attention and the projection are in `f32` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    #[default]
    F32,
    /// bfloat16: eight bits of each factor. On CPUs with AVX512-BF16 only.
    Bf16,
}

impl Precision {
    /// Whether this CPU multiplies so.
    #[must_use]
    pub fn is_here(self) -> bool {
        self == Self::F32 || Bf16::detect().is_some()
    }
}

/// A vision transformer as CLIP has it: layer norms before each block, a class token, learned positions.
#[derive(Debug)]
pub struct ClipVision {
    config: ClipVisionConfig,
    network: Network,
}

/// The same tower, as the device wants it.
#[derive(Debug)]
enum Network {
    /// On a CPU: packed weights, everything but the products fused into them.
    Direct(Box<DirectVision>),
    /// Anywhere else: candle's operations.
    Candle(Box<CandleVision>, Device),
}

impl ClipVision {
    /// Reads `config.json` and the safetensors of a transformers CLIP folder.
    ///
    /// # Errors
    /// Whatever is missing or misshapen, by name.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, NetworkError> {
        let config = ClipVisionConfig::read(&folder.join("config.json"))?;
        Self::new(config, &Weights::open(folder, device)?)
    }

    /// # Errors
    /// A tensor that is missing or misshapen, by name.
    pub fn new(config: ClipVisionConfig, w: &Weights) -> Result<Self, NetworkError> {
        Self::with_precision(config, w, Precision::F32)
    }

    /// # Errors
    /// As [`ClipVision::new`]; numbers that the device does not multiply.
    pub fn with_precision(config: ClipVisionConfig, w: &Weights, precision: Precision) -> Result<Self, NetworkError> {
        let bf16 = match (precision, w.device().is_cpu()) {
            (Precision::F32, true) => None,
            (Precision::F32, false) => return Self::in_candle(config, w),
            (Precision::Bf16, on_cpu) => Some(bf16(&config, on_cpu)?),
        };
        let network = Network::Direct(Box::new(DirectVision::new(&config, w, bf16)?));
        Ok(Self { config, network })
    }

    /// The tower in candle's operations whatever the device: what the direct one is compared with.
    ///
    /// # Errors
    /// A tensor that is missing or misshapen, by name.
    pub fn in_candle(config: ClipVisionConfig, w: &Weights) -> Result<Self, NetworkError> {
        let network = CandleVision::new(config.clone(), w)?;
        Ok(Self { config, network: Network::Candle(Box::new(network), w.device().clone()) })
    }

    #[must_use]
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    /// `pixels`: [b, 3, `image_px`, `image_px`], normalised.
    ///
    /// # Errors
    /// Another shape, or a device that fails.
    pub fn forward(&self, pixels: &Tensor) -> Result<Embeddings, NetworkError> {
        match &self.network {
            Network::Direct(network) => {
                let side = self.config.image_px;
                let (_, channels, height, width) = pixels.dims4()?;
                if (channels, height, width) != (3, side, side) {
                    return Err(wrong_shape(format_args!("[b, 3, {side}, {side}], found {:?}", pixels.dims())));
                }
                let planes: Vec<f32> = pixels.flatten_all()?.to_vec1()?;
                network.forward(&Pictures::Planes(&planes))
            }
            Network::Candle(network, _) => network.forward(pixels),
        }
    }

    /// `squares` of `image_px` × `image_px`, normalised on the way: (v / 255 − mean) / deviation per channel.
    ///
    /// # Errors
    /// Another size, or a device that fails.
    pub fn forward_squares(
        &self,
        squares: &[&RgbImage],
        mean: [f32; 3],
        deviation: [f32; 3],
    ) -> Result<Embeddings, NetworkError> {
        let size_px = self.config.image_px as u32; // 4,096 at most
        if let Some(other) = squares.iter().find(|square| square.dimensions() != (size_px, size_px)) {
            let (width, height) = other.dimensions();
            return Err(wrong_shape(format_args!("squares of {size_px} px, found {width} × {height}")));
        }
        match &self.network {
            Network::Direct(network) => {
                network.forward(&Pictures::Squares(squares, &preprocess::normal_values(mean, deviation)))
            }
            Network::Candle(network, device) => {
                network.forward(&preprocess::normalise(squares, size_px, mean, deviation, device)?)
            }
        }
    }

    /// The projected output for pooled vectors that were stored: [b, hidden] → [b, projection].
    ///
    /// # Errors
    /// Another shape, or a device that fails.
    pub fn project(&self, pooled: &Tensor) -> Result<Tensor, NetworkError> {
        match &self.network {
            Network::Direct(network) => {
                let (_, width) = pooled.dims2()?;
                if width != self.config.hidden {
                    return Err(wrong_shape(format_args!("[b, {}], found {:?}", self.config.hidden, pooled.dims())));
                }
                network.project(&pooled.flatten_all()?.to_vec1::<f32>()?)
            }
            Network::Candle(network, _) => network.project(pooled),
        }
    }
}

/// The proof that this tower can be computed in bfloat16 here.
fn bf16(config: &ClipVisionConfig, on_cpu: bool) -> Result<Bf16, NetworkError> {
    let unsupported = |what: &str| NetworkError::Unsupported(format!("bf16: expected {what}"));
    if !on_cpu {
        return Err(unsupported("the device cpu, found another"));
    }
    let depths = [3 * config.patch_px * config.patch_px, config.hidden, config.intermediate];
    if let Some(odd) = depths.iter().find(|depth| *depth % 2 == 1) {
        return Err(unsupported(&format!("sums of an even number of products, found a tower with sums of {odd}")));
    }
    Bf16::detect().ok_or_else(|| unsupported("a CPU with AVX512-BF16, found one without"))
}

fn wrong_shape(what: std::fmt::Arguments) -> NetworkError {
    NetworkError::Compute(candle_core::Error::Msg(format!("vision tower: expected {what}")))
}
