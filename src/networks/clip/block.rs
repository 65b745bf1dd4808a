//! One transformer block with the layer norms before its halves, the same in both towers.

use candle_core::Tensor;

use super::attention::Attention;
use super::config::{Activation, MAX_WIDTH, check_range};
use super::layers::{LayerNorm, Linear};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// What a block needs to know of its tower's configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockShape {
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) layer_norm_epsilon: f64,
}

impl BlockShape {
    pub(super) fn check(&self) -> Result<(), String> {
        check_range("hidden_size", self.hidden, MAX_WIDTH)?;
        check_range("intermediate_size", self.intermediate, 4 * MAX_WIDTH)?;
        check_range("num_attention_heads", self.heads, 512)?; // bigG has 20
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(format!(
                "hidden_size: expected a multiple of num_attention_heads {}, found {}",
                self.heads, self.hidden
            ));
        }
        if !(self.layer_norm_epsilon.is_finite() && self.layer_norm_epsilon > 0.0) {
            return Err(format!("layer_norm_eps: expected a positive number, found {}", self.layer_norm_epsilon));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Block {
    norm_attention: LayerNorm,
    attention: Attention,
    norm_mlp: LayerNorm,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Block {
    pub(super) fn new(w: &Weights, name: &str, shape: BlockShape) -> Result<Self, NetworkError> {
        let BlockShape { hidden, intermediate, heads, activation, layer_norm_epsilon: epsilon } = shape;
        Ok(Self {
            norm_attention: LayerNorm::new(w, &format!("{name}.layer_norm1"), hidden, epsilon)?,
            attention: Attention::new(w, &format!("{name}.self_attn"), hidden, heads)?,
            norm_mlp: LayerNorm::new(w, &format!("{name}.layer_norm2"), hidden, epsilon)?,
            up: Linear::new(w, &format!("{name}.mlp.fc1"), hidden, intermediate)?,
            down: Linear::new(w, &format!("{name}.mlp.fc2"), intermediate, hidden)?,
            activation,
        })
    }

    /// [b, n, hidden] → [b, n, hidden]; `mask` [n, n] as [`Attention::forward`] takes it.
    pub(super) fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let x = (x + self.attention.forward(&self.norm_attention.forward(x)?, mask)?)?;
        let up = self.up.forward(&self.norm_mlp.forward(&x)?)?;
        let up = match self.activation {
            Activation::QuickGelu => (&up * candle_nn::ops::sigmoid(&(&up * 1.702)?)?)?,
            Activation::Gelu => up.gelu_erf()?,
        };
        &x + self.down.forward(&up)?
    }
}
