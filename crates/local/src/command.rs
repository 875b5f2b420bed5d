//! Runs a program of this machine within limits, and takes what it prints.
//!
//! The program gets no input, and a process group of its own: at its end, however that comes, whatever it has started is
//! killed with it. A process that leaves the group and keeps the output open is abandoned after the time limit. Start reading at
//! [`run`].

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How often it is checked whether to stop.
const POLL: Duration = Duration::from_millis(50);
/// Maximum of the kept error output, in bytes; its end is kept.
const MAX_ERRORS: usize = 16 * 1024;

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub struct LocalCommand<'a> {
    /// Its path, or its name to look for in `PATH`.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Where it runs; empty for the present directory.
    pub folder: &'a Path,
    /// Variables that its environment has besides ours.
    pub environment: &'a [(&'static str, String)],
}

/// The limits of a program.
#[derive(Debug, Clone, Copy)]
pub struct CommandBounds {
    /// Time limit.
    pub patience: Duration,
    /// Maximum output, in bytes.
    pub max_output: usize,
    /// What happens to a program that prints more.
    pub excess: ExcessOutput,
}

/// What happens to a program that prints too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExcessOutput {
    /// It is killed: half of its output is of no use.
    Kill,
    /// It runs on, and the rest of its output is dropped.
    Drop,
}

/// How a program ended.
#[derive(Debug)]
pub enum ProgramEnd {
    /// By itself.
    Exited {
        /// Its status.
        status: ExitStatus,
        /// Its output.
        output: Vec<u8>,
        /// The end of its error output.
        errors: Vec<u8>,
    },
    /// It took too long, and was killed. With the end of its error output so far.
    TimedOut(Vec<u8>),
    /// It printed too much, and was killed.
    TooLarge,
    /// It was stopped by the caller, and killed.
    Stopped,
}

/// Something that happened to the program.
enum CommandEvent {
    Ended,
    Output(Option<Vec<u8>>),
    Errors(Vec<u8>),
}

/// Runs a program to its end, or until `is_stopped`.
///
/// # Errors
/// Those of the system, such as a program that cannot be started.
pub fn run(program: LocalCommand<'_>, bounds: CommandBounds, is_stopped: &dyn Fn() -> bool) -> io::Result<ProgramEnd> {
    let deadline = Instant::now() + bounds.patience;
    let mut command = Command::new(program.program);
    command.args(program.arguments).envs(program.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if !program.folder.as_os_str().is_empty() {
        command.current_dir(program.folder);
    }
    let mut child = command.spawn()?;
    let group = Pid::from_child(&child);
    let (sender, events) = channel();
    let watched = watch(&mut child, group, bounds, &sender);
    drop(sender);
    let end = match watched {
        Ok(()) => collect(&events, deadline, group, is_stopped),
        Err(error) => Err(error),
    };
    kill(group);
    // The program is dead, or about to be.
    let status = child.wait()?;
    Ok(match end? {
        ProgramEnd::Exited { output, errors, .. } => ProgramEnd::Exited { status, output, errors },
        other @ (ProgramEnd::TimedOut(_) | ProgramEnd::TooLarge | ProgramEnd::Stopped) => other,
    })
}

/// Starts the threads that read the output and wait for the end.
fn watch(child: &mut Child, group: Pid, bounds: CommandBounds, sender: &Sender<CommandEvent>) -> io::Result<()> {
    let spawn = |work: Box<dyn FnOnce() -> CommandEvent + Send>| {
        let sender = sender.clone();
        thread::Builder::new().name("command".to_owned()).spawn(move || {
            // The receiver may be gone after the time limit.
            drop(sender.send(work()));
        })
    };
    if let Some(output) = child.stdout.take() {
        spawn(Box::new(move || {
            let mut bytes = Vec::new();
            let mut output = output;
            let read = output.by_ref().take(bounds.max_output as u64 + 1).read_to_end(&mut bytes);
            if bounds.excess == ExcessOutput::Drop {
                // One byte more than the limit stays, and shows that there was more.
                drop(io::copy(&mut output, &mut io::sink()));
                return CommandEvent::Output(Some(bytes));
            }
            CommandEvent::Output((read.is_ok() && bytes.len() <= bounds.max_output).then_some(bytes))
        }))?;
    }
    if let Some(errors) = child.stderr.take() {
        spawn(Box::new(move || CommandEvent::Errors(last_bytes(errors))))?;
    }
    spawn(Box::new(move || {
        // The process is not reaped yet: its id stays that of its group until the group is killed.
        while let Err(error) = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            if error != rustix::io::Errno::INTR {
                break;
            }
        }
        CommandEvent::Ended
    }))?;
    Ok(())
}

/// The end of a stream, which is read to its end.
fn last_bytes(mut stream: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(MAX_ERRORS);
        kept.drain(..surplus);
    }
    kept
}

/// Waits until the program and both of its outputs have ended. The status of the result is not that of the program.
fn collect(
    events: &Receiver<CommandEvent>,
    deadline: Instant,
    group: Pid,
    is_stopped: &dyn Fn() -> bool,
) -> io::Result<ProgramEnd> {
    let (mut output, mut errors) = (None, None);
    let mut has_ended = false;
    loop {
        if has_ended && let (Some(output), Some(errors)) = (&mut output, &mut errors) {
            let (output, errors) = (std::mem::take(output), std::mem::take(errors));
            return Ok(ProgramEnd::Exited { status: ExitStatus::default(), output, errors });
        }
        if is_stopped() {
            return Ok(ProgramEnd::Stopped);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(ProgramEnd::TimedOut(errors.unwrap_or_default()));
        }
        match events.recv_timeout(left.min(POLL)) {
            Ok(CommandEvent::Ended) => {
                has_ended = true;
                // What it has started would keep the output open.
                kill(group);
            }
            Ok(CommandEvent::Output(Some(bytes))) => output = Some(bytes),
            Ok(CommandEvent::Output(None)) => return Ok(ProgramEnd::TooLarge),
            Ok(CommandEvent::Errors(bytes)) => errors = Some(bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("its output could not be read")),
        }
    }
}

fn kill(group: Pid) {
    // It fails if every process of the group has ended, which is the aim.
    if let Err(error) = kill_process_group(group, Signal::KILL) {
        tracing::debug!(%error, "no process is left of the command");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: CommandBounds =
        CommandBounds { patience: Duration::from_secs(60), max_output: 100_000, excess: ExcessOutput::Kill };

    fn shell_of(arguments: &[String]) -> LocalCommand<'_> {
        LocalCommand { program: Path::new("/bin/sh"), arguments, folder: Path::new("/"), environment: &[] }
    }

    fn shell(script: &str, bounds: CommandBounds) -> ProgramEnd {
        let arguments = ["-c".to_owned(), script.to_owned()];
        run(shell_of(&arguments), bounds, &|| false).expect("a shell")
    }

    #[test]
    fn output_errors_and_status_are_taken() {
        let ProgramEnd::Exited { status, output, errors } = shell("pwd; echo no >&2; exit 3", BOUNDS) else {
            panic!("it ends by itself");
        };
        assert_eq!((status.code(), output.as_slice(), errors.as_slice()), (Some(3), &b"/\n"[..], &b"no\n"[..]));
        // More than a pipe holds, on both outputs.
        let script =
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567 >&2; echo 0123456789; i=$((i+1)); done";
        let ProgramEnd::Exited { output, errors, .. } = shell(script, BOUNDS) else { panic!("it ends by itself") };
        assert_eq!((output.len(), errors.len()), (33_000, MAX_ERRORS));
        let none =
            LocalCommand { program: Path::new("/none"), arguments: &[], folder: Path::new(""), environment: &[] };
        assert!(run(none, BOUNDS, &|| false).is_err());
    }

    #[test]
    fn its_environment_is_data() {
        let environment = [("CTL_NODE", "a$(id) 'b".to_owned())];
        let arguments = ["-c".to_owned(), "printf %s \"$CTL_NODE\"".to_owned()];
        let command = LocalCommand { environment: &environment, ..shell_of(&arguments) };
        let ProgramEnd::Exited { output, .. } = run(command, BOUNDS, &|| false).expect("a shell") else {
            panic!("it ends by itself");
        };
        assert_eq!(output, b"a$(id) 'b");
    }

    #[test]
    fn it_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        let (sender, receiver) = channel();
        let reader = pipe.clone();
        thread::spawn(move || {
            let mut pipe = std::fs::File::open(reader)?;
            pipe.read_exact(&mut [0])?;
            sender.send("started").map_err(io::Error::other)?;
            // Until no process has it open any more.
            pipe.read_to_end(&mut Vec::new())?;
            sender.send("ended").map_err(io::Error::other)?;
            io::Result::Ok(())
        });
        let script = format!("sh -c 'echo up; exec sleep 1000' > {} & wait", pipe.display());
        let is_started = || receiver.try_recv() == Ok("started");
        let arguments = ["-c".to_owned(), script];
        let end = run(shell_of(&arguments), BOUNDS, &is_started).expect("a shell");
        assert!(matches!(end, ProgramEnd::Stopped), "{end:?}");
        assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok("ended"));
    }

    #[test]
    fn limits_end_it() {
        let patience = Duration::from_millis(20);
        assert!(matches!(shell("sleep 1000", CommandBounds { patience, ..BOUNDS }), ProgramEnd::TimedOut(_)));
        assert!(matches!(shell("yes", BOUNDS), ProgramEnd::TooLarge));
        let bounds = CommandBounds { max_output: 10, excess: ExcessOutput::Drop, ..BOUNDS };
        let ProgramEnd::Exited { output, .. } = shell("seq 100000", bounds) else { panic!("it ends") };
        assert_eq!(output.len(), 11, "one byte more shows that there was more");
    }

    #[test]
    fn what_it_leaves_running_does_not_keep_us() {
        let ProgramEnd::Exited { output, .. } = shell("sleep 1000 & echo done", BOUNDS) else { panic!("it ends") };
        assert_eq!(output, b"done\n");
    }
}
