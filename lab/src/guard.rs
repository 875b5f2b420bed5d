//! The node's side of the guard: one lock for the node, and a dead man's switch behind each held channel.
//!
//! A client sends `exec /bin/sh -c SCRIPT ctl-guard MARK WORDS…`, two lines of script, and then lines of the protocol.
//! The lab interprets no script, but implements here what the scripts would do. Start at [`run`] and [`Guards`].
//!
//! Invariants: at most one guard holds the lock, or several that only help share it; of these one has the turn at a time.
//! The lock is released when its guard has ended for any reason, and never
//! before the rescue is over. Every armed code is either disarmed, dropped by `q` or by a kill, or run.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};
use tokio::task::JoinSet;

use crate::bounded;
use crate::commands::{Context, KILLED};
use crate::fault::{Fault, Moment, Request};
use crate::rescue;
use crate::shell;
use crate::streams::Io;
use crate::util::lock;

/// The lock of a node and the guards on it, for tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardSnapshot {
    /// The description of the lock's holder, `run=… user=…`; `None` while the lock is free.
    pub holder: Option<String>,
    /// The number of running guards, including those that share a holder's `run=`.
    pub guards: usize,
    /// The armed codes with their numbers, those of the oldest guard first. A code that a rescue has run is not listed.
    pub armed: Vec<(u64, String)>,
    /// Whether a guard is running its rescue.
    pub rescuing: bool,
    /// The number of finished rescues. A guard that ends with nothing armed does not count.
    pub rescues: u32,
    /// The codes that rescues have run to their end, in order.
    pub rescued: Vec<String>,
}

/// A running guard.
#[derive(Default)]
struct Live {
    armed: BTreeMap<u64, String>,
    /// The settings that `supervisorctl` can be given to read, by number.
    settings: BTreeMap<u64, String>,
    rescuing: bool,
    kill: Arc<Notify>,
    /// Its description, if it shares the lock with others.
    shares: Option<String>,
    /// Its turn, while it has one.
    turn: Option<OwnedMutexGuard<()>>,
}

#[derive(Default)]
struct GuardState {
    /// The lock's holder: its description and the number of its guard; no number if it was taken from outside.
    holder: Option<(Option<u64>, String)>,
    live: BTreeMap<u64, Live>,
    next: u64,
    rescues: u32,
    rescued: Vec<String>,
    /// Held by the guard whose turn it is.
    door: Arc<AsyncMutex<()>>,
}

/// The lock of one node, and its guards.
#[derive(Default)]
pub(crate) struct Guards(Arc<Mutex<GuardState>>);

/// The result of a request for the lock.
enum Taken {
    /// This guard has it, or another guard of the same run.
    Ready,
    /// Another run has it, with this description.
    Held(String),
}

impl GuardState {
    /// The descriptions of the guards that share the lock.
    fn sharers(&self) -> impl Iterator<Item = &String> {
        self.live.values().filter_map(|live| live.shares.as_ref())
    }
}

impl Guards {
    pub(crate) fn snapshot(&self) -> GuardSnapshot {
        let state = lock(&self.0);
        GuardSnapshot {
            holder: state.holder.as_ref().map(|(_, words)| words.clone()).or_else(|| state.sharers().next().cloned()),
            guards: state.live.len(),
            armed: state.live.values().flat_map(|l| &l.armed).map(|(n, code)| (*n, code.clone())).collect(),
            rescuing: state.live.values().any(|l| l.rescuing),
            rescues: state.rescues,
            rescued: state.rescued.clone(),
        }
    }

    /// Takes the lock on behalf of a process outside the lab. Returns false if it is held.
    pub(crate) fn take(&self, words: &str) -> bool {
        let mut state = lock(&self.0);
        let free = state.holder.is_none() && state.sharers().next().is_none();
        if free {
            state.holder = Some((None, words.to_owned()));
        }
        free
    }

    /// Releases a lock that was taken from outside. Returns false if there is none.
    pub(crate) fn release(&self) -> bool {
        lock(&self.0).holder.take_if(|(guard, _)| guard.is_none()).is_some()
    }

    /// Kills every guard. Returns their number.
    pub(crate) fn kill(&self) -> usize {
        let all: Vec<_> = lock(&self.0).live.values().map(|l| Arc::clone(&l.kill)).collect();
        all.iter().for_each(|kill| kill.notify_one());
        all.len()
    }

    fn enter(&self) -> Guard<'_> {
        let mut state = lock(&self.0);
        let id = state.next;
        state.next += 1;
        let live = Live::default();
        let kill = Arc::clone(&live.kill);
        state.live.insert(id, live);
        Guard { all: self, id, kill }
    }
}

/// One guard. Dropping it removes it from the list, and frees the lock if it held it.
struct Guard<'a> {
    all: &'a Guards,
    id: u64,
    kill: Arc<Notify>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.all.0);
        state.live.remove(&self.id);
        let id = self.id;
        drop(state.holder.take_if(|(guard, _)| *guard == Some(id)));
    }
}

/// The first word, which identifies the controller. A controller may meet its own lock where two names are one machine.
fn own_word(words: &str) -> Option<&str> {
    words.split(' ').next().filter(|word| !word.is_empty())
}

impl Guard<'_> {
    fn take(&self, words: &str) -> Taken {
        let mut state = lock(&self.all.0);
        let is_own = |holder: &str| own_word(holder).is_some() && own_word(holder) == own_word(words);
        let only_helps = words.split(' ').any(|word| word == "use=helper");
        let sharers: Vec<String> = state.sharers().cloned().collect();
        match &state.holder {
            Some((_, holder)) if is_own(holder) => Taken::Ready,
            Some((_, holder)) => Taken::Held(holder.clone()),
            None if only_helps => {
                state.live.entry(self.id).or_default().shares = Some(words.to_owned());
                Taken::Ready
            }
            None if sharers.iter().any(|sharer| is_own(sharer)) => Taken::Ready,
            None => match sharers.first() {
                Some(sharer) => Taken::Held(sharer.clone()),
                None => {
                    state.holder = Some((Some(self.id), words.to_owned()));
                    Taken::Ready
                }
            },
        }
    }

    /// Waits for its turn, and reports whether it came.
    fn wait_for_turn(&self, io: &Io, mark: &str, number: u64, wait: Duration) -> impl Future<Output = ()> + use<> {
        let door = Arc::clone(&lock(&self.all.0).door);
        let all = Arc::clone(&self.all.0);
        let (io, mark, id) = (io.clone(), mark.to_owned(), self.id);
        async move {
            let turn = tokio::time::timeout(wait, door.lock_owned()).await;
            let word = if turn.is_ok() { 't' } else { 'b' };
            if let Some(live) = lock(&all).live.get_mut(&id) {
                live.turn = turn.ok().or(live.turn.take());
            }
            io.out(&format!("{mark} {word}{number}\n")).await;
        }
    }

    fn edit<R>(&self, edit: impl FnOnce(&mut Live) -> R) -> R {
        edit(lock(&self.all.0).live.entry(self.id).or_default())
    }

    fn first_armed(&self) -> Option<(u64, String)> {
        // What a run did is taken back after every rescue, the last first.
        let is_undo = |code: &String| code.starts_with("undo ");
        self.edit(|live| {
            let rescue = live.armed.iter().find(|(_, code)| !is_undo(code));
            let next = rescue.or_else(|| live.armed.last_key_value());
            next.map(|(number, code)| (*number, code.clone()))
        })
    }

    /// The context of commands in a rescue. It does not count as an action of the guard's own command, so that a fault
    /// does not mistake the one for the other.
    fn context(&self, context: &Context) -> Context {
        let settings = self.edit(|live| live.settings.clone());
        let acted = Arc::new(AtomicBool::new(false));
        Context { rescue: Some(Arc::new(settings)), acted, ..context.clone() }
    }

    /// Runs the armed codes: rescues in the order of their numbers, then undos in the opposite order.
    async fn rescue(&self, context: &Context, io: &Io) {
        if self.first_armed().is_none() {
            return;
        }
        self.edit(|live| live.rescuing = true);
        // What a run did is taken back when nobody else is inside, and soon in any case.
        let is_inside = self.edit(|live| live.turn.is_some() || live.shares.is_none());
        if !is_inside {
            let door = Arc::clone(&lock(&self.all.0).door);
            let turn = tokio::time::timeout(Duration::from_secs(20), door.lock_owned()).await.ok();
            self.edit(|live| live.turn = turn);
        }
        let context = self.context(context);
        let io = io.no_input().out_null().err_null();
        while let Some((number, code)) = self.first_armed() {
            let ended = shell::run(&context, &io, &code).await;
            tracing::debug!(number, code, ended, "rescued");
            self.edit(|live| live.armed.remove(&number));
            lock(&self.all.0).rescued.push(code);
        }
        lock(&self.all.0).rescues += 1;
    }
}

/// The next line; `None` when stdin has ended or no line arrived within `silence`.
async fn line(io: &Io, silence: Duration) -> Option<String> {
    tokio::time::timeout(silence, io.read_whole_line()).await.unwrap_or(None)
}

/// Runs a code as a rescue would, and reports its output line by line.
async fn attempt(context: Context, io: Io, mark: String, number: u64, code: String) {
    let (said, code) = rescue::capture(|io| async move { shell::run(&context, &io.err_to_out(), &code).await }).await;
    for line in said.lines().map(str::to_owned).chain([format!("exit {code}")]) {
        io.out(&format!("{mark} >{number} {line}\n")).await;
    }
    io.out(&format!("{mark} ?{number}\n")).await;
}

/// Runs a command that is held back together with the lock, and returns its exit code. A client sends `exec /bin/sh -c
/// SCRIPT ctl-staged LIMIT MARK 0 HOLDER COMMAND GUARD-MARK WORDS…`, and then `.` lines until `g` starts the command. The
/// lock ends with it.
pub(crate) async fn staged(context: &Context, io: &Io, words: &[String]) -> i32 {
    let [limit, output_mark, _, _, command, mark, words @ ..] = words else {
        io.err("ctl-staged: no limit, no mark or no command\n").await;
        return 2;
    };
    let shared = &context.node.shared;
    if shared.has(&Fault::Unanswered(Request::Guard)) {
        shared.until_closing().await;
    }
    shared.mid_action(Moment::Lock);
    let guard = context.node.guards.enter();
    // Any other answer is that of a guard: who has the lock, or what the node lacks.
    let is_able = !shared.has(&Fault::NoFlock) && !shared.has(&Fault::Unanswered(Request::HalfGuard));
    let is_free = {
        let state = lock(&guard.all.0);
        state.holder.is_none() && state.sharers().next().is_none()
    };
    if !(is_able && is_free && matches!(guard.take(&words.join(" ")), Taken::Ready)) {
        io.out(&format!("{mark} unlocked\n")).await;
        return 0;
    }
    io.out(&format!("{mark} ready\n")).await;
    loop {
        let said = tokio::select! {
            () = guard.kill.notified() => return KILLED,
            said = line(io, shared.guard_silence) => said,
        };
        match said.as_deref() {
            Some(".") => {}
            Some("g") => break,
            _ => return KILLED,
        }
    }
    let limit = Duration::from_secs(limit.parse().unwrap_or_default());
    bounded::start(context, io, limit, output_mark, &bounded::of_word(command), Bytes::new()).await
}

/// Runs one guard and returns its exit code. `words` are the arguments after `ctl-guard`.
pub(crate) async fn run(context: &Context, io: &Io, words: &[String]) -> i32 {
    let Some((mark, words)) = words.split_first() else {
        io.err("ctl-guard: no mark\n").await;
        return 2;
    };
    let words = words.join(" ");
    let guard = context.node.guards.enter();
    tokio::select! {
        () = guard.kill.notified() => KILLED,
        code = serve(context, io, &guard, mark, &words) => code,
    }
}

async fn serve(context: &Context, io: &Io, guard: &Guard<'_>, mark: &str, words: &str) -> i32 {
    let silence = context.node.shared.guard_silence;
    for _script in 0..2 {
        if line(io, silence).await.is_none() {
            return 0;
        }
    }
    if context.node.shared.has(&Fault::NoFlock) {
        io.out(&format!("{mark} noflock\n")).await;
        return 0;
    }
    if context.node.shared.has(&Fault::Unanswered(Request::Guard)) {
        context.node.shared.until_closing().await;
    }
    if context.node.shared.has(&Fault::Unanswered(Request::HalfGuard)) {
        io.out(&format!("{mark} rea")).await;
        context.node.shared.until_closing().await;
    }
    context.node.shared.mid_action(Moment::Lock);
    match guard.take(words) {
        Taken::Ready => io.out(&format!("{mark} ready\n")).await,
        Taken::Held(by) => {
            io.out(&format!("{mark} held\n{mark} by {by}\n")).await;
            return 0;
        }
    };
    let mut trials = JoinSet::new();
    while let Some(line) = line(io, silence).await {
        let answer = match (line.as_str(), line.chars().next()) {
            ("q", _) => return 0,
            (".", _) => ".".to_owned(),
            (_, Some('+')) if context.node.shared.has(&Fault::Unanswered(Request::Arm)) => continue,
            (line, Some('=')) => {
                if let Some((Ok(number), text)) = line[1..].split_once(' ').map(|(n, text)| (n.parse(), text)) {
                    guard.edit(|live| live.settings.insert(number, text.replace('\u{1f}', "\n") + "\n"));
                }
                continue;
            }
            (line, Some('?')) => {
                if let Some((Ok(number), code)) = line[1..].split_once(' ').map(|(n, code)| (n.parse::<u64>(), code)) {
                    trials.spawn(attempt(guard.context(context), io.clone(), mark.to_owned(), number, code.to_owned()));
                }
                continue;
            }
            (line, Some('+')) => match line[1..].split_once(' ').map(|(n, code)| (n.parse(), code)) {
                Some((Ok(number), code)) => {
                    guard.edit(|live| live.armed.insert(number, code.to_owned()));
                    context.node.shared.mid_action(Moment::Arm);
                    format!("+{number}")
                }
                _ => continue,
            },
            (line, Some('t')) => {
                if let Some((Ok(number), Ok(wait))) = line[1..].split_once(' ').map(|(n, s)| (n.parse(), s.parse())) {
                    trials.spawn(guard.wait_for_turn(io, mark, number, Duration::from_secs(wait)));
                }
                continue;
            }
            ("f", _) => {
                guard.edit(|live| live.turn = None);
                continue;
            }
            (line, Some('-')) => match line[1..].parse() {
                Ok(number) => {
                    guard.edit(|live| live.armed.remove(&number));
                    format!("-{number}")
                }
                Err(_) => continue,
            },
            _ => continue,
        };
        io.out(&format!("{mark} {answer}\n")).await;
    }
    guard.rescue(context, io).await;
    0
}
