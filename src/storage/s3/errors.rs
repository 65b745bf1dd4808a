//! What S3 said, sorted by what the caller can do about it.
//!
//! Comes in: an error of the SDK. Goes out: a [`StoreError`] that names bucket, key, status, S3's own
//! code and the request id, by which the provider's support finds the request. It never hides a cause.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use crate::storage::StoreError;

/// The bucket as messages call it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub bucket: String,
    /// A URL, or "Amazon S3".
    pub endpoint: String,
    pub region: String,
}

impl Place {
    pub fn object(&self, key: &str) -> String {
        // Quoted as in Rust where a key holds what would garble a line of a log.
        let plain = !key.chars().any(char::is_control);
        if plain { format!("s3://{}/{key}", self.bucket) } else { format!("s3://{}/{key:?}", self.bucket) }
    }
}

/// One failed request, before it is judged.
#[derive(Debug)]
pub(super) struct Failure {
    /// Of the answer, if one came.
    pub status: Option<u16>,
    pub code: String,
    /// Where the bucket is, if the answer says so.
    pub bucket_region: Option<String>,
    detail: String,
    /// The request was never sent, for a reason of ours.
    unsendable: bool,
    /// Of a request that was throttled for as long as there is patience: whether others got through meanwhile.
    pub others_served: bool,
}

impl Failure {
    pub fn of<E>(operation: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let header = |name| error.raw_response().and_then(|answer| answer.headers().get(name)).map(str::to_owned);
        let service = error.as_service_error();
        let code = service.and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
        let request_id = error.request_id().unwrap_or("none");
        let detail = match (service, status) {
            (Some(service), Some(status)) => {
                let message = service.message().unwrap_or("no message");
                let space = if code.is_empty() { "" } else { " " };
                format!("{operation} answered {status}{space}{code}: {message} (request id {request_id})")
            }
            _ => format!("{operation} failed: {}", causes(error)),
        };
        let unsendable = match error {
            SdkError::ConstructionFailure(_) => true,
            SdkError::DispatchFailure(failure) => failure.is_user(),
            _ => false,
        };
        Self { status, code, bucket_region: header("x-amz-bucket-region"), detail, unsendable, others_served: false }
    }

    /// Nothing could be sent.
    pub fn unsendable(detail: String) -> Self {
        let (code, others_served) = (String::new(), false);
        Self { status: None, code, bucket_region: None, detail, unsendable: true, others_served }
    }

    /// The server, or something in front of it, has too much to do.
    pub fn is_throttled(&self) -> bool {
        self.status.is_some_and(|status| is_throttle(status, &self.code))
    }

    /// No answer, or one that says nothing about whether the request was carried out.
    pub fn leaves_outcome_unknown(&self) -> bool {
        match self.status {
            None => !self.unsendable,
            Some(501) => false,
            Some(status) => self.is_transient(status),
        }
    }

    /// The server does not know `If-None-Match` on a write.
    pub fn lacks_conditional_writes(&self) -> bool {
        self.status == Some(501) || (self.status == Some(400) && self.code == "NotImplemented")
    }

    fn is_transient(&self, status: u16) -> bool {
        // The last two: what came is not what was sent, and nothing was written.
        let by_code = ["RequestTimeout", "InternalError", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"];
        matches!(status, 408 | 425 | 500 | 502..=599)
            || is_throttle(status, &self.code)
            || by_code.contains(&self.code.as_str())
    }

    /// The verdict on a request about `key`, or about the bucket as a whole.
    pub fn into_store_error(self, place: &Place, key: Option<&str>) -> StoreError {
        let what = key.map_or_else(|| format!("s3://{}", place.bucket), |key| place.object(key));
        let Self { code, detail, .. } = &self;
        let detail = detail.clone();
        match self.status {
            None if self.unsendable => StoreError::Permanent { what, detail },
            None => StoreError::Transient { what, detail },
            _ if code == "NoSuchBucket" || (key.is_none() && self.status == Some(404)) => {
                let detail = format!("bucket {:?} does not exist at {} ({detail})", place.bucket, place.endpoint);
                StoreError::Permanent { what, detail }
            }
            _ if self.bucket_region.as_ref().is_some_and(|region| *region != place.region)
                && matches!(self.status, Some(301 | 307 | 400)) =>
            {
                let region = self.bucket_region.unwrap_or_default();
                let detail = format!(
                    "bucket {:?} is in {region}, asked in {}: set AWS_REGION={region} ({detail})",
                    place.bucket, place.region
                );
                StoreError::Permanent { what, detail }
            }
            _ if code == "InvalidObjectState" => {
                StoreError::Permanent { what, detail: format!("the object is archived, restore it first: {detail}") }
            }
            _ if code.contains("ExpiredToken") || code == "TokenRefreshRequired" => StoreError::Denied { what, detail },
            Some(status) if is_throttle(status, code) => {
                StoreError::Throttled { what, detail, others_served: self.others_served }
            }
            Some(404) => StoreError::NotFound { what },
            Some(401 | 403) => StoreError::Denied { what, detail },
            Some(412 | 416) => StoreError::Changed { what },
            Some(status) if self.is_transient(status) => StoreError::Transient { what, detail },
            Some(_) => StoreError::Permanent { what, detail },
        }
    }
}

/// Amazon says SlowDown, its other services and what others built say it in other words.
pub(super) fn is_throttle(status: u16, code: &str) -> bool {
    let by_code =
        ["SlowDown", "ServiceUnavailable", "Throttl", "TooManyRequests", "RequestThrottled", "RequestLimitExceeded"];
    matches!(status, 429 | 503) || by_code.iter().any(|start| code.starts_with(start))
}

/// An error and what caused it, in one line: the SDK's own errors show only their outermost layer.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some layers repeat the one below them.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
