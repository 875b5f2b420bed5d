//! Standard input of `ctl exec`: read to its end before anything is started.
//!
//! Invariants: a terminal and /dev/null are left alone; what does not end is named after [`PATIENCE`]; no more than
//! [`LIMIT`] is read; a signal ends the command as at a question, with nothing left behind.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

use rustix::event::Timespec;

use ctl_console::error::CliError;
use ctl_console::secret::{self, HeldEvent, HeldSignals};
use ctl_console::terminal;
use ctl_event::{CancelReason, InputDigest};
use ctl_plan::CommandInput;

/// Most that is read, in MiB.
const LIMIT_MIB: usize = 64;

/// Most that is read.
const LIMIT: usize = LIMIT_MIB << 20;

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// A longer wait is explained.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why standard input was not read.
#[derive(Debug, thiserror::Error)]
enum InputError {
    /// A signal came.
    #[error("interrupted")]
    Cancelled(CancelReason),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// All of standard input. None: it is a terminal or /dev/null, or holds nothing.
pub(super) fn read(quiet: bool) -> Result<Option<CommandInput>, CliError> {
    let cannot = |error: &io::Error| CliError::usage(format!("cannot read standard input: {error}"));
    let Some(file) = given().map_err(|error| cannot(&error))? else { return Ok(None) };
    let bytes = read_to_end(file, quiet).map_err(|error| match error {
        InputError::Cancelled(reason) => CliError::cancelled(reason),
        InputError::Io(error) => cannot(&error),
    })?;
    // One byte more than the limit was read, which is enough to know.
    if bytes.len() > LIMIT {
        return Err(CliError::usage(format!("standard input is longer than {LIMIT_MIB} MiB; nothing was started"))
            .with_hint(
                "copy a file of this size to the nodes with `ctl cp`, or ignore standard input with --no-stdin",
            ));
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
fn read_to_end(mut file: File, quiet: bool) -> Result<Vec<u8>, InputError> {
    // A signal must not kill the process here: files that were made for the results would stay behind.
    let signals = HeldSignals::catch()?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE];
    let mut patience = (!quiet).then_some(Instant::now() + PATIENCE);
    while bytes.len() <= LIMIT {
        let limit = patience.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match signals.or_input(&file, limit.as_ref())? {
            HeldEvent::Input => {}
            HeldEvent::Signal(signal) => match secret::cancel_reason(signal)? {
                Some(reason) => return Err(InputError::Cancelled(reason)),
                None => continue,
            },
            HeldEvent::Late => {
                terminal::say("reading all of standard input before starting anything (use --no-stdin to skip it)");
                patience = None;
                continue;
            }
        }
        // One byte more than allowed, so that an input that is too long shows.
        let room = PIECE.min(LIMIT + 1 - bytes.len());
        match file.read(piece.get_mut(..room).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
            // Another process that shares the pipe may have made it non-blocking, or read its content.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

fn timespec(time: Duration) -> Timespec {
    // A second at most, so both numbers are small.
    Timespec { tv_sec: time.as_secs().try_into().unwrap_or(1), tv_nsec: time.subsec_nanos().into() }
}
