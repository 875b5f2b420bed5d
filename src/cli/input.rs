//! Standard input of `ctl exec`: read to its end before anything is started.
//!
//! What always holds: a terminal and /dev/null are left alone; what does not end is named after [`PATIENCE`]; no more than
//! [`LIMIT`] is read.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::error::CliError;
use super::terminal;
use ctl_event::InputDigest;
use ctl_plan::CommandInput;

/// Most that is read, in MiB.
const LIMIT_MIB: usize = 64;

/// Most that is read.
const LIMIT: usize = LIMIT_MIB << 20;

/// A longer wait is explained.
const PATIENCE: Duration = Duration::from_secs(1);

/// All of standard input. None: it is a terminal or /dev/null, or holds nothing.
pub(super) fn read(quiet: bool) -> Result<Option<CommandInput>, CliError> {
    let cannot = |error: &io::Error| CliError::usage(format!("cannot read standard input: {error}"));
    let Some(file) = given().map_err(|error| cannot(&error))? else { return Ok(None) };
    let (sender, receiver) = mpsc::channel();
    // On a thread: a pipe that does not end must be reported while it is read. The receiver may be gone by then.
    thread::spawn(move || drop(sender.send(read_to_end(file))));
    let read = receiver.recv_timeout(PATIENCE).or_else(|late| {
        if late == RecvTimeoutError::Timeout && !quiet {
            terminal::say("reading all of standard input before starting anything (use --no-stdin to skip it)");
        }
        receiver.recv()
    });
    let bytes = match read {
        Ok(read) => read.map_err(|error| cannot(&error))?,
        Err(_) => return Err(CliError::usage("cannot read standard input")),
    };
    // One byte more than the limit was read, which is enough to know.
    if bytes.len() > LIMIT {
        return Err(CliError::usage(format!("standard input is longer than {LIMIT_MIB} MiB; nothing was started"))
            .with_hint("copy a file that large to the nodes first, or ignore standard input with --no-stdin"));
    }
    // Empty input is the same as none: a cron job has an empty stdin.
    Ok((!bytes.is_empty()).then(|| CommandInput::new(&bytes)))
}

/// The same input as an earlier run's. `command` continues that run.
pub(super) fn read_again(
    wanted: &InputDigest,
    run: &str,
    command: &str,
    quiet: bool,
) -> Result<CommandInput, CliError> {
    let hint = format!("provide the same input again: {command} < FILE");
    let was = format!("run {run} read {} bytes from standard input, which were not saved", wanted.bytes);
    // The digest decides, since the bytes themselves were not kept.
    match read(quiet)? {
        Some(input) if input.digest() == wanted => Ok(input),
        Some(input) => {
            let message = format!("{was}; the {} bytes given now are different", input.digest().bytes);
            Err(CliError::usage(message).with_hint(hint))
        }
        None => Err(CliError::usage(was).with_hint(hint)),
    }
}

/// Standard input, where something was given there.
fn given() -> io::Result<Option<File>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    // A copy of the descriptor: dropping the file must not close stdin.
    let file = File::from(stdin.as_fd().try_clone_to_owned()?);
    let metadata = file.metadata()?;
    // By device number: the descriptor may have been opened under any name.
    let is_null = || std::fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == metadata.rdev());
    Ok((!metadata.file_type().is_char_device() || !is_null()).then_some(file))
}

/// Up to one byte more than [`LIMIT`].
fn read_to_end(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        // One byte more than allowed, so that an input that is too long shows.
        let room = u64::try_from(LIMIT + 1 - bytes.len()).unwrap_or_default();
        match file.by_ref().take(room).read_to_end(&mut bytes) {
            // Another process that shares the pipe may have made it non-blocking; the bytes read so far are kept.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&file, PollFlags::IN)], None)?;
            }
            Err(error) => return Err(error),
            Ok(_) => return Ok(bytes),
        }
    }
}
