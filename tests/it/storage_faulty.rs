//! The store that fails by script: it fails where the script says, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deepsweep::storage::faulty::{Fault, FaultyStore, Operation, Scripted};
use deepsweep::storage::memory::MemoryStore;
use deepsweep::storage::{ObjectMeta, Store, StoreError};
use futures::{StreamExt, TryStreamExt};

const BODY_BYTES: usize = 200_000;

fn scripted(operation: Operation, fault: Fault) -> (MemoryStore, Arc<FaultyStore>) {
    let inner = MemoryStore::new("archive");
    for key in ["a", "b", "c"] {
        inner.put(key, vec![1; BODY_BYTES]);
    }
    // The second call: the first and the third must not feel it.
    let store = FaultyStore::new(Arc::new(inner.clone()), vec![Scripted { operation, nth: 2, fault }]);
    (inner, store)
}

async fn list(store: &FaultyStore) -> (usize, Option<StoreError>) {
    let found: Vec<_> = store.list("").collect().await;
    let listed = found.iter().filter(|listed| listed.is_ok()).count();
    (listed, found.into_iter().find_map(Result::err))
}

async fn read(store: &FaultyStore) -> (usize, Option<StoreError>) {
    let object = ObjectMeta { key: "a".into(), size_bytes: 0, etag: None, version_id: None, modified: None };
    let mut body = match store.get(&object, 0).await {
        Ok(body) => body,
        Err(error) => return (0, Some(error)),
    };
    let mut read_bytes = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(200), body.try_next()).await {
            Ok(Ok(Some(chunk))) => read_bytes += chunk.len(),
            Ok(Ok(None)) | Err(_) => return (read_bytes, None),
            Ok(Err(error)) => return (read_bytes, Some(error)),
        }
    }
}

#[tokio::test]
async fn a_listing_fails_at_the_call_that_the_script_names() {
    for (fault, expected) in [(Fault::Transient, 0), (Fault::Cut { after: 2 }, 2)] {
        let (_, store) = scripted(Operation::List, fault);
        assert_eq!(list(&store).await.0, 3);
        let (listed, error) = list(&store).await;
        assert!(
            listed == expected && matches!(error, Some(StoreError::Transient { .. })),
            "{fault:?}: {listed}, {error:?}"
        );
        assert_eq!(list(&store).await.0, 3);
        assert_eq!(store.calls(Operation::List), 3);
    }
}

#[tokio::test]
async fn a_body_fails_at_the_byte_that_the_script_names() {
    for after in [0, 1, 100_000] {
        for (fault, breaks) in [(Fault::Cut { after }, true), (Fault::Stalled { after }, false)] {
            let (_, store) = scripted(Operation::Get, fault);
            assert!(matches!(read(&store).await, (BODY_BYTES, None)));
            let (read_bytes, error) = read(&store).await;
            assert!(read_bytes as u64 == after && error.is_some() == breaks, "{fault:?}: {read_bytes}, {error:?}");
            assert!(matches!(read(&store).await, (BODY_BYTES, None)));
        }
    }
    let (_, store) = scripted(Operation::Get, Fault::ChangedEtag);
    read(&store).await;
    assert!(matches!(read(&store).await, (0, Some(StoreError::Changed { .. }))));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_and_one_that_fails_is_not() {
    for (fault, done) in [(Fault::LostAnswer, true), (Fault::Transient, false)] {
        let (inner, store) = scripted(Operation::Put, fault);
        store.put_new("first", Bytes::new()).await.unwrap();
        let written = store.put_new("second", Bytes::new()).await;
        assert!(matches!(written, Err(StoreError::Transient { .. })), "{fault:?}: {written:?}");
        assert_eq!(inner.read("second").is_some(), done, "{fault:?}");
    }
}
