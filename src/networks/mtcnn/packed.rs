//! The checkpoint's tensors → layers packed for the kernels, once.

use deepsweep_kernels::{DirectConv, FirstConv, Winograd, WinogradF4};

use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// A convolution and the PReLU behind it, as the checkpoint has them.
pub(super) struct ConvPrelu {
    weight: Vec<f32>,
    bias: Vec<f32>,
    slopes: Vec<f32>,
    inputs: usize,
    kernel: usize,
}

impl ConvPrelu {
    pub fn new(w: &Weights, i: usize, inputs: usize, outputs: usize, kernel: usize) -> Result<Self, NetworkError> {
        Ok(Self {
            weight: values(w, &format!("conv{i}.weight"), &[outputs, inputs, kernel, kernel])?,
            bias: values(w, &format!("conv{i}.bias"), &[outputs])?,
            slopes: values(w, &format!("prelu{i}.weight"), &[outputs])?,
            inputs,
            kernel,
        })
    }

    pub fn first(&self) -> FirstConv {
        FirstConv::new(&self.weight, &self.bias, &self.slopes)
    }

    pub fn tiles(&self) -> WinogradF4 {
        WinogradF4::new(&self.weight, &self.bias, &self.slopes, self.inputs)
    }

    pub fn f3(&self) -> Winograd {
        Winograd::f3(&self.weight, &self.bias, &self.slopes, self.inputs)
    }

    pub fn f4(&self) -> Winograd {
        Winograd::f4(&self.weight, &self.bias, &self.slopes, self.inputs)
    }

    pub fn direct(&self) -> DirectConv {
        DirectConv::new(&self.weight, &self.bias, Some(&self.slopes), self.inputs, self.kernel)
    }
}

/// A dense layer over 3 × 3 pixels of `channels`, as a 1 × 1 convolution. The checkpoint counts (w, h, c), we (c, h, w).
pub(super) fn dense_prelu(
    w: &Weights,
    name: &str,
    prelu: &str,
    channels: usize,
    outputs: usize,
) -> Result<DirectConv, NetworkError> {
    const SIDE: usize = 3;
    let inputs = channels * SIDE * SIDE;
    let theirs = values(w, &format!("{name}.weight"), &[outputs, inputs])?;
    let mut ours = Vec::with_capacity(theirs.len());
    for row in theirs.chunks_exact(inputs) {
        for channel in 0..channels {
            for y in 0..SIDE {
                for x in 0..SIDE {
                    ours.push(row[(x * SIDE + y) * channels + channel]);
                }
            }
        }
    }
    let bias = values(w, &format!("{name}.bias"), &[outputs])?;
    let slopes = values(w, &format!("{prelu}.weight"), &[outputs])?;
    Ok(DirectConv::new(&ours, &bias, Some(&slopes), inputs, 1))
}

/// Several heads over the same inputs as one: weights and biases.
pub(super) fn heads(
    w: &Weights,
    parts: &[(&str, usize)],
    input_shape: &[usize],
) -> Result<(Vec<f32>, Vec<f32>), NetworkError> {
    let (mut weight, mut bias) = (vec![], vec![]);
    for (name, outputs) in parts {
        let shape: Vec<usize> = std::iter::once(*outputs).chain(input_shape.iter().copied()).collect();
        weight.extend(values(w, &format!("{name}.weight"), &shape)?);
        bias.extend(values(w, &format!("{name}.bias"), &[*outputs])?);
    }
    Ok((weight, bias))
}

pub(super) fn crop_heads(w: &Weights, parts: &[(&str, usize)], inputs: usize) -> Result<DirectConv, NetworkError> {
    let (weight, bias) = heads(w, parts, &[inputs])?;
    Ok(DirectConv::new(&weight, &bias, None, inputs, 1))
}

fn values(w: &Weights, name: &str, shape: &[usize]) -> Result<Vec<f32>, NetworkError> {
    Ok(w.get(name, shape)?.flatten_all()?.to_vec1()?)
}
