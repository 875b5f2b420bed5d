//! Where the holder of the connections listens, and who may listen there.
//!
//! Here live [`HolderPlace`] and [`check_peer`]. Invariants: the directory belongs to the user of this process and
//! is closed to others; the other end of every connection is a process of the same user. Uses nothing of ours.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::getuid;
use tokio::net::UnixStream;

/// The language of the two ends. Whatever changes it gets a new number: ends with different ones never meet, since the
/// socket is named after it.
const PROTOCOL: u32 = 1;

/// The directory of the user's sockets, and the names in it.
#[derive(Debug, Clone)]
pub struct HolderPlace {
    directory: PathBuf,
    version: String,
}

/// Why connections cannot be kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlaceError {
    /// There is no directory for sockets of the user.
    #[error(
        "no directory for the socket: XDG_RUNTIME_DIR is not set, and {} does not exist; set XDG_RUNTIME_DIR to a directory \
         that only you can use",
        usual.display()
    )]
    None {
        /// The usual directory.
        usual: PathBuf,
    },
    /// The directory is not usable.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is not the user's own, or others may use it.
    #[error("{} {reason}, so it is not used", path.display())]
    NotOwn {
        /// The directory or socket.
        path: PathBuf,
        /// Whose it is, or who may use it.
        reason: String,
    },
}

impl HolderPlace {
    /// The place for this program, which is made if it is not there.
    ///
    /// # Errors
    /// If there is no directory for it, or others may use it.
    pub fn of_user() -> Result<Self, PlaceError> {
        let place = Self::existing()?;
        let directory = &place.directory;
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(directory, &error)),
        }
        check_directory(directory)?;
        Ok(place)
    }

    /// The same place, whether or not it is there.
    ///
    /// # Errors
    /// If there is no directory for it.
    pub fn existing() -> Result<Self, PlaceError> {
        let usual = PathBuf::from(format!("/run/user/{}", getuid().as_raw()));
        let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        // A login by `su` or a cron job has no variable; the directory may be there all the same.
        let Some(base) = named.or_else(|| usual.is_dir().then(|| usual.clone())) else {
            return Err(PlaceError::None { usual });
        };
        let version = format!("{}-{PROTOCOL}", env!("CARGO_PKG_VERSION"));
        Ok(Self { directory: base.join("ctl"), version })
    }

    /// The socket of a holder that speaks this program's language.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join(format!("connections-{}.sock", self.version))
    }

    /// The sockets of holders that speak another one.
    pub(crate) fn other_sockets(&self) -> Vec<PathBuf> {
        let own = self.socket();
        let entries = fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
        let is_socket = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("connections-") && name.ends_with(".sock") && *path != own
        };
        entries.map(|entry| entry.path()).filter(is_socket).collect()
    }

    /// Waits until no other process starts or ends a holder. Blocks.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let path = self.directory.join(format!("connections-{}.lock", self.version));
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// Checks the directory once more: before a secret goes there.
    ///
    /// # Errors
    /// [`PlaceError::NotOwn`], [`PlaceError::Unusable`].
    pub(crate) fn check(&self) -> Result<(), PlaceError> {
        check_directory(&self.directory)
    }
}

fn unusable(path: &Path, error: &io::Error) -> PlaceError {
    PlaceError::Unusable { path: path.to_owned(), reason: error.to_string() }
}

fn check_directory(path: &Path) -> Result<(), PlaceError> {
    // Not the target of a link: somebody else could point it elsewhere.
    let found = fs::symlink_metadata(path).map_err(|error| unusable(path, &error))?;
    let not_own = |reason: String| Err(PlaceError::NotOwn { path: path.to_owned(), reason });
    if !found.is_dir() {
        return not_own("is not a directory".to_owned());
    }
    if found.uid() != getuid().as_raw() {
        return not_own(format!("belongs to UID {} and must be yours", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return not_own(format!("is open to other users (mode {:04o}) and must have mode 0700", found.mode() & 0o7777));
    }
    Ok(())
}

/// Checks that the other end is a process of this user.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if it is not.
pub(crate) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != getuid().as_raw() {
        let reason = format!("the other end is a process of UID {peer}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_an_own_directory_that_is_closed_is_used() {
        let base = tempfile::tempdir().expect("temporary directory");
        let path = base.path().join("ctl");
        assert!(matches!(check_directory(&path), Err(PlaceError::Unusable { .. })));
        fs::create_dir(&path).expect("made");
        for (mode, is_fine) in [(0o700, true), (0o750, false), (0o701, false), (0o777, false), (0o500, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(check_directory(&path).is_ok(), is_fine, "{mode:o}");
        }
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        assert!(matches!(check_directory(&link), Err(PlaceError::NotOwn { .. })));
    }

    #[test]
    fn sockets_of_other_versions_are_found() {
        let base = tempfile::tempdir().expect("temporary directory");
        let place = HolderPlace { directory: base.path().to_owned(), version: "2.0.0-1".to_owned() };
        for name in ["connections-2.0.0-1.sock", "connections-1.9.0-1.sock", "connections-1.9.0-1.lock", "other.sock"] {
            File::create(base.path().join(name)).expect("made");
        }
        assert_eq!(place.other_sockets(), [base.path().join("connections-1.9.0-1.sock")]);
    }
}
