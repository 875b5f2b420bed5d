//! Reads files named by the user or by ssh_config, within limits of size and time.
//!
//! Invariants: at most [`ReadBounds::max_bytes`] are read, whatever length a file reports; a pipe without a writer and
//! a dead mount time out after [`ReadBounds::patience`]; owner and permissions are those of the open file, not of a
//! later lookup of its name.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// Time limit for a small file, such as a key.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Time limit for a file that may be a pipe from a running command: `-i <(generate)`.
pub const PIPE_PATIENCE: Duration = Duration::from_secs(120);

/// The limits of a read.
#[derive(Debug, Clone, Copy)]
pub struct ReadBounds {
    /// Maximum content, in bytes.
    pub max_bytes: u64,
    /// Time limit.
    pub patience: Duration,
    /// Whether to reject pipes and devices.
    pub only_regular: bool,
}

/// The content of a file, and its access rights.
#[derive(Debug)]
pub struct FileContent {
    /// The whole content.
    pub bytes: Vec<u8>,
    /// Its access rights.
    pub access: FileAccess,
}

/// The access rights of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAccess {
    /// The owner's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// Whether it is a regular file, not a pipe or a device.
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

    /// The permission bits, if others can read or write a file that only its user should. ssh judges private keys the
    /// same way: the owner of a foreign file decides, as long as it is not open to everybody.
    #[must_use]
    pub fn exposed(self) -> Option<u32> {
        let kept = if self.uid == rustix::process::geteuid().as_raw() { 0o077 } else { 0o027 };
        (self.is_regular && self.mode & kept != 0).then_some(self.mode)
    }
}

/// Reads a file.
///
/// # Errors
/// [`io::ErrorKind::IsADirectory`]; [`io::ErrorKind::FileTooLarge`]; [`io::ErrorKind::TimedOut`], with the cause in its
/// text; [`io::ErrorKind::InvalidInput`] for a file rejected by [`ReadBounds::only_regular`]; those of the system.
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

/// Whether the path exists. If a dead mount does not answer in time, it counts as existing: a later read reports the
/// reason.
#[must_use]
pub fn exists(path: &Path) -> bool {
    let path = path.to_owned();
    super::within(PATIENCE, move || path.exists()).unwrap_or(true)
}

fn read_now(path: &Path, bounds: ReadBounds) -> io::Result<FileContent> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    if bounds.only_regular {
        // Opening a pipe would block until it has a writer.
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
    // The length of a pipe is unknown, so read up to the limit and check afterwards.
    let mut bytes = Vec::new();
    file.take(bounds.max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bounds.max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(FileContent { bytes, access: FileAccess::from(&metadata) })
}

/// An error without the name of a temporary file, which users do not know.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    // `tempfile` adds it, and its errors have no source.
    text.rsplit_once(" at path \"").map_or_else(|| text.clone(), |(reason, _)| reason.to_owned())
}

/// The size of an open file and the SHA-256 of its content, in hexadecimal. It reads by position, so the handle can be
/// shared, and it takes as long as the file is long.
///
/// # Errors
/// If it cannot be read.
pub fn digest(file: &File) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let count = match file.read_at(&mut buffer, size) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(buffer.get(..count).unwrap_or_default());
        size += u64::try_from(count).unwrap_or_default();
    }
    Ok((size, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
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
    fn a_digest_is_of_the_whole_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        let of = |content: &[u8]| {
            fs::write(&path, content).expect("written");
            digest(&File::open(&path).expect("opened")).expect("read")
        };
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(b"abc"), (3, hash.to_owned()));
        let (size, long) = of(&[0; 200_000]);
        assert_eq!((size, long == of(&[0; 199_999]).1), (200_000, false));
        assert!(digest(&File::open(dir.path()).expect("opened")).is_err());
    }

    #[test]
    fn a_pipe_without_a_writer_times_out() {
        let dir = tempfile::tempdir().expect("a folder");
        // One pipe per case: a reader that timed out may still consume the data.
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
    fn existing_paths() {
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
