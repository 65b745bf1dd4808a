//! The hub's protocol: `ENDPOINT/REPOSITORY/resolve/COMMIT/FILE`, redirected to wherever the bytes lie.
//!
//! In: a file and how much of it is there. Out: the rest, as a stream, or why not. The token goes to the endpoint and
//! to no other host; the query of a redirect, which may be a signature, goes into no message.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LOCATION,
    RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url, redirect};

use super::pins::{Origin, Wanted};
use super::settings::HubSettings;
use crate::error::Error;
use crate::limits;

/// A handshake across the globe takes under a second; beyond this the host is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the hub says of a large file before it redirects: the sha256 and the size of what will come.
const LINKED_ETAG: &str = "x-linked-etag";
const LINKED_SIZE: &str = "x-linked-size";

/// Why, for a person: "gated", "no such repository".
const ERROR_MESSAGE: &str = "x-error-message";

/// Bytes on their way.
pub(super) struct Answer {
    /// The first byte's place in the file: where it was asked for, or 0.
    pub start: u64,
    /// The version that is sent, where it may be asked for again.
    pub etag: Option<String>,
    pub body: BoxStream<'static, Result<Bytes, Failure>>,
}

/// Sorted by what can be done about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The same request may succeed later, or after what the server asked to wait.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// What came so far belongs to nothing that the server has.
    Restart(String),
    Stop(Error),
}

pub(super) struct Hub<'a> {
    client: Client,
    settings: &'a HubSettings,
}

impl<'a> Hub<'a> {
    /// # Errors
    /// A system whose certificates cannot be read.
    pub fn new(settings: &'a HubSettings) -> Result<Self, Error> {
        let client = Client::builder()
            .user_agent(concat!("deepsweep/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none()) // followed here: the token must not
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|e| Error::Input(format!("no HTTP client for {}: {}", settings.endpoint, causes(&e))))?;
        Ok(Self { client, settings })
    }

    /// Asks for the bytes from `from` on, of the version `etag` where one is named.
    pub async fn open(&self, wanted: &Wanted, from: u64, etag: Option<&str>) -> Result<Answer, Failure> {
        let mut url = self.url_of(&wanted.origin)?;
        for _ in 0..=limits::PULL_REDIRECTS {
            let response = self.ask(&url, from, etag).await?;
            if self.is_endpoint(&url) {
                check_linked(wanted, response.headers())?;
            }
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return self.judge(wanted, &url, from, response);
            }
            let next = text(response.headers(), LOCATION.as_str()).and_then(|place| url.join(place).ok());
            url = match next {
                Some(next) if next.scheme() == url.scheme() || next.scheme() == "https" => next,
                _ => return Err(stop(wanted, &format!("{} redirected to no place that can be followed", host(&url)))),
            };
        }
        Err(stop(wanted, &format!("redirected more than {} times, last to {}", limits::PULL_REDIRECTS, host(&url))))
    }

    /// The host that is asked.
    pub fn place_of(&self, origin: &Origin) -> String {
        match origin {
            Origin::Hub { .. } => host(&self.settings.endpoint),
            Origin::Url(url) => Url::parse(url).map_or_else(|_| url.clone(), |url| host(&url)),
        }
    }

    fn url_of(&self, origin: &Origin) -> Result<Url, Failure> {
        let failed = |what: String| Failure::Stop(Error::Usage(what));
        match origin {
            Origin::Url(url) => Url::parse(url).map_err(|e| failed(format!("{url:?}: {e}"))),
            Origin::Hub { repository, revision, file } => {
                let mut url = self.settings.endpoint.clone();
                url.path_segments_mut()
                    .map_err(|()| failed(format!("HF_ENDPOINT {}: expected https://HOST", self.settings.endpoint)))?
                    .pop_if_empty()
                    .extend(repository.split('/'))
                    .extend(["resolve", revision])
                    .extend(file.split('/'));
                Ok(url)
            }
        }
    }

    async fn ask(&self, url: &Url, from: u64, etag: Option<&str>) -> Result<Response, Failure> {
        // A length is only worth anything for the bytes themselves.
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_endpoint(url))
            && let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", token.secret()))
        {
            bearer.set_sensitive(true); // whoever logs headers leaves it out
            request = request.header(AUTHORIZATION, bearer);
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        match tokio::time::timeout(self.settings.silence, request.send()).await {
            Ok(answer) => answer.map_err(|e| again(format!("{}: {}", host(url), causes(&e.without_url())))),
            Err(_) => Err(again(format!("{} did not answer in {:?}", host(url), self.settings.silence))),
        }
    }

    fn is_endpoint(&self, url: &Url) -> bool {
        url.origin() == self.settings.endpoint.origin()
    }

    fn judge(&self, wanted: &Wanted, url: &Url, from: u64, response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        let start = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => from,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Failure::Restart(format!("{} has no byte {from}", host(url))));
            }
            _ => return Err(self.refusal(wanted, url, &response)),
        };
        let expected = wanted.pin.size_bytes;
        if status == StatusCode::PARTIAL_CONTENT {
            let range = text(response.headers(), CONTENT_RANGE.as_str()).unwrap_or("no Content-Range");
            if range != format!("bytes {from}-{}/{expected}", expected - 1) {
                let what = format!("expected bytes {from} to the end of {expected}, found {range:?}");
                return Err(Failure::Restart(format!("{}: {what}", host(url))));
            }
        } else if let Some(found) = response.content_length().filter(|found| *found != expected) {
            let kind = text(response.headers(), CONTENT_TYPE.as_str()).unwrap_or("no content type");
            return Err(stop(
                wanted,
                &format!("expected {expected} bytes, found {found} ({kind}) at {}; is a proxy in between?", host(url)),
            ));
        }
        // A weak one does not promise the same bytes.
        let etag = text(response.headers(), ETAG.as_str()).filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        let silence = self.settings.silence;
        let place = host(url);
        let broke = {
            let place = place.clone();
            move |e: reqwest::Error| again(format!("{place}: the body broke off: {}", causes(&e.without_url())))
        };
        let body = response.bytes_stream().map_err(broke).boxed();
        let body = futures::stream::try_unfold(body, move |mut body| {
            let place = place.clone();
            async move {
                match tokio::time::timeout(silence, body.try_next()).await {
                    Ok(next) => Ok(next?.map(|bytes| (bytes, body))),
                    Err(_) => Err(again(format!("{place} sent nothing for {silence:?}"))),
                }
            }
        });
        Ok(Answer { start, etag, body: body.boxed() })
    }

    /// What a status means to whoever pulls.
    fn refusal(&self, wanted: &Wanted, url: &Url, response: &Response) -> Failure {
        let status = response.status();
        let place = host(url);
        let said = text(response.headers(), ERROR_MESSAGE)
            .map(|said| format!(" ({})", said.chars().filter(|c| !c.is_control()).take(200).collect::<String>()))
            .unwrap_or_default();
        let of_hub = self.is_endpoint(url) && matches!(wanted.origin, Origin::Hub { .. });
        match status.as_u16() {
            401 | 403 if of_hub && self.settings.token.is_some() => stop(
                wanted,
                &format!(
                    "{place} refused with {status}{said}: expected rights to read it; accept the model's terms on its \
                     page with the account that the token of HF_TOKEN belongs to"
                ),
            ),
            401 | 403 if of_hub => stop(
                wanted,
                &format!(
                    "{place} refused with {status}{said}: the repository is gated, private or not there; set HF_TOKEN \
                     to a token of an account that may read it"
                ),
            ),
            404 | 410 if of_hub => stop(
                wanted,
                &format!("not found at {place}{said}: expected this repository, revision and file to be there"),
            ),
            404 | 410 => stop(wanted, &format!("not found at {place}")),
            // A signed address that a CDN refuses has run out; the next request is sent to a new one.
            401 | 403 if matches!(wanted.origin, Origin::Hub { .. }) => again(format!("{place} refused with {status}")),
            408 | 425 | 429 | 500 | 502..=504 => Failure::Again {
                why: format!("{place} answered {status}{said}"),
                after: retry_after(response.headers()),
            },
            _ => stop(wanted, &format!("{place} answered {status}{said}")),
        }
    }
}

/// The hub states what it will send; a file that cannot be the pinned one need not be pulled to find out.
fn check_linked(wanted: &Wanted, headers: &HeaderMap) -> Result<(), Failure> {
    let pin = &wanted.pin;
    if let Some(found) = text(headers, LINKED_SIZE).filter(|found| *found != pin.size_bytes.to_string()) {
        return Err(stop(wanted, &format!("expected {} bytes, found {found} by the hub's own word", pin.size_bytes)));
    }
    let linked = text(headers, LINKED_ETAG).map(|etag| etag.trim_matches('"'));
    // Of a small file the hub states the hash of git, which is another.
    match linked.filter(|etag| etag.len() == 64 && *etag != pin.sha256) {
        Some(found) => {
            Err(stop(wanted, &format!("expected sha256 {}, found {found} by the hub's own word", pin.sha256)))
        }
        None => Ok(()),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = text(headers, RETRY_AFTER.as_str())?.parse::<u64>().ok()?; // a date is left to the usual pauses
    Some(Duration::from_secs(secs.min(limits::PULL_MAX_RETRY_AFTER_SECS)))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Scheme, host and port: what a message may say of a URL.
fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn again(why: String) -> Failure {
    Failure::Again { why, after: None }
}

fn stop(wanted: &Wanted, what: &str) -> Failure {
    Failure::Stop(Error::Input(format!("{}: {what}", wanted.name())))
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}
