//! How a run is named on a command line.

use std::str::FromStr;

/// A run by its place: `DEST/_runs/RUN_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlace {
    /// As a location is typed.
    pub out: String,
    pub run_id: String,
}

impl FromStr for RunPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected DEST/_runs/RUN_ID, a folder or s3://BUCKET/PREFIX/_runs/RUN_ID, found {text:?}");
        let trimmed = text.trim_end_matches('/');
        let folder = trimmed.strip_suffix("/SUCCESS.json").unwrap_or(trimmed).trim_end_matches('/');
        let (above, run_id) = folder.rsplit_once('/').ok_or_else(wrong)?;
        let above = above.trim_end_matches('/');
        let out = match above.strip_suffix("_runs") {
            Some("") => ".", // typed where the results are
            Some(out) if out.ends_with('/') => out,
            _ => return Err(wrong()),
        };
        if run_id.is_empty() {
            return Err(wrong());
        }
        // `s3://bucket/` and `/` are places; what else ends with a slash is one without it too.
        let trimmed = out.trim_end_matches('/');
        let out = if trimmed.is_empty() || trimmed.ends_with(':') { out } else { trimmed };
        Ok(Self { out: out.to_owned(), run_id: run_id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::RunPlace;

    #[test]
    fn a_run_is_known_by_its_folder_however_it_is_typed() {
        for (text, out, run_id) in [
            ("results/_runs/a", "results", "a"),
            ("results/_runs/a/", "results", "a"),
            ("results/_runs/a/SUCCESS.json", "results", "a"),
            ("_runs/a", ".", "a"),
            ("/_runs/a", "/", "a"),
            ("s3://bucket/_runs/a/", "s3://bucket", "a"),
            ("s3://bucket/x/y/_runs/a", "s3://bucket/x/y", "a"),
        ] {
            let expected = RunPlace { out: out.to_owned(), run_id: run_id.to_owned() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "a", "results/a", "results/_runs", "results/_runs/", "results/x_runs/a", "s3://_runs/a/b"] {
            assert!(text.parse::<RunPlace>().is_err(), "{text}");
        }
    }
}
