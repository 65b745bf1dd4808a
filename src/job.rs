//! `jobs/*.toml` → the flags that it stands for.
//!
//! A job file is a flat table whose keys are the flags' names with `_` for `-` (and `source`), a list where a flag
//! may be repeated. It goes through the parser of the command line, so both know the same names, units and errors.

use std::path::Path;

use clap::Parser;
use toml::{Table, Value};

use crate::cli::JobFlags;
use crate::error::Error;

/// # Errors
/// A file that cannot be read, is not TOML, or says something no flag says.
pub fn read(path: &Path) -> Result<JobFlags, Error> {
    let named =
        |what: &dyn std::fmt::Display| Error::Usage(format!("job file {:?}: {what}", path.display().to_string()));
    let text = crate::files::read_text(path).map_err(|e| named(&format_args!("cannot be read: {e}")))?;
    parse(&text).map_err(|what| named(&what))
}

fn parse(text: &str) -> Result<JobFlags, String> {
    let table: Table = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut words = vec![];
    for (key, value) in &table {
        if key.contains('-') {
            return Err(format!("expected {:?}, found {key:?}", key.replace('-', "_")));
        }
        push_words(&mut words, key, value)?;
    }
    JobFlags::try_parse_from(words).map_err(|e| {
        // The parser speaks of flags; a reader of the file knows them by its keys.
        let message = e.to_string();
        let what = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        format!("{what} (a key is a flag's name with _ for -; see deepsweep run --help)")
    })
}

fn push_words(words: &mut Vec<String>, key: &str, value: &Value) -> Result<(), String> {
    let flag = format!("--{}", key.replace('_', "-"));
    let mut pair = |value: String| words.push(format!("{flag}={value}"));
    match value {
        // The only flag that takes a word here; the others are there or not.
        Value::Boolean(value) if key == "path_style" => pair(value.to_string()),
        Value::Boolean(true) => words.push(flag),
        Value::Boolean(false) => {}
        Value::String(text) => pair(text.clone()),
        Value::Integer(number) => pair(number.to_string()),
        Value::Float(number) => pair(number.to_string()),
        Value::Datetime(time) => pair(time.to_string()),
        Value::Array(items) => items.iter().try_for_each(|item| push_words(words, key, item))?,
        Value::Table(_) => return Err(format!("{key}: expected a value, found a table")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_job_file_says_what_flags_say() {
        let job = parse(
            "source = 's3://b/p'\nout = 'results'\nmin_face_px = 20\nsuffix = ['.jpg', '.png']\nmemory = '1GiB'\n\
             anonymous = true\nquiet = false\npath_style = false\nmodified_after = 2026-11-01\nmax_failed = 0.5",
        )
        .unwrap();
        assert_eq!(job.source.as_deref(), Some("s3://b/p"));
        assert_eq!(job.flags.min_face_px, Some(20.0));
        assert_eq!(job.flags.suffix, [".jpg", ".png"]);
        assert_eq!(job.flags.machine.memory.unwrap().as_u64(), 1 << 30);
        assert!(job.flags.machine.s3.anonymous && !job.flags.machine.log.quiet);
        assert_eq!(job.flags.machine.s3.path_style, Some(false));
        assert_eq!(job.flags.modified_after.unwrap().to_rfc3339(), "2026-11-01T00:00:00+00:00");
        assert_eq!(job.flags.max_failed, Some(0.5));
    }

    #[test]
    fn a_job_file_with_an_unknown_key_or_a_value_of_another_kind_is_an_error_that_names_it() {
        for (text, named) in [
            ("souce = 'x'", "--souce"),
            ("min_face_px = 'many'", "many"),
            ("min-face-px = 20", "min_face_px"),
            ("[run]\nsource = 'x'", "run"),
            ("source = ", "TOML"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(named), "{text}: {message}");
        }
    }
}
