//! Embedding → logit → score. Class order: real = 0, fake = 1.

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// A head with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// One row of weights: score = sigmoid(w · x + b).
    Sigmoid { weight: Vec<f32>, bias: f32 },
    /// A row for each class: score = softmax(W · x + b)[fake].
    Softmax { real: (Vec<f32>, f32), fake: (Vec<f32>, f32) },
    /// CLIP's own comparison: cosine with each class's prompt × exp(`logit_scale`), then softmax.
    ZeroShot { real: Vec<f32>, fake: Vec<f32>, logit_scale: f32 },
}

/// Both are finite; `score` lies in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The log of the odds of fake against real: score = sigmoid(logit) for every kind of head.
    pub logit: f32,
    pub score: f32,
}

/// The largest logit scale a checkpoint can mean: CLIP clips at ln 100 = 4.6052, SigLIP and others end near 5.
const MAX_LOGIT_SCALE: f32 = 10.0;

impl Head {
    /// Tensors `weight` [k, d] and `bias` [k], k = 1 or 2.
    ///
    /// # Errors
    /// A tensor that is missing, or of another shape than the tower's output asks for.
    pub fn linear(weights: &Weights, width: usize) -> Result<Self, NetworkError> {
        let classes =
            weights.shapes().find(|(name, _)| *name == "weight").map_or(1, |(_, shape)| *shape.first().unwrap_or(&0));
        if !(1..=2).contains(&classes) {
            return Err(NetworkError::Weights(format!(
                "head: expected a tensor \"weight\" of shape [1, {width}] or [2, {width}], found {classes} rows"
            )));
        }
        let mut rows = weights.get("weight", &[classes, width])?.to_vec2::<f32>()?.into_iter();
        let bias = weights.get("bias", &[classes])?.to_vec1::<f32>()?;
        Ok(match (rows.next(), rows.next()) {
            (Some(real), Some(fake)) => Self::Softmax { real: (real, bias[0]), fake: (fake, bias[1]) },
            (weight, _) => Self::Sigmoid { weight: weight.unwrap_or_default(), bias: bias[0] },
        })
    }

    /// Prompt embeddings [2, d] and the logarithm of the scale, as a CLIP checkpoint stores it.
    ///
    /// # Errors
    /// A scale that is no logarithm, or a prompt of length 0.
    pub fn zero_shot(prompts: [Vec<f32>; 2], logit_scale: f32) -> Result<Self, NetworkError> {
        if !(logit_scale.is_finite() && logit_scale.abs() <= MAX_LOGIT_SCALE) {
            return Err(NetworkError::Weights(format!(
                "head: logit_scale: expected the logarithm as checkpoints store it (CLIP's is 4.6052, for × 100), \
                 found {logit_scale}"
            )));
        }
        let [real, fake] = prompts.map(|prompt| unit_length(&prompt));
        match (real, fake) {
            (Some(real), Some(fake)) => Ok(Self::ZeroShot { real, fake, logit_scale }),
            _ => Err(NetworkError::Weights(
                "head: prompt embeddings: expected vectors of a positive length, found zeros".to_owned(),
            )),
        }
    }

    /// The score of one embedding, or nothing where the numbers are not finite.
    #[must_use]
    pub fn score(&self, embedding: &[f32], l2: bool) -> Option<Score> {
        let unit = if l2 { Some(unit_length(embedding)?) } else { None };
        let x = unit.as_deref().unwrap_or(embedding);
        let logit = match self {
            Self::Sigmoid { weight, bias } => dot(weight, x) + f64::from(*bias),
            Self::Softmax { real, fake } => {
                (dot(&fake.0, x) + f64::from(fake.1)) - (dot(&real.0, x) + f64::from(real.1))
            }
            Self::ZeroShot { real, fake, logit_scale } => {
                let x = unit_length(embedding)?; // a cosine, whatever `l2` says
                f64::from(*logit_scale).exp() * (dot(fake, &x) - dot(real, &x))
            }
        };
        let score = 1.0 / (1.0 + (-logit).exp());
        let (logit, score) = (logit as f32, score as f32);
        logit.is_finite().then_some(Score { logit, score })
    }
}

/// A linear head of one row as a file: `weight` [1, d] and `bias` [1] in safetensors.
#[must_use]
pub fn linear_file(weight: &[f32], bias: f32) -> Vec<u8> {
    let little_endian = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (weight_bytes, bias_bytes) = (little_endian(weight), little_endian(&[bias]));
    let views = [
        ("weight", TensorView::new(Dtype::F32, vec![1, weight.len()], &weight_bytes)),
        ("bias", TensorView::new(Dtype::F32, vec![1], &bias_bytes)),
    ];
    let views: Vec<_> = views.into_iter().filter_map(|(name, view)| Some((name, view.ok()?))).collect();
    // Lengths are those of the shapes: it cannot fail.
    safetensors::serialize(views, None).unwrap_or_default()
}

/// Reads the two prompt embeddings and the logit scale of a zero-shot head's file: the one tensor of shape
/// [2, width] (by convention `prompt_embeddings`), and `logit_scale` ([] or [1]) unless the recipe gave it.
///
/// # Errors
/// Either is missing, or the file holds several candidates.
pub fn read_zero_shot(weights: &Weights, width: usize, logit_scale: Option<f32>) -> Result<Head, NetworkError> {
    let matching: Vec<&str> =
        weights.shapes().filter(|(_, shape)| *shape == [2, width]).map(|(name, _)| name).collect();
    let name = match matching.as_slice() {
        [name] => *name,
        names if names.contains(&"prompt_embeddings") => "prompt_embeddings",
        [] => "prompt_embeddings", // reading it says what is missing
        names => {
            return Err(NetworkError::Weights(format!(
                "head: expected one tensor of shape [2, {width}], found {}",
                names.join(", ")
            )));
        }
    };
    let rows = weights.get(name, &[2, width])?.to_vec2::<f32>()?;
    let logit_scale = match logit_scale {
        Some(scale) => scale,
        None => read_logit_scale(weights)?,
    };
    let [real, fake]: [Vec<f32>; 2] =
        rows.try_into().map_err(|_| NetworkError::Weights("head: expected two prompts".to_owned()))?;
    Head::zero_shot([real, fake], logit_scale)
}

/// Checkpoints hold the scale as a scalar or, converted, as a vector of one.
///
/// # Errors
/// It is missing, or more than one number.
pub(super) fn read_logit_scale(weights: &Weights) -> Result<f32, NetworkError> {
    let shape = weights.shapes().find(|(name, _)| *name == "logit_scale").map(|(_, shape)| shape.to_vec());
    let advised = |e: NetworkError| NetworkError::Weights(format!("{e}; or state it as head.logit_scale"));
    let values = weights.get("logit_scale", &shape.unwrap_or_default()).map_err(advised)?.flatten_all()?;
    match values.to_vec1::<f32>()?.as_slice() {
        [scale] => Ok(*scale),
        more => Err(advised(NetworkError::Weights(format!("logit_scale: expected one number, found {}", more.len())))),
    }
}

/// Eight sums side by side, which a vector unit can work at. Products of two `f32` are exact here, so the result depends
/// on this order alone and is the same on every machine.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + rest
}

/// None for a vector of length zero or one that is not finite: it has no direction.
pub(super) fn unit_length(x: &[f32]) -> Option<Vec<f32>> {
    let length = dot(x, x).sqrt();
    (length.is_finite() && length > 0.0).then(|| x.iter().map(|v| (f64::from(*v) / length) as f32).collect())
}
