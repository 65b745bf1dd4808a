//! `_runs/<run_id>/rescore.json`: what a rescored run is made of, said before its first part. Whoever goes on with the run
//! must mean the same.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::results::read_whole;
use crate::results::record::{RescoredFrom, first_of_run, used};
use crate::storage::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub dt: String,
    pub rescored_from: Vec<RescoredFrom>,
    /// Each scorer's id, and the hash of everything that changes its numbers.
    pub scorers: Vec<(String, String)>,
    pub keep_embeddings: bool,
    /// Parts are the same to the byte only if one program wrote them.
    pub code_version: String,
}

impl Claim {
    /// Takes the run id, or goes on with what was claimed as this is. Returns the day of the run.
    ///
    /// # Errors
    /// `Usage` where the run id belongs to another run.
    pub async fn take(mut self, store: &dyn Store, run_id: &str, dt_is_given: bool) -> Result<String, Error> {
        let key = format!("_runs/{run_id}/rescore.json");
        let mut standing = read_whole(store, &key).await?;
        if standing.is_none()
            && let Some(found) = first_of_run(store, &self.dt, run_id).await?
        {
            // Another shard may have begun since.
            standing = read_whole(store, &key).await?;
            if standing.is_none() {
                return Err(used(run_id, &found));
            }
        }
        if standing.is_none() {
            let body = serde_json::to_vec_pretty(&self).map_err(|e| Error::Input(format!("{key}: {e}")))?;
            match store.put_new(&key, Bytes::from(body)).await {
                Ok(_) => return Ok(self.dt),
                Err(StoreError::AlreadyExists { .. }) => standing = read_whole(store, &key).await?,
                Err(error) => return Err(error.into()),
            }
        }
        let body = standing.unwrap_or_default();
        let found: Self = serde_json::from_slice(&body).map_err(|e| Error::Input(format!("{key}: {e}")))?;
        if !dt_is_given {
            self.dt.clone_from(&found.dt); // whoever goes on after midnight means the run of yesterday
        }
        let differs = [
            ("--dt", self.dt == found.dt),
            ("RUN", self.rescored_from == found.rescored_from),
            ("--scorer", self.scorers == found.scorers),
            ("--keep-embeddings", self.keep_embeddings == found.keep_embeddings),
            ("the version of the program", self.code_version == found.code_version),
        ];
        match differs.iter().find(|(_, same)| !same) {
            None => Ok(found.dt),
            Some((what, _)) => Err(Error::Usage(format!(
                "run {run_id:?}: expected what {key} says it was begun with, found another {what}: repeat the command as it \
                 was, or choose another --run-id"
            ))),
        }
    }
}
