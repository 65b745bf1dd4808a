//! One transformer block. In and out: the residual stream of all pictures.

use deepsweep_kernels::{Bf16, Finish, HeadRows, HeadScratch, LayerNorm, attend};
use rayon::prelude::*;

use super::product::{Matrix, Picked, normalise, stride};
use super::shelf::Shelf;
use super::{Buffers, fit, layer_norm, values};
use crate::networks::NetworkError;
use crate::networks::clip::block::BlockShape;
use crate::networks::clip::config::Activation;
use crate::networks::weights::Weights;

#[derive(Debug)]
pub(super) struct DirectBlock {
    hidden: usize,
    heads: usize,
    norm_attention: LayerNorm,
    /// Scaled by 1/√d.
    queries: Matrix, // [hidden, hidden]
    keys_values: Matrix, // [hidden, 2 · hidden]
    out: Matrix,         // [hidden, hidden]
    norm_mlp: LayerNorm,
    up: Matrix,   // [hidden, intermediate]
    down: Matrix, // [intermediate, hidden]
    activation: Finish,
}

/// What attention works on: `wanted` queries a picture, keys and values of all its `tokens`, rows [`stride`] apart.
struct Looked<'a> {
    queries: &'a [f32],     // [b · wanted, hidden]
    keys_values: &'a [f32], // [b · tokens, 2 · hidden]
    tokens: usize,
    wanted: usize,
}

impl DirectBlock {
    pub fn new(w: &Weights, name: &str, shape: BlockShape, bf16: Option<Bf16>) -> Result<Self, NetworkError> {
        let BlockShape { hidden, intermediate, heads, activation, layer_norm_epsilon: epsilon } = shape;
        let part = |part: &str, inputs: usize, outputs: usize| -> Result<(Vec<f32>, Vec<f32>), NetworkError> {
            let weight = values(w, &format!("{name}.{part}.weight"), &[outputs, inputs])?;
            Ok((weight, values(w, &format!("{name}.{part}.bias"), &[outputs])?))
        };
        let dense = |name: &str, inputs: usize, outputs: usize| -> Result<Matrix, NetworkError> {
            let (weight, bias) = part(name, inputs, outputs)?;
            Ok(Matrix::new(&weight, Some(&bias), inputs, bf16))
        };
        let scale = (1.0 / ((hidden / heads) as f64).sqrt()) as f32;
        let (mut q, mut q_bias) = part("self_attn.q_proj", hidden, hidden)?;
        q.iter_mut().chain(&mut q_bias).for_each(|value| *value *= scale);
        let (mut kv, mut kv_bias) = part("self_attn.k_proj", hidden, hidden)?;
        let (v, v_bias) = part("self_attn.v_proj", hidden, hidden)?;
        kv.extend(v);
        kv_bias.extend(v_bias);
        Ok(Self {
            hidden,
            heads,
            norm_attention: layer_norm(w, &format!("{name}.layer_norm1"), hidden, epsilon)?,
            queries: Matrix::new(&q, Some(&q_bias), hidden, bf16),
            keys_values: Matrix::new(&kv, Some(&kv_bias), hidden, bf16),
            out: dense("self_attn.out_proj", hidden, hidden)?,
            norm_mlp: layer_norm(w, &format!("{name}.layer_norm2"), hidden, epsilon)?,
            up: dense("mlp.fc1", hidden, intermediate)?,
            down: dense("mlp.fc2", intermediate, hidden)?,
            activation: match activation {
                Activation::QuickGelu => Finish::QuickGelu,
                Activation::Gelu => Finish::Gelu,
            },
        })
    }

    /// Adds to the first `wanted` of the `tokens` rows of each picture what the block makes of them; the others stay as
    /// they are, and are looked at.
    pub fn forward(&self, buffers: &mut Buffers, tokens: usize, wanted: usize) {
        let Buffers { stream, normal, queries, keys_values, wide, rounded, heads } = buffers;
        let (hidden, inner) = (self.hidden, self.up.width());
        let all = Picked::all_apart(hidden);
        let first = Picked { of: tokens, from: 0, count: wanted, ..all };
        let rows = stream.len() / all.stride / tokens * wanted; // b · wanted

        normalise(&self.norm_attention, &all.rows(stream), all.rows_mut(normal));
        let kv_targets = Picked::all_apart(2 * hidden).rows_mut(keys_values);
        self.keys_values.multiply(all.rows(normal), Finish::Store, kv_targets, rounded);
        let queries = &mut queries[..rows * all.stride];
        self.queries.multiply(first.rows(normal), Finish::Store, all.rows_mut(queries), rounded);
        let normal = &mut normal[..rows * all.stride];
        let looked_at = Looked { queries, keys_values, tokens, wanted };
        self.attend(looked_at, heads, all.rows_mut(normal)); // [b · wanted, hidden]
        self.out.multiply(all.rows(normal), Finish::Add, first.rows_mut(stream), rounded);

        normalise(&self.norm_mlp, &first.rows(stream), all.rows_mut(normal));
        let inner = Picked::all_apart(inner);
        fit(wide, rows * inner.stride);
        self.up.multiply(all.rows(normal), self.activation, inner.rows_mut(wide), rounded);
        self.down.multiply(inner.rows(wide), Finish::Add, first.rows_mut(stream), rounded);
    }

    /// Each head of each picture by itself: [b · wanted, hidden].
    fn attend(&self, looked_at: Looked, scratch: &Shelf<HeadScratch>, out: Vec<&mut [f32]>) {
        let Looked { queries, keys_values, tokens, wanted } = looked_at;
        let (hidden, heads) = (self.hidden, self.heads);
        let (width, q_stride, kv_stride) = (hidden / heads, stride(hidden), stride(2 * hidden));
        let b = out.len() / wanted;
        let mut targets: Vec<Vec<&mut [f32]>> = (0..b * heads).map(|_| Vec::with_capacity(wanted)).collect();
        for (row, values) in out.into_iter().enumerate() {
            for (head, values) in values.chunks_exact_mut(width).enumerate() {
                targets[row / wanted * heads + head].push(values);
            }
        }
        targets.into_par_iter().enumerate().for_each(|(at, mut out)| {
            let (picture, left) = (at / heads, at % heads * width);
            let q = &queries[picture * wanted * q_stride + left..];
            let k = &keys_values[picture * tokens * kv_stride + left..];
            let q = HeadRows { values: q, stride: q_stride, rows: wanted, width };
            let k = HeadRows { values: k, stride: kv_stride, rows: tokens, width };
            let v = HeadRows { values: &k.values[hidden..], ..k };
            scratch.lend(|scratch| attend(q, k, v, scratch, &mut out));
        });
    }
}
