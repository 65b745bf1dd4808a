//! Where models are kept and where they come from: flags and environment → [`StoreSettings`].
//!
//! In: what a person said, and a way to look into the environment. Out: folders, the hub's address, the token. It
//! touches no network and creates nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use crate::error::Error;
use crate::limits;
use crate::storage::Location;
use crate::storage::s3::S3Options;

const HUB: &str = "https://huggingface.co";

/// What a person says about the store.
#[derive(Debug, Clone, Default)]
pub struct StoreChoice {
    /// A folder or s3://BUCKET/PREFIX.
    pub models: Option<String>,
    pub offline: bool,
}

/// Resolved once.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// A folder: that is the cache. A bucket: what it holds is copied into the cache.
    pub location: Location,
    pub cache: PathBuf,
    pub hub: HubSettings,
    pub s3: S3Options,
}

#[derive(Debug, Clone)]
pub struct HubSettings {
    pub endpoint: Url,
    pub token: Option<Token>,
    /// Nothing is asked of the hub, nor of any other host but a bucket that was named.
    pub offline: bool,
    /// How long a host may send nothing.
    pub silence: Duration,
}

/// Lets its owner read gated models; shows in no message and no log.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(…)")
    }
}

impl StoreSettings {
    /// `variable` looks into the environment; a variable that is empty counts as unset.
    ///
    /// # Errors
    /// A place that is none, an endpoint that is no URL, a token's file that cannot be read.
    pub fn resolve(
        choice: &StoreChoice,
        s3: S3Options,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = choice.models.clone().or_else(|| variable("DEEPSWEEP_MODELS"));
        let location = match named {
            Some(text) => text.parse().map_err(|what| Error::Usage(format!("models: {what}")))?,
            None => Location::Local(default_cache(&variable)?),
        };
        let cache = match &location {
            Location::Local(folder) => folder.clone(),
            Location::S3 { .. } => default_cache(&variable)?,
        };
        let offline = choice.offline || variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value));
        let silence = match variable("HF_HUB_DOWNLOAD_TIMEOUT") {
            Some(text) => match text.parse::<f64>() {
                Ok(secs) if secs > 0.0 && secs <= 3600.0 => Duration::from_secs_f64(secs),
                _ => return Err(wrong("HF_HUB_DOWNLOAD_TIMEOUT", "seconds, up to 3600", &text)),
            },
            None => Duration::from_secs(limits::PULL_SILENCE_SECS),
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let parsed = Url::parse(endpoint.trim_end_matches('/'))
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
            .ok_or_else(|| wrong("HF_ENDPOINT", "https://HOST", &endpoint))?;
        let hub = HubSettings { endpoint: parsed, token: token(&variable)?, offline, silence };
        Ok(Self { location, cache, hub, s3 })
    }
}

fn default_cache(variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
    let caches = user_caches(variable).ok_or_else(|| {
        Error::Usage(
            "models: no folder to keep them in: expected HOME or XDG_CACHE_HOME, found neither; give --models FOLDER \
             or set DEEPSWEEP_MODELS"
                .to_owned(),
        )
    })?;
    Ok(caches.join("deepsweep/models"))
}

fn user_caches(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |path: String| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let home = || absolute(variable("HOME")?).map(|home| home.join(".cache"));
    variable("XDG_CACHE_HOME").and_then(absolute).or_else(home)
}

/// As the hub's own tools look for it: the variable, else the file that `hf auth login` writes.
fn token(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Token>, Error> {
    if let Some(token) = variable("HF_TOKEN") {
        return Ok(clean(&token));
    }
    let named = variable("HF_TOKEN_PATH").map(PathBuf::from);
    let usual = || {
        let home = variable("HF_HOME").map(PathBuf::from);
        Some(home.or_else(|| Some(user_caches(variable)?.join("huggingface")))?.join("token"))
    };
    match named {
        Some(path) => read(&path).map(|token| clean(&token)).map_err(|e| {
            Error::Usage(format!("HF_TOKEN_PATH {:?}: the token cannot be read: {e}", path.display().to_string()))
        }),
        None => Ok(usual().and_then(|path| read(&path).ok()).and_then(|token| clean(&token))),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    crate::files::read_text(path)
}

/// What no header can carry is no token.
fn clean(text: &str) -> Option<Token> {
    let token = text.trim();
    (!token.is_empty() && token.chars().all(|c| c.is_ascii_graphic())).then(|| Token(token.to_owned()))
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

fn wrong(name: &str, expected: &str, found: &str) -> Error {
    Error::Usage(format!("{name}: expected {expected}, found {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(models: Option<&str>, environment: &[(&str, &str)]) -> Result<StoreSettings, Error> {
        let choice = StoreChoice { models: models.map(str::to_owned), offline: false };
        let variable =
            |name: &str| environment.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        StoreSettings::resolve(&choice, S3Options::default(), &variable)
    }

    #[test]
    fn the_cache_is_the_users_unless_somebody_names_another() {
        let home = ("HOME", "/home/u");
        for (models, environment, cache) in [
            (None, vec![home], "/home/u/.cache/deepsweep/models"),
            (None, vec![home, ("XDG_CACHE_HOME", "/scratch")], "/scratch/deepsweep/models"),
            (None, vec![home, ("XDG_CACHE_HOME", "relative")], "/home/u/.cache/deepsweep/models"),
            (None, vec![home, ("DEEPSWEEP_MODELS", "/models")], "/models"),
            (Some("here"), vec![home, ("DEEPSWEEP_MODELS", "/models")], "here"),
            (Some("s3://b/p"), vec![home], "/home/u/.cache/deepsweep/models"),
        ] {
            assert_eq!(resolved(models, &environment).unwrap().cache, Path::new(cache), "{models:?} {environment:?}");
        }
        assert!(resolved(None, &[]).unwrap_err().to_string().contains("--models FOLDER"));
    }

    #[test]
    fn the_hub_is_where_its_own_variables_say() {
        let home = ("HOME", "/nonexistent");
        let hub = |more: &[(&str, &str)]| resolved(None, &[&[home], more].concat()).map(|settings| settings.hub);
        let plain = hub(&[]).unwrap();
        assert_eq!(plain.endpoint.as_str(), "https://huggingface.co/");
        assert!(!plain.offline && plain.token.is_none());
        let other = hub(&[("HF_ENDPOINT", "http://mirror:8080/hf/"), ("HF_HUB_OFFLINE", "true")]).unwrap();
        assert_eq!(other.endpoint.as_str(), "http://mirror:8080/hf");
        assert!(other.offline && !hub(&[("HF_HUB_OFFLINE", "0")]).unwrap().offline);
        for (name, value) in [("HF_ENDPOINT", "huggingface.co"), ("HF_HUB_DOWNLOAD_TIMEOUT", "soon")] {
            let message = hub(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(value), "{message}");
        }
    }

    #[test]
    fn the_token_is_found_where_the_hubs_tools_put_it_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hf_secret\n").unwrap();
        let place = folder.path().to_str().unwrap();
        let home = ("HOME", "/nonexistent");
        for environment in [
            vec![home, ("HF_TOKEN", "hf_secret")],
            vec![home, ("HF_TOKEN_PATH", path.to_str().unwrap())],
            vec![home, ("HF_HOME", place)],
        ] {
            let hub = resolved(None, &environment).unwrap().hub;
            assert_eq!(hub.token.as_ref().unwrap().secret(), "hf_secret", "{environment:?}");
            assert!(!format!("{hub:?}").contains("hf_secret"));
        }
        assert!(resolved(None, &[home, ("HF_TOKEN_PATH", "/no/such")]).is_err());
        assert!(resolved(None, &[home, ("HF_TOKEN", "two\nlines")]).unwrap().hub.token.is_none());
    }
}
