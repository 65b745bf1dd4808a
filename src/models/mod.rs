//! `deepsweep models`: what there is, fetched and checked.
//!
//! In: words of the command line. Out: lists for a person or a program, files in the store. It makes no model and
//! changes none.

pub mod args;
mod list;
mod verify;

use std::path::PathBuf;

use bytesize::ByteSize;

use self::args::{ModelsCommand, ModelsFlags};
use crate::cli::{S3Flags, StoreFlags};
use crate::error::Error;
use crate::progress::Display;
use crate::scorers::registry::{Entry, Registry};
use crate::scorers::store::{ModelStore, StoreChoice, StoreSettings};
use crate::scorers::{import, precision};
use crate::storage::s3::S3Options;

/// What the command needs of the process that it runs in.
pub struct Around<'a> {
    /// Looks into the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub display: &'a Display,
    /// Where text for a person goes.
    pub print: &'a dyn Fn(&str) -> Result<(), Error>,
}

impl ModelsCommand {
    #[must_use]
    pub fn flags(&self) -> ModelsFlags {
        match self {
            Self::List { flags, .. } | Self::Pull { flags, .. } | Self::Verify { flags, .. } => flags.clone(),
            Self::Import(_) => ModelsFlags::default(),
        }
    }
}

/// # Errors
/// A name that there is none of; files that cannot be had or are not the pinned ones.
pub async fn run(command: &ModelsCommand, around: &Around<'_>) -> Result<(), Error> {
    if let ModelsCommand::Import(args) = command {
        return (around.print)(&import::import(args)?);
    }
    let flags = command.flags();
    let registry = open_registry(&flags.store, around.variable)?;
    let settings = StoreSettings::resolve(&store_choice(&flags.store), s3_options(&flags.s3), around.variable)?;
    let store = ModelStore::new(settings);
    match command {
        ModelsCommand::List { json, .. } => {
            (around.print)(&if *json { list::json(&registry, &store) } else { list::table(&registry, &store) })
        }
        ModelsCommand::Pull { names, .. } => pull(names, &registry, &store, flags.log.quiet, around).await,
        ModelsCommand::Import(_) => Ok(()),
        ModelsCommand::Verify { names, .. } => verify::verify(names, &registry, &store, flags.log.quiet, around).await,
    }
}

/// No names stand for all: the command line lets none through otherwise.
async fn pull(
    names: &[String],
    registry: &Registry,
    store: &ModelStore,
    quiet: bool,
    around: &Around<'_>,
) -> Result<(), Error> {
    let chosen: Vec<&Entry> = match names {
        [] => registry.entries.iter().collect(),
        names => names.iter().map(|name| registry.find(precision::bare(name))).collect::<Result<_, _>>()?,
    };
    for entry in chosen {
        let place = store.fill(&entry.downloads, around.display).await?;
        if !quiet {
            (around.print)(&format!("{}: {} in {place}\n", entry.file.name, size(entry.downloads.size_bytes())))?;
        }
    }
    Ok(())
}

/// The registry that flags or the environment name, or the built-in one.
///
/// # Errors
/// As [`Registry::open`].
pub fn open_registry(flags: &StoreFlags, variable: &dyn Fn(&str) -> Option<String>) -> Result<Registry, Error> {
    let named = flags.registry.clone().or_else(|| variable("DEEPSWEEP_REGISTRY").map(PathBuf::from));
    Registry::open(named.filter(|path| !path.as_os_str().is_empty()).as_deref())
}

/// Flags as they are typed → what a person says about the store.
#[must_use]
pub fn store_choice(flags: &StoreFlags) -> StoreChoice {
    StoreChoice { models: flags.models.clone(), offline: flags.offline }
}

/// Flags as they are typed → how to reach S3.
#[must_use]
pub fn s3_options(flags: &S3Flags) -> S3Options {
    S3Options {
        endpoint_url: flags.endpoint_url.clone(),
        region: flags.region.clone(),
        path_style: flags.path_style,
        anonymous: flags.anonymous,
        conditional_writes: !flags.unconditional_writes,
        ..S3Options::default()
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
