//! Listing a bucket: many requests at once, one ascending order.
//!
//! Comes in: a prefix. Goes out: every object below it, in byte order of the key. It never holds more
//! than a few pages, and never passes over a page that failed.
//!
//! One listing brings 1,000 keys a request, and the next request needs the last one's end. So a listing
//! that does not fit one page is split at its folders, and the folders are listed side by side. What is
//! still to do stands in a queue in the order of its keys; only the head is handed out, so the order of
//! the answers does not matter. Many small folders share one request: a request per folder would make
//! an archive of a million folders cost a million requests.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::task::{Id, JoinSet};

use super::Link;
use super::page::{self, After, Ask, Item, Page};
use crate::storage::{ObjectMeta, StoreError};

/// Requests under way: what hides the round trip to another region, far below any throttle.
const REQUESTS_AT_ONCE: usize = 8;

/// Requests under way and pages that wait for their turn: two for each of the above, about 4 MiB.
const PAGES_AHEAD: usize = 2 * REQUESTS_AT_ONCE;

/// Into how many requests one page of folders is split.
const GROUPS_PER_PAGE: usize = REQUESTS_AT_ONCE;

pub(super) fn list(link: Arc<Link>, prefix: String) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
    let first = Slot::Waiting(Task::Everything { prefix, after: None });
    let queue = Queue { link, slots: VecDeque::from([first]), running: JoinSet::new(), last_key: None };
    futures::stream::unfold(queue, |mut queue| async move { queue.next().await.map(|listed| (listed, queue)) }).boxed()
}

/// What is listed, under way and still to do, in the order of its keys.
struct Queue {
    link: Arc<Link>,
    slots: VecDeque<Slot>,
    /// Dropped with the stream, and the requests with it.
    running: JoinSet<Result<Vec<Piece>, StoreError>>,
    last_key: Option<String>,
}

enum Slot {
    Waiting(Task),
    Running(Id),
    Listed(std::vec::IntoIter<ObjectMeta>),
    Failed(StoreError),
}

/// What one request leaves in the place where it stood.
enum Piece {
    Objects(Vec<ObjectMeta>),
    Task(Task),
}

impl Queue {
    async fn next(&mut self) -> Option<Result<ObjectMeta, StoreError>> {
        loop {
            match self.slots.front_mut()? {
                Slot::Listed(objects) => match objects.next() {
                    Some(object) if self.is_wanted(&object) => return Some(self.in_order(object)),
                    Some(_) => {}
                    None => {
                        self.slots.pop_front();
                        self.take_finished();
                        self.start();
                    }
                },
                Slot::Failed(_) => {
                    let Some(Slot::Failed(error)) = self.slots.pop_front() else { continue };
                    return Some(self.fail(error));
                }
                Slot::Waiting(_) | Slot::Running(_) => {
                    self.start();
                    if let Some(finished) = self.running.join_next_with_id().await {
                        self.place(finished);
                    }
                    self.take_finished();
                    self.start();
                }
            }
        }
    }

    fn is_wanted(&self, object: &ObjectMeta) -> bool {
        // Consoles make a folder visible by an empty object with a slash at its end.
        let folder_marker = object.size_bytes == 0 && object.key.ends_with('/');
        let excluded = self.link.exclude.as_ref().is_some_and(|exclude| object.key.starts_with(exclude));
        !folder_marker && !excluded
    }

    /// Shards and resume rely on the order, and directory buckets do not keep it.
    fn in_order(&mut self, object: ObjectMeta) -> Result<ObjectMeta, StoreError> {
        if self.last_key.as_ref().is_some_and(|last| *last >= object.key) {
            let detail = format!(
                "expected keys in ascending byte order, found {:?} after {:?} (a directory bucket?)",
                object.key,
                self.last_key.as_deref().unwrap_or_default()
            );
            let what = format!("listing of s3://{}", self.link.place.bucket);
            return self.fail(StoreError::Permanent { what, detail });
        }
        self.last_key = Some(object.key.clone());
        Ok(object)
    }

    fn fail(&mut self, error: StoreError) -> Result<ObjectMeta, StoreError> {
        self.running.abort_all();
        self.slots.clear();
        Err(error)
    }

    /// Starts requests from the head on, as far as the limits allow. The head itself always runs:
    /// nothing could be handed out before it.
    fn start(&mut self) {
        let listed = self.slots.iter().filter(|slot| matches!(slot, Slot::Listed(_) | Slot::Failed(_))).count();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let under_way = self.running.len();
            if place > 0 && (under_way >= REQUESTS_AT_ONCE || under_way + listed >= PAGES_AHEAD) {
                break;
            }
            if let Slot::Waiting(task) = slot {
                let run = task.clone().run(Arc::clone(&self.link));
                *slot = Slot::Running(self.running.spawn(run).id());
            }
        }
    }

    fn take_finished(&mut self) {
        while let Some(finished) = self.running.try_join_next_with_id() {
            self.place(finished);
        }
    }

    /// Puts what a request found where the request stood.
    fn place(&mut self, finished: Result<(Id, Result<Vec<Piece>, StoreError>), tokio::task::JoinError>) {
        let (id, found) = finished.unwrap_or_else(|error| {
            let what = format!("listing of s3://{}", self.link.place.bucket);
            (error.id(), Err(StoreError::Permanent { what, detail: format!("a request panicked: {error}") }))
        });
        let Some(place) = self.slots.iter().position(|slot| matches!(slot, Slot::Running(running) if *running == id))
        else {
            return;
        };
        let behind = self.slots.split_off(place + 1);
        self.slots.pop_back();
        match found {
            Ok(pieces) => self.slots.extend(pieces.into_iter().map(|piece| match piece {
                Piece::Objects(objects) => Slot::Listed(objects.into_iter()),
                Piece::Task(task) => Slot::Waiting(task),
            })),
            Err(error) => self.slots.push_back(Slot::Failed(error)),
        }
        self.slots.extend(behind);
    }
}

/// One request to make, and what it stands for.
#[derive(Debug, Clone)]
enum Task {
    /// All keys below `prefix`. Asked flat, because most folders fit a page.
    Everything { prefix: String, after: Option<After> },
    /// All keys below `prefix`, its folders folded: what does not fit a page.
    Level { prefix: String, after: After, token: Option<String> },
    /// The keys below `prefix` from `after` to the end of the last of `folders`, asked flat.
    Group { prefix: String, after: After, folders: Vec<String> },
}

impl Task {
    async fn run(self, link: Arc<Link>) -> Result<Vec<Piece>, StoreError> {
        match self {
            Self::Everything { prefix, after } => {
                let ask = Ask { prefix: &prefix, after: after.as_ref(), token: None, fold: false };
                let page = page::fetch(&link, ask).await?;
                let last = last_key(&page).filter(|_| page.truncated);
                let mut pieces = vec![objects_of(page, after.as_ref(), None)];
                if let Some(last) = last {
                    let level_after = match child_of(&prefix, &last) {
                        Some(folder) => {
                            let after = Some(After::Key(last));
                            pieces.push(Piece::Task(Self::Everything { prefix: folder.clone(), after }));
                            After::Folder(folder)
                        }
                        None => After::Key(last),
                    };
                    pieces.push(Piece::Task(Self::Level { prefix, after: level_after, token: None }));
                }
                Ok(pieces)
            }
            Self::Level { prefix, after, token } => {
                let ask = Ask { prefix: &prefix, after: Some(&after), token: token.as_deref(), fold: true };
                let page = page::fetch(&link, ask).await?;
                Ok(split_level(prefix, after, page))
            }
            Self::Group { prefix, after, folders } => {
                let ask = Ask { prefix: &prefix, after: Some(&after), token: None, fold: false };
                let page = page::fetch(&link, ask).await?;
                Ok(split_group(prefix, after, folders, page))
            }
        }
    }
}

/// A page of objects and folders as runs of objects, groups of folders, and the next page.
fn split_level(prefix: String, after: After, page: Page) -> Vec<Piece> {
    let Page { items, truncated, token } = page;
    let items: Vec<Item> = items.into_iter().filter(|item| after.admits(item.key())).collect();
    let folders = items.iter().filter(|item| matches!(item, Item::Folder(_))).count();
    let folders_per_group = folders.div_ceil(GROUPS_PER_PAGE).max(1);

    let mut pieces = Vec::new();
    let mut group: Vec<String> = Vec::new();
    let mut group_after = after.clone();
    // Objects since the last folder. Those inside a group are found again by the group's own request.
    let mut objects: Vec<ObjectMeta> = Vec::new();
    let mut seen = after;
    for item in items {
        match item {
            Item::Object(object) => {
                seen = After::Key(object.key.clone());
                objects.push(object);
            }
            Item::Folder(folder) => {
                let between = std::mem::take(&mut objects);
                if group.is_empty() {
                    pieces.push(Piece::Objects(between));
                    group_after = seen;
                }
                group.push(folder.clone());
                seen = After::Folder(folder);
                if group.len() == folders_per_group {
                    pieces.push(group_task(&prefix, group_after.clone(), std::mem::take(&mut group)));
                }
            }
        }
    }
    if !group.is_empty() {
        pieces.push(group_task(&prefix, group_after, group));
    }
    pieces.push(Piece::Objects(objects));
    if truncated {
        pieces.push(Piece::Task(Task::Level { prefix, after: seen, token }));
    }
    pieces.retain(|piece| !matches!(piece, Piece::Objects(objects) if objects.is_empty()));
    pieces
}

/// Folders found side by side, with no object before the first that is not listed already.
fn group_task(prefix: &str, after: After, mut folders: Vec<String>) -> Piece {
    Piece::Task(match folders.pop() {
        Some(alone) if folders.is_empty() => Task::Everything { prefix: alone, after: None },
        last => {
            folders.extend(last);
            Task::Group { prefix: prefix.to_owned(), after, folders }
        }
    })
}

/// What a group's first page did not reach: the rest of one folder, and the folders behind it.
fn split_group(prefix: String, after: After, mut folders: Vec<String>, page: Page) -> Vec<Piece> {
    let end = folders.last().cloned().unwrap_or_default();
    let last = last_key(&page).filter(|last| page.truncated && !is_behind(last, &end));
    let mut pieces = vec![objects_of(page, Some(&after), Some(&end))];
    let Some(last) = last else { return pieces };
    let mut rest_after = After::Key(last.clone());
    if let Some(folder) = child_of(&prefix, &last) {
        rest_after = After::Folder(folder.clone());
        pieces.push(Piece::Task(Task::Everything { prefix: folder, after: Some(After::Key(last)) }));
    }
    folders.retain(|folder| rest_after.admits(folder));
    let folders_per_group = folders.len().div_ceil(GROUPS_PER_PAGE).max(1);
    for group in folders.chunks(folders_per_group) {
        let next_after = group.last().cloned().map_or(rest_after.clone(), After::Folder);
        let folders = group.to_vec();
        // Objects between the folders are still to be listed, so even a single folder goes as a group.
        pieces.push(Piece::Task(Task::Group { prefix: prefix.clone(), after: rest_after, folders }));
        rest_after = next_after;
    }
    pieces
}

fn last_key(page: &Page) -> Option<String> {
    page.items.last().map(|item| item.key().to_owned())
}

/// The folder directly below `prefix` in which `key` lies, if it lies in one.
fn child_of(prefix: &str, key: &str) -> Option<String> {
    let slash = key.get(prefix.len()..)?.find('/')?;
    Some(key[..=prefix.len() + slash].to_owned())
}

/// Behind everything in `folder`.
fn is_behind(key: &str, folder: &str) -> bool {
    key > folder && !key.starts_with(folder)
}

fn objects_of(page: Page, after: Option<&After>, end: Option<&str>) -> Piece {
    let objects = page.items.into_iter().filter_map(|item| match item {
        Item::Object(object) => Some(object),
        Item::Folder(_) => None,
    });
    let wanted = |object: &ObjectMeta| {
        after.is_none_or(|after| after.admits(&object.key)) && !end.is_some_and(|end| is_behind(&object.key, end))
    };
    Piece::Objects(objects.filter(wanted).collect())
}
