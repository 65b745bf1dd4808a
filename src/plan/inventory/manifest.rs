//! `manifest.json` of S3 Inventory, taken apart.
//!
//! In: its bytes. Out: which bucket it lists, and the files of the list with their sizes and checksums. Source: "Locating
//! your inventory list" in the user guide of Amazon S3.

use serde::Deserialize;

use crate::plan::columns::Columns;

/// The list of one bucket, as it was delivered.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The bucket that is listed.
    pub source_bucket: String,
    /// The bucket where the files of the list are.
    pub destination_bucket: String,
    pub format: Format,
    pub files: Vec<File>,
}

#[derive(Debug, Clone)]
pub enum Format {
    /// What its columns are; there is no header.
    Csv(Box<CsvSchema>),
    /// Each file says what its columns are.
    Parquet,
}

/// The columns of an inventory in CSV.
#[derive(Debug, Clone)]
pub struct CsvSchema(pub(in crate::plan) Columns);

/// One file of the list.
#[derive(Debug, Clone, Deserialize)]
pub struct File {
    pub key: String,
    #[serde(rename = "size")]
    pub size_bytes: u64,
    #[serde(rename = "MD5checksum")]
    pub md5: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    source_bucket: String,
    destination_bucket: String,
    file_format: String,
    file_schema: String,
    files: Vec<File>,
}

impl Manifest {
    /// # Errors
    /// What it lacks, or a format that is not read.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let written: Written = serde_json::from_slice(bytes).map_err(|error| {
            format!("expected the manifest.json of an S3 Inventory, found: {error}; a list of keys may be .txt, .csv or .parquet")
        })?;
        let format = match written.file_format.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv(Box::new(CsvSchema(Columns::find(written.file_schema.split(','))?))),
            "parquet" => Format::Parquet,
            found => {
                return Err(format!(
                    "fileFormat: expected Parquet or CSV, found {found:?}: choose one of those in the configuration of \
                     the inventory, or select bucket, key, size and e_tag from it into a Parquet file (Athena, DuckDB)"
                ));
            }
        };
        if written.source_bucket.is_empty() {
            return Err("sourceBucket: expected a bucket, found nothing".to_owned());
        }
        // An ARN ends with the name.
        let name = |bucket: &str| bucket.rsplit(':').next().unwrap_or_default().to_owned();
        Ok(Self {
            source_bucket: name(&written.source_bucket),
            destination_bucket: name(&written.destination_bucket),
            format,
            files: written.files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the user guide.
    const EXAMPLE: &str = r#"{
        "sourceBucket": "amzn-s3-demo-source-bucket",
        "destinationBucket": "arn:aws:s3:::example-inventory-destination-bucket",
        "version": "2016-11-30",
        "creationTimestamp" : "1514944800000",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass",
        "files": [{
            "key": "Inventory/amzn-s3-demo-source-bucket/2016-11-06T21-32Z/files/939c6d46-85a9-4ba8-87bd-9db705a579ce.csv.gz",
            "size": 2147483647,
            "MD5checksum": "f11166069f1990abeb9c97ace9cdfabc"
        }]
    }"#;

    #[test]
    fn the_manifest_of_the_user_guide_is_read() {
        let manifest = Manifest::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(manifest.source_bucket, "amzn-s3-demo-source-bucket");
        assert_eq!(manifest.destination_bucket, "example-inventory-destination-bucket");
        assert_eq!(manifest.files.len(), 1);
        assert_eq!(manifest.files[0].size_bytes, 2_147_483_647);
        assert!(matches!(&manifest.format, Format::Csv(schema) if schema.0.width() == 9));
        let parquet = EXAMPLE.replace("\"CSV\"", "\"Parquet\"");
        assert!(matches!(Manifest::parse(parquet.as_bytes()).unwrap().format, Format::Parquet));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_way_out() {
        let orc = EXAMPLE.replace("\"CSV\"", "\"ORC\"");
        let message = Manifest::parse(orc.as_bytes()).unwrap_err();
        assert!(message.starts_with("fileFormat: expected Parquet or CSV, found \"orc\""), "{message}");
        for without in ["sourceBucket", "fileFormat", "fileSchema", "files", "MD5checksum", "size"] {
            let message = Manifest::parse(EXAMPLE.replace(without, "other").as_bytes()).unwrap_err();
            assert!(message.contains(&format!("`{without}`")), "{message}");
        }
    }
}
