//! No capabilities, no way to gain any, and a network that is empty.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, no_new_privs, set_capabilities, set_no_new_privs};

use super::{Applied, ContainArgs};

/// What lets root open other users' files.
const OPENS_ALL: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// Moves into a network namespace of its own, which has not even a loopback that is up. Without rights that takes a user
/// namespace, which every process may enter that the system lets; inside, nobody is root of anything outside.
pub fn leave_network(_: &ContainArgs) -> Applied {
    let namespace = || std::fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"));
    let before: PathBuf = namespace()?;
    let network = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    // In a user namespace root is not root of the files outside, and could not open the media again.
    let with_rights = only_rights_open_media();
    let first = if with_rights { network } else { network | CloneFlags::CLONE_NEWUSER };
    unshare(first).or_else(|error| unshare(network).map_err(|_| error)).map_err(|e| {
        format!(
            "no namespace may be made here: {e}; a container grants it with the capability SYS_ADMIN or user namespaces"
        )
    })?;
    if namespace()? == before { Err("the namespace stayed the same".to_owned()) } else { Ok("a namespace".to_owned()) }
}

/// Gives back every capability, but for the one to read where the media cannot be opened without it.
pub fn drop_privileges(_: &ContainArgs) -> Applied {
    set_no_new_privs(true).map_err(|e| format!("no_new_privs: {e}"))?;
    let kept = if only_rights_open_media() { CapabilitySet::DAC_READ_SEARCH } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|e| format!("capabilities: {e}"))?;
    let but = if kept.is_empty() { "" } else { " but reading, which this file needs" };
    Ok(format!("no capabilities{but}, no new privileges"))
}

pub fn prove_privileges(_: &ContainArgs) -> Result<(), String> {
    let found = capabilities(None).map_err(|e| e.to_string())?;
    if !CapabilitySet::DAC_READ_SEARCH.contains(found.permitted | found.effective) {
        return Err(format!("expected no capabilities, found {:?}", found.permitted));
    }
    match no_new_privs() {
        Ok(true) => Ok(()),
        other => Err(format!("no_new_privs: expected true, found {other:?}")),
    }
}

/// Whether the media is another user's and closed to everybody else, and root reads it all the same. Found out by trying,
/// which knows access lists too.
fn only_rights_open_media() -> bool {
    let Ok(had) = capabilities(None) else { return false };
    if !had.effective.intersects(OPENS_ALL) {
        return false;
    }
    let without = CapabilitySets { effective: had.effective - OPENS_ALL, ..had };
    if set_capabilities(None, without).is_err() {
        return false;
    }
    let opened = File::open("/proc/self/fd/0");
    let _ = set_capabilities(None, had);
    opened.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
}
