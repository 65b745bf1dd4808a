//! ListObjectsV2: one page, decoded.
//!
//! Comes in: where to start and whether to fold folders. Goes out: objects and folders in byte order.
//! It never decides what to ask next; `list.rs` does.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::types::{EncodingType, Object};
use chrono::DateTime;
use percent_encoding::percent_decode_str;

use super::errors::{Failure, Place};
use super::{Link, unquoted};
use crate::storage::{ObjectMeta, StoreError, key};

/// The last character there is: behind every key of a folder, but for those that somebody made to annoy.
const BEHIND_ALL: char = '\u{10FFFF}';

/// Where a listing goes on: behind a key, or behind everything in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    Key(String),
    Folder(String),
}

impl After {
    /// Whether `key` lies behind. Asked of every key, since servers read `start-after` differently.
    pub fn admits(&self, key: &str) -> bool {
        match self {
            Self::Key(last) => key > last.as_str(),
            Self::Folder(folder) => key > folder.as_str() && !key.starts_with(folder.as_str()),
        }
    }

    fn as_start_after(&self) -> String {
        match self {
            Self::Folder(folder) if folder.len() + BEHIND_ALL.len_utf8() <= key::MAX_KEY_BYTES => {
                format!("{folder}{BEHIND_ALL}")
            }
            Self::Folder(last) | Self::Key(last) => last.clone(),
        }
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub prefix: &'a str,
    /// Only for the first page; a token knows its own start.
    pub after: Option<&'a After>,
    pub token: Option<&'a str>,
    /// `true`: what lies behind the next slash comes as one folder. `false`: every key.
    pub fold: bool,
}

#[derive(Debug)]
pub(super) enum Item {
    Object(ObjectMeta),
    /// Everything whose key starts so; ends with a slash.
    Folder(String),
}

impl Item {
    pub fn key(&self) -> &str {
        match self {
            Self::Object(object) => &object.key,
            Self::Folder(folder) => folder,
        }
    }
}

/// What one request found, in byte order.
#[derive(Debug)]
pub(super) struct Page {
    pub items: Vec<Item>,
    pub truncated: bool,
    pub token: Option<String>,
}

pub(super) async fn fetch(link: &Link, ask: Ask<'_>) -> Result<Page, StoreError> {
    let start_after = ask.after.filter(|_| ask.token.is_none()).map(After::as_start_after);
    let request = request(link, ask.prefix)
        .set_start_after(start_after)
        .set_continuation_token(ask.token.map(str::to_owned))
        .set_delimiter(ask.fold.then(|| "/".to_owned()));
    into_page(&link.place, answer_to(link, request).await?)
}

/// Whether the bucket is there and may be listed.
pub(super) async fn check(link: &Link, prefix: &str) -> Result<(), StoreError> {
    answer_to(link, request(link, prefix).max_keys(1)).await.map(drop)
}

async fn answer_to(link: &Link, request: ListObjectsV2FluentBuilder) -> Result<ListObjectsV2Output, StoreError> {
    let send = || async { request.clone().send().await.map_err(|error| Failure::of("ListObjectsV2", &error)) };
    link.pace.keep(send).await.map_err(|failure| failure.into_store_error(&link.place, None))
}

fn request(link: &Link, prefix: &str) -> ListObjectsV2FluentBuilder {
    // Keys may hold characters that XML cannot; encoded, they survive the way.
    link.client
        .list_objects_v2()
        .bucket(&link.place.bucket)
        .set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()))
        .encoding_type(EncodingType::Url)
}

fn into_page(place: &Place, answer: ListObjectsV2Output) -> Result<Page, StoreError> {
    let encoded = answer.encoding_type == Some(EncodingType::Url);
    let decode = |text: &str| decoded(place, text, encoded);
    let mut items = Vec::new();
    for object in answer.contents.unwrap_or_default() {
        let key = decode(object.key().unwrap_or_default())?;
        items.push(Item::Object(meta_of(key, &object)));
    }
    for folder in answer.common_prefixes.unwrap_or_default() {
        items.push(Item::Folder(decode(folder.prefix().unwrap_or_default())?));
    }
    items.sort_by(|one, other| one.key().cmp(other.key()));
    let truncated = answer.is_truncated.unwrap_or_default();
    if truncated && (items.is_empty() || answer.next_continuation_token.is_none()) {
        let detail = "ListObjectsV2 expected a last key and a token on a truncated page, found none".to_owned();
        return Err(StoreError::Permanent { what: format!("s3://{}", place.bucket), detail });
    }
    Ok(Page { items, truncated, token: answer.next_continuation_token })
}

fn decoded(place: &Place, text: &str, encoded: bool) -> Result<String, StoreError> {
    if !encoded {
        return Ok(text.to_owned());
    }
    // As in a form: a plus is a space, and a plus that is meant comes as %2B.
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned);
    decoded.map_err(|_| StoreError::Permanent {
        what: place.object(text),
        detail: "ListObjectsV2 expected a key in percent-encoded UTF-8, found other bytes".to_owned(),
    })
}

fn meta_of(key: String, object: &Object) -> ObjectMeta {
    ObjectMeta {
        key,
        size_bytes: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        etag: object.e_tag().map(unquoted),
        version_id: None,
        modified: object.last_modified().and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_admits_what_lies_behind_it_and_nothing_of_itself() {
        let after = After::Folder("a/b/".to_owned());
        for behind in ["a/b0", "a/c", "b"] {
            assert!(after.admits(behind), "{behind}");
        }
        for before in ["a/b", "a/b-c", "a/b/", "a/b/c", "a/b/\u{10FFFF}z"] {
            assert!(!after.admits(before), "{before}");
        }
    }
}
