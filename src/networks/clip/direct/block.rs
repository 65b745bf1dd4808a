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
    attention: Attention,
    out: Matrix, // [hidden, hidden]
    norm_mlp: LayerNorm,
    up: Matrix,   // [hidden, intermediate]
    down: Matrix, // [intermediate, hidden]
    activation: Finish,
}

#[derive(Debug)]
enum Attention {
    /// Of every token: queries, scaled by 1/√d, keys and values, [hidden, 3 · hidden].
    All(Matrix),
    /// Of the class tokens, the others being read by nothing behind this block: their queries, scaled, [hidden, hidden].
    Class(Matrix, ClassAttention),
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
        let (k, k_bias) = part("self_attn.k_proj", hidden, hidden)?;
        let (v, v_bias) = part("self_attn.v_proj", hidden, hidden)?;
        let attention = if is_last {
            let queries = Matrix::new(&q, Some(&q_bias), hidden, bf16);
            Attention::Class(queries, ClassAttention::new(&k, &v, &v_bias, heads))
        } else {
            Attention::All(Matrix::new(&[q, k, v].concat(), Some(&[q_bias, k_bias, v_bias].concat()), hidden, bf16))
        };
        Ok(Self {
            hidden,
            heads,
            norm_attention: layer_norm(w, &format!("{name}.layer_norm1"), hidden, epsilon)?,
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
        let Buffers { stream, normal, looked, class, wide, rounded, heads } = buffers;
        let (hidden, inner) = (self.hidden, self.up.width());
        let wanted = if matches!(self.attention, Attention::Class(..)) { 1 } else { tokens };
        let all = Picked::all_apart(hidden);
        let first = Picked { of: tokens, from: 0, count: wanted, ..all };
        let rows = stream.len() / all.stride / tokens * wanted; // b · wanted

        normalise(&self.norm_attention, &all.rows(stream), all.rows_mut(normal));
        let mixed = match &self.attention {
            Attention::All(matrix) => {
                let apart = Picked::all_apart(3 * hidden);
                fit(looked, rows * apart.stride);
                matrix.multiply(all.rows(normal), Finish::Store, apart.rows_mut(looked), rounded);
                self.attend(looked, tokens, heads, all.rows_mut(normal));
                &normal[..]
            }
            Attention::Class(queries, attention) => {
                fit(class, rows * all.stride);
                queries.multiply(first.rows(normal), Finish::Store, all.rows_mut(class), rounded);
                attention.mix(class, normal, [looked, wide], heads);
                &class[..]
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

    /// Each head of each picture by itself: `looked` [b · tokens, 3 · hidden] → `out`, [b · tokens, hidden].
    fn attend(&self, looked: &[f32], tokens: usize, scratch: &Spaces<HeadScratch>, out: Vec<&mut [f32]>) {
        let (hidden, heads) = (self.hidden, self.heads);
        let (width, stride) = (hidden / heads, stride(3 * hidden));
        let b = out.len() / tokens;
        let mut targets: Vec<Vec<&mut [f32]>> = (0..b * heads).map(|_| Vec::with_capacity(tokens)).collect();
        for (row, values) in out.into_iter().enumerate() {
            for (head, values) in values.chunks_exact_mut(width).enumerate() {
                targets[row / tokens * heads + head].push(values);
            }
        }
        targets.into_par_iter().enumerate().for_each(|(at, mut out)| {
            let (picture, left) = (at / heads, at % heads * width);
            let values = &looked[picture * tokens * stride + left..];
            let q = HeadRows { values, stride, rows: tokens, width };
            let k = HeadRows { values: &values[hidden..], ..q };
            let v = HeadRows { values: &values[2 * hidden..], ..q };
            scratch.with(HeadScratch::default, |scratch| attend(q, k, v, scratch, &mut out));
        });
    }
}
