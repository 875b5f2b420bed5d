//! Reads the text of a source's files, within limits.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fleet::{ImportError, SourcePlace};
use ctl_local::file::{self, FileAccess, ReadBounds};

/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Maximum number of entries of a directory.
const MAX_ENTRIES: usize = 100_000;

/// A file with its text.
pub(crate) struct SourceFile {
    pub(crate) path: Arc<Path>,
    pub(crate) text: String,
    pub(crate) access: FileAccess,
}

/// Reads a file.
///
/// # Errors
/// A file that cannot be read, is too large, or is not UTF-8.
pub(crate) fn read(path: &Path) -> Result<SourceFile, ImportError> {
    let bounds = ReadBounds { max_bytes: MAX_FILE, patience: file::PIPE_PATIENCE, only_regular: false };
    let shared: Arc<Path> = path.into();
    let error = |line, message: String| Err(ImportError::new(SourcePlace::new(&shared, line), message));
    let content = match file::read(path, bounds) {
        Ok(content) => content,
        Err(failure) => {
            let message = if failure.kind() == io::ErrorKind::NotFound {
                "no such file or directory".to_owned()
            } else if failure.kind() == io::ErrorKind::FileTooLarge {
                format!("it is larger than {} MiB", MAX_FILE >> 20)
            } else {
                format!("cannot read it: {failure}")
            };
            return error(0, message);
        }
    };
    match String::from_utf8(content.bytes) {
        Ok(text) => {
            // Some editors begin a file with a byte order mark.
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            Ok(SourceFile { path: shared, text, access: content.access })
        }
        Err(failure) => {
            let valid = failure.as_bytes().get(..failure.utf8_error().valid_up_to()).unwrap_or_default();
            error(1 + valid.iter().filter(|byte| **byte == b'\n').count(), "this is not UTF-8 text".to_owned())
        }
    }
}

/// The names in a directory, sorted as Ansible and shells sort them.
///
/// # Errors
/// A directory that cannot be read, or with too many entries.
pub(crate) fn entries(path: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let place = || SourcePlace::new(&path.into(), 0);
    let owned = path.to_owned();
    let listed = ctl_local::within(file::PATIENCE, move || -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&owned)?.take(MAX_ENTRIES + 1);
        entries.map(|entry| Ok(entry?.path())).collect()
    });
    let mut listed = listed
        .and_then(|listed| listed)
        .map_err(|error| ImportError::new(place(), format!("cannot read the directory: {error}")))?;
    if listed.len() > MAX_ENTRIES {
        return Err(ImportError::new(place(), format!("the directory has more than {MAX_ENTRIES} entries")));
    }
    listed.sort();
    Ok(listed)
}

/// Whether a path is a directory. A dead mount counts as none.
pub(crate) fn is_directory(path: &Path) -> bool {
    let owned = path.to_owned();
    ctl_local::within(file::PATIENCE, move || owned.is_dir()).unwrap_or(false)
}
