//! What a guard's rescue can do: bring up a process, a process group, or a service of init.
//!
//! Start at [`run`]. Always holds: each works through the node's own `supervisorctl` and `service`, under the
//! rights and the faults that these have for everybody; none takes longer than its limit.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::actions::split;
use crate::commands::{self, Context, Io};
use crate::init;

/// How long to wait before another look.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs `up`, `grp` or `init` with LIMIT, a name, and the words of the command to use.
pub(crate) async fn run(context: &Context, verb: &str, args: &[String]) -> i32 {
    let [limit, name, words @ ..] = args else {
        return 2;
    };
    let Some(limit) = limit.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) else {
        return 2;
    };
    let work = async {
        match verb {
            "up" => bring_up(context, name, false, words).await,
            "grp" => bring_up(context, name, true, words).await,
            _ => init(context, name, words).await,
        }
    };
    tokio::time::timeout(limit, work).await.unwrap_or(1)
}

/// Runs a command; gives what it wrote to stdout.
async fn capture(context: &Context, words: &[String], more: &[&str]) -> String {
    let argv: Vec<_> = words.iter().cloned().chain(more.iter().map(|w| (*w).to_owned())).collect();
    let (sender, mut chunks) = mpsc::channel(16);
    let (_, stdin) = mpsc::unbounded_channel();
    let run = async {
        // The output ends when the last of its writers is gone.
        let io = Io::new(sender, stdin);
        commands::run(context, &io, &argv).await
    };
    let collect = async {
        let mut out = Vec::new();
        while let Some((err, bytes)) = chunks.recv().await {
            if !err {
                out.extend_from_slice(&bytes);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    tokio::join!(run, collect).1
}

/// The states of a process, or of all processes of a group, as `supervisorctl status` prints them.
fn states(status: &str, name: &str, whole: bool) -> Vec<String> {
    let rows = status.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    // A process of its own is printed without its group.
    let plain = match split(name) {
        (group, Some(process)) if group == process => group,
        _ => name,
    };
    rows.filter(|(row, _)| if whole { split(row).0 == name } else { *row == plain })
        .map(|(_, state)| state.to_owned())
        .collect()
}

/// Starts what is down, and looks again each second, until all is RUNNING or FATAL.
async fn bring_up(context: &Context, name: &str, whole: bool, words: &[String]) -> i32 {
    let target = if whole { format!("{name}:*") } else { name.to_owned() };
    let look = || async { states(&capture(context, words, &["status"]).await, name, whole) };
    let is = |state: &str, all: &[&str]| all.contains(&state);
    let mut tried = false;
    loop {
        if whole {
            capture(context, words, &["add", name]).await;
        }
        let mut now = look().await;
        // What was FATAL before the rescue gets its one chance.
        let down = |s: &String| is(s, &["STOPPED", "EXITED", "UNKNOWN"]) || (!tried && s == "FATAL");
        if now.iter().any(down) {
            capture(context, words, &["start", &target]).await;
            tried = true;
            now = look().await;
        }
        if !now.is_empty() && now.iter().all(|s| is(s, &["RUNNING", "FATAL"])) {
            return i32::from(now.iter().any(|s| s == "FATAL"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts a service of init, and again each second until it runs.
async fn init(context: &Context, name: &str, words: &[String]) -> i32 {
    while !init::stays_up(&context.node, name) {
        let command = ["service", name, "start"];
        let start = capture(context, words, &command);
        // The start of an instance that is ending waits for another to start it.
        let in_time = tokio::time::timeout(PAUSE, start).await.is_ok();
        if in_time && !init::stays_up(&context.node, name) {
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
