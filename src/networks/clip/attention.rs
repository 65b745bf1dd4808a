//! Multi-head self-attention, of every place to every other or to the earlier ones only.

use candle_core::{D, Device, Tensor};

use super::layers::Linear;
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

#[derive(Debug)]
pub(super) struct Attention {
    /// Query, key and value in one product; the query's share is scaled by 1/√d when it is loaded.
    qkv: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    pub(super) fn new(w: &Weights, name: &str, width: usize, heads: usize) -> Result<Self, NetworkError> {
        let part = |part: &str| -> Result<(Tensor, Tensor), NetworkError> {
            Ok((
                w.get(&format!("{name}.{part}.weight"), &[width, width])?,
                w.get(&format!("{name}.{part}.bias"), &[width])?,
            ))
        };
        let (q, q_bias) = part("q_proj")?;
        let (k, k_bias) = part("k_proj")?;
        let (v, v_bias) = part("v_proj")?;
        let scale = 1.0 / ((width / heads) as f64).sqrt();
        let weight = Tensor::cat(&[&(q * scale)?, &k, &v], 0)?; // [3 · width, width]
        let bias = Tensor::cat(&[&(q_bias * scale)?, &k_bias, &v_bias], 0)?;
        Ok(Self {
            qkv: Linear::from_parts(&weight, Some(bias))?,
            out: Linear::new(w, &format!("{name}.out_proj"), width, width)?,
            heads,
        })
    }

    /// [b, n, width] → [b, n, width]; `mask` [n, n] is added to what each place thinks of each other.
    pub(super) fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let (b, n, width) = x.dims3()?;
        let qkv = self
            .qkv
            .forward(x)?
            .reshape((b, n, 3, self.heads, width / self.heads))?
            .permute((2, 0, 3, 1, 4))? // [3, b, heads, n, d]
            .contiguous()?;
        let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        let likeness = q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?; // [b, heads, n, n]
        let likeness = match mask {
            Some(mask) => likeness.broadcast_add(mask)?,
            None => likeness,
        };
        let weights = candle_nn::ops::softmax_last_dim(&likeness)?;
        let mixed = weights.matmul(&v)?.transpose(1, 2)?.reshape((b, n, width))?; // [b, n, width]
        self.out.forward(&mixed)
    }
}

/// The mask by which a place sees itself and what stands before it: [n, n], −∞ above the diagonal.
pub(super) fn causal_mask(n: usize, device: &Device) -> candle_core::Result<Tensor> {
    let values = (0..n * n).map(|i| if i % n > i / n { f32::NEG_INFINITY } else { 0.0 });
    Tensor::from_iter(values, device)?.reshape((n, n))
}
