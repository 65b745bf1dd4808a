//! The two building blocks every part of the tower shares.

use candle_core::{Module, Tensor};

use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// y = x · Wᵀ + b, with W transposed once when it is loaded.
#[derive(Debug)]
pub(super) struct Linear {
    weight_t: Tensor, // [in, out]
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(w: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self, NetworkError> {
        let weight = w.get(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = w.get(&format!("{name}.bias"), &[outputs])?;
        Self::from_parts(&weight, Some(bias))
    }

    /// # Errors
    /// A weight that is not a matrix.
    pub(super) fn from_parts(weight: &Tensor, bias: Option<Tensor>) -> Result<Self, NetworkError> {
        Ok(Self { weight_t: weight.t()?.contiguous()?, bias })
    }

    /// [.., in] → [.., out]
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(0);
        let rows = x.elem_count() / inputs.max(1);
        // One tall product for the whole batch: far larger tiles than one product per picture.
        let y = x.reshape((rows, inputs))?.matmul(&self.weight_t)?; // [rows, out]
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        shape.push(self.weight_t.dim(1)?);
        y.reshape(shape)
    }
}

/// Layer normalisation over the last axis.
#[derive(Debug)]
pub(super) struct LayerNorm(candle_nn::LayerNorm);

impl LayerNorm {
    pub(super) fn new(w: &Weights, name: &str, width: usize, epsilon: f64) -> Result<Self, NetworkError> {
        let weight = w.get(&format!("{name}.weight"), &[width])?;
        let bias = w.get(&format!("{name}.bias"), &[width])?;
        Ok(Self(candle_nn::LayerNorm::new(weight, bias, epsilon)))
    }

    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(x)
    }
}
