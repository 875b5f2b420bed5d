//! The contents of files: each is read once, and again when it has changed.
//!
//! Here live [`FileCache`] and [`FileStamp`]. Uses `local` for looks with a time limit. Invariants: a cached value
//! is returned only while size, times and inode of the file are unchanged, unless the caller asks for the last one; a
//! pipe is read once and never again.

use ctl_local::file::PATIENCE;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The properties by which a changed file is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileStamp {
    /// There is none.
    Missing,
    /// A pipe or a device: a second reading would give something else, or nothing.
    Special,
    /// A plain file.
    File {
        device: u64,
        inode: u64,
        size: u64,
        /// Seconds and nanoseconds.
        modified: (i64, i64),
    },
}

impl FileStamp {
    pub(super) fn of(path: &Path) -> Self {
        // A file of which nothing can be learned is not read either: the reader says why.
        fs::metadata(path).map_or(Self::Missing, |metadata| Self::from(&metadata))
    }

    pub(super) fn size(self) -> u64 {
        match self {
            Self::File { size, .. } => size,
            Self::Missing | Self::Special => 0,
        }
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        // Its size and times say nothing about what a second reading would give.
        if !metadata.is_file() {
            return Self::Special;
        }
        Self::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The values read from files, by path. A caller that needs a file while it is being read waits for that read.
pub(super) struct FileCache<T> {
    read: Mutex<HashMap<PathBuf, (FileStamp, Arc<T>)>>,
}

impl<T> Default for FileCache<T> {
    fn default() -> Self {
        Self { read: Mutex::default() }
    }
}

impl<T> FileCache<T> {
    /// What `read` makes of the file as it is now. A dead mount holds this up for as long as it is dead, so call it from a
    /// thread that may block, and give that a time limit.
    ///
    /// # Errors
    /// Those of `read`; they are not kept.
    pub(super) fn get<E>(&self, path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        self.look(path, FileStamp::of, read)
    }

    /// The same, for a caller that may not wait for a dead mount. It costs a thread each time.
    ///
    /// # Errors
    /// Those of `read`; they are not kept.
    pub(super) fn get_in_time<E>(&self, path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let stamp = |path: &Path| {
            let path = path.to_owned();
            // On a dead mount the reader says that it waited in vain.
            ctl_local::within(PATIENCE, move || FileStamp::of(&path)).unwrap_or(FileStamp::Missing)
        };
        self.look(path, stamp, read)
    }

    /// What was made of the file when it was read last, without a look at it; as [`get_in_time`](Self::get_in_time) if it was
    /// not read yet.
    ///
    /// # Errors
    /// Those of `read`; they are not kept.
    pub(super) fn last<E>(&self, path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let known =
            self.read.lock().unwrap_or_else(PoisonError::into_inner).get(path).map(|(_, value)| Arc::clone(value));
        known.map_or_else(|| self.get_in_time(path, read), Ok)
    }

    fn look<E>(
        &self,
        path: &Path,
        stamp: impl FnOnce(&Path) -> FileStamp,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        // The lock is held while the file is read, so that many connections at once read it one time. A poisoned lock
        // still holds whole entries.
        let mut cached = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // The stamp is taken before the read: a write in between then changes the stamp, and the next call reads again.
        let now = stamp(path);
        if let Some((then, value)) = cached.get(path)
            && *then == now
        {
            return Ok(Arc::clone(value));
        }
        // An error leaves the old entry, which no longer has the stamp of the file and so is not used.
        let value = Arc::new(read()?);
        cached.insert(path.to_owned(), (now, Arc::clone(&value)));
        Ok(value)
    }
}

impl<T: Clone> FileCache<T> {
    /// Makes a change of the file here too, which spares a reading, if the file was `before` when it was read.
    pub(super) fn follow(&self, path: &Path, before: FileStamp, after: FileStamp, change: impl FnOnce(&mut T)) {
        let mut cached = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, value)) = cached.get_mut(path)
            && *then == before
        {
            // Others may still hold the old value; `make_mut` then copies it instead of changing it under them.
            change(Arc::make_mut(value));
            *then = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("file");
        let cache = FileCache::default();
        let text = || fs::read_to_string(&path).unwrap_or_default();
        let mut readings = 0;
        let mut get = || {
            let got = cache.get(&path, || {
                readings += 1;
                Ok::<_, Infallible>(text())
            });
            (got.expect("cannot fail").to_string(), readings)
        };
        assert_eq!(get(), (String::new(), 1));
        assert_eq!(get(), (String::new(), 1));
        fs::write(&path, "a").expect("written");
        assert_eq!(get(), ("a".to_owned(), 2));
        assert_eq!(get(), ("a".to_owned(), 2));
        fs::write(dir.path().join("new"), "b").expect("written");
        fs::rename(dir.path().join("new"), &path).expect("renamed");
        assert_eq!(get(), ("b".to_owned(), 3));
        fs::remove_file(&path).expect("removed");
        assert_eq!(get(), (String::new(), 4));
    }

    #[test]
    fn a_change_of_ones_own_needs_no_reading() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("file");
        fs::write(&path, "a").expect("written");
        let cache: FileCache<String> = FileCache::default();
        let get = || cache.get(&path, || fs::read_to_string(&path)).expect("readable");
        assert_eq!(*get(), "a");
        let before = FileStamp::of(&path);
        fs::write(&path, "ab").expect("written");
        // Not the content of the file, so that a second read would show.
        cache.follow(&path, before, FileStamp::of(&path), |text| text.push('x'));
        assert_eq!(*get(), "ax");
        cache.follow(&path, before, FileStamp::of(&path), |text| text.push('y'));
        assert_eq!(*get(), "ax", "another file than the one that was changed");
    }

    #[test]
    fn the_last_value_needs_no_look() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("file");
        let cache: FileCache<String> = FileCache::default();
        let read = || fs::read_to_string(&path);
        fs::write(&path, "a").expect("written");
        assert_eq!(*cache.last(&path, read).expect("readable"), "a", "it was not read yet");
        fs::write(&path, "ab").expect("written");
        assert_eq!(*cache.last(&path, read).expect("readable"), "a");
        assert_eq!(*cache.get_in_time(&path, read).expect("readable"), "ab");
        assert_eq!(*cache.last(&path, read).expect("readable"), "ab");
    }

    #[test]
    fn a_pipe_is_read_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        let cache: FileCache<u32> = FileCache::default();
        assert_eq!(*cache.get(&path, || Ok::<_, Infallible>(1)).expect("cannot fail"), 1);
        assert_eq!(*cache.get(&path, || Ok::<_, Infallible>(2)).expect("cannot fail"), 1);
    }
}
