//! Any store, with failures at the calls that a test names.
//!
//! Comes in: a store and a script. Goes out: the store's answers, but for the calls that the script
//! hits. It never fails unasked, and no command of the program builds one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::{Body, ObjectMeta, PaceSnapshot, SharedStore, Store, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    List,
    Get,
    Put,
}

/// What happens instead of, or on top of, the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with `Transient` and does nothing.
    Transient,
    /// The body breaks off with `Transient` after so many bytes, a listing after so many objects.
    Cut { after: u64 },
    /// The body hands out so many bytes (a listing so many objects) and then nothing, for ever.
    Stalled { after: u64 },
    /// The body comes whole, with so many bytes of it flipped from the start, and says `Damaged` at its end.
    Damaged { flipped: u64 },
    /// Throttled, whether others are or not.
    Throttled { others_served: bool },
    /// `get` finds another version; `list` reports ETags that `get` will not find.
    ChangedEtag,
    /// `put_new` writes and then says `Transient`: the outcome that the caller cannot know.
    LostAnswer,
}

/// `fault` at the `nth` call of `operation`, counted from 1.
#[derive(Debug, Clone, Copy)]
pub struct Scripted {
    pub operation: Operation,
    pub nth: u64,
    pub fault: Fault,
}

#[derive(Debug)]
pub struct FaultyStore {
    inner: SharedStore,
    script: Vec<Scripted>,
    lists: AtomicU64,
    gets: AtomicU64,
    puts: AtomicU64,
}

impl FaultyStore {
    #[must_use]
    pub fn new(inner: SharedStore, script: Vec<Scripted>) -> Arc<Self> {
        Arc::new(Self { inner, script, lists: AtomicU64::new(0), gets: AtomicU64::new(0), puts: AtomicU64::new(0) })
    }

    /// How often `operation` was called so far.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.counter(operation).load(Ordering::SeqCst)
    }

    fn counter(&self, operation: Operation) -> &AtomicU64 {
        match operation {
            Operation::List => &self.lists,
            Operation::Get => &self.gets,
            Operation::Put => &self.puts,
        }
    }

    fn next_fault(&self, operation: Operation) -> Option<Fault> {
        let nth = self.counter(operation).fetch_add(1, Ordering::SeqCst) + 1;
        self.script.iter().find(|line| line.operation == operation && line.nth == nth).map(|line| line.fault)
    }
}

impl Store for FaultyStore {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let what = format!("listing of {prefix:?}");
        let listed = self.inner.list(prefix);
        match self.next_fault(Operation::List) {
            Some(Fault::Transient) => failing(what).boxed(),
            Some(Fault::Cut { after }) => listed.take(count(after)).chain(failing(what)).boxed(),
            Some(Fault::Stalled { after }) => listed.take(count(after)).chain(futures::stream::pending()).boxed(),
            Some(Fault::ChangedEtag) => listed
                .map(|listed| listed.map(|object| ObjectMeta { etag: Some("changed by the script".into()), ..object }))
                .boxed(),
            Some(Fault::LostAnswer | Fault::Damaged { .. } | Fault::Throttled { .. }) | None => listed,
        }
    }

    fn get(&self, object: &ObjectMeta, offset_bytes: u64) -> BoxFuture<'static, Result<Body, StoreError>> {
        let what = format!("object {:?}", object.key);
        let fault = self.next_fault(Operation::Get);
        let answer = self.inner.get(object, offset_bytes);
        async move {
            match fault {
                Some(Fault::Transient) => Err(scripted(what)),
                Some(Fault::ChangedEtag) => Err(StoreError::Changed { what }),
                Some(Fault::Throttled { others_served }) => {
                    Err(StoreError::Throttled { what, detail: SCRIPTED.to_owned(), others_served })
                }
                Some(Fault::Damaged { flipped }) => Ok(damaged(answer.await?, flipped, what)),
                Some(Fault::Cut { after }) => Ok(first_bytes(answer.await?, after).chain(failing(what)).boxed()),
                Some(Fault::Stalled { after }) => {
                    Ok(first_bytes(answer.await?, after).chain(futures::stream::pending()).boxed())
                }
                Some(Fault::LostAnswer) | None => answer.await,
            }
        }
        .boxed()
    }

    fn put_new(&self, key: &str, body: Bytes) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        let what = format!("object {key:?}");
        let fault = self.next_fault(Operation::Put);
        let answer = self.inner.put_new(key, body);
        async move {
            match fault {
                Some(Fault::LostAnswer) => answer.await.and(Err(scripted(what))),
                Some(_) => Err(scripted(what)),
                None => answer.await,
            }
        }
        .boxed()
    }

    fn pace(&self) -> Option<PaceSnapshot> {
        self.inner.pace()
    }
}

const SCRIPTED: &str = "failed because the test's script says so";

fn scripted(what: String) -> StoreError {
    StoreError::Transient { what, detail: SCRIPTED.to_owned() }
}

fn damaged(body: Body, flipped: u64, what: String) -> Body {
    let mut left = count(flipped);
    let flipped = body.map(move |piece| {
        piece.map(|piece| {
            let mut bytes = piece.to_vec();
            bytes.iter_mut().take(left).for_each(|byte| *byte ^= 0xff);
            left = left.saturating_sub(bytes.len());
            bytes.into()
        })
    });
    let end = futures::stream::once(async move { Err(StoreError::Damaged { what, detail: SCRIPTED.to_owned() }) });
    flipped.chain(end).boxed()
}

fn failing<T: Send + 'static>(what: String) -> BoxStream<'static, Result<T, StoreError>> {
    futures::stream::once(async move { Err(scripted(what)) }).boxed()
}

fn first_bytes(body: Body, count: u64) -> Body {
    body.scan(count, |left, chunk| {
        let chunk = chunk.map(|mut chunk| {
            chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= chunk.len() as u64;
            chunk
        });
        let used_up = matches!(&chunk, Ok(chunk) if chunk.is_empty());
        std::future::ready((!used_up).then_some(chunk))
    })
    .boxed()
}

fn count(after: u64) -> usize {
    usize::try_from(after).unwrap_or(usize::MAX)
}
