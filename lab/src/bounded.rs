//! A user's command with a limit: it stops when its client disconnects, asks it to stop, or when its time is over.
//!
//! A client sends `exec /bin/sh -c SCRIPT ctl-exec LIMIT MARK LENGTH WATCHER`, then a line of script, which the lab does
//! not interpret, a line with the command encoded for `printf %b`, and LENGTH bytes of the command's input in base64. Or
//! the command is a further word, and nothing follows. Words behind the command, or behind `-` where that is read, are its
//! environment. Start at [`run`]. Invariants: after the command was ended, nothing that the small shell started for it keeps running,
//! background jobs included; requests that it sent to a supervisord stay in effect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::commands::Context;
use crate::shell;
use crate::streams::Io;
use crate::util::lock;

/// The exit code of a command that was ended, the same as after SIGTERM.
const ENDED: i32 = 143;

/// Counts of the limited commands (`ctl-exec`) on a node, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandsSnapshot {
    /// Commands that are running.
    pub running: usize,
    /// Commands that finished by themselves.
    pub finished: usize,
    /// Commands that were ended: by the end of stdin, on request, or at their limit.
    pub ended: usize,
}

/// The limited commands on a node.
#[derive(Default)]
pub(crate) struct Commands(Mutex<CommandsSnapshot>);

impl Commands {
    pub(crate) fn snapshot(&self) -> CommandsSnapshot {
        *lock(&self.0)
    }
}

/// The background jobs of one command.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<Vec<AbortHandle>>>);

impl Jobs {
    pub(crate) fn add(&self, job: AbortHandle) {
        lock(&self.0).push(job);
    }

    fn abort(&self) {
        lock(&self.0).drain(..).for_each(|job| job.abort());
    }
}

/// A running command; counted as running until it is dropped.
struct Running<'a>(&'a Commands);

impl<'a> Running<'a> {
    fn begin(all: &'a Commands) -> Self {
        lock(&all.0).running += 1;
        Self(all)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).running -= 1;
    }
}

/// Decodes a line as `printf %b` does, for lines that escape only backslashes and line ends.
pub(crate) fn unescaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.next() == Some('n') => text.push('\n'),
            other => text.push(other),
        }
    }
    text
}

/// Decodes a command in an argument: behind `=` as it is, behind `%` encoded for `printf %b`, in octal.
pub(crate) fn of_word(word: &str) -> String {
    let Some(encoded) = word.strip_prefix('%') else { return word.strip_prefix('=').unwrap_or(word).to_owned() };
    let mut parts = encoded.split("\\0");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        bytes.push(u8::from_str_radix(digits, 8).unwrap_or(b'?'));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Variables that are words behind a command.
pub(crate) fn variables(words: &[String]) -> HashMap<String, String> {
    let decoded = words.iter().map(|word| of_word(word));
    decoded.filter_map(|own| own.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// The input of a command; `None` if its client disconnects before it is complete.
async fn input(io: &Io, length: &str) -> Option<Bytes> {
    let encoded = io.read_exactly(length.parse().ok()?).await?;
    STANDARD.decode(encoded).ok().map(Bytes::from)
}

/// Runs one command and returns its exit code. `words` are the arguments after `ctl-exec`.
pub(crate) async fn run(context: &Context, io: &Io, words: &[String]) -> i32 {
    let limit = words.first().and_then(|w| w.parse::<f64>().ok());
    let (Some(limit), [_, mark, length, _watcher, command @ ..]) =
        (limit.and_then(|s| Duration::try_from_secs_f64(s).ok()), words)
    else {
        io.err("ctl-exec: no limit, no mark or no length\n").await;
        return 2;
    };
    let environment = Arc::new(variables(command.get(1..).unwrap_or_default()));
    let context = &Context { environment, ..context.clone() };
    if let Some(word) = command.first().filter(|word| *word != "-") {
        return start(context, io, limit, mark, &of_word(word), Bytes::new()).await;
    }
    let (Some(_script), Some(command)) = (io.read_whole_line().await, io.read_whole_line().await) else {
        return ENDED;
    };
    let Some(input) = input(io, length).await else { return ENDED };
    start(context, io, limit, mark, &unescaped(&command), input).await
}

/// Runs a command that has all of its input, after its mark on both streams.
pub(crate) async fn start(context: &Context, io: &Io, limit: Duration, mark: &str, command: &str, input: Bytes) -> i32 {
    let all = &context.node.commands;
    io.err(&format!("{mark}-2\n")).await;
    io.out(&format!("{mark}\n")).await;
    if context.node.shared.spec.obliging {
        lock(&all.0).finished += 1;
        return 0;
    }
    let context = Context { jobs: Some(Jobs::default()), ..context.clone() };
    let stdio = if input.is_empty() { io.no_input() } else { io.with_input(input) };
    let _running = Running::begin(all);
    // A sign of life ends nothing.
    let told = async { while io.read_whole_line().await.is_some_and(|line| line == ".") {} };
    let code = tokio::select! {
        // When a client disconnects, the command may notice first that nobody reads its output, and end because of
        // that.
        code = shell::run(&context, &stdio, command) => (!io.is_closed()).then_some(code),
        () = told => None,
        () = tokio::time::sleep(limit) => None,
    };
    let mut counts = lock(&all.0);
    match code {
        Some(code) => {
            counts.finished += 1;
            code
        }
        None => {
            counts.ended += 1;
            context.jobs.iter().for_each(Jobs::abort);
            ENDED
        }
    }
}
