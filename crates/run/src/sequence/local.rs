//! The command of an item on the machine that `ctl` runs on.
//!
//! Invariants: it gets no input, and a process group of its own, so that a Ctrl-C at the terminal does not reach it; it
//! ends with its group when its time is over, when the run gives up, and when this future is dropped.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::environment::ItemEnvironment;
use ctl_event::{Failure, FailureKind, Stage};
use ctl_guard::command::{CommandEnd, CommandOutput, OUTPUT_LIMIT};
use ctl_local::command::{self, CommandBounds, ExcessOutput, LocalCommand, ProgramEnd};

/// Stops the command when it is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Runs a command in the shell.
pub(super) async fn run(
    text: String,
    environment: ItemEnvironment,
    time: Duration,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, Failure> {
    let stop = StopOnDrop(Arc::default());
    let is_stopped = Arc::clone(&stop.0);
    let bounds = CommandBounds { patience: time, max_output: OUTPUT_LIMIT, excess: ExcessOutput::Drop };
    let mut running = tokio::task::spawn_blocking(move || {
        let arguments = ["-c".to_owned(), text];
        let program = Path::new("/bin/sh");
        let command = LocalCommand { program, arguments: &arguments, folder: Path::new(""), environment: &environment };
        command::run(command, bounds, &|| is_stopped.load(Relaxed))
    });
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = give_up => {
            stop.0.store(true, Relaxed);
            running.await
        }
    };
    match ended {
        Ok(Ok(end)) => Ok(output(end)),
        Ok(Err(error)) => Err(not_run(&error.to_string())),
        // It panicked, or the runtime ends.
        Err(error) => Err(not_run(&error.to_string())),
    }
}

fn not_run(why: &str) -> Failure {
    Failure::new(Stage::Act, FailureKind::Command, format!("cannot run the command on the controller: {why}"))
}

fn output(end: ProgramEnd) -> CommandOutput {
    let started = CommandOutput { started: true, ..CommandOutput::default() };
    match end {
        ProgramEnd::Exited { status, mut output, errors } => {
            let end = match (status.code(), status.signal()) {
                (Some(code), _) => CommandEnd::Exited(code.cast_unsigned()),
                (None, Some(number)) => CommandEnd::Signalled(signal_name(number)),
                (None, None) => CommandEnd::NoStatus,
            };
            let truncated = output.len() > OUTPUT_LIMIT;
            output.truncate(OUTPUT_LIMIT);
            CommandOutput { stdout: output, stderr: errors, truncated, end, ..started }
        }
        ProgramEnd::TimedOut(errors) => CommandOutput { stderr: errors, end: CommandEnd::TimedOut, ..started },
        ProgramEnd::Stopped => CommandOutput { end: CommandEnd::GivenUp, ..started },
        ProgramEnd::TooLarge => CommandOutput { truncated: true, end: CommandEnd::NoStatus, ..started },
    }
}

/// The name of a signal as sshd would report it.
fn signal_name(number: i32) -> String {
    let names =
        [(1, "HUP"), (2, "INT"), (3, "QUIT"), (6, "ABRT"), (9, "KILL"), (11, "SEGV"), (13, "PIPE"), (15, "TERM")];
    let known = names.iter().find(|(own, _)| *own == number).map(|(_, name)| *name);
    known.unwrap_or("UNKNOWN").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(text: &str, time: Duration) -> CommandOutput {
        let environment = vec![("CTL_NODE", "a$(id)".to_owned())];
        run(text.to_owned(), environment, time, std::future::pending()).await.expect("a shell")
    }

    #[tokio::test]
    async fn it_ends_by_itself_or_in_its_time() {
        let ended = shell("echo \"$CTL_NODE\"; echo no >&2; exit 3", Duration::from_secs(60)).await;
        assert_eq!((ended.stdout.as_slice(), ended.stderr.as_slice()), (&b"a$(id)\n"[..], &b"no\n"[..]));
        assert_eq!(ended.end, CommandEnd::Exited(3));
        assert_eq!(shell("kill -TERM $$", Duration::from_secs(60)).await.end, CommandEnd::Signalled("TERM".to_owned()));
        assert_eq!(shell("sleep 1000", Duration::from_millis(20)).await.end, CommandEnd::TimedOut);
        let given_up = run("sleep 1000".to_owned(), Vec::new(), Duration::from_secs(60), async {}).await;
        assert_eq!(given_up.expect("a shell").end, CommandEnd::GivenUp);
    }
}
