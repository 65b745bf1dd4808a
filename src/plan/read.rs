//! A plan → the slices of a shard, with their objects, a file of them in memory at a time.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::objects::SliceReader;
use super::{Plan, file_key};
use crate::error::Error;
use crate::results::read_whole;
use crate::storage::{ObjectMeta, SharedStore};

/// Slices with their objects, each with its number in the shard.
pub type Slices = BoxStream<'static, Result<(u64, Vec<ObjectMeta>), Error>>;

/// The slices of `shard` in their order.
pub fn slices(plan: &Plan, store: SharedStore, shard: u32) -> Slices {
    let Some(facts) = plan.shards.get(shard as usize).copied() else { return futures::stream::empty().boxed() };
    if plan.objects == 0 {
        let empty = (0..facts.slices).map(|slice| Ok((slice, vec![])));
        return futures::stream::iter(empty.collect::<Vec<_>>()).boxed();
    }
    let per_file = plan.slices_per_file.max(1);
    let (run_id, digest) = (plan.run_id.clone(), plan.digest.clone());
    let files = futures::stream::iter(0..facts.slices.div_ceil(per_file)).then(move |file| {
        let (store, key) = (store.clone(), file_key(&run_id, &digest, shard, file));
        async move {
            let expected = per_file.min(facts.slices - file * per_file);
            let body = read_whole(store.as_ref(), &key).await?;
            let body = body.ok_or_else(|| Error::Input(format!("{key}: the plan names it, and it is not there")))?;
            of_file(&key, body, expected, file * per_file)
        }
    });
    files.try_flatten().boxed()
}

fn of_file(key: &str, body: Bytes, expected: u64, first: u64) -> Result<Slices, Error> {
    let key = key.to_owned();
    let wrong = move |what: &dyn std::fmt::Display| Error::Input(format!("{key}: {what}"));
    let reader = SliceReader::new(body).map_err(|e| wrong(&e))?;
    if reader.slices() as u64 != expected {
        return Err(wrong(&format_args!("expected {expected} slices, found {}", reader.slices())));
    }
    let slices = (0..expected).map(move |at| Ok((first + at, reader.slice(at as usize).map_err(|e| wrong(&e))?)));
    Ok(futures::stream::iter(slices).boxed())
}
