//! This process: secrets in its memory, and its exhausted resources.

use std::fs::File;
use std::io;
use std::sync::Once;

use rustix::io::Errno;

/// Protects secrets in memory from other processes and from the disk, from now on: no core is written, and no other
/// process of the user, such as a debugger, can read this one. Call it before the first secret arrives; a repeated call
/// does nothing. From then on `/proc/self/fd` is closed to a user other than root, so read files named as `/dev/fd/N`
/// first.
pub fn protect_secrets() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = rlimit::setrlimit(rlimit::Resource::CORE, 0, 0) {
            tracing::debug!(%error, "a core could still be written");
        }
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
            tracing::debug!(%error, "the process can still be looked into");
        }
    });
}

/// The resource of this machine or this process that an error reports as exhausted; none for errors of a node or a
/// file.
#[must_use]
pub fn exhausted(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some("open files"),
        Errno::NOMEM | Errno::NOBUFS => Some("memory"),
        // From fork(2) and pthread_create(3); a read without data reports another error here.
        Errno::AGAIN => Some("processes"),
        Errno::ADDRNOTAVAIL => Some("local ports"),
        _ => None,
    }
}

/// Why no file can be opened now, if none can.
#[must_use]
pub fn file_failure() -> Option<io::Error> {
    File::open("/dev/null").err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhausted_resources_of_the_controller() {
        for (error, what) in [
            (Errno::MFILE, Some("open files")),
            (Errno::NFILE, Some("open files")),
            (Errno::NOMEM, Some("memory")),
            (Errno::AGAIN, Some("processes")),
            (Errno::ADDRNOTAVAIL, Some("local ports")),
            (Errno::CONNREFUSED, None),
            (Errno::NOENT, None),
        ] {
            assert_eq!(exhausted(&error.into()), what, "{error}");
        }
        assert_eq!(exhausted(&io::Error::other("something")), None);
        assert!(file_failure().is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn secrets_stay_in_the_process() {
        protect_secrets();
        assert_eq!(rlimit::getrlimit(rlimit::Resource::CORE).expect("a limit"), (0, 0));
        let behaviour = rustix::process::dumpable_behavior().expect("a behaviour");
        assert_eq!(behaviour, rustix::process::DumpableBehavior::NotDumpable);
    }
}
