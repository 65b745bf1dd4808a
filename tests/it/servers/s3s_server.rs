//! Our own S3 server, inside the test's process, with failures to order.
//!
//! It runs on a thread and a runtime of its own, so that plain tests and tests that start the program
//! can use it alike. One pair of keys is known to it; any other is refused as Amazon refuses it.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use deepsweep::storage::s3::{KeyPair, S3Options};

use super::faults::{Call, Fault, Faults, Operation, Rule, When};
use super::s3s_backend::{Backend, Handle, RESET_HEADER};

pub const ACCESS_KEY: &str = "TESTACCESSKEY";
pub const SECRET_KEY: &str = "test-secret-key";

#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    pub page_objects: usize,
    pub conditional_writes: bool,
    /// `true`: overwrites whatever `If-None-Match` says, as servers that never heard of it.
    pub passes_over_conditions: bool,
    /// `true`: takes unsigned requests, and only those.
    pub anonymous: bool,
    /// `false`: sends no checksums, as older servers.
    pub checksums: bool,
    /// What a call takes at least, up to the beginning of its answer.
    pub answer_after: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            page_objects: 1000,
            conditional_writes: true,
            passes_over_conditions: false,
            anonymous: false,
            checksums: true,
            answer_after: Duration::ZERO,
        }
    }
}

/// Stops when dropped.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    backend: Arc<Backend>,
    stop: Option<oneshot::Sender<()>>,
}

impl S3Server {
    pub fn start() -> Self {
        Self::start_with(ServerOptions::default())
    }

    pub fn start_with(options: ServerOptions) -> Self {
        let backend = Arc::new(Backend {
            buckets: Default::default(),
            faults: Faults::default(),
            page_objects: options.page_objects,
            conditional_writes: options.conditional_writes,
            passes_over_conditions: options.passes_over_conditions,
            checksums: options.checksums,
            answer_after: options.answer_after,
            versions_written: Default::default(),
        });
        let mut builder = S3ServiceBuilder::new(Handle(Arc::clone(&backend)));
        if !options.anonymous {
            builder.set_auth(OnePair);
        }
        let service = builder.build();
        let (tell_address, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&backend);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell_address.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, service, served) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let endpoint = format!("http://{}", address.recv().unwrap());
        Self { endpoint, backend, stop: Some(stop) }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Options by which a store reaches this server, without a look at the environment.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint_url: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            credentials: Some(KeyPair { access_key_id: ACCESS_KEY.into(), secret_access_key: SECRET_KEY.into() }),
            ..S3Options::default()
        }
    }

    /// The environment of a program that is to find this server by standard AWS configuration.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    pub fn create_bucket(&self, bucket: &str) {
        self.backend.buckets.lock().unwrap().entry(bucket.to_owned()).or_default();
    }

    /// Writes past the protocol, the bucket included; returns the ETag.
    pub fn put(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> String {
        let mut buckets = self.backend.buckets.lock().unwrap();
        let bucket = buckets.entry(bucket.to_owned()).or_default();
        self.backend.store(bucket, key, body.into(), Default::default())
    }

    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.backend.buckets.lock().unwrap().get(bucket)?.get(key).map(|stored| stored.body.clone())
    }

    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.backend.buckets.lock().unwrap().get_mut(bucket).is_some_and(|bucket| bucket.remove(key).is_some())
    }

    /// In byte order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = self.backend.buckets.lock().unwrap();
        buckets.get(bucket).map(|bucket| bucket.keys().cloned().collect()).unwrap_or_default()
    }

    /// Every request since the start, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.backend.faults.calls()
    }

    pub fn count(&self, operation: Operation) -> u64 {
        self.backend.faults.count(operation)
    }

    /// The nth call of `operation` from now on fails so.
    pub fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        self.add_rule(Rule { operation: Some(operation), when: When::Nth(nth), fault });
    }

    pub fn add_rule(&self, rule: Rule) {
        self.backend.faults.add(rule);
    }

    /// Such calls of `operation` about `key` fail so.
    pub fn fail_key(&self, operation: Operation, key: &str, when: When, fault: Fault) {
        self.backend.faults.add_for_key(key, Rule { operation: Some(operation), when, fault });
    }

    /// Calls that hang end then, as if the connection was reset.
    pub fn clear_rules(&self) {
        self.backend.faults.clear();
    }

    /// 503 SlowDown to every call that finds more than so many in flight, itself included.
    pub fn throttle_above(&self, calls: usize) {
        self.backend.faults.throttle_above(calls);
    }

    /// How many calls [`S3Server::throttle_above`] turned away.
    pub fn throttled(&self) -> u64 {
        self.backend.faults.throttled()
    }

    /// How many calls a rule hit so far.
    pub fn struck(&self) -> u64 {
        self.backend.faults.struck()
    }

    /// Calls whose answers have not begun.
    pub fn in_flight(&self) -> usize {
        self.backend.faults.in_flight()
    }

    /// The most of them at once since the last time that this was asked.
    pub fn take_max_in_flight(&self) -> usize {
        self.backend.faults.take_max_in_flight()
    }

    /// From the nth call on, of whatever operation, the server answers nothing. The nth itself is `applied` before it hangs;
    /// none behind it is.
    pub fn freeze_at(&self, nth: u64, applied: bool) {
        let fault = if applied { Fault::FreezeAfter } else { Fault::FreezeBefore };
        self.add_rule(Rule { operation: None, when: When::Nth(nth), fault });
    }

    /// Whether the nth call has come and hangs.
    pub fn is_frozen(&self) -> bool {
        self.backend.faults.is_frozen()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service, backend: Arc<Backend>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (service, backend) = (service.clone(), Arc::clone(&backend));
        let answer = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (service, backend) = (service.clone(), Arc::clone(&backend));
            async move {
                let _in_flight = backend.faults.enter();
                match service.call(request.map(s3s::Body::from)).await {
                    // An error instead of an answer makes hyper end the connection.
                    Ok(answer) if answer.headers().contains_key(RESET_HEADER) => {
                        Err(aborted("reset by the test's script"))
                    }
                    Ok(answer) => Ok(answer),
                    Err(error) => Err(aborted(&format!("{error:?}"))),
                }
            }
        });
        tokio::spawn(async move {
            // A connection that a client or a fault ended is what the tests are about.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn aborted(reason: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, reason)
}

struct OnePair;

#[async_trait]
impl S3Auth for OnePair {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match access_key {
            ACCESS_KEY => Ok(SecretKey::from(SECRET_KEY)),
            _ => Err(s3_error!(InvalidAccessKeyId, "The access key id you provided does not exist in our records")),
        }
    }
}
