//! A whole tower: a checkpoint by anybody's names → a folder as transformers writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use safetensors::tensor::Dtype;

use super::config::{Expected, TextShape, VisionShape, config_json};
use super::{as_prefix, head, listed, usage, write};
use crate::error::Error;
use crate::models::args::ImportArgs;
use crate::networks::clip::{Activation, ClipVisionConfig};
use crate::networks::weights::Weights;

/// What checkpoints carry beside weights: places in order, masks, and the settings of OpenAI's archives.
const BUFFERS: [&str; 5] = ["position_ids", "attn_mask", "input_resolution", "context_length", "vocab_size"];

pub(super) fn import(args: &ImportArgs, weights: Weights) -> Result<String, Error> {
    let in_file = |what: String| Error::Usage(format!("checkpoint {:?}: {what}", args.file.display().to_string()));
    let sorted = Sorted::new(weights, args.key.as_deref()).map_err(in_file)?;
    let tower = &sorted.tower;
    let vision = VisionShape::read(tower, args.heads).map_err(in_file)?;
    let has_text = tower.shapes().any(|(name, _)| name.starts_with("text_model."));
    let text = if has_text { Some(TextShape::read(tower).map_err(in_file)?) } else { None };
    let mut expected = vision.expected();
    expected.extend(text.iter().flat_map(TextShape::expected));
    check_all(tower, &expected).map_err(in_file)?;
    let mut names: BTreeSet<String> = expected.into_iter().map(|(name, _)| name).collect();
    if has_text && tower.contains("logit_scale") {
        names.insert("logit_scale".to_owned());
    }
    sorted.check_unknown(&names).map_err(in_file)?;

    // A configuration that lies beside the weights knows what they do not say.
    let beside = args.file.join("config.json");
    if beside.is_file() {
        let said = ClipVisionConfig::read(&beside).map_err(usage)?;
        let found = args.activation.map(|activation| activation.name());
        let name = if said.activation == Activation::Gelu { "gelu" } else { "quick_gelu" };
        if found.is_some_and(|found| found != name) || said.heads != vision.tower.heads {
            return Err(Error::Usage(format!(
                "{:?} says hidden_act {name:?} and {} heads: expected the same of --activation and --heads, found {} and {}",
                beside.display().to_string(),
                said.heads,
                found.unwrap_or(name),
                vision.tower.heads
            )));
        }
    }
    let activation = args.activation.ok_or_else(|| {
        Error::Usage(
            "--activation: expected quick_gelu (OpenAI's weights, and what was tuned from them: UnivFD, GenD, Effort) or \
             gelu (LAION's weights), found none: it cannot be seen in a checkpoint, and the wrong one gives scores that \
             look right"
                .to_owned(),
        )
    })?;
    let config = config_json(&vision, text.as_ref(), activation.name());
    let parts: Vec<(String, String)> = names.into_iter().map(|name| (name.clone(), name)).collect();
    let (config_path, weights_path) = (args.out.join("config.json"), args.out.join("model.safetensors"));
    let files = vec![
        write::prepare_text(&config_path, &config, args.force)?,
        write::prepare_tensors(&weights_path, &sorted.tower, &parts, args.force)?,
    ];
    let written = write::publish(files, args.force)?;
    let mut report: String = written.iter().map(write::Written::table).collect();
    let _ = write!(report, "{}", describe(&vision, text.as_ref(), activation.name(), args.heads.is_some()));
    let _ = write!(report, "{}", sorted.told(None));
    let _ = write!(
        report,
        "\nNext, in scorer.toml (a path is relative to it):\n\n[tower]\npath = {}\n\n[input]\nsize_px = {}\n",
        toml::Value::String(write::absolute(&args.out)),
        vision.image_px
    );
    Ok(report)
}

/// A checkpoint's tensors by what they are.
pub(super) struct Sorted {
    /// Below the tower's prefix, by the names of transformers, without what is left out.
    pub(super) tower: Weights,
    /// What stood before the tower's names.
    prefix: String,
    /// Of something else: a head, buffers, what is not below the prefix.
    left_out: BTreeMap<String, Vec<usize>>,
}

impl Sorted {
    /// # Errors
    /// One line: no tower, or several.
    pub(super) fn new(weights: Weights, key: Option<&str>) -> Result<Self, String> {
        let heads = head::candidates(&weights);
        let prefix = match key {
            Some(key) => as_prefix(key),
            None => prefix_of_tower(&weights)?,
        };
        let is_left_out = |name: &str, weights: &Weights| {
            let of_head = heads.iter().any(|head| head.has(name));
            let buffer = name.rsplit('.').next().is_some_and(|last| BUFFERS.contains(&last));
            let float = matches!(weights.dtype(name), Some(Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64));
            of_head || buffer || !float || !name.starts_with(&prefix)
        };
        let left_out: BTreeMap<String, Vec<usize>> = weights
            .shapes()
            .filter(|(name, _)| is_left_out(name, &weights))
            .map(|(name, shape)| (name.to_owned(), shape.to_vec()))
            .collect();
        let tower = weights.without(left_out.keys()).with_prefix(&prefix).in_transformers_layout();
        Ok(Self { tower: tower.map_err(|e| e.to_string())?, prefix, left_out })
    }

    /// # Errors
    /// One line that lists what no CLIP tower has.
    fn check_unknown(&self, known: &BTreeSet<String>) -> Result<(), String> {
        let unknown: Vec<_> = self.tower.shapes().filter(|(name, _)| !known.contains(*name)).collect();
        // Of a checkpoint without a text tower the scale says nothing.
        if unknown.iter().all(|(name, _)| *name == "logit_scale") {
            return Ok(());
        }
        Err(format!(
            "expected the tensors of CLIP's towers and a head, found others below {:?}: {}; if they do not change what \
             the tower computes, save the state_dict without them",
            self.prefix,
            listed(unknown.into_iter())
        ))
    }

    /// What was not taken but for `elsewhere`, which has a file of its own: nothing disappears unsaid.
    pub(super) fn told(&self, elsewhere: Option<&head::Found>) -> String {
        let mut text = String::new();
        if !self.prefix.is_empty() {
            let _ = writeln!(text, "taken: what the checkpoint has below {:?}", self.prefix);
        }
        let is_elsewhere = |name: &str| elsewhere.is_some_and(|head| head.has(name));
        let left_out = self.left_out.iter().filter(|(name, _)| !is_elsewhere(name));
        let left_out: Vec<(&str, &[usize])> = left_out.map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        if !left_out.is_empty() {
            let _ = writeln!(text, "left out: {}", listed(left_out.into_iter()));
        }
        text
    }
}

/// What stands before `vision_model.` or `visual.` in the names.
fn prefix_of_tower(weights: &Weights) -> Result<String, String> {
    const STARTS: [&str; 3] = ["vision_model.", "visual.", "visual_projection."];
    let prefixes: BTreeSet<&str> = weights
        .shapes()
        .filter_map(|(name, _)| {
            let at = |start: &str| {
                name.match_indices(start).map(|(at, _)| at).find(|at| *at == 0 || name[..*at].ends_with('.'))
            };
            STARTS.iter().filter_map(|start| at(start)).min().map(|at| &name[..at])
        })
        .collect();
    let mut found = prefixes.iter();
    match (found.next(), found.next()) {
        (Some(prefix), None) => Ok((*prefix).to_owned()),
        (None, _) => Err(format!(
            "expected a CLIP tower by the names of transformers (vision_model.…) or of open_clip and OpenAI (visual.…), \
             found {}; a head alone is imported into a file: --out head.safetensors",
            listed(weights.shapes())
        )),
        _ => Err(format!("expected one tower, or --key to say which, found them below {prefixes:?}")),
    }
}

/// # Errors
/// One line that names the first tensor that is missing or has another shape.
fn check_all(weights: &Weights, expected: &Expected) -> Result<(), String> {
    let found: BTreeMap<&str, &[usize]> = weights.shapes().collect();
    for (name, shape) in expected {
        match found.get(name.as_str()) {
            Some(found) if found == shape => {}
            Some(found) => return Err(format!("tensor {name:?}: expected shape {shape:?}, found {found:?}")),
            None => {
                return Err(format!("expected a tensor {name:?} of shape {shape:?}, found {} others", found.len()));
            }
        }
    }
    Ok(())
}

fn describe(vision: &VisionShape, text: Option<&TextShape>, activation: &str, heads_given: bool) -> String {
    let tower = vision.tower;
    let mut told = format!(
        "vision tower: {} wide, {} heads ({}), patches of {} px, pictures of {} px, projected to {}, {activation}, layers: {}\n",
        tower.width,
        tower.heads,
        if heads_given { "as given" } else { "by its width" },
        vision.patch_px,
        vision.image_px,
        tower.projection,
        tower.layers
    );
    let _ = match text {
        Some(text) => writeln!(
            told,
            "text tower: {} wide, {} words, {} places, layers: {}; prompts also need tokenizer.json beside it, which no \
             checkpoint holds",
            text.tower.width, text.vocabulary, text.context, text.tower.layers
        ),
        None => writeln!(told, "no text tower: no zero-shot head with prompts"),
    };
    told
}
