//! A hub of models inside the test's process: it redirects large files to a CDN on another port, as the real one does.
//!
//! Comes in: files, and what to do wrong with which request. Goes out: the hub's protocol (`resolve`, X-Linked-Etag,
//! X-Linked-Size, X-Repo-Commit, ETag, ranges, If-Range), and a record of every request with its headers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The part of a redirect that is as good as a password.
pub const SIGNATURE: &str = "X-Signature=s3cr3t";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Hub,
    Cdn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With Retry-After, in seconds, where one is given.
    Status(u16, Option<u64>),
    /// The connection ends without an answer.
    Reset,
    /// No answer ever.
    Hang,
    /// The body breaks off after so many bytes.
    Cut(usize),
    /// The body stops after so many bytes; the connection stays.
    Stall(usize),
    /// The whole file, whatever range was asked for.
    IgnoreRange,
    /// The file is replaced, by itself under another ETag, before the request is served.
    ChangedEtag,
    /// As many bytes as promised, one of them another.
    WrongByte,
    /// A page of a proxy, with status 200.
    Page,
    /// To itself.
    Redirect,
    /// The body comes in pieces of 64 KiB with a pause after each.
    Slow(Duration),
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub host: Host,
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
}

#[derive(Debug, Clone)]
struct Stored {
    body: Bytes,
    /// Lies on the CDN.
    is_large: bool,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Stored>,
    /// Host, how many of its requests are let pass before, and the fault.
    faults: Vec<(Host, u64, Fault)>,
    /// Ordered for every request of a host.
    always: Vec<(Host, Fault)>,
    seen: Vec<Seen>,
    token: Option<String>,
    linked_etag: Option<String>,
    cdn_generation: u64,
    cdn: String,
}

/// Stops when dropped.
#[derive(Debug)]
pub struct HubServer {
    endpoint: String,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
}

impl HubServer {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let cdn = TcpListener::bind("127.0.0.1:0").await.unwrap();
                served.lock().unwrap().cdn = format!("http://{}", cdn.local_addr().unwrap());
                tell.send(hub.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(hub, Host::Hub, Arc::clone(&served)) => {}
                    () = serve(cdn, Host::Cdn, served) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { endpoint: format!("http://{}", told.recv().unwrap()), state, stop: Some(stop) }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A file of a repository; a large one lies on the CDN.
    pub fn put(&self, repository: &str, revision: &str, file: &str, body: impl Into<Bytes>, is_large: bool) {
        self.put_at(&format!("/{repository}/resolve/{revision}/{file}"), body, is_large);
    }

    /// A file at a path; returns its URL.
    pub fn put_at(&self, path: &str, body: impl Into<Bytes>, is_large: bool) -> String {
        self.state.lock().unwrap().files.insert(path.to_owned(), Stored { body: body.into(), is_large });
        format!("{}{path}", self.endpoint)
    }

    /// From now on the hub answers those alone who show this token.
    pub fn require_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    /// The hub states this of every large file, in place of its sha256; empty: nothing.
    pub fn state_etag(&self, etag: &str) {
        self.state.lock().unwrap().linked_etag = Some(etag.to_owned());
    }

    /// The `nth` request to `host` from now on, counted from 1, goes wrong so.
    pub fn fail(&self, host: Host, nth: u64, fault: Fault) {
        self.state.lock().unwrap().faults.push((host, nth, fault));
    }

    pub fn always(&self, host: Host, fault: Fault) {
        self.state.lock().unwrap().always.push((host, fault));
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn seen_by(&self, host: Host) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.host == host).collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

pub fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(listener: TcpListener, host: Host, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        let answer = hyper::service::service_fn(move |request| {
            let state = Arc::clone(&state);
            async move {
                match answer(host, &request, &state) {
                    Action::Answer(answer) => Ok::<_, std::io::Error>(*answer),
                    Action::Hang => std::future::pending().await,
                    // An error instead of an answer makes hyper end the connection.
                    Action::Reset => Err(std::io::Error::other("reset by the test's script")),
                }
            }
        });
        tokio::spawn(async move {
            // A connection that a client or a fault ended is what the tests are about.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

enum Action {
    Answer(Box<Response<reqwest::Body>>),
    Hang,
    Reset,
}

fn answer(host: Host, request: &Request<hyper::body::Incoming>, state: &Mutex<State>) -> Action {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let path = request.uri().path().to_owned();
    let mut state = state.lock().unwrap();
    let seen = Seen {
        host,
        path: path.clone(),
        range: header("range"),
        if_range: header("if-range"),
        authorization: header("authorization"),
    };
    let fault = state.next_fault(host);
    state.seen.push(seen.clone());
    match fault {
        Some(Fault::Hang) => return Action::Hang,
        Some(Fault::Reset) => return Action::Reset,
        Some(Fault::Status(status, retry_after)) => {
            let after = retry_after.map(|secs| ("retry-after", secs.to_string()));
            return reply(status, after.as_slice(), "an error page");
        }
        Some(Fault::Page) => return reply(200, &[("content-type", "text/html".to_owned())], "please log in"),
        Some(Fault::Redirect) => return reply(302, &[("location", path)], ""),
        Some(Fault::ChangedEtag) => state.cdn_generation += 1,
        _ => {}
    }
    let authorised = state.token.as_ref().is_none_or(|token| seen.authorization == Some(format!("Bearer {token}")));
    if host == Host::Hub && !authorised {
        return reply(401, &[("x-error-message", "Access to this model is restricted".to_owned())], "");
    }
    // Some mirrors keep the hub below a path.
    let Some(stored) = state.files.get(path.strip_prefix("/mirror").unwrap_or(&path)).cloned() else {
        return reply(404, &[("x-error-code", "EntryNotFound".to_owned())], "");
    };
    if host == Host::Hub && stored.is_large {
        let mut headers = vec![
            ("location", format!("{}{path}?{SIGNATURE}", state.cdn)),
            ("x-linked-size", stored.body.len().to_string()),
            ("x-repo-commit", path.split('/').rev().nth(1).unwrap_or_default().to_owned()),
        ];
        match state.linked_etag.clone().unwrap_or_else(|| sha256(&stored.body)) {
            etag if etag.is_empty() => {}
            etag => headers.push(("x-linked-etag", format!("\"{etag}\""))),
        }
        return reply(302, &headers, "");
    }
    let etag = format!("\"v{}-{}\"", state.cdn_generation, &sha256(&stored.body)[..8]);
    send(&stored.body, &etag, &seen, fault)
}

fn send(body: &Bytes, etag: &str, seen: &Seen, fault: Option<Fault>) -> Action {
    let asked = seen.range.as_ref().map(|range| {
        let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).expect("one open range");
        from.parse::<usize>().unwrap()
    });
    let same = seen.if_range.as_ref().is_none_or(|asked| asked == etag);
    let from = asked.filter(|_| same && fault != Some(Fault::IgnoreRange));
    if from.is_some_and(|from| from >= body.len()) {
        return reply(416, &[("content-range", format!("bytes */{}", body.len()))], "");
    }
    let mut rest = body.slice(from.unwrap_or(0)..);
    let length = rest.len();
    if fault == Some(Fault::WrongByte) {
        let mut bytes = rest.to_vec();
        bytes[length / 2] ^= 1;
        rest = bytes.into();
    }
    let mut answer = Response::builder().header("etag", etag).header("content-length", length);
    answer = match from {
        Some(from) => answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {from}-{}/{}", body.len() - 1, body.len())),
        None => answer.status(StatusCode::OK),
    };
    let pieces = |bytes: &Bytes| {
        let pieces: Vec<_> = bytes.chunks(64 * 1024).map(|piece| Ok(bytes.slice_ref(piece))).collect();
        futures::stream::iter(pieces)
    };
    let body = match fault {
        Some(Fault::Cut(after)) => {
            let cut = futures::stream::iter([Err(std::io::Error::other("cut by the test's script"))]);
            reqwest::Body::wrap_stream(pieces(&rest.slice(..after.min(length))).chain(cut))
        }
        Some(Fault::Stall(after)) => {
            reqwest::Body::wrap_stream(pieces(&rest.slice(..after.min(length))).chain(futures::stream::pending()))
        }
        Some(Fault::Slow(pause)) => {
            reqwest::Body::wrap_stream(pieces(&rest).then(move |piece: std::io::Result<Bytes>| async move {
                tokio::time::sleep(pause).await;
                piece
            }))
        }
        _ => reqwest::Body::from(rest),
    };
    Action::Answer(Box::new(answer.body(body).unwrap()))
}

fn reply(status: u16, headers: &[(&str, String)], body: &'static str) -> Action {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, value);
    }
    Action::Answer(Box::new(answer.body(reqwest::Body::from(body)).unwrap()))
}

impl State {
    fn next_fault(&mut self, host: Host) -> Option<Fault> {
        let mut due = None;
        self.faults.retain_mut(|(of, nth, fault)| {
            if *of == host {
                *nth -= 1;
                if *nth == 0 {
                    due = Some(*fault);
                }
            }
            *nth > 0
        });
        due.or_else(|| self.always.iter().find(|(of, _)| *of == host).map(|(_, fault)| *fault))
    }
}
