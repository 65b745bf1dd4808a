//! Which slices of a worker's shards are not done yet, one after another.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::Worker;
use crate::error::Error;
use crate::pipeline::Slices;
use crate::pipeline::list::{PlannedSlice, SliceAt};
use crate::plan::{Plan, read};
use crate::progress::Progress;
use crate::results::Destination;
use crate::results::standing::below;
use crate::storage::StoreError;
use crate::tables::part;

/// Goes through shards, and leaves out what stands.
struct Todo {
    plan: Plan,
    destination: Destination,
    progress: Arc<Progress>,
    shards: VecDeque<u32>,
    shard: u32,
    slices: read::Slices,
    /// Media parts of the shard that stood when it was begun.
    standing: BTreeSet<String>,
    next_seq: u64,
}

impl Worker<'_> {
    /// The slices to do; and, of a plan without objects, the slice that says so.
    pub(super) async fn todo(&self) -> Result<(Slices, Option<SliceAt>), Error> {
        let of_ours = |shard: &u32| self.plan.shards[*shard as usize];
        let (objects, bytes) =
            self.shards.iter().map(of_ours).fold((0, 0), |(objects, bytes), s| (objects + s.objects, bytes + s.bytes));
        self.progress.planned(objects, bytes);
        let mut todo = Todo {
            plan: self.plan.clone(),
            destination: self.plan.destination(Arc::clone(&self.store)),
            progress: Arc::clone(&self.progress),
            shards: self.shards.iter().copied().collect(),
            shard: 0,
            slices: futures::stream::empty().boxed(),
            standing: BTreeSet::new(),
            next_seq: 0,
        };
        if self.plan.objects == 0 {
            let empty = todo.next().await?.map(|slice| slice.at);
            return Ok((futures::stream::empty().boxed(), empty));
        }
        let slices = futures::stream::try_unfold(todo, |mut todo| async move {
            let next = todo.next().await?;
            Ok::<_, Error>(next.map(|slice| (slice, todo)))
        });
        Ok((slices.boxed(), None))
    }
}

impl Todo {
    async fn next(&mut self) -> Result<Option<PlannedSlice>, Error> {
        loop {
            while let Some((slice, objects)) = self.slices.try_next().await? {
                let key = self.key(slice);
                let stood = self.standing.contains(&key);
                if stood || (self.next_seq > 0 && is_done(&self.destination, &key).await?) {
                    self.progress.left_out(objects.len() as u64, objects.iter().map(|o| o.size_bytes).sum());
                    continue;
                }
                let (first_seq, count) = (self.next_seq, objects.len() as u64);
                self.next_seq += count;
                let at = SliceAt { shard: self.shard, slice, first_seq, objects: count };
                return Ok(Some(PlannedSlice { at, objects }));
            }
            let Some(shard) = self.shards.pop_front() else { return Ok(None) };
            let Destination { store, run_id, dt } = &self.destination;
            self.shard = shard;
            self.slices = read::slices(&self.plan, Arc::clone(store), shard);
            let parts = below(store.as_ref(), &part::of_shard("media", dt, run_id, shard)).await?;
            self.standing = parts.into_keys().collect();
        }
    }

    fn key(&self, slice: u64) -> String {
        let Destination { run_id, dt, .. } = &self.destination;
        part::key("media", dt, run_id, self.shard, slice)
    }
}

/// A slice that was not done when its shard was begun may be by now, by another worker. Asked by its key: listing would
/// read a folder of all parts for each of them, and costs ten times as much of a bucket.
async fn is_done(destination: &Destination, key: &str) -> Result<bool, Error> {
    match destination.store.find(key, None).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
