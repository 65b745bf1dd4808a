//! One transformer block. In and out: the residual stream of all pictures.

use deepsweep_kernels::{Bf16, Finish, HeadRows, HeadScratch, LayerNorm, attend};
use rayon::prelude::*;

use super::class::ClassAttention;
use super::product::{Matrix, Picked, normalise, stride};
use super::{Buffers, fit, layer_norm, values};
use crate::networks::NetworkError;
use crate::networks::clip::block::BlockShape;
use crate::networks::clip::config::Activation;
use crate::networks::spaces::Spaces;
use crate::networks::weights::Weights;

#[derive(Debug)]
pub(super) struct DirectBlock {
    hidden: usize,
    heads: usize,
    norm_attention: LayerNorm,
    /// Scaled by 1/√d.
    queries: Matrix, // [hidden, hidden]
    attention: Attention,
    out: Matrix, // [hidden, hidden]
    norm_mlp: LayerNorm,
    up: Matrix,   // [hidden, intermediate]
    down: Matrix, // [intermediate, hidden]
    activation: Finish,
}

#[derive(Debug)]
enum Attention {
    /// Of every token: keys and values, [hidden, 2 · hidden].
    All(Matrix),
    /// Of the class tokens, the others being read by nothing behind this block.
    Class(ClassAttention),
}

impl DirectBlock {
    /// `is_last`: nothing but class tokens is read behind it.
    pub fn new(
        w: &Weights,
        name: &str,
        shape: BlockShape,
        is_last: bool,
        bf16: Option<Bf16>,
    ) -> Result<Self, NetworkError> {
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
        let (mut k, mut k_bias) = part("self_attn.k_proj", hidden, hidden)?;
        let (v, v_bias) = part("self_attn.v_proj", hidden, hidden)?;
        let attention = if is_last {
            Attention::Class(ClassAttention::new(&k, &v, &v_bias, heads))
        } else {
            k.extend(v);
            k_bias.extend(v_bias);
            Attention::All(Matrix::new(&k, Some(&k_bias), hidden, bf16))
        };
        Ok(Self {
            hidden,
            heads,
            norm_attention: layer_norm(w, &format!("{name}.layer_norm1"), hidden, epsilon)?,
            queries: Matrix::new(&q, Some(&q_bias), hidden, bf16),
            attention,
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

    /// Adds to the `tokens` rows of each picture what the block makes of them; the last block to the class token's alone.
    pub fn forward(&self, buffers: &mut Buffers, tokens: usize) {
        let Buffers { stream, normal, queries, keys_values, wide, rounded, heads } = buffers;
        let (hidden, inner) = (self.hidden, self.up.width());
        let wanted = if matches!(self.attention, Attention::Class(_)) { 1 } else { tokens };
        let all = Picked::all_apart(hidden);
        let first = Picked { of: tokens, from: 0, count: wanted, ..all };
        let rows = stream.len() / all.stride / tokens * wanted; // b · wanted

        normalise(&self.norm_attention, &all.rows(stream), all.rows_mut(normal));
        let queries = &mut queries[..rows * all.stride];
        self.queries.multiply(first.rows(normal), Finish::Store, all.rows_mut(queries), rounded);
        let mixed = match &self.attention {
            Attention::All(matrix) => {
                let targets = Picked::all_apart(2 * hidden).rows_mut(keys_values);
                matrix.multiply(all.rows(normal), Finish::Store, targets, rounded);
                self.attend(queries, keys_values, tokens, heads, all.rows_mut(normal));
                &normal[..]
            }
            Attention::Class(attention) => {
                attention.mix(queries, normal, [keys_values, wide], heads);
                &queries[..]
            }
        };
        self.out.multiply(all.rows(mixed), Finish::Add, first.rows_mut(stream), rounded);

        let normal = &mut normal[..rows * all.stride];
        normalise(&self.norm_mlp, &first.rows(stream), all.rows_mut(normal));
        let inner = Picked::all_apart(inner);
        fit(wide, rows * inner.stride);
        self.up.multiply(all.rows(normal), self.activation, inner.rows_mut(wide), rounded);
        self.down.multiply(inner.rows(wide), Finish::Add, first.rows_mut(stream), rounded);
    }

    /// Each head of each picture by itself: `queries` [b · tokens, hidden] and `keys_values` [b · tokens, 2 · hidden] → `out`,
    /// [b · tokens, hidden].
    fn attend(
        &self,
        queries: &[f32],
        keys_values: &[f32],
        tokens: usize,
        scratch: &Spaces<HeadScratch>,
        out: Vec<&mut [f32]>,
    ) {
        let (hidden, heads) = (self.hidden, self.heads);
        let (width, q_stride, kv_stride) = (hidden / heads, stride(hidden), stride(2 * hidden));
        let b = out.len() / tokens;
        let mut targets: Vec<Vec<&mut [f32]>> = (0..b * heads).map(|_| Vec::with_capacity(tokens)).collect();
        for (row, values) in out.into_iter().enumerate() {
            for (head, values) in values.chunks_exact_mut(width).enumerate() {
                targets[row / tokens * heads + head].push(values);
            }
        }
        targets.into_par_iter().enumerate().for_each(|(at, mut out)| {
            let (picture, left) = (at / heads, at % heads * width);
            let q = &queries[picture * tokens * q_stride + left..];
            let k = &keys_values[picture * tokens * kv_stride + left..];
            let q = HeadRows { values: q, stride: q_stride, rows: tokens, width };
            let k = HeadRows { values: k, stride: kv_stride, rows: tokens, width };
            let v = HeadRows { values: &k.values[hidden..], ..k };
            scratch.with(HeadScratch::default, |scratch| attend(q, k, v, scratch, &mut out));
        });
    }
}
