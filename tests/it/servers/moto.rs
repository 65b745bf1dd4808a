//! moto, an S3 server that somebody else wrote: where it and ours agree, we have read the protocol right.
//!
//! Found by `DEEPSWEEP_MOTO_SERVER`, the path of the executable, which `tests/run.sh` installs and sets.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deepsweep::storage::s3::{KeyPair, S3Options};

const VARIABLE: &str = "DEEPSWEEP_MOTO_SERVER";

/// Importing its Python takes 2 s, on a busy machine ten times that.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// So few to a page that every listing of a test has several.
const PAGE_OBJECTS: &str = "7";

/// Killed when dropped.
#[derive(Debug)]
pub struct MotoServer {
    child: Child,
    endpoint: String,
}

impl MotoServer {
    pub fn start() -> Self {
        let Ok(program) = std::env::var(VARIABLE) else {
            panic!("{VARIABLE} is not set: expected the path of moto_server 5.2.5; run tests/run.sh, which installs it")
        };
        // Free now; another process may take it first, and then the server ends and we say so.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_S3_DEFAULT_MAX_KEYS", PAGE_OBJECTS)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{VARIABLE}={program:?} does not start: {error}"));
        let mut server = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let give_up = Instant::now() + READY_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("{program:?} ended before it was ready: {status}");
            }
            assert!(Instant::now() < give_up, "{program:?} was not ready after {READY_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint_url: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            credentials: Some(KeyPair { access_key_id: "testing".into(), secret_access_key: "testing".into() }),
            ..S3Options::default()
        }
    }

    /// The environment of a program that is to find this server by standard AWS configuration.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
        ]
    }

    /// A client that bypasses our store, to set up and to look behind its back.
    pub fn client(&self) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new("testing", "testing", None, None, "test"));
        aws_sdk_s3::Client::from_conf(config.build())
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
