//! What scoring again came to, as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;

use crate::progress::Tally;
use crate::tables::part::CommittedPart;

#[derive(Debug)]
pub struct Summary {
    pub run_id: String,
    /// Of the slices that this command worked on.
    pub tally: Tally,
    pub elapsed: Duration,
    pub embeddings: u64,
    /// Those that this command worked on, and all of the run.
    pub slices: (usize, usize),
    pub parts: Vec<CommittedPart>,
    /// Whether every slice of the run stands.
    pub is_finished: bool,
    pub warnings: Vec<&'static str>,
}

impl Summary {
    /// The closing table.
    #[must_use]
    pub fn table(&self, out: &str) -> String {
        let Tally { objects, frames, faces, scored, rejected, no_face, .. } = &self.tally;
        let elapsed = self.elapsed.as_secs_f64();
        let written: usize = self.parts.iter().map(|part| part.bytes).sum();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<10} {value}"); // writing to a String cannot fail
        };
        let (ours, all) = self.slices;
        line("slices", format!("{ours} of {all}"));
        line("objects", format!("{objects} ({rejected} rejected before)"));
        line("frames", frames.to_string());
        line("faces", format!("{faces} ({no_face} media without)"));
        line("scored", format!("{scored} media"));
        line("embeddings", format!("{} ({:.0}/s)", self.embeddings, self.embeddings as f64 / elapsed.max(1e-3)));
        line("time", format!("{elapsed:.1} s"));
        line("written", format!("{} parts, {} to {out}", self.parts.len(), ByteSize(written as u64).display().iec()));
        if !self.is_finished {
            line("note", "other shards have slices left: the last one to end writes SUCCESS.json".to_owned());
        }
        for warning in &self.warnings {
            line("note", (*warning).to_owned());
        }
        format!("run {}\n{text}", self.run_id)
    }
}
