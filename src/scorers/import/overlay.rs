//! Tensors that replace some of a tower's (tuned layer norms), and the head that was trained with them.

use std::fmt::Write;
use std::path::Path;

use candle_core::Device;

use super::head;
use super::tower::Sorted;
use super::{usage, write};
use crate::error::Error;
use crate::models::args::ImportArgs;
use crate::networks::weights::Weights;

pub(super) fn import(args: &ImportArgs, base: &Path, weights: Weights) -> Result<String, Error> {
    let in_file = |what: String| Error::Usage(format!("checkpoint {:?}: {what}", args.file.display().to_string()));
    let below = Weights::open(base, &Device::Cpu).and_then(Weights::in_transformers_layout).map_err(usage)?;
    let head = match (head::candidates(&weights).len(), &args.head_key) {
        (0, None) => None,
        (_, key) => Some(head::choose(&weights, key.as_deref(), "--head-key").map_err(in_file)?),
    };
    if let Some(head) = &head {
        check_width(&below, base, head)?;
    }
    let head_file = args.out.join("head.safetensors");
    let prepared_head = match &head {
        Some(head) => Some(head::prepare(&weights, head, &head_file, args.force)?),
        None => None,
    };
    let sorted = Sorted::new(weights, args.key.as_deref()).map_err(in_file)?;
    let parts: Vec<(String, String)> =
        sorted.tower.shapes().map(|(name, _)| (name.to_owned(), name.to_owned())).collect();
    let overlay = write::prepare_tensors(&args.out.join("overlay.safetensors"), &sorted.tower, &parts, args.force)?;
    let told = sorted.told(head.as_ref());
    below.overlaid_by(sorted.tower).map_err(usage)?;

    let written = write::publish([Some(overlay), prepared_head].into_iter().flatten().collect(), args.force)?;
    let mut report: String = written.iter().map(write::Written::table).collect();
    report.push_str(&told);
    let _ = match &head {
        Some(head) => writeln!(report, "{}", head.meaning()),
        None => writeln!(report, "no head in this checkpoint: no matrix of one or two rows with its bias"),
    };
    let _ = write!(
        report,
        "\nNext, in the scorer.toml beside them (a path is relative to it):\n\n[tower]\npath = {}\n\
         overlay = \"overlay.safetensors\"\n",
        toml::Value::String(write::absolute(base))
    );
    if head.is_some() {
        let _ = write!(report, "\n{}", head::lines(&head_file));
    }
    Ok(report)
}

/// A head of another tower would be refused by every run; here it is known for which tower it was meant.
fn check_width(tower: &Weights, base: &Path, head: &head::Found) -> Result<(), Error> {
    let extent =
        |name: &str| tower.shapes().find(|(found, _)| *found == name).and_then(|(_, shape)| shape.first().copied());
    let widths = [extent("vision_model.embeddings.class_embedding"), extent("visual_projection.weight")];
    if widths.contains(&Some(head.width)) {
        return Ok(());
    }
    let [pooled, projected] = widths.map(|width| width.map_or_else(|| "none".to_owned(), |width| width.to_string()));
    Err(Error::Usage(format!(
        "head \"{}weight\": expected as many columns as the tower {:?} gives numbers ({pooled} pooled, {projected} \
         projected), found {}: it belongs to another tower",
        head.prefix,
        base.display().to_string(),
        head.width
    )))
}
