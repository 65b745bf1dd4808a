//! How a run tells its figures: flag, job file or default.

use std::path::PathBuf;

use super::Resolver;
use crate::metrics::settings::{JOB_NAME, default_heartbeat};
use crate::metrics::{MetricsFlags, MetricsSettings};

impl Resolver {
    pub(super) fn metrics(&mut self, flags: MetricsFlags, file: MetricsFlags) -> Result<MetricsSettings, String> {
        let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let default_name = self.job_name.clone().unwrap_or_else(|| JOB_NAME.to_owned());
        let settings = MetricsSettings {
            heartbeat: self.pick("heartbeat", flags.heartbeat, file.heartbeat, default_heartbeat().into()).into(),
            emf: self.switch("emf", flags.emf, file.emf),
            prometheus: self.optional("prometheus", path(flags.prometheus), path(file.prometheus)).map(PathBuf::from),
            job_name: self.pick("job_name", flags.job_name, file.job_name, default_name),
        };
        settings.check()
    }
}
