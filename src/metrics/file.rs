//! The file that Prometheus' textfile collector reads: replaced whole, so that nobody ever reads half of it.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::prometheus;
use crate::error::Error;
use crate::files;

#[derive(Debug)]
pub struct PrometheusFile {
    path: PathBuf,
    /// In seconds since 1970, as an earlier run left it there: it stands until a run succeeds again.
    pub last_success: Option<i64>,
}

impl PrometheusFile {
    /// # Errors
    /// `Input` where something else stands there than what a run has written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let wrong = |what: &dyn std::fmt::Display| Error::Input(format!("--prometheus {}: {what}", path.display()));
        let earlier = match files::read_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(&error)),
        };
        if !earlier.is_empty() && !prometheus::is_ours(&earlier) {
            return Err(wrong(&"expected a file of an earlier run or none, found another one: it would be replaced"));
        }
        Ok(Self { path: path.to_owned(), last_success: prometheus::last_success(&earlier) })
    }

    /// # Errors
    /// `Input` where the folder is missing or full, or may not be written to.
    pub fn write(&self, text: &str) -> Result<(), Error> {
        self.replace(text).map_err(|error| {
            let path = self.path.display();
            Error::Input(format!("--prometheus {path}: expected a folder that can be written to, found: {error}"))
        })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The collector reads what ends in .prom, as another user.
        let permissions = Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new()
            .prefix(".deepsweep-")
            .suffix(".tmp")
            .permissions(permissions)
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(&self.path).map_err(|refused| refused.error)?;
        Ok(())
    }
}
