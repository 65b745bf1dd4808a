//! One transformer block. In and out: the residual stream of all pictures.

use deepsweep_kernels::{Finish, HeadRows, HeadScratch, LayerNorm, PackedMatrix, attend};
use rayon::prelude::*;

use super::product::{Picked, multiply, normalise};
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
    queries: PackedMatrix, // [hidden, hidden]
    keys_values: PackedMatrix, // [hidden, 2 · hidden]
    out: PackedMatrix,         // [hidden, hidden]
    norm_mlp: LayerNorm,
    up: PackedMatrix,   // [hidden, intermediate]
    down: PackedMatrix, // [intermediate, hidden]
    activation: Finish,
}

/// What attention works on: `wanted` queries a picture, keys and values of all its `tokens`.
struct Looked<'a> {
    queries: &'a [f32],     // [b · wanted, hidden]
    keys_values: &'a [f32], // [b · tokens, 2 · hidden]
    tokens: usize,
    wanted: usize,
}

impl DirectBlock {
    pub fn new(w: &Weights, name: &str, shape: BlockShape) -> Result<Self, NetworkError> {
        let BlockShape { hidden, intermediate, heads, activation, layer_norm_epsilon: epsilon } = shape;
        let part = |part: &str, inputs: usize, outputs: usize| -> Result<(Vec<f32>, Vec<f32>), NetworkError> {
            let weight = values(w, &format!("{name}.{part}.weight"), &[outputs, inputs])?;
            Ok((weight, values(w, &format!("{name}.{part}.bias"), &[outputs])?))
        };
        let dense = |name: &str, inputs: usize, outputs: usize| -> Result<PackedMatrix, NetworkError> {
            let (weight, bias) = part(name, inputs, outputs)?;
            Ok(PackedMatrix::new(&weight, Some(&bias), inputs))
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
            queries: PackedMatrix::new(&q, Some(&q_bias), hidden),
            keys_values: PackedMatrix::new(&kv, Some(&kv_bias), hidden),
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
        let Buffers { stream, normal, queries, keys_values, wide, heads } = buffers;
        let (hidden, inner) = (self.hidden, self.up.width());
        let all = Picked::all(hidden);
        let first = Picked { of: tokens, from: 0, count: wanted, width: hidden };
        let rows = stream.len() / hidden / tokens * wanted; // b · wanted

        normalise(&self.norm_attention, &all.rows(stream), all.rows_mut(normal));
        let kv_targets = Picked::all(2 * hidden).rows_mut(keys_values);
        multiply(all.rows(normal), &self.keys_values, Finish::Store, kv_targets);
        let queries = &mut queries[..rows * hidden];
        multiply(first.rows(normal), &self.queries, Finish::Store, all.rows_mut(queries));
        let normal = &mut normal[..rows * hidden];
        let looked_at = Looked { queries, keys_values, tokens, wanted };
        self.attend(looked_at, heads, normal); // [b · wanted, hidden]
        multiply(all.rows(normal), &self.out, Finish::Add, first.rows_mut(stream));

        normalise(&self.norm_mlp, &first.rows(stream), all.rows_mut(normal));
        fit(wide, rows * inner);
        multiply(all.rows(normal), &self.up, self.activation, Picked::all(inner).rows_mut(wide));
        multiply(Picked::all(inner).rows(wide), &self.down, Finish::Add, first.rows_mut(stream));
    }

    /// Each head of each picture by itself: [b · wanted, hidden].
    fn attend(&self, looked_at: Looked, scratch: &Shelf<HeadScratch>, out: &mut [f32]) {
        let Looked { queries, keys_values, tokens, wanted } = looked_at;
        let (hidden, heads) = (self.hidden, self.heads);
        let width = hidden / heads;
        let b = out.len() / (wanted * hidden);
        let mut targets: Vec<Vec<&mut [f32]>> = (0..b * heads).map(|_| Vec::with_capacity(wanted)).collect();
        for (row, values) in out.chunks_exact_mut(hidden).enumerate() {
            for (head, values) in values.chunks_exact_mut(width).enumerate() {
                targets[row / wanted * heads + head].push(values);
            }
        }
        targets.into_par_iter().enumerate().for_each(|(at, mut out)| {
            let (picture, left) = (at / heads, at % heads * width);
            let q = &queries[picture * wanted * hidden + left..];
            let k = &keys_values[picture * tokens * 2 * hidden + left..];
            let q = HeadRows { values: q, stride: hidden, rows: wanted, width };
            let k = HeadRows { values: k, stride: 2 * hidden, rows: tokens, width };
            let v = HeadRows { values: &k.values[hidden..], ..k };
            scratch.lend(|scratch| attend(q, k, v, scratch, &mut out));
        });
    }
}
