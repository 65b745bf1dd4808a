//! Attention of the class token alone, as the last block needs it. In: its queries, and all tokens. Out: what its heads mix.
//!
//! With x a token: q · (K x + b) is (Kᵀ q) · x and something that all tokens share, which softmax does not see; and
//! Σ p (V x + b) is V (Σ p x) + b. So one vector a head is multiplied with K and V, not every token of the picture.

use deepsweep_kernels::{Finish, HeadRows, HeadScratch, PackedMatrix, attend};
use rayon::prelude::*;

use super::fit;
use super::product::{Picked, stride};
use crate::networks::spaces::Spaces;

#[derive(Debug)]
pub(super) struct ClassAttention {
    hidden: usize,
    heads: Vec<Head>,
}

#[derive(Debug)]
struct Head {
    keys: PackedMatrix,   // [d, hidden]: Kᵀ
    values: PackedMatrix, // [hidden, d]
}

impl ClassAttention {
    /// `keys`, `values`: [hidden, hidden], as checkpoints have them; `bias`: [hidden], of the values.
    pub fn new(keys: &[f32], values: &[f32], bias: &[f32], heads: usize) -> Self {
        let hidden = bias.len();
        let width = hidden / heads;
        let rows = keys.chunks_exact(width * hidden).zip(values.chunks_exact(width * hidden));
        let head = |((keys, values), bias): ((&[f32], &[f32]), &[f32])| {
            let across: Vec<f32> = (0..hidden).flat_map(|x| keys.iter().skip(x).step_by(hidden).copied()).collect();
            let keys = PackedMatrix::new(&across, None, width);
            Head { keys, values: PackedMatrix::new(values, Some(bias), hidden) }
        };
        Self { hidden, heads: rows.zip(bias.chunks_exact(width)).map(head).collect() }
    }

    /// `mixed`: [b, hidden], scaled queries before and what the heads mix behind; `x`: [b · tokens, hidden]; `looks` and
    /// `sums`: work spaces.
    pub fn mix(&self, mixed: &mut [f32], x: &[f32], [looks, sums]: [&mut Vec<f32>; 2], scratch: &Spaces<HeadScratch>) {
        let (hidden, count) = (self.hidden, self.heads.len());
        let (width, stride, all) = (hidden / count, stride(hidden), Picked::all_apart(hidden));
        let b = mixed.len() / stride;
        let tokens = x.len() / stride / b;
        let of_head = |head| Picked { of: count, from: head, count: 1, ..all };
        fit(looks, b * count * stride); // [b · heads, hidden]
        fit(sums, b * count * stride); // [b · heads, hidden]

        let queries = all.rows(mixed);
        self.heads.par_iter().zip(dealt_out(all.rows_mut(looks), count)).enumerate().for_each(
            |(at, (head, mut out))| {
                let queries: Vec<&[f32]> = queries.iter().map(|row| &row[at * width..][..width]).collect();
                head.keys.multiply(&queries, 0..head.keys.panels(), Finish::Store, &mut out);
            },
        );
        let pictures = looks.par_chunks_exact(count * stride).zip(sums.par_chunks_exact_mut(count * stride));
        pictures.zip(x.par_chunks_exact(tokens * stride)).for_each(|((looks, sums), x)| {
            let looks = HeadRows { values: looks, stride, rows: count, width: hidden };
            let x = HeadRows { values: x, stride, rows: tokens, width: hidden };
            scratch.with(HeadScratch::default, |scratch| attend(looks, x, x, scratch, &mut all.rows_mut(sums)));
        });
        let targets = all.rows_mut(mixed).into_iter().flat_map(|row| row.chunks_exact_mut(width)).collect();
        self.heads.par_iter().zip(dealt_out(targets, count)).enumerate().for_each(|(at, (head, mut out))| {
            head.values.multiply(&of_head(at).rows(sums), 0..head.values.panels(), Finish::Store, &mut out);
        });
    }
}

/// Row i to hand i mod `hands`.
fn dealt_out(rows: Vec<&mut [f32]>, hands: usize) -> Vec<Vec<&mut [f32]>> {
    let mut dealt: Vec<Vec<&mut [f32]>> = (0..hands).map(|_| vec![]).collect();
    for (i, row) in rows.into_iter().enumerate() {
        dealt[i % hands].push(row);
    }
    dealt
}
