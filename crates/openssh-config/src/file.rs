//! How configuration files are read.
//!
//! Here live [`FileReader`], which the caller may replace, and the [`ConfigFile`] that it returns. Invariants: owner
//! and mode are those of the file whose bytes were read, not of one that was put in its place since.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The content of a file, and who may have written it.
#[derive(Debug)]
pub struct ConfigFile {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The owner's number.
    pub uid: u32,
    /// The permission bits.
    pub mode: u32,
}

/// Reads a file whole, up to a number of bytes. The default waits for as long as the system does; a caller that must not
/// hang on a dead mount passes its own.
///
/// Errors that have a meaning here: [`io::ErrorKind::NotFound`], [`io::ErrorKind::NotADirectory`] and
/// [`io::ErrorKind::IsADirectory`], which `ssh` takes for no file or an empty one, and [`io::ErrorKind::FileTooLarge`].
#[derive(Debug, Clone, Copy)]
pub struct FileReader(pub fn(&Path, u64) -> io::Result<ConfigFile>);

impl Default for FileReader {
    fn default() -> Self {
        Self(read)
    }
}

fn read(path: &Path, max_bytes: u64) -> io::Result<ConfigFile> {
    let file = File::open(path)?;
    // From the open file, not from the path: the file at the path may be another by now.
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    // A pipe reports no length, so the bytes are counted and not the metadata believed.
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(ConfigFile { bytes, uid: metadata.uid(), mode: metadata.mode() & 0o7777 })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("file");
        let kind = |path: &Path| read(path, 8).map(|file| file.bytes).map_err(|error| error.kind());
        assert_eq!(kind(&path), Err(io::ErrorKind::NotFound));
        fs::write(&path, "12345678").expect("written");
        assert_eq!(kind(&path), Ok(b"12345678".to_vec()));
        assert_eq!(kind(&path.join("below")), Err(io::ErrorKind::NotADirectory));
        assert_eq!(kind(directory.path()), Err(io::ErrorKind::IsADirectory));
        fs::write(&path, "123456789").expect("written");
        assert_eq!(kind(&path), Err(io::ErrorKind::FileTooLarge));
        assert_eq!(kind(Path::new("/dev/zero")), Err(io::ErrorKind::FileTooLarge));
    }

    #[test]
    fn owner_and_mode_come_with_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("file");
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("its mode");
        let file = read(&path, 8).expect("read");
        assert_eq!((file.mode, file.uid), (0o640, fs::metadata(&path).expect("metadata").uid()));
    }
}
