//! Secrets typed at the terminal, asked for as readpassphrase(3) does.
//!
//! Invariants: the echo is off before the prompt appears, and input typed ahead is thrown away; a signal that
//! ends or stops the process meanwhile finds the terminal as it was; from the first question on, no other process of
//! the user can read the memory of this one, and it leaves no core.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

use crate::terminal;
use ctl_event::CancelReason;
use ctl_local::process;
use ctl_sink::text;

/// The longest secret, in bytes: the longest line that a terminal gives.
const LONGEST: usize = 4096;

/// Why nothing was typed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A signal came.
    #[error("interrupted")]
    Cancelled(CancelReason),
    /// There is no terminal, or nobody types at it any more.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks for a secret.
///
/// # Errors
/// If there is no terminal, or the question is cancelled by a signal.
pub fn ask(prompt: &str) -> Result<SecretString, SecretError> {
    // Before the secret is in memory; it stays so for the rest of the process.
    process::protect_secrets();
    let terminal = terminal::open_terminal()?;
    // Before the echo is off: a signal in between would leave the terminal mute.
    let signals = HeldSignals::catch()?;
    loop {
        match ask_at(&terminal, prompt, &signals)? {
            TypedLine::Line(secret) => return Ok(secret),
            // After Ctrl-Z and `fg` the question is asked again.
            TypedLine::Signal(signal) => {
                if let Some(reason) = cancel_reason(signal)? {
                    return Err(SecretError::Cancelled(reason));
                }
            }
        }
    }
}

/// Why a held signal cancels what the process waits for. None after Ctrl-Z, once the process is continued; Ctrl-\ ends
/// the process here.
///
/// # Errors
/// If the process cannot be stopped.
pub fn cancel_reason(signal: i32) -> io::Result<Option<CancelReason>> {
    match signal {
        SIGINT => Ok(Some(CancelReason::Interrupted)),
        SIGTERM => Ok(Some(CancelReason::Terminated)),
        SIGHUP => Ok(Some(CancelReason::HungUp)),
        other => low_level::emulate_default_handler(other).map(|()| None),
    }
}

enum TypedLine {
    Line(SecretString),
    Signal(i32),
}

/// Asks once, and leaves the terminal as it was.
fn ask_at(terminal: &File, prompt: &str, signals: &HeldSignals) -> io::Result<TypedLine> {
    let quiet = EchoOff::new(terminal)?;
    let mut writer = terminal;
    // Part of the prompt may come from a file name.
    write!(writer, "{}", text::visible_lines(prompt))?;
    let typed = read_line(terminal, signals);
    // The line end that was typed was not shown either.
    let ended = writeln!(writer);
    // The terminal is restored before any error is returned, and before the signal is acted on.
    drop(quiet);
    let typed = typed?;
    ended?;
    Ok(typed)
}

/// A terminal without echo, for as long as this lives.
struct EchoOff<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> EchoOff<'t> {
    fn new(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // Flush discards input typed ahead: it was not meant for this question, and was visible.
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        // Nothing can be done about it, and the process may be ending.
        if let Err(error) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            tracing::debug!(%error, "cannot restore the terminal");
        }
    }
}

fn read_line(mut terminal: &File, signals: &HeldSignals) -> io::Result<TypedLine> {
    // With its full capacity at once: growing would leave copies of the secret behind in freed memory.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut buffer = Zeroizing::new([0; 256]);
    loop {
        if let HeldEvent::Signal(signal) = signals.or_input(terminal, None)? {
            return Ok(TypedLine::Signal(signal));
        }
        let count = match terminal.read(buffer.as_mut_slice()) {
            // End of file in the middle: the terminal was closed, or Ctrl-D typed.
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "no input")),
            Ok(count) => count,
            // A signal handler interrupted the read; the next turn sees the signal.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        line.extend_from_slice(buffer.get(..count).unwrap_or_default());
        // The terminal is in line mode, so the end of the line is the end of the input.
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let secret = std::str::from_utf8(line.get(..end).unwrap_or_default())
                .map_err(|_| io::Error::new(ErrorKind::InvalidData, "the input is not UTF-8"))?;
            return Ok(TypedLine::Line(SecretString::from(secret.trim_end_matches('\r'))));
        }
        if line.len() >= LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, "the input is too long"));
        }
    }
}

/// The signals that end or stop a process. Ctrl-C and the like first come here.
const CAUGHT: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP];

/// What a signal does while no secret is asked for: what it does by default. A handler once installed cannot be taken
/// away again, so the default is carried out by it.
struct DefaultSignals {
    /// Whether it is carried out.
    are_on: Arc<AtomicBool>,
    ids: Vec<(i32, SigId)>,
}

static DEFAULTS: Mutex<Option<DefaultSignals>> = Mutex::new(None);

/// Leaves the signals that end a run to the handlers that have caught them now.
pub(crate) fn release_signals() {
    if let Some(defaults) = DEFAULTS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        defaults.ids.retain(|(signal, id)| {
            // The others are still wanted later: Ctrl-Z and Ctrl-\ keep their default.
            let is_released = matches!(*signal, SIGINT | SIGTERM | SIGHUP);
            if is_released {
                low_level::unregister(*id);
            }
            !is_released
        });
    }
}

/// Signals that are reported instead of carried out, for as long as this lives.
pub struct HeldSignals {
    caught: Vec<(i32, SigId, UnixStream)>,
    defaults: Arc<AtomicBool>,
}

/// What [`HeldSignals::or_input`] has waited for.
pub enum HeldEvent {
    /// There is something to read.
    Input,
    /// A signal has come.
    Signal(i32),
    /// The time is over.
    Late,
}

impl HeldSignals {
    /// Holds them from now on.
    ///
    /// # Errors
    /// If handlers cannot be registered.
    pub fn catch() -> io::Result<Self> {
        // A signal that was ignored from the start, as by nohup, stays ignored.
        let signals = || CAUGHT.into_iter().filter(|signal| !terminal::is_ignored(*signal));
        let mut caught = Vec::new();
        let mut known = DEFAULTS.lock().unwrap_or_else(PoisonError::into_inner);
        let defaults = match known.as_ref() {
            Some(defaults) => Arc::clone(&defaults.are_on),
            None => {
                // Registered once for the process: the handlers stay, and the flag turns them off and on.
                let are_on = Arc::new(AtomicBool::new(true));
                let register = |signal| Ok((signal, flag::register_conditional_default(signal, Arc::clone(&are_on))?));
                let ids = signals().map(register).collect::<io::Result<_>>()?;
                *known = Some(DefaultSignals { are_on: Arc::clone(&are_on), ids });
                are_on
            }
        };
        drop(known);
        for signal in signals() {
            // A pipe, because a handler may only write(2); poll then sees signals and input together.
            let (reader, writer) = UnixStream::pair()?;
            // A read must not block if the byte was taken already.
            reader.set_nonblocking(true)?;
            caught.push((signal, low_level::pipe::register(signal, writer)?, reader));
        }
        // Off only now that every signal has its pipe: none may be lost in between.
        defaults.store(false, Ordering::SeqCst);
        Ok(Self { caught, defaults })
    }

    /// A signal that has come since the last call.
    pub fn received(&self) -> Option<i32> {
        let came = self.caught.iter().find(|(.., pipe)| {
            let mut pipe = pipe;
            // Without a byte the read would block, which is an error here.
            pipe.read(&mut [0; 16]).is_ok_and(|count| count > 0)
        });
        came.map(|(signal, ..)| *signal)
    }

    /// Waits until there is something to read, a signal has come, or the time is over.
    ///
    /// # Errors
    /// If it cannot wait.
    pub fn or_input(&self, input: &File, limit: Option<&Timespec>) -> io::Result<HeldEvent> {
        let mut waited: Vec<PollFd<'_>> =
            self.caught.iter().map(|(.., pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        waited.push(PollFd::new(input, PollFlags::IN));
        // A handler interrupts poll(2); its byte is in the pipe on the next turn.
        let ready = loop {
            match poll(&mut waited, limit) {
                Err(rustix::io::Errno::INTR) => {}
                polled => break polled?,
            }
        };
        if ready == 0 {
            return Ok(HeldEvent::Late);
        }
        let came = self.caught.iter().zip(&waited).find(|(_, pipe)| !pipe.revents().is_empty());
        let Some(((signal, _, pipe), _)) = came else { return Ok(HeldEvent::Input) };
        // Taken out, so that it is reported once.
        let mut pipe = pipe;
        let _count = pipe.read(&mut [0; 16])?;
        Ok(HeldEvent::Signal(*signal))
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // On before the pipes are gone, for the same reason.
        self.defaults.store(true, Ordering::SeqCst);
        for (_, id, _) in &self.caught {
            low_level::unregister(*id);
        }
    }
}
