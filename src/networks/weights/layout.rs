//! The names of open_clip and of OpenAI's original CLIP → those of transformers.
//!
//! Two things differ beside names: query, key and value lie in one matrix there, and the projections are stored the
//! other way round. Both are done on views, so that nothing is read.
//! Source: transformers' `convert_clip_original_pytorch_to_hf.py` and the modules of open_clip's `transformer.py`.

use std::collections::BTreeMap;

use super::view::View;

/// What PyTorch's wrappers put before every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."]; // DataParallel, compile

enum Translation {
    Renamed(String),
    /// [a, b] → [b, a]
    Transposed(String),
    /// [3 · n, …] → three of [n, …]
    InThree([String; 3]),
}

/// What a wrapper has put before all of these names.
pub(super) fn wrapper<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Option<&'static str> {
    WRAPPERS
        .into_iter()
        .find(|wrapper| names.clone().count() > 0 && names.clone().all(|name| name.starts_with(wrapper)))
}

/// The same tensors by the names of transformers. Names that mean nothing to CLIP stay as they are.
///
/// # Errors
/// One line: no tensor of CLIP, one of another shape, or two of one name.
pub(super) fn to_transformers(tensors: BTreeMap<String, View>) -> Result<BTreeMap<String, View>, String> {
    const TRANSFORMERS: [&str; 4] = ["vision_model.", "text_model.", "visual_projection.", "text_projection."];
    if tensors.keys().any(|name| TRANSFORMERS.iter().any(|start| name.starts_with(start))) {
        return Ok(tensors);
    }
    if !tensors.keys().any(|name| name.starts_with("visual.") || name.contains(".resblocks.")) {
        let shown: Vec<&str> = tensors.keys().take(3).map(String::as_str).collect();
        return Err(format!(
            "expected tensors of CLIP, by the names of transformers (vision_model.…) or of open_clip and OpenAI \
             (visual.…), found {} tensors, such as {}",
            tensors.len(),
            if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
        ));
    }
    let mut translated = BTreeMap::new();
    for (name, view) in tensors {
        for (new_name, new_view) in translate_view(&name, view)? {
            if translated.insert(new_name.clone(), new_view).is_some() {
                return Err(format!("expected each tensor once, found {new_name:?} twice, the second as {name:?}"));
            }
        }
    }
    Ok(translated)
}

fn translate_view(name: &str, view: View) -> Result<Vec<(String, View)>, String> {
    Ok(match translate(name) {
        None => vec![(name.to_owned(), view)],
        Some(Translation::Renamed(new_name)) => vec![(new_name, view)],
        Some(Translation::Transposed(new_name)) if view.shape.len() == 2 => vec![(new_name, view.transposed())],
        Some(Translation::InThree(new_names)) if view.shape.first().is_some_and(|rows| rows % 3 == 0) => {
            let rows = view.shape[0] / 3;
            new_names.into_iter().enumerate().map(|(i, new_name)| (new_name, view.rows(i * rows, rows))).collect()
        }
        Some(Translation::Transposed(_)) => {
            return Err(format!("tensor {name:?}: expected a matrix, found shape {:?}", view.shape));
        }
        Some(Translation::InThree(_)) => {
            let shape = view.shape;
            return Err(format!("tensor {name:?}: expected query, key and value one below the other, found {shape:?}"));
        }
    })
}

fn translate(name: &str) -> Option<Translation> {
    use Translation::{Renamed, Transposed};
    if let Some(name) = name.strip_prefix("visual.") {
        let renamed = |new_name: &str| Some(Renamed(format!("vision_model.{new_name}")));
        return match name {
            "class_embedding" => renamed("embeddings.class_embedding"),
            "positional_embedding" => renamed("embeddings.position_embedding.weight"),
            "conv1.weight" => renamed("embeddings.patch_embedding.weight"),
            "ln_pre.weight" => renamed("pre_layrnorm.weight"), // the misspelling is the checkpoints'
            "ln_pre.bias" => renamed("pre_layrnorm.bias"),
            "ln_post.weight" => renamed("post_layernorm.weight"),
            "ln_post.bias" => renamed("post_layernorm.bias"),
            "proj" => Some(Transposed("visual_projection.weight".to_owned())),
            name => in_block("vision_model", name),
        };
    }
    let name = name.strip_prefix("text.").unwrap_or(name); // open_clip's models with a text tower of their own
    let renamed = |new_name: &str| Some(Renamed(format!("text_model.{new_name}")));
    match name {
        "token_embedding.weight" => renamed("embeddings.token_embedding.weight"),
        "positional_embedding" => renamed("embeddings.position_embedding.weight"),
        "ln_final.weight" => renamed("final_layer_norm.weight"),
        "ln_final.bias" => renamed("final_layer_norm.bias"),
        "text_projection" => Some(Transposed("text_projection.weight".to_owned())),
        name => in_block("text_model", name),
    }
}

/// `transformer.resblocks.3.attn.out_proj.bias`
fn in_block(tower: &str, name: &str) -> Option<Translation> {
    let (layer, rest) = name.strip_prefix("transformer.resblocks.")?.split_once('.')?;
    if layer.is_empty() || !layer.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let to = format!("{tower}.encoder.layers.{layer}");
    if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
        return Some(Translation::InThree(["q", "k", "v"].map(|part| format!("{to}.self_attn.{part}_proj.{kind}"))));
    }
    let (module, kind) = rest.rsplit_once('.')?;
    let module = match module {
        "ln_1" => "layer_norm1",
        "ln_2" => "layer_norm2",
        "attn.out_proj" => "self_attn.out_proj",
        "mlp.c_fc" => "mlp.fc1",
        "mlp.c_proj" => "mlp.fc2",
        _ => return None,
    };
    Some(Translation::Renamed(format!("{to}.{module}.{kind}")))
}
