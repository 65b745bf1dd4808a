//! What a plan takes, and which day it is of: flag, job file or default.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::{Origin, Resolver};
use crate::error::RejectionClass;
use crate::plan::args::PlanningFlags;

impl Resolver {
    /// Which of the objects a plan takes.
    pub(super) fn planning(
        &mut self,
        flags: PlanningFlags,
        file: PlanningFlags,
    ) -> (bool, Option<BTreeSet<RejectionClass>>) {
        let include_finished = self.switch("include_finished", flags.include_finished, file.include_finished);
        let origin = if flags.retry_failed.is_some() { Origin::Flag } else { Origin::JobFile };
        let Some(classes) = flags.retry_failed.or(file.retry_failed) else {
            self.explain("retry_failed", &"-", Origin::Default);
            return (include_finished, None);
        };
        let mut classes: BTreeSet<RejectionClass> = classes.into_iter().collect();
        if classes.is_empty() {
            classes.extend(RejectionClass::ALL.into_iter().filter(|class| !class.is_final()));
        }
        let names: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
        self.explain("retry_failed", &names.join(","), origin);
        self.plan("retry_failed", [Some(names.join(","))]);
        (include_finished, Some(classes))
    }
}

/// A scorer as a worker in another folder finds it: names stay, paths become absolute.
pub(super) fn from_anywhere(scorer: &str) -> String {
    if !scorer.contains('/') {
        return scorer.to_owned();
    }
    std::path::absolute(scorer).map_or_else(|_| scorer.to_owned(), |path| path.display().to_string())
}

/// The day that a run's name begins with, where schedulers name it by its time: `2026-11-25T…`, `20261125T…`.
pub(super) fn day_of(run_id: &str) -> Option<NaiveDate> {
    let day = |digits: usize, format: &str| NaiveDate::parse_from_str(run_id.get(..digits)?, format).ok();
    day(10, "%Y-%m-%d").or_else(|| day(8, "%Y%m%d"))
}

#[cfg(test)]
mod tests {
    use super::day_of;

    #[test]
    fn a_run_that_is_named_by_its_time_is_of_that_day() {
        for (run_id, day) in [
            ("2026-11-25T19:00:00Z", Some("2026-11-25")),
            ("20261125T190000Z-0f3a", Some("2026-11-25")),
            ("2026-13-01T00:00:00Z", None),
            ("nightly", None),
            ("2026", None),
        ] {
            assert_eq!(day_of(run_id).map(|day| day.to_string()).as_deref(), day, "{run_id}");
        }
    }
}
