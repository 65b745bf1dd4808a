//! One setting at a time: a flag beats the job file, which beats the default; each is explained, and those that decide what
//! the rows are become the arguments of the plan.

use std::collections::BTreeMap;
use std::fmt::Display;

use clap::ValueEnum;

use super::{Explained, Origin};

/// Settings of a process and its machine, or of where the run goes: two workers of one run may differ in them.
const NOT_PLANNED: [&str; 23] = [
    "anonymous",
    "device",
    "dt",
    "emf",
    "endpoint_url",
    "ffmpeg",
    "heartbeat",
    "job_name",
    "log",
    "memory",
    "models",
    "offline",
    "out",
    "path_style",
    "prometheus",
    "quiet",
    "region",
    "registry",
    "run_id",
    "scratch",
    "scratch_size",
    "threads",
    "unconditional_writes",
];

#[derive(Debug, Default)]
pub(super) struct Resolver {
    pub explained: Vec<Explained>,
    /// What the job file is called.
    pub job_name: Option<String>,
    /// By the names of settings, in the spelling of the command line; None: a flag without a value.
    planned: BTreeMap<&'static str, Vec<Option<String>>>,
}

impl Resolver {
    pub fn new(job_name: Option<String>) -> Self {
        Self { job_name, ..Self::default() }
    }

    pub fn required(
        &mut self,
        name: &'static str,
        flag: Option<String>,
        file: Option<String>,
        what: &str,
    ) -> Result<String, String> {
        let origin = if flag.is_some() { Origin::Flag } else { Origin::JobFile };
        let value = flag.or(file).ok_or_else(|| format!("{name} is missing: expected {what}"))?;
        self.explain(name, &value, origin);
        self.plan(name, [Some(value.clone())]);
        Ok(value)
    }

    pub fn pick<T: Display>(&mut self, name: &'static str, flag: Option<T>, file: Option<T>, default: T) -> T {
        let (value, origin) = match (flag, file) {
            (Some(value), _) => (value, Origin::Flag),
            (None, Some(value)) => (value, Origin::JobFile),
            (None, None) => (default, Origin::Default),
        };
        self.explain(name, &value, origin);
        self.plan(name, [Some(value.to_string())]);
        value
    }

    pub fn optional<T: Display>(&mut self, name: &'static str, flag: Option<T>, file: Option<T>) -> Option<T> {
        let origin = match (&flag, &file) {
            (Some(_), _) => Origin::Flag,
            (None, Some(_)) => Origin::JobFile,
            (None, None) => Origin::Default,
        };
        let value = flag.or(file);
        match &value {
            Some(value) => self.explain(name, value, origin),
            None => self.explain(name, &unset(name), origin),
        }
        self.plan(name, value.as_ref().map(|value| Some(value.to_string())));
        value
    }

    pub fn list(&mut self, name: &'static str, flag: Vec<String>, file: Vec<String>) -> Vec<String> {
        let given = |list: Vec<String>| (!list.is_empty()).then(|| list.join(" "));
        let value = if flag.is_empty() { file.clone() } else { flag.clone() };
        self.optional(name, given(flag), given(file));
        self.plan(name, value.iter().cloned().map(Some));
        value
    }

    pub fn switch(&mut self, name: &'static str, flag: bool, file: bool) -> bool {
        let origin = match (flag, file) {
            (true, _) => Origin::Flag,
            (false, true) => Origin::JobFile,
            (false, false) => Origin::Default,
        };
        self.explain(name, &(flag || file), origin);
        self.plan(name, (flag || file).then_some(None));
        flag || file
    }

    pub fn explain(&mut self, name: &'static str, value: &dyn Display, origin: Origin) {
        let value = without_password(&value.to_string());
        self.explained.push(Explained { name, value, origin });
    }

    /// Keeps a setting for the plan, in place of what was kept of it.
    pub fn plan(&mut self, name: &'static str, values: impl IntoIterator<Item = Option<String>>) {
        let values: Vec<Option<String>> = values.into_iter().collect();
        if !NOT_PLANNED.contains(&name) && !values.is_empty() {
            self.planned.insert(name, values);
        }
    }

    /// What the plan keeps, as a command line.
    pub fn arguments(&self) -> Vec<String> {
        let flag = |(name, value): (&&'static str, &Option<String>)| {
            let name = name.replace('_', "-");
            value.as_ref().map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}"))
        };
        self.planned.iter().flat_map(|(name, values)| values.iter().map(move |value| flag((name, value)))).collect()
    }
}

/// As the command line spells it.
pub(super) fn name_of<T: ValueEnum>(choice: T) -> String {
    choice.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}

/// What holds where nobody says anything.
fn unset(name: &str) -> &'static str {
    match name {
        "endpoint_url" | "region" | "path_style" => "as AWS configuration has it",
        "ffmpeg" => "the one of PATH",
        _ => "-",
    }
}

/// A URL without whom it is for: what is explained is stored with the run and shown to everybody.
fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) if scheme.starts_with("http") => format!("{scheme}://{host}{path}"),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn what_is_explained_holds_no_password() {
        for (value, shown) in [
            ("https://me:secret@minio:9000/x@y", "https://minio:9000/x@y"),
            ("http://minio:9000", "http://minio:9000"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_password(value), shown);
        }
    }
}
