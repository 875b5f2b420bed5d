//! The passwords of supervisords, from the files that the inventory names.
//!
//! Here lives [`PasswordFiles`]. Invariants: each file is read once, before anything connects; a file that others may
//! write is not used, since they could have put their own password there; one that others may read is warned of.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use ctl_event::{Failure, FailureKind, Stage};
use ctl_local::file::{self, FileContent, ReadBounds};
use ctl_local::process;

/// The largest file, in bytes: a password is short.
const MAX_BYTES: u64 = 64 * 1024;

/// The permission bits with which others may write a file.
const WRITABLE: u32 = 0o022;

/// The passwords by file, and the warnings about the files.
#[derive(Debug, Default)]
pub struct PasswordFiles {
    passwords: BTreeMap<PathBuf, Result<SecretString, Failure>>,
    warnings: Vec<String>,
}

impl PasswordFiles {
    /// Reads these files.
    pub fn read<'f>(files: impl IntoIterator<Item = &'f PathBuf>) -> Self {
        let mut read = Self::default();
        for file in files {
            if !read.passwords.contains_key(file) {
                let password = password(file, &mut read.warnings);
                read.passwords.insert(file.clone(), password);
            }
        }
        read
    }

    /// Warnings about the files for the user, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The password in a file.
    ///
    /// # Errors
    /// Why it is not used.
    pub(crate) fn of(&self, file: &Path) -> Result<&SecretString, Failure> {
        match self.passwords.get(file) {
            Some(Ok(password)) => Ok(password),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(unusable(file, "was not read")),
        }
    }
}

fn password(file: &Path, warnings: &mut Vec<String>) -> Result<SecretString, Failure> {
    process::protect_secrets();
    // A pipe or a device could block the read, or never end.
    let bounds = ReadBounds { max_bytes: MAX_BYTES, patience: file::PATIENCE, only_regular: true };
    let FileContent { bytes, access } = file::read(file, bounds).map_err(|error| {
        let reason = if error.kind() == io::ErrorKind::FileTooLarge {
            "is too large for a password".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        unusable(file, &reason).with_hint("check `password_file` in the inventory")
    })?;
    if let Some(mode) = access.exposed() {
        let remedy = format!("chmod 600 {}", file.display());
        if mode & WRITABLE != 0 {
            let message = format!("can be written by others (mode {mode:04o}), so it is not used");
            return Err(unusable(file, &message).with_hint(remedy));
        }
        warnings
            .push(format!("the password file {} can be read by others (mode {mode:04o}): {remedy}", file.display()));
    }
    let text = String::from_utf8(bytes).map_err(|_| unusable(file, "is not text"))?;
    // Editors end a file with a newline, which is no part of the password.
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

fn unusable(file: &Path, reason: &str) -> Failure {
    Failure::new(Stage::Inspect, FailureKind::Permission, format!("the password file {} {reason}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_file_is_used_if_no_other_user_can_write_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("password");
        let read = || PasswordFiles::read([&path]);
        let missing = read().of(&path).expect_err("no file");
        assert!(missing.message.contains("cannot be read"), "{missing:?}");
        fs::write(&path, "pass word \r\n").expect("written");
        for mode in [0o644, 0o640, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            let read = read();
            assert_eq!(read.of(&path).expect("a password").expose_secret(), "pass word ");
            let remedy = format!("can be read by others (mode {mode:04o}): chmod 600 {}", path.display());
            assert!(matches!(read.warnings(), [warning] if warning.ends_with(&remedy)), "{:?}", read.warnings());
        }
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            let exposed = read().of(&path).expect_err("others may write it");
            assert!(exposed.message.contains(&format!("(mode {mode:04o})")), "{exposed:?}");
            assert_eq!(exposed.hint, Some(format!("chmod 600 {}", path.display())));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        assert_eq!(read().of(&path).expect("a password").expose_secret(), "pass word ");
        assert!(read().warnings().is_empty());
        fs::remove_file(&path).expect("removed");
        assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().expect("mkfifo").success());
        let pipe = read().of(&path).expect_err("a pipe");
        assert!(pipe.message.ends_with("it is not a regular file"), "{pipe:?}");
    }
}
