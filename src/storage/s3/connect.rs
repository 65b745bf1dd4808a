//! From options and the standard AWS configuration to a client.
//!
//! Comes in: [`S3Options`], environment, profile. Goes out: a client whose every wait has an end. It
//! never starts without credentials, so that the first message a person reads is about them.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};

use super::errors::{Failure, Place, causes};
use super::pace::{Pace, Watch};
use super::{Link, S3Options};
use crate::storage::StoreError;

/// A handshake across the globe takes under a second; beyond this the host is gone.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the request to the first byte of the answer; S3 itself gives up on a request after 20 s.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// One try of a request without its streamed body: a page of 1,000 long keys over a poor link.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest pause between two tries; S3 lifts a throttle sooner.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Where nothing names a region: what servers other than Amazon's expect, and where Amazon's redirects start.
const FALLBACK_REGION: &str = "us-east-1";

/// Environment variable that beats `AWS_ENDPOINT_URL` for S3 alone.
const ENDPOINT_OF_S3: &str = "AWS_ENDPOINT_URL_S3";

pub(super) async fn connect(bucket: &str, options: &S3Options) -> Result<Link, StoreError> {
    let shared = load(options).await;
    if !options.anonymous {
        credentials_of(&shared).await?;
    }
    let endpoint_url = options
        .endpoint_url
        .clone()
        .or_else(|| std::env::var(ENDPOINT_OF_S3).ok().filter(|url| !url.is_empty()))
        .or_else(|| shared.endpoint_url().map(str::to_owned));
    let custom = match &endpoint_url {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            let detail = "expected http://HOST or https://HOST, found neither".to_owned();
            return Err(StoreError::Permanent { what: format!("S3 endpoint {url:?}"), detail });
        }
        Some(url) => !url.contains(".amazonaws."),
        None => false,
    };
    let pace = Arc::new(Pace::new(options.throttle_patience));
    let mut config = Builder::from(&shared)
        .interceptor(Watch { pace: Arc::clone(&pace), throttles: options.throttles.clone() })
        .force_path_style(options.path_style.unwrap_or(custom))
        .retry_config(RetryConfig::standard().with_max_attempts(options.max_attempts).with_max_backoff(MAX_BACKOFF))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(options.stalled_after).build())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Some(url) = &endpoint_url {
        config = config.endpoint_url(url);
    }
    // A server that knows no checksums passes over the question. Whoever has one that lies says so as the SDK has it:
    // AWS_RESPONSE_CHECKSUM_VALIDATION=when_required.
    let checksums = shared.response_checksum_validation() != Some(ResponseChecksumValidation::WhenRequired);
    if custom {
        // R2, B2, ECS and older MinIO refuse the checksums that the SDK adds by default; the signature
        // covers the body all the same.
        config = config
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    let region = match (shared.region(), custom) {
        (Some(region), _) => region.to_string(),
        (None, true) => FALLBACK_REGION.to_owned(),
        (None, false) => {
            let anywhere = config.clone().region(Region::from_static(FALLBACK_REGION)).build();
            region_of_bucket(&Client::from_conf(anywhere), bucket).await?
        }
    };
    let client = Client::from_conf(config.region(Region::new(region.clone())).build());
    let endpoint = endpoint_url.unwrap_or_else(|| "Amazon S3".to_owned());
    tracing::info!(bucket, endpoint, region, anonymous = options.anonymous, "S3 is set up");
    let place = Place { bucket: bucket.to_owned(), endpoint, region };
    let S3Options { conditional_writes, put_timeout, .. } = *options;
    let served_key = Arc::default();
    Ok(Link { client, place, pace, served_key, checksums, conditional_writes, put_timeout, exclude: None })
}

async fn load(options: &S3Options) -> SdkConfig {
    // Not the instance's own region: it costs seconds where there is no instance, and says nothing
    // about where the bucket is.
    let region = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
    match (&options.credentials, options.anonymous) {
        (_, true) => loader.no_credentials(),
        (Some(pair), false) => {
            let secret = pair.secret_access_key.as_str();
            loader.credentials_provider(Credentials::new(&pair.access_key_id, secret, None, None, "options"))
        }
        (None, false) => loader,
    }
    .load()
    .await
}

/// Which credentials a store would use, and who provides them, for a person to read. No secret.
///
/// # Errors
/// `Denied` where none are found.
pub async fn find_credentials(options: &S3Options) -> Result<String, StoreError> {
    let found = credentials_of(&load(options).await).await?;
    // The provider's name shows in no other way.
    let shown = format!("{found:?}");
    let provider = shown.split_once("provider_name: \"").and_then(|(_, rest)| rest.split_once('"'));
    let provider = provider.map_or("an unnamed provider", |(name, _)| name);
    Ok(format!("access key {}, by {provider}", found.access_key_id()))
}

async fn credentials_of(shared: &SdkConfig) -> Result<Credentials, StoreError> {
    let found = match shared.credentials_provider() {
        Some(provider) => match provider.provide_credentials().await {
            // Somebody has them, and was slow or out of order: a thousand children that start at once see that.
            Err(error @ (CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_))) => {
                let what = "AWS credentials".to_owned();
                return Err(StoreError::Transient { what, detail: causes(&error) });
            }
            found => found.map_err(|error| causes(&error)),
        },
        None => Err("no provider is configured".to_owned()),
    };
    let reason = match found {
        Ok(credentials) => return Ok(credentials),
        Err(reason) => reason,
    };
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" "); // the SDK lists the chain in lines
    Err(StoreError::Denied {
        what: "AWS credentials".to_owned(),
        detail: format!(
            "no AWS credentials found: looked into the environment, the profile, web identity, container and instance; \
             set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the machine a role, \
             or use --anonymous for a public bucket ({reason})"
        ),
    })
}

/// Amazon names a bucket's region in the answer to HEAD, whatever else that answer says.
async fn region_of_bucket(client: &Client, bucket: &str) -> Result<String, StoreError> {
    let place =
        Place { bucket: bucket.to_owned(), endpoint: "Amazon S3".to_owned(), region: FALLBACK_REGION.to_owned() };
    let failure = match client.head_bucket().bucket(bucket).send().await {
        Ok(found) => return Ok(found.bucket_region().unwrap_or(FALLBACK_REGION).to_owned()),
        Err(error) => Failure::of("HeadBucket", &error),
    };
    match failure {
        Failure { bucket_region: Some(region), .. } => Ok(region),
        Failure { status: None | Some(404), .. } => Err(failure.into_store_error(&place, None)),
        _ => Err(StoreError::Permanent {
            what: format!("s3://{bucket}"),
            detail: format!(
                "no region is configured and the bucket's could not be found, set AWS_REGION: {}",
                failure.into_store_error(&place, None)
            ),
        }),
    }
}
