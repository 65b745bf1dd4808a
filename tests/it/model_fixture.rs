//! A scorer that is small enough to pull in a test, its registry, and the program that pulls it.

use std::path::{Path, PathBuf};

use deepsweep::scorers::registry::Registry;
use deepsweep::scorers::store::Downloads;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::probe::{CONFIG, HIDDEN, IMAGE_PX, Tensors, add, tower};
use crate::program::{Finished, deepsweep, finish};
use crate::servers::hub::{HubServer, sha256};

pub const REPOSITORY: &str = "someone/small-clip";
pub const REVISION: &str = "00112233445566778899aabbccddeeff00112233";

/// The tower's folder below a cache.
pub const TOWER: &str = "hub/someone--small-clip@00112233445566778899aabbccddeeff00112233";

/// Several of the pieces in which it is written, and a rest.
pub const WEIGHTS_BYTES: usize = 3_300_001;

/// A hub with one scorer `small` on it, a registry that pins it, and a folder for the cache.
pub struct Fixture {
    pub hub: HubServer,
    folder: tempfile::TempDir,
}

impl Fixture {
    pub fn start() -> Self {
        let fixture = Self { hub: HubServer::start(), folder: tempfile::tempdir().unwrap() };
        fixture.hub.put(REPOSITORY, REVISION, "config.json", config(), false);
        fixture.hub.put(REPOSITORY, REVISION, "model.safetensors", weights(), true);
        let head_url = fixture.hub.put_at("/heads/fc.pth", head(), false);
        fixture.write_registry(&registry(&head_url, weights().len() as u64));
        fixture
    }

    pub fn write_registry(&self, text: &str) {
        std::fs::write(self.registry(), text).unwrap();
    }

    pub fn registry(&self) -> PathBuf {
        self.folder.path().join("registry.toml")
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.cache().join(TOWER).join(name)
    }

    pub fn downloads(&self) -> Downloads {
        Registry::open(Some(&self.registry())).unwrap().find("small").unwrap().downloads.clone()
    }

    /// `deepsweep models WORDS…`, not started.
    pub fn command(&self, words: &[&str], environment: &[(&'static str, String)]) -> std::process::Command {
        let registry = self.registry().display().to_string();
        let mut arguments = vec!["models"];
        arguments.extend(words);
        arguments.extend(["--registry", &registry]);
        let mut command = deepsweep(&arguments, &[]);
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("DEEPSWEEP_MODELS", self.cache())
            .envs(environment.iter().cloned());
        command
    }

    pub fn models(&self, words: &[&str]) -> Finished {
        finish(self.command(words, &[]))
    }

    /// Pulls, with impatience and whatever else the environment holds.
    pub fn pull(&self, environment: &[(&'static str, String)]) -> Finished {
        let mut command = self.command(&["pull", "small"], &[("HF_HUB_DOWNLOAD_TIMEOUT", "1".to_owned())]);
        command.envs(environment.iter().cloned());
        finish(command)
    }

    /// Every file is there, whole, and nothing else is but the locks.
    pub fn assert_whole(&self) {
        assert_eq!(std::fs::read(self.file("config.json")).unwrap(), config());
        assert!(std::fs::read(self.file("model.safetensors")).unwrap() == weights(), "the weights differ");
        let head = self.cache().join(format!("url/{}/fc.pth", sha256(&self::head())));
        assert_eq!(std::fs::read(head).unwrap(), self::head());
        assert_eq!(names(&self.cache().join(TOWER)), [".lock", "config.json", "model.safetensors"]);
    }
}

pub fn registry(head_url: &str, weights_bytes: u64) -> String {
    format!(
        "[[scorer]]\nname = 'small'\nversion = '1'\nlicence = 'MIT'\nsource = 'a test'\nsummary = 'For tests.'\n\
         input = {{ crop = ['frame', 'box'], margin = 0.3, resize = 'squash', size_px = {IMAGE_PX}, \
         mean = [0.5, 0.5, 0.5], deviation = [0.5, 0.5, 0.5] }}\n\
         embedding = {{ tap = 'pooled', l2 = true }}\nhead.kind = 'linear'\nhead.url = '{head_url}'\n\
         head.pin = {{ sha256 = '{}', size_bytes = {} }}\n\
         [scorer.tower]\nrepository = '{REPOSITORY}'\nrevision = '{REVISION}'\n[scorer.tower.files]\n\
         'config.json' = {{ sha256 = '{}', size_bytes = {} }}\n\
         'model.safetensors' = {{ sha256 = '{}', size_bytes = {weights_bytes} }}\n",
        sha256(&head()),
        head().len(),
        sha256(&config()),
        config().len(),
        sha256(&weights()),
    )
}

pub fn config() -> Vec<u8> {
    CONFIG.as_bytes().to_vec()
}

pub fn head() -> Vec<u8> {
    let mut head = Tensors::new();
    add(&mut head, "weight", &[1, HIDDEN]);
    add(&mut head, "bias", &[1]);
    serialized(&head, 0)
}

/// A tower that can be opened, made longer by a tensor that it does not read.
pub fn weights() -> Vec<u8> {
    const ABOUT: usize = 3_000_000; // as many digits as the right length, so that the header is as long
    let tower = tower();
    let rest = WEIGHTS_BYTES - (serialized(&tower, ABOUT).len() - ABOUT);
    let weights = serialized(&tower, rest);
    assert_eq!(weights.len(), WEIGHTS_BYTES);
    weights
}

/// As safetensors, with `padding` bytes beside: no two places of them alike, so that bytes at the wrong place show.
fn serialized(tensors: &Tensors, padding: usize) -> Vec<u8> {
    let padding: Vec<u8> = (0..padding as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let mut bytes: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name.as_str(), Dtype::F32, shape.clone(), bytes)
        })
        .collect();
    if !padding.is_empty() {
        bytes.push(("padding", Dtype::U8, vec![padding.len()], padding));
    }
    let views =
        bytes.iter().map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// What lies in a folder, hidden files included.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
