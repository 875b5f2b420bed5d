//! The functions of a guard's rescue: check the commands that it will use, and start a process, a process group, or an
//! init service.
//!
//! Start at [`run`]. Invariants: each function uses the node's own `supervisorctl` and `service`, with their usual
//! privileges and faults; none takes longer than its limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::actions::split;
use crate::bounded;
use crate::commands::{self, Context};
use crate::init;
use crate::shell;
use crate::streams::Io;

/// The pause between two checks.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs `ask`, `up`, `grp` or `init`. The arguments are a limit, the number of the settings to read, a name (not for
/// `ask`), and the command to use.
pub(crate) async fn run(context: &Context, io: &Io, verb: &str, args: &[String]) -> i32 {
    let [limit, settings, words @ ..] = args else {
        return 2;
    };
    let Some(limit) = limit.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) else {
        return 2;
    };
    let known = context.rescue.as_ref().and_then(|known| known.get(&settings.parse().ok()?));
    let control = |words| Control { context, settings: known.map(String::as_str), words };
    let work = async {
        match (verb, words) {
            ("ask", words) => control(words).run(io, &[]).await,
            ("up", [name, words @ ..]) => bring_up(&control(words), name, false).await,
            ("grp", [name, words @ ..]) => bring_up(&control(words), name, true).await,
            (_, [name, words @ ..]) => init(&control(words), name).await,
            (_, []) => 2,
        }
    };
    tokio::time::timeout(limit, work).await.unwrap_or(if verb == "ask" { 137 } else { 1 })
}

/// Takes back what a run did: repeats a command until it exits 0. The arguments are a limit, a prefix for sudo, the
/// shell's script, which the lab does not interpret, four words, the command, and its environment.
pub(crate) async fn undo(context: &Context, io: &Io, args: &[String]) -> i32 {
    let place = args.iter().position(|word| word == "ctl-undo");
    let (Some([limit, ..]), Some([_, _, _, _, command, variables @ ..])) =
        (Some(args), place.and_then(|place| args.get(place + 1..)))
    else {
        return 2;
    };
    let Some(limit) = limit.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) else {
        return 2;
    };
    let context = &Context { environment: Arc::new(bounded::variables(variables)), ..context.clone() };
    let command = bounded::of_word(command);
    let work = async {
        while shell::run(context, io, &command).await != 0 {
            tokio::time::sleep(PAUSE).await;
        }
        0
    };
    tokio::time::timeout(limit, work).await.unwrap_or(1)
}

/// The command that a rescue uses.
struct Control<'a> {
    context: &'a Context,
    settings: Option<&'a str>,
    words: &'a [String],
}

impl Control<'_> {
    async fn run(&self, io: &Io, more: &[&str]) -> i32 {
        let argv: Vec<_> = self.words.iter().cloned().chain(more.iter().map(|w| (*w).to_owned())).collect();
        commands::run(
            self.context,
            &io.with_input(Bytes::copy_from_slice(self.settings.unwrap_or_default().as_bytes())),
            &argv,
        )
        .await
    }

    /// The stdout of the command with these additional arguments.
    async fn capture(&self, more: &[&str]) -> String {
        capture(|io| async move { self.run(&io, more).await }).await.0
    }
}

/// The stdout of a future, and its exit code.
pub(crate) async fn capture<F: Future<Output = i32>>(work: impl FnOnce(Io) -> F) -> (String, i32) {
    let (sender, mut chunks) = mpsc::channel(16);
    let (_, stdin) = mpsc::unbounded_channel();
    // The output ends when the last writer is dropped.
    let run = work(Io::new(sender, stdin));
    let collect = async {
        let mut out = Vec::new();
        while let Some((err, bytes)) = chunks.recv().await {
            if !err {
                out.extend_from_slice(&bytes);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let (code, text) = tokio::join!(run, collect);
    (text, code)
}

/// The states of a process, or of all processes of a group, as `supervisorctl status` prints them.
fn states(status: &str, name: &str, whole: bool) -> Vec<String> {
    let rows = status.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    // A process whose group has the same name is printed without its group.
    let plain = match split(name) {
        (group, Some(process)) if group == process => group,
        _ => name,
    };
    rows.filter(|(row, _)| if whole { split(row).0 == name } else { *row == plain })
        .map(|(_, state)| state.to_owned())
        .collect()
}

/// Starts processes that are down, and checks every second, until all are RUNNING or FATAL.
async fn bring_up(control: &Control<'_>, name: &str, whole: bool) -> i32 {
    let target = if whole { format!("{name}:*") } else { name.to_owned() };
    let look = || async { states(&control.capture(&["status"]).await, name, whole) };
    let is = |state: &str, all: &[&str]| all.contains(&state);
    let mut tried = false;
    loop {
        if whole {
            control.capture(&["add", name]).await;
        }
        let mut now = look().await;
        // A process that was FATAL before the rescue is started once.
        let down = |s: &String| is(s, &["STOPPED", "EXITED", "UNKNOWN"]) || (!tried && s == "FATAL");
        if now.iter().any(down) {
            control.capture(&["start", &target]).await;
            tried = true;
            now = look().await;
        }
        if !now.is_empty() && now.iter().all(|s| is(s, &["RUNNING", "FATAL"])) {
            return i32::from(now.iter().any(|s| s == "FATAL"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts an init service, again every second until it runs.
async fn init(control: &Control<'_>, name: &str) -> i32 {
    let node = &control.context.node;
    while !init::stays_up(node, name) {
        let command = ["service", name, "start"];
        let start = control.capture(&command);
        // The start of an instance that is shutting down waits for another process to start it.
        let in_time = tokio::time::timeout(PAUSE, start).await.is_ok();
        if in_time && !init::stays_up(node, name) {
            tokio::time::sleep(PAUSE).await;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_both_layouts() {
        let text = "contrail-api:0                   RUNNING    pid 5, uptime 0:00:07\n\
                    contrail-api:1                   STOPPED    Not started\n\
                    contrail-collector               FATAL     Exited too quickly\n";
        assert_eq!(states(text, "contrail-api:1", false), ["STOPPED"]);
        assert_eq!(states(text, "contrail-collector:contrail-collector", false), ["FATAL"]);
        assert_eq!(states(text, "contrail-collector", false), ["FATAL"]);
        assert_eq!(states(text, "contrail-api", true), ["RUNNING", "STOPPED"]);
        assert!(states(text, "contrail-api", false).is_empty());
    }
}
