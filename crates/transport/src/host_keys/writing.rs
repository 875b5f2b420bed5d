//! Adds lines to a known_hosts file, with others who do the same.
//!
//! Here lives [`LockedFile`]. Invariants: a line is written under a lock that other runs of `ctl` respect too,
//! with a single write, and never joined to a last line without newline; nothing of it stays if it could not be written
//! whole.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use super::cache::FileStamp;
use crate::known_hosts::{MAX_NAME, hash_name, written_name};

/// Attempts to lock a file that others replace.
const MAX_REOPEN: usize = 8;

/// How long another process may keep the file locked: a run of `ctl` does for as long as it writes a line.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts to lock a file.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How long the kernel may take for a lock beyond that: on a dead mount an attempt waits, too.
const KERNEL_PATIENCE: Duration = Duration::from_secs(1);

/// A known_hosts file that no other run of `ctl` writes to meanwhile.
pub(super) struct LockedFile {
    file: File,
}

/// What [`LockedFile::append`] did.
pub(super) struct AppendOutcome {
    /// The line, without newline.
    pub(super) line: String,
    /// The file before and after it, if nobody else has written to it in between.
    pub(super) stamps: Option<(FileStamp, FileStamp)>,
}

impl LockedFile {
    /// Opens a file, which is made if it is missing (mode 0600, its directory 0700), and locks it. Blocks while another
    /// process holds the lock, up to `deadline`.
    ///
    /// # Errors
    /// If the file or its directory cannot be made, or not be written; [`io::ErrorKind::TimedOut`] if the lock is not had in
    /// time.
    pub(super) fn open(path: &Path, deadline: Instant) -> io::Result<Self> {
        // A lock on a dead mount can hang in the kernel, where the deadline of `lock` is not seen.
        let time = deadline.saturating_duration_since(Instant::now()) + KERNEL_PATIENCE;
        let path = path.to_owned();
        match ctl_local::within(time, move || Self::lock(&path, deadline)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let what = "cannot lock it: a dead mount, or one that does not support locks";
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            }
            locked => locked?,
        }
    }

    fn lock(path: &Path, deadline: Instant) -> io::Result<Self> {
        // A bare file name has the empty parent, which cannot be made.
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        for _ in 0..MAX_REOPEN {
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
            // `lock` would wait without a limit, so it is polled.
            while let Err(error) = file.try_lock() {
                match error {
                    TryLockError::WouldBlock if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
                    TryLockError::WouldBlock => {
                        let seconds = LOCK_PATIENCE.as_secs();
                        let what = format!("another process has held its lock for {seconds} s (see `lslocks`)");
                        return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                    }
                    TryLockError::Error(error) => return Err(error),
                }
            }
            // The lock belongs to the open file. If the path names another file by now, writing to this one would be
            // lost.
            let held = file.metadata()?;
            match fs::metadata(path) {
                Ok(now) if now.dev() == held.dev() && now.ino() == held.ino() => return Ok(Self { file }),
                // `ssh-keygen -R` has put another file in its place.
                Ok(_) => {}
                // It was removed meanwhile; the next round makes a new one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("it is being replaced repeatedly"))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If it could not be written whole; nothing of it is in the file then.
    pub(super) fn append(&mut self, line: String) -> io::Result<AppendOutcome> {
        // Through the open file, since the path may name another one.
        let before = FileStamp::from(&self.file.metadata()?);
        // An editor may have left the last line without its end, and this line would be joined to it.
        let glue = if self.ends_without_newline(before.size())? { "\n" } else { "" };
        let bytes = format!("{glue}{line}\n").into_bytes();
        // One write, not `write_all`: with O_APPEND it is not mixed with the lines of others.
        let written = self.file.write(&bytes)?;
        if written < bytes.len() {
            // Half a line could make another host known, so it is cut off again.
            self.file.set_len(before.size())?;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no room for another line"));
        }
        let after = FileStamp::from(&self.file.metadata()?);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Another size means that somebody without our lock, such as `ssh`, has written in between.
        let alone = after.size() == before.size().saturating_add(length);
        Ok(AppendOutcome { line, stamps: alone.then_some((before, after)) })
    }

    fn ends_without_newline(&self, size: u64) -> io::Result<bool> {
        // An empty file needs no newline first.
        let Some(last) = size.checked_sub(1) else {
            return Ok(false);
        };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        Ok(byte != *b"\n")
    }
}

/// The line that makes a key known, without newline. None: the host's name or the key would mean something else in a
/// known_hosts file.
pub(super) fn line(host: &str, port: u16, key: &KeyData, salt: Option<[u8; 20]>) -> Option<String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || ",*?!|#@[]\"".contains(c);
    // Such a name would be a pattern, a list, a marker or a hash. The 8 leave room for brackets and a port.
    if host.is_empty() || host.len() > MAX_NAME - 8 || host.contains(bad) {
        return None;
    }
    let name = written_name(host, port);
    let name = salt.map_or(name.clone(), |salt| hash_name(&name, &salt));
    let key = PublicKey::new(key.clone(), String::new()).to_openssh().ok()?;
    Some(format!("{name} {}", key.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const ED1: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn append(path: &Path, text: &str) -> bool {
        let mut file = LockedFile::open(path, late()).expect("locked");
        file.append(text.to_owned()).expect("written").stamps.is_some()
    }

    #[test]
    fn a_file_is_made_and_grows() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("new/.ssh/known_hosts");
        assert!(append(&path, "a"));
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir.path().join("new/.ssh"))), (0o600, 0o700));
        append(&path, "b");
        assert_eq!(fs::read_to_string(&path).expect("read"), "a\nb\n");
        fs::write(&path, "c").expect("written");
        append(&path, "d");
        assert_eq!(fs::read_to_string(&path).expect("read"), "c\nd\n", "not glued");
        append(Path::new("/dev/null"), "e");
        assert!(LockedFile::open(dir.path(), late()).is_err(), "a directory");
    }

    /// A disk that is full takes a part of a line at most: /dev/full takes nothing.
    #[test]
    fn what_cannot_be_written_is_an_error() {
        let mut file = LockedFile::open(&PathBuf::from("/dev/full"), late()).expect("opened");
        assert!(file.append("a".to_owned()).is_err());
    }

    #[test]
    fn a_lock_that_stays_is_given_up() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("known_hosts");
        let other = File::create(&path).expect("made");
        other.lock().expect("locked");
        let error = LockedFile::open(&path, Instant::now()).err().expect("it is locked");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("another process has held its lock"), "{error}");
        let waiting = std::thread::spawn(move || append(&path, "a"));
        other.unlock().expect("unlocked");
        assert!(waiting.join().expect("a thread"));
    }

    #[test]
    fn lines() {
        let key = PublicKey::from_openssh(&format!("{ED1} comment")).expect("a key");
        let line = |host: &str, port, salt| line(host, port, key.key_data(), salt);
        assert_eq!(line("N1", 22, None), Some(format!("n1 {ED1}")));
        assert_eq!(line("n1", 2222, None), Some(format!("[n1]:2222 {ED1}")));
        assert_eq!(line("fe80::1%eth0", 2222, None), Some(format!("[fe80::1%eth0]:2222 {ED1}")));
        let hashed = line("n9", 2222, Some([7; 20])).expect("a line");
        assert!(hashed.starts_with("|1|BwcHBwcHBwcHBwcHBwcHBwcHBwc=|") && hashed.ends_with(ED1), "{hashed}");
        for bad in ["", "*", "a,b", "a b", "!a", "|1|x", "#a", "@revoked", "a\nb", "[a]", "a\tb", "n?"] {
            assert_eq!(line(bad, 22, None), None, "{bad:?}");
        }
    }

    #[test]
    fn many_writers_make_whole_lines() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("known_hosts");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for line in 0..20 {
                        append(path, &format!("{thread} {line}"));
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).expect("read");
        let expected: Vec<String> = (0..8).flat_map(|t| (0..20).map(move |line| format!("{t} {line}"))).collect();
        assert_eq!(text.lines().collect::<BTreeSet<_>>(), expected.iter().map(String::as_str).collect());
        assert_eq!(text.lines().count(), 160);
    }
}
