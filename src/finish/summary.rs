//! What a run came to, as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;

use crate::error::Error;
use crate::plan::{LeftOut, Plan};
use crate::progress::{Snapshot, Tally};
use crate::tables::part::CommittedPart;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Summary {
    pub run_id: String,
    pub tally: Tally,
    /// Of this process; None where others did the work.
    pub elapsed: Option<Duration>,
    /// Compute threads of this process, and the share of their time in which they were busy.
    busy: Option<(usize, f64)>,
    parts: Vec<CommittedPart>,
    left_out: LeftOut,
    warnings: Vec<String>,
}

impl Summary {
    pub(super) fn new(plan: &Plan, tally: Tally, parts: Vec<CommittedPart>) -> Self {
        Self {
            run_id: plan.run_id.clone(),
            tally,
            elapsed: None,
            busy: None,
            parts,
            left_out: plan.left_out,
            warnings: plan.scorers.iter().filter_map(|scorer| scorer.warning.clone()).collect(),
        }
    }

    #[must_use]
    pub fn took(self, snapshot: &Snapshot, threads: usize) -> Self {
        let busy = snapshot.busy_share(threads).map(|share| (threads, share));
        Self { elapsed: Some(snapshot.elapsed), busy, ..self }
    }

    #[must_use]
    pub fn parts(&self) -> &[CommittedPart] {
        &self.parts
    }

    /// # Errors
    /// More objects than allowed could not be read; broken files do not count.
    pub fn check(&self, max_failed_share: f64) -> Result<(), Error> {
        let Tally { unreadable, .. } = self.tally;
        // Of all that SOURCE has: one object that stays closed must not fail every night on which nothing new came.
        let objects = self.tally.objects + self.left_out.finished;
        let share = unreadable as f64 / objects.max(1) as f64;
        if share <= max_failed_share {
            return Ok(());
        }
        Err(Error::TooManyFailed(format!(
            "{unreadable} of {objects} objects could not be read, more than --max-failed {max_failed_share} allows; \
             the rows say why (status = 'rejected', error_class)"
        )))
    }

    /// The closing table.
    #[must_use]
    pub fn table(&self, out: &str) -> String {
        let Tally {
            objects,
            bytes,
            frames,
            faces,
            scored,
            no_face,
            short_of_frames,
            with_message,
            rejected,
            seconds,
            rejected_by_class,
            ..
        } = &self.tally;
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<10} {value}"); // writing to a String cannot fail
        };
        let rate = |count: u64| {
            let elapsed = self.elapsed.map(|elapsed| elapsed.as_secs_f64().max(1e-3));
            elapsed.map_or(String::new(), |elapsed| format!("{:.1}/s", count as f64 / elapsed))
        };
        let in_brackets = |words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
            if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
        };
        let size = ByteSize(*bytes).display().iec().to_string();
        line("objects", format!("{objects}{}", in_brackets(&[size, rate(*objects)])));
        if self.left_out.finished > 0 {
            line("left out", format!("{} finished by earlier runs", self.left_out.finished));
        }
        line("frames", format!("{frames}{}", in_brackets(&[rate(*frames)])));
        line("faces", format!("{faces} ({no_face} media without)"));
        line("scored", format!("{scored} media"));
        let classes: Vec<String> =
            rejected_by_class.iter().map(|(class, n)| format!("{n} {}", class.as_str())).collect();
        let classes = if classes.is_empty() { String::new() } else { format!(": {}", classes.join(", ")) };
        line("rejected", format!("{rejected}{classes}"));
        if *with_message > 0 {
            let short = if *short_of_frames > 0 {
                format!(", {short_of_frames} with fewer frames than were asked for")
            } else {
                String::new()
            };
            line("flawed", format!("{with_message} decoded in spite of a flaw{short} (decoder_message says which)"));
        }
        if let Some(elapsed) = self.elapsed {
            line("time", format!("{:.1} s", elapsed.as_secs_f64()));
        }
        line(
            "stages",
            format!(
                "fetch {:.1} s, decode {:.1} s, detect {:.1} s, embed {:.1} s (summed over objects), encode {:.1} s, write {:.1} s",
                seconds.fetch, seconds.decode, seconds.detect, seconds.embed, seconds.encode, seconds.write
            ),
        );
        if let Some((threads, share)) = self.busy {
            line("threads", format!("{threads} for computing, busy {:.0} % of the time", share * 100.0));
        }
        let written = self.parts.iter().map(|part| part.bytes as u64).sum();
        let written = ByteSize(written).display().iec();
        line("written", format!("{} parts, {written} to {out}", self.parts.len()));
        let warnings: String = self.warnings.iter().map(|warning| format!("  note       {warning}\n")).collect();
        format!("run {}\n{text}{warnings}", self.run_id)
    }
}
