//! Whether another user can have written a file that decides about actions on nodes.
//!
//! Invariants: a file that was found and not named is refused where another user can have put it there or can
//! change it, as ssh refuses such a configuration and Ansible ignores one in a folder that all may write to; one that was
//! named is used, with a warning.

use std::path::Path;

use crate::error::CliError;
use crate::terminal;
use ctl_local::account;
use ctl_local::file::FileAccess;

/// Others may write to it; and those of its group may.
const OTHERS: u32 = 0o002;
const GROUP: u32 = 0o020;
/// Only who owns a file in such a folder may move it away.
const STICKY: u32 = 0o1000;

/// Judges a file that nobody has named.
///
/// # Errors
/// If another user may write it.
pub fn found(path: &Path, access: FileAccess) -> Result<(), CliError> {
    let Some(reason) = refusal(path, access) else {
        // Not refused; a group that may write is still worth a warning.
        named(path, access);
        return Ok(());
    };
    let shown = path.display();
    let here = if path.is_absolute() { "" } else { "./" };
    Err(CliError::usage(format!("{shown} is refused: {reason}"))
        .with_hint(format!("if it is the right one, give it with -i {here}{shown}")))
}

/// Why a file that nobody has named is refused, if it is.
pub fn refusal(path: &Path, access: FileAccess) -> Option<String> {
    // A bare file name lies in the current directory.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::metadata(folder).ok().map(|metadata| FileAccess::from(&metadata));
    if access.is_foreign() {
        Some(format!("it belongs to another user (uid {})", access.uid))
    } else if access.mode & OTHERS != 0 {
        Some(format!("any user can write to it (mode {:04o})", access.mode))
    } else if folder.is_some_and(|folder| folder.mode & (OTHERS | STICKY) == OTHERS) {
        // Without the sticky bit, anybody who may write to the folder may put another file in place of this one.
        Some("any user can replace it: everyone can write to its directory".to_owned())
    } else {
        None
    }
}

/// Warns of a file that was named.
pub fn named(path: &Path, access: FileAccess) {
    let shown = path.display();
    match writer(access) {
        Some(FileWriter::Owner) => {
            terminal::say(&format!("warning: {shown} belongs to another user (uid {}), who can change it", access.uid))
        }
        Some(FileWriter::Mode(who)) => terminal::say(&format!(
            "warning: {who} can write to {shown} (mode {:04o}): chmod go-w {shown}",
            access.mode
        )),
        None => {}
    }
}

/// Why a file is no safe source of commands: another user can write to it.
pub fn foreign_writer(path: &Path, access: FileAccess) -> Option<String> {
    let shown = path.display();
    match writer(access)? {
        FileWriter::Owner => Some(format!("{shown} belongs to another user (uid {})", access.uid)),
        FileWriter::Mode(who) => Some(format!("{who} can write to {shown} (mode {:04o})", access.mode)),
    }
}

/// Another user who can write to a file.
enum FileWriter {
    /// Its owner.
    Owner,
    /// Those whom its mode allows it.
    Mode(&'static str),
}

fn writer(access: FileAccess) -> Option<FileWriter> {
    // A pipe or process substitution has no meaningful owner or mode.
    if !access.is_regular {
        return None;
    }
    if access.is_foreign() {
        return Some(FileWriter::Owner);
    }
    if access.mode & OTHERS != 0 {
        return Some(FileWriter::Mode("any user"));
    }
    // A user's private group has no other member, so its bit is harmless.
    (access.mode & GROUP != 0 && !account::is_private_group(access.gid)).then_some(FileWriter::Mode("its group"))
}
