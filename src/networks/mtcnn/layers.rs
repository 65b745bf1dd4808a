//! What the three networks are made of: convolution with PReLU, pooling that rounds up, dense layers.

use candle_core::{D, Tensor};

use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// A convolution without padding, and the PReLU behind it.
#[derive(Debug)]
pub(super) struct ConvPRelu {
    weight: Tensor,   // [out, in, k, k]
    bias: Tensor,     // [1, out, 1, 1]
    negative: Tensor, // [1, out, 1, 1]
}

impl ConvPRelu {
    pub fn new(w: &Weights, i: usize, inputs: usize, outputs: usize, kernel: usize) -> Result<Self, NetworkError> {
        Ok(Self {
            weight: w.get(&format!("conv{i}.weight"), &[outputs, inputs, kernel, kernel])?,
            bias: w.get(&format!("conv{i}.bias"), &[outputs])?.reshape((1, outputs, 1, 1))?,
            negative: w.get(&format!("prelu{i}.weight"), &[outputs])?.reshape((1, outputs, 1, 1))?,
        })
    }

    /// [n, in, h, w] → [n, out, h − k + 1, w − k + 1]
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = x.conv2d(&self.weight, 0, 1, 1, 1)?.broadcast_add(&self.bias)?;
        prelu(&x, &self.negative)
    }
}

/// A dense layer, y = x · Wᵀ + b.
#[derive(Debug)]
pub(super) struct Dense {
    weight_t: Tensor, // [in, out]
    bias: Tensor,     // [out]
}

impl Dense {
    pub fn new(w: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self, NetworkError> {
        Ok(Self {
            weight_t: w.get(&format!("{name}.weight"), &[outputs, inputs])?.t()?.contiguous()?,
            bias: w.get(&format!("{name}.bias"), &[outputs])?,
        })
    }

    /// [n, in] → [n, out]
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight_t)?.broadcast_add(&self.bias)
    }
}

/// A PReLU behind a dense layer.
#[derive(Debug)]
pub(super) struct PRelu(Tensor); // [1, width]

impl PRelu {
    pub fn new(w: &Weights, name: &str, width: usize) -> Result<Self, NetworkError> {
        Ok(Self(w.get(&format!("{name}.weight"), &[width])?.reshape((1, width))?))
    }

    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        prelu(x, &self.0)
    }
}

/// max(x, 0) + a · min(x, 0), which equals PReLU for every a.
fn prelu(x: &Tensor, negative: &Tensor) -> candle_core::Result<Tensor> {
    x.relu()? - x.neg()?.relu()?.broadcast_mul(negative)?
}

/// Max pooling whose last window may hang over the edge (`ceil_mode` of PyTorch): [n, c, h, w].
pub(super) fn max_pool(x: &Tensor, kernel: usize) -> candle_core::Result<Tensor> {
    const STRIDE: usize = 2;
    let (_, _, h, w) = x.dims4()?;
    let missing = |side: usize| (side - kernel).div_ceil(STRIDE) * STRIDE + kernel - side;
    // A repeated edge never changes a maximum.
    x.pad_with_same(2, 0, missing(h))?.pad_with_same(3, 0, missing(w))?.max_pool2d_with_stride(kernel, STRIDE)
}

/// The batch as the reference's dense layers expect it: [n, c, h, w] → [n, w · h · c].
pub(super) fn flatten_transposed(x: &Tensor) -> candle_core::Result<Tensor> {
    x.permute((0, 3, 2, 1))?.contiguous()?.flatten_from(1)
}

/// The second of two classes: [n, 2] → n probabilities.
pub(super) fn face_probability(logits: &Tensor) -> candle_core::Result<Vec<f32>> {
    candle_nn::ops::softmax(logits, D::Minus1)?.narrow(1, 1, 1)?.flatten_all()?.to_vec1()
}

/// [n, N] → n arrays.
pub(super) fn rows<const N: usize>(x: &Tensor) -> candle_core::Result<Vec<[f32; N]>> {
    let flat: Vec<f32> = x.contiguous()?.flatten_all()?.to_vec1()?;
    Ok(flat.as_chunks::<N>().0.to_vec())
}
