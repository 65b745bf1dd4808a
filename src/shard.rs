//! Which part of the work one of several workers takes.

use std::str::FromStr;

use crate::error::Error;

/// Which slices one of several workers takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    pub index: u64,
    pub count: u64,
}

/// What an array job says of a child, as its variables have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The variable that says which child this is.
    pub variable: &'static str,
    /// From 0.
    pub index: u64,
    /// Children of the array, where the engine says so.
    pub count: Option<u64>,
}

impl Told {
    /// By the first variable that is set: AWS Batch counts from 0 and says how many there are, Kubernetes counts from 0,
    /// Slurm from whatever its array begins with, in its steps.
    ///
    /// # Errors
    /// What is wrong with a variable.
    pub fn by(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let number = |name: &'static str| {
            let Some(text) = variable(name) else { return Ok(None) };
            text.parse::<u64>().map(Some).map_err(|_| format!("{name}: expected a number, found {text:?}"))
        };
        const BATCH: &str = "AWS_BATCH_JOB_ARRAY_INDEX";
        const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
        const SLURM: &str = "SLURM_ARRAY_TASK_ID";
        if let Some(index) = number(BATCH)? {
            return Ok(Some(Self { variable: BATCH, index, count: number("AWS_BATCH_JOB_ARRAY_SIZE")? }));
        }
        if let Some(index) = number(KUBERNETES)? {
            return Ok(Some(Self { variable: KUBERNETES, index, count: None }));
        }
        let Some(index) = number(SLURM)? else { return Ok(None) };
        let (first, step) =
            (number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0), number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1));
        let steps = index.checked_sub(first).filter(|above| step > 0 && above % step == 0).map(|above| above / step);
        let index = steps.ok_or_else(|| format!("{SLURM}: expected {first} and steps of {step}, found {index}"))?;
        Ok(Some(Self { variable: SLURM, index, count: number("SLURM_ARRAY_TASK_COUNT")? }))
    }

    /// Of a plan of so many shards. Where nobody says how many children there are, each takes one shard.
    ///
    /// # Errors
    /// `Usage` where the child is none of its array.
    pub fn shard(self, planned: u64) -> Result<Shard, Error> {
        let count = self.count.unwrap_or(planned.max(self.index.saturating_add(1)));
        if self.index < count {
            return Ok(Shard { index: self.index, count });
        }
        Err(Error::Usage(format!(
            "{}: expected a child of an array without gaps, from 0 to {}, found {}: where only some children run, say which by \
             --shard I/N",
            self.variable,
            count.saturating_sub(1),
            self.index
        )))
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    #[must_use]
    pub fn takes(self, slice: u64) -> bool {
        slice % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(format!("expected I/N, with I from 0 to N - 1, found {text:?}")),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::{Shard, Told};

    fn told(variables: &[(&str, &str)]) -> Result<Option<(u64, Option<u64>)>, String> {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Told::by(value).map(|told| told.map(|told| (told.index, told.count)))
    }

    #[test]
    fn a_child_of_an_array_knows_its_place_by_its_engine() {
        assert_eq!(told(&[]), Ok(None));
        assert_eq!(
            told(&[("AWS_BATCH_JOB_ARRAY_INDEX", "3"), ("AWS_BATCH_JOB_ARRAY_SIZE", "8")]),
            Ok(Some((3, Some(8))))
        );
        assert_eq!(told(&[("JOB_COMPLETION_INDEX", "0")]), Ok(Some((0, None))));
        let slurm = |id| {
            let count =
                [("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_STEP", "2"), ("SLURM_ARRAY_TASK_COUNT", "4")];
            told(&[&[("SLURM_ARRAY_TASK_ID", id)][..], &count].concat())
        };
        assert_eq!(slurm("1"), Ok(Some((0, Some(4)))));
        assert_eq!(slurm("7"), Ok(Some((3, Some(4)))));
        for wrong in ["0", "2", "x", "-1"] {
            assert!(slurm(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn children_of_an_array_take_every_shard_once_whichever_of_both_is_larger() {
        for (children, shards) in [(4, 4), (3, 10), (10, 3), (1, 5)] {
            let of = |index| Told { variable: "X", index, count: Some(children) }.shard(shards).unwrap();
            let mut taken: Vec<u64> =
                (0..children).flat_map(|at| (0..shards).filter(move |s| of(at).takes(*s))).collect();
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..shards), "{children} of {shards}");
        }
        let alone = Told { variable: "X", index: 5, count: None };
        assert_eq!((0..8).filter(|shard| alone.shard(8).unwrap().takes(*shard)).collect::<Vec<u64>>(), [5]);
        assert!((0..3).all(|shard| !alone.shard(3).unwrap().takes(shard)));
        assert!(Told { count: Some(5), ..alone }.shard(8).is_err());
    }

    #[test]
    fn every_slice_has_one_shard() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["", "1", "3/3", "0/0", "-1/2", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
