//! Files that the user names or ssh_config does: read whole, within a size and a time.
//!
//! What always holds: no more than [`ReadBounds::max_bytes`] is read, whatever a file says of its length; a pipe that nobody
//! writes to and a mount that is dead are given up after [`ReadBounds::patience`]; who owns a file and who may write to it
//! is told of the very file that was read.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

/// How long a small file may take, such as a key.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a file may take that a command may be writing at the other end of a pipe: `-i <(generate)`.
pub const PIPE_PATIENCE: Duration = Duration::from_secs(120);

/// Within what a file is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadBounds {
    /// The largest content, in bytes.
    pub max_bytes: u64,
    /// The longest time.
    pub patience: Duration,
    /// Whether pipes and devices are refused.
    pub only_regular: bool,
}

/// What a file holds, and whose it is.
#[derive(Debug)]
pub struct FileContent {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Who may change it.
    pub access: FileAccess,
}

/// Who may read and write a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAccess {
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// Whether it is a plain file, and no pipe or device.
    pub is_regular: bool,
}

impl From<&Metadata> for FileAccess {
    fn from(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
            is_regular: metadata.is_file(),
        }
    }
}

impl FileAccess {
    /// Whether its owner is neither the user of this process nor root.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self.uid != 0 && self.uid != rustix::process::geteuid().as_raw()
    }

    /// The permission bits, if others may read or write what only its user should. As ssh judges a private key: of another
    /// user's file that user decides, as far as it is kept from everybody.
    #[must_use]
    pub fn exposed(self) -> Option<u32> {
        let kept = if self.uid == rustix::process::geteuid().as_raw() { 0o077 } else { 0o027 };
        (self.is_regular && self.mode & kept != 0).then_some(self.mode)
    }
}

/// Reads a file.
///
/// # Errors
/// [`io::ErrorKind::IsADirectory`]; [`io::ErrorKind::FileTooLarge`]; [`io::ErrorKind::TimedOut`], whose text says what
/// was waited for; [`io::ErrorKind::InvalidInput`] for what is refused by [`ReadBounds::only_regular`]; those of the system.
pub fn read(path: &Path, bounds: ReadBounds) -> io::Result<FileContent> {
    let file = path.to_owned();
    match super::within(bounds.patience, move || read_now(&file, bounds)) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let seconds = bounds.patience.as_secs();
            let what = format!("cannot read it within {seconds} s: a dead mount, or a pipe without a writer");
            Err(io::Error::new(io::ErrorKind::TimedOut, what))
        }
        read => read?,
    }
}

/// Whether there is something of that name. Where a dead mount does not answer in time it is taken to be there: whoever
/// reads it then says why it cannot be read.
#[must_use]
pub fn exists(path: &Path) -> bool {
    let path = path.to_owned();
    super::within(PATIENCE, move || path.exists()).unwrap_or(true)
}

fn read_now(path: &Path, bounds: ReadBounds) -> io::Result<FileContent> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    if bounds.only_regular {
        // To open a pipe would wait for its writer.
        flags |= OFlags::NONBLOCK;
    }
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if bounds.only_regular && !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > bounds.max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // A pipe says that it has no length.
    let mut bytes = Vec::new();
    file.take(bounds.max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bounds.max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(FileContent { bytes, access: FileAccess::from(&metadata) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    const BOUNDS: ReadBounds = ReadBounds { max_bytes: 8, patience: Duration::from_millis(50), only_regular: false };
    const REGULAR: ReadBounds = ReadBounds { patience: PATIENCE, only_regular: true, ..BOUNDS };

    #[test]
    fn a_file_is_read_within_its_bounds() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        let kind = |path: &Path, bounds| read(path, bounds).map_err(|error| error.kind()).map(|content| content.bytes);
        let patient = ReadBounds { patience: PATIENCE, ..BOUNDS };
        assert_eq!(kind(&path, patient), Err(io::ErrorKind::NotFound));
        fs::write(&path, "12345678").expect("written");
        assert_eq!(kind(&path, patient).expect("read"), b"12345678");
        fs::write(&path, "123456789").expect("written");
        assert_eq!(kind(&path, patient), Err(io::ErrorKind::FileTooLarge));
        assert_eq!(kind(dir.path(), REGULAR), Err(io::ErrorKind::IsADirectory));
        assert_eq!(kind(Path::new("/dev/zero"), patient), Err(io::ErrorKind::FileTooLarge));
        assert_eq!(kind(Path::new("/dev/null"), patient).expect("read"), b"");
        assert_eq!(kind(Path::new("/dev/null"), REGULAR), Err(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_given_up() {
        let dir = tempfile::tempdir().expect("a folder");
        // One for each: who gave up on a pipe may still take what comes through it.
        let [path, written] = ["pipe", "written"].map(|name| dir.path().join(name));
        assert!(Command::new("mkfifo").args([&path, &written]).status().expect("mkfifo").success());
        let error = read(&path, BOUNDS).expect_err("nobody writes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("a pipe without a writer"), "{error}");
        assert_eq!(read(&path, REGULAR).expect_err("a pipe").kind(), io::ErrorKind::InvalidInput);
        let pipe = written.clone();
        let writer = std::thread::spawn(move || fs::write(pipe, "text"));
        let content = read(&written, ReadBounds { patience: PATIENCE, ..BOUNDS }).expect("somebody writes");
        writer.join().expect("a thread").expect("written");
        assert_eq!(content.bytes, b"text");
        assert!(!content.access.is_regular);
    }

    #[test]
    fn what_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(exists(dir.path()) && !exists(&dir.path().join("none")));
    }

    #[test]
    fn who_may_read_and_write_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        fs::write(&path, "x").expect("written");
        for (mode, exposed) in [(0o600, None), (0o400, None), (0o640, Some(0o640)), (0o602, Some(0o602))] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            let access = read(&path, REGULAR).expect("read").access;
            assert_eq!(access.exposed(), exposed);
            assert!(!access.is_foreign());
        }
        let other = FileAccess { uid: 4_000_000, gid: 0, mode: 0o640, is_regular: true };
        assert!(other.is_foreign());
        assert_eq!(other.exposed(), None);
        assert_eq!(FileAccess { mode: 0o644, ..other }.exposed(), Some(0o644));
        assert_eq!(FileAccess { mode: 0o660, ..other }.exposed(), Some(0o660));
    }
}
