//! Inventories made in the test, right or wrong as it likes.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::io::Write;

use crate::servers::s3s_server::S3Server;

pub const SCHEMA: &str = "Bucket, Key, Size, LastModifiedDate, ETag";

/// A manifest and its files, in the shape of a delivery.
#[derive(Debug, Clone)]
pub struct Made {
    pub manifest: Value,
    /// By their keys.
    pub files: Vec<(String, Vec<u8>)>,
    /// In manifest.checksum; by itself the right one.
    pub checksum: Option<String>,
}

impl Made {
    pub fn csv(bodies: &[Vec<u8>]) -> Self {
        Self::new("CSV", "csv.gz", bodies)
    }

    pub fn parquet(bodies: &[Vec<u8>]) -> Self {
        Self::new("Parquet", "parquet", bodies)
    }

    fn new(format: &str, ending: &str, bodies: &[Vec<u8>]) -> Self {
        let key = |at| format!("inv/archive/all/data/{at}.{ending}");
        let files: Vec<_> = bodies.iter().enumerate().map(|(at, body)| (key(at), body.clone())).collect();
        let listed: Vec<Value> = files
            .iter()
            .map(|(key, body)| json!({ "key": key, "size": body.len(), "MD5checksum": md5(body) }))
            .collect();
        let manifest = json!({
            "sourceBucket": "archive", "destinationBucket": "arn:aws:s3:::results", "version": "2016-11-30",
            "creationTimestamp": "1514944800000", "fileFormat": format, "fileSchema": SCHEMA, "files": listed,
        });
        Self { manifest, files, checksum: None }
    }

    /// Beside each other; returns the path of the manifest.
    pub fn in_folder(&self, folder: &Path) -> String {
        self.with_files_in(folder, ".")
    }

    pub fn with_files_in(&self, folder: &Path, at: &str) -> String {
        let body = serde_json::to_vec(&self.manifest).unwrap();
        let path = folder.join("manifest.json");
        std::fs::write(&path, &body).unwrap();
        std::fs::write(folder.join("manifest.checksum"), self.checksum.clone().unwrap_or_else(|| md5(&body))).unwrap();
        std::fs::create_dir_all(folder.join(at)).unwrap();
        for (key, body) in &self.files {
            std::fs::write(folder.join(at).join(key.rsplit('/').next().unwrap()), body).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    /// As it is delivered; returns the URI of the manifest.
    pub fn in_bucket(&self, server: &S3Server) -> String {
        let body = serde_json::to_vec(&self.manifest).unwrap();
        let checksum = self.checksum.clone().unwrap_or_else(|| md5(&body));
        server.put("results", "inv/archive/all/2026-11-25T01-00Z/manifest.checksum", checksum);
        server.put("results", "inv/archive/all/2026-11-25T01-00Z/manifest.json", body);
        for (key, body) in &self.files {
            server.put("results", key, body.clone());
        }
        "s3://results/inv/archive/all/2026-11-25T01-00Z/manifest.json".to_owned()
    }
}

pub fn md5(body: &[u8]) -> String {
    Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn gz(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// A row of [`SCHEMA`]; the key is encoded already.
pub fn csv_row(key: &str, size_bytes: u64) -> String {
    format!("\"archive\",\"{key}\",\"{size_bytes}\",\"2016-11-06T21:32:05.000Z\",\"etag-{size_bytes}\"\n")
}
