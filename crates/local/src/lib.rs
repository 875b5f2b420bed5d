//! This machine and this process: bounded file reads, the account, and the protection of secrets.
//!
//! Here live [`mod@file`], which reads files that the user names, [`within`], which bounds work that may hang in the
//! kernel, [`account`], the user according to the password database, [`command`], which runs a
//! program within limits, and [`process`]. A leaf module: it uses no other
//! module. Invariants: no call here blocks longer than its limit, whatever a mount or a pipe does. Start reading at
//! [`file::read`].

pub mod account;
pub mod command;
pub mod file;
pub mod process;

use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// The result of `work`, if it completes in time. Unfinished work is abandoned: nothing can interrupt a thread that
/// waits for a dead mount, and the end of the process ends it.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`]; another kind if no thread can be started.
pub fn within<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = sync_channel(1);
    let worker = thread::Builder::new().name("local".to_owned()).spawn(move || {
        // The receiver may have timed out and gone.
        drop(sender.send(work()));
    })?;
    match receiver.recv_timeout(patience) {
        Ok(done) => Ok(done),
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(io::Error::other("the work ended without a result")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hanging_work_times_out() {
        assert_eq!(within(Duration::from_secs(60), || 7).expect("in time"), 7);
        let (_sender, never) = sync_channel::<()>(1);
        let error = within(Duration::from_millis(20), move || never.recv()).expect_err("it waits");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
