//! The buckets behind our own S3 server: the five operations that the program uses, and CreateBucket.
//!
//! Written from Amazon's documentation of the operations, not from our client: listings fold at a
//! delimiter, `start-after` may lie inside a folded prefix, writes are conditional under one lock.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::faults::{Fault, Faults, Operation};

/// A header by which the HTTP layer knows that it must end the connection instead of answering.
pub const RESET_HEADER: &str = "x-test-reset";

#[derive(Debug, Clone)]
pub struct Stored {
    pub body: Bytes,
    pub etag: String,
    pub metadata: Metadata,
    pub modified: SystemTime,
}

pub type Bucket = BTreeMap<String, Stored>;

#[derive(Debug)]
pub struct Backend {
    pub buckets: Mutex<BTreeMap<String, Bucket>>,
    pub faults: Faults,
    /// Of one page at most; Amazon's is 1,000.
    pub page_objects: usize,
    /// `false`: 501 on `If-None-Match`, as older servers answer.
    pub conditional_writes: bool,
    pub passes_over_conditions: bool,
    /// `false`: knows nothing of checksums, as older servers.
    pub checksums: bool,
    /// What a call takes at least, up to the beginning of its answer.
    pub answer_after: Duration,
    pub versions_written: Mutex<u64>,
}

/// The trait belongs to s3s and the server keeps a hand on the backend.
#[derive(Debug, Clone)]
pub struct Handle(pub Arc<Backend>);

impl Backend {
    pub fn store(&self, bucket: &mut Bucket, key: &str, body: Bytes, metadata: Metadata) -> String {
        let mut written = self.versions_written.lock().unwrap();
        *written += 1;
        let etag = format!("{:08x}-{:x}", *written, body.len());
        let stored = Stored { body, etag: etag.clone(), metadata, modified: SystemTime::now() };
        bucket.insert(key.to_owned(), stored);
        etag
    }

    fn replace_by_itself(&self, bucket: &str, key: &str) {
        let mut buckets = self.buckets.lock().unwrap();
        let Some(bucket) = buckets.get_mut(bucket) else { return };
        if let Some(old) = bucket.get(key).cloned() {
            self.store(bucket, key, old.body, old.metadata);
        }
    }

    /// Counts the call and carries out what goes wrong before anything else.
    async fn begin(&self, operation: Operation, bucket: &str, key: &str) -> S3Result<Option<Fault>> {
        self.begin_with(operation, bucket, key, &mut None).await
    }

    /// The same for a call that brings a body.
    async fn begin_with(
        &self,
        operation: Operation,
        bucket: &str,
        key: &str,
        body: &mut Option<StreamingBlob>,
    ) -> S3Result<Option<Fault>> {
        let fault = self.faults.meet(operation, key);
        if !self.answer_after.is_zero() {
            tokio::time::sleep(self.answer_after).await;
        }
        match fault {
            Some(Fault::Status(status, code)) => {
                let mut error = S3Error::new(S3ErrorCode::from_bytes(code.as_bytes()).unwrap());
                error.set_status_code(hyper::StatusCode::from_u16(status).unwrap());
                error.set_message("the test's script says so");
                Err(error)
            }
            Some(Fault::ResetBefore) => Err(reset()),
            Some(fault @ (Fault::HangBefore | Fault::FreezeBefore)) => {
                // hyper learns that a client went away only where no byte of its request is left to read.
                if let Some(mut body) = body.take() {
                    while body.next().await.is_some_and(|piece| piece.is_ok()) {}
                }
                self.faults.hold(fault).await;
                Err(reset())
            }
            Some(Fault::ChangedEtag) => {
                self.replace_by_itself(bucket, key);
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// What goes wrong once all is done.
    async fn end(&self, fault: Option<Fault>) -> S3Result<()> {
        match fault {
            Some(Fault::ResetAfter) => Err(reset()),
            Some(fault @ (Fault::HangAfter | Fault::FreezeAfter)) => {
                self.faults.hold(fault).await;
                Err(reset())
            }
            _ => Ok(()),
        }
    }
}

fn reset() -> S3Error {
    let mut error = s3_error!(InternalError, "reset");
    let mut headers = hyper::HeaderMap::new();
    headers.insert(RESET_HEADER, hyper::header::HeaderValue::from_static("1"));
    error.set_headers(headers);
    error
}

#[async_trait]
impl S3 for Handle {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.0.buckets.lock().unwrap().entry(req.input.bucket).or_default();
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.begin(Operation::HeadBucket, &req.input.bucket, "").await?;
        match self.0.buckets.lock().unwrap().contains_key(&req.input.bucket) {
            true => Ok(S3Response::new(HeadBucketOutput::default())),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let fault = self.0.begin(Operation::List, &input.bucket, &prefix).await?;
        let answer = {
            let buckets = self.0.buckets.lock().unwrap();
            let bucket = buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
            list_page(bucket, &input, self.0.page_objects)?
        };
        self.0.end(fault).await?;
        Ok(S3Response::new(answer))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let fault = self.0.begin(Operation::Get, &input.bucket, &input.key).await?;
        let stored = self.find(&input.bucket, &input.key)?;
        if let Some(ETagCondition::ETag(asked)) = &input.if_match
            && asked.value() != stored.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let full_bytes = stored.body.len() as u64;
        let range = match &input.range {
            Some(range) => Some(range.check(full_bytes).map_err(|_| s3_error!(InvalidRange))?),
            None => None,
        };
        let content_range = range.as_ref().map(|range| format!("bytes {}-{}/{full_bytes}", range.start, range.end - 1));
        let body = match range {
            Some(range) => stored.body.slice(range.start as usize..range.end as usize),
            None => stored.body.clone(),
        };
        self.0.end(fault).await?;
        // As Amazon: of whole objects only, and only where it is asked for.
        let asked = input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let checksum_crc32 = (self.0.checksums && asked && content_range.is_none()).then(|| crc32(&body));
        Ok(S3Response::new(GetObjectOutput {
            checksum_crc32,
            content_length: Some(body.len() as i64),
            content_range,
            body: Some(faulty_body(body, fault)),
            e_tag: Some(ETag::Strong(stored.etag)),
            last_modified: Some(stored.modified.into()),
            metadata: Some(stored.metadata),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let fault = self.0.begin(Operation::Head, &req.input.bucket, &req.input.key).await?;
        let stored = self.find(&req.input.bucket, &req.input.key)?;
        self.0.end(fault).await?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(stored.body.len() as i64),
            e_tag: Some(ETag::Strong(stored.etag)),
            last_modified: Some(stored.modified.into()),
            metadata: Some(stored.metadata),
            ..Default::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = req.input;
        let fault = self.0.begin_with(Operation::Put, &input.bucket, &input.key, &mut input.body).await?;
        if input.if_none_match.is_some() && !self.0.conditional_writes {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        let body = match input.body {
            Some(body) => body.try_collect::<Vec<Bytes>>().await.map_err(|_| s3_error!(IncompleteBody))?.concat(),
            None => Vec::new(),
        };
        if input.content_length.is_some_and(|length| length != body.len() as i64) {
            return Err(s3_error!(IncompleteBody));
        }
        let etag = {
            let mut buckets = self.0.buckets.lock().unwrap();
            let bucket = buckets.get_mut(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
            if input.if_none_match.is_some() && !self.0.passes_over_conditions && bucket.contains_key(&input.key) {
                return Err(s3_error!(PreconditionFailed));
            }
            self.0.store(bucket, &input.key, body.into(), input.metadata.unwrap_or_default())
        };
        self.0.end(fault).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() }))
    }
}

impl Handle {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        let buckets = self.0.buckets.lock().unwrap();
        let bucket = buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        bucket.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

/// In base64, as in the header: four bytes are six digits of six bits, the last of them filled up, and two signs of it.
fn crc32(body: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u64::from(s3s::crypto::Crc32::checksum_u32(body)) << 4;
    let digits = (0..6).rev().map(|at| char::from(DIGITS[(bits >> (6 * at)) as usize & 63]));
    digits.chain("==".chars()).collect()
}

fn faulty_body(body: Bytes, fault: Option<Fault>) -> StreamingBlob {
    const CHUNK_BYTES: usize = 64 * 1024;
    let chunks = |body: Bytes| {
        let chunks: Vec<std::io::Result<Bytes>> =
            body.chunks(CHUNK_BYTES).map(|part| Ok(body.slice_ref(part))).collect();
        futures::stream::iter(chunks)
    };
    match fault {
        Some(Fault::CutBody(after)) => {
            let cut = futures::stream::iter([Err(std::io::Error::other("cut by the test's script"))]);
            StreamingBlob::wrap(chunks(body.slice(..after.min(body.len()))).chain(cut))
        }
        Some(Fault::StallBody(after)) => {
            StreamingBlob::wrap(chunks(body.slice(..after.min(body.len()))).chain(futures::stream::pending()))
        }
        Some(Fault::FlippedByte(at)) => {
            let mut body = body.to_vec();
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1;
            }
            StreamingBlob::wrap(chunks(body.into()))
        }
        _ => StreamingBlob::wrap(chunks(body)),
    }
}

/// One page as Amazon describes it: objects and folded prefixes count alike, in byte order.
fn list_page(bucket: &Bucket, input: &ListObjectsV2Input, page_objects: usize) -> S3Result<ListObjectsV2Output> {
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|text| !text.is_empty());
    let fold = |key: &str| {
        let delimiter = delimiter.as_deref()?;
        let end = key[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
        Some(key[..end].to_owned())
    };
    let most = page_objects.min(usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0));
    // A token is the last item of the page before it, in hex; a folded prefix goes as "p".
    let (mut from, mut folded) = match &input.continuation_token {
        Some(token) => {
            let bad = || s3_error!(InvalidArgument, "bad continuation token");
            let (kind, hex) = token.split_at_checked(1).ok_or_else(bad)?;
            let last = unhex(hex).ok_or_else(bad)?;
            (Bound::Excluded(last.clone()), (kind == "p").then_some(last))
        }
        None => match &input.start_after {
            Some(after) if *after >= prefix => (Bound::Excluded(after.clone()), None),
            _ => (Bound::Included(prefix.clone()), None),
        },
    };
    let encoded = input.encoding_type.as_ref().is_some_and(|kind| kind.as_str() == EncodingType::URL);
    let encode = |text: &str| if encoded { url_encoded(text) } else { text.to_owned() };
    let (mut contents, mut prefixes, mut token, mut truncated) = (Vec::new(), Vec::new(), None, false);
    loop {
        let next = bucket
            .range((from.clone(), Bound::Unbounded))
            .find(|(key, _)| folded.as_ref().is_none_or(|folded| !key.starts_with(folded.as_str())));
        let Some((key, stored)) = next.filter(|(key, _)| key.starts_with(&prefix)) else { break };
        if contents.len() + prefixes.len() == most {
            truncated = true;
            break;
        }
        from = Bound::Excluded(key.clone());
        if let Some(folder) = fold(key) {
            // Jump behind the folder at once: its keys all sort below its name with the last byte raised.
            let behind = format!("{}{}", &folder[..folder.len() - 1], '0');
            if delimiter.as_deref() == Some("/") {
                from = Bound::Included(behind);
            }
            prefixes.push(CommonPrefix { prefix: Some(encode(&folder)) });
            token = Some(format!("p{}", hex(&folder)));
            folded = Some(folder);
        } else {
            contents.push(Object {
                key: Some(encode(key)),
                size: Some(stored.body.len() as i64),
                e_tag: Some(ETag::Strong(stored.etag.clone())),
                last_modified: Some(stored.modified.into()),
                ..Default::default()
            });
            token = Some(format!("k{}", hex(key)));
        }
    }
    Ok(ListObjectsV2Output {
        name: Some(input.bucket.clone()),
        prefix: Some(encode(&prefix)),
        max_keys: Some(most as i32),
        key_count: Some((contents.len() + prefixes.len()) as i32),
        is_truncated: Some(truncated),
        next_continuation_token: token.filter(|_| truncated),
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        encoding_type: input.encoding_type.clone(),
        ..Default::default()
    })
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<String> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

/// As Amazon encodes keys: a space as a plus, the slash as it is.
fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
