//! What holds a node while a run owns it: one channel, on which the node's lock is kept and a dead-man's switch is set.
//!
//! Here live [`Guard`], what it starts again ([`Rescue`]), who holds a lock ([`Holder`]), and the shell text that is sent
//! to the node (`lock.sh`, `guard.sh`; `exec.sh` is what runs an operator's command). It uses `remote` and `transport`. What always
//! holds: nothing is written on the node; the lock ends with the guard, and the guard ends with the channel; what was
//! armed is started again when the channel ends without a word of ours, or when nothing comes for 30 s.
//!
//! The scripts go over standard input. What the login shell prints of its own is passed over: what is ours begins with a
//! random mark.

pub mod command;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};
use tracing::debug;

use crate::event::{Failure, FailureKind, Stage};
use crate::remote::script::{READ_AND_RUN, one_line, read_and_run};
use crate::remote::{EnterError, Passage, Sudo, SudoError};
use crate::transport::{Piece, RemoteCommand, Session, TransportError};

/// Between two signs of life. The guard gives up after 30 s without one.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the guard's answers are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long sudo may take to let the guard through.
const PATIENCE_WITH_SUDO: Duration = Duration::from_secs(30);

/// How long the end of a guard is waited for, so that the lock is free when the run says that it is over.
const FAREWELL: Duration = Duration::from_secs(3);

/// Longest line of a guard.
const LINE_LIMIT: usize = 64 * 1024;

/// Most of what a login shell may print before the guard.
const NOISE_LIMIT: usize = 1024 * 1024;

/// Who holds a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// The controller itself, by a word that no other has: what it holds under one name it holds under all.
    pub key: String,
    /// The run; empty where it is not known.
    pub run: String,
    /// The controller's user.
    pub user: String,
    /// The controller.
    pub host: String,
    /// Since when, by the controller's clock.
    pub since: String,
    /// Why, as the operator said.
    pub reason: String,
}

impl Holder {
    /// The words that stand in the guard's arguments, where another run finds them.
    fn words(&self) -> String {
        let fields = [
            ("key", &self.key),
            ("run", &self.run),
            ("user", &self.user),
            ("host", &self.host),
            ("since", &self.since),
            ("reason", &self.reason),
        ];
        let mut words = String::new();
        for (name, value) in fields {
            words.push_str(&format!(" {name}={}", encode(value)));
        }
        words
    }

    /// From such words. Untrusted: what is no field of ours is passed over.
    fn read(words: &str) -> Self {
        let mut holder = Self::default();
        for (name, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
            let field = match name {
                "key" => &mut holder.key,
                "run" => &mut holder.run,
                "user" => &mut holder.user,
                "host" => &mut holder.host,
                "since" => &mut holder.since,
                "reason" => &mut holder.reason,
                _ => continue,
            };
            *field = decode(value);
        }
        holder
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.run.is_empty() {
            return f.write_str("somebody whose name cannot be read");
        }
        write!(f, "run {} of {}@{} since {}", self.run, self.user, self.host, self.since)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

/// Letters, digits and a few signs as they are, everything else as `%XX`: one word to every shell.
fn encode(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes().take(512) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'@' | b'+' | b',' | b'-' => {
                word.push(char::from(byte));
            }
            other => word.push_str(&format!("%{other:02X}")),
        }
    }
    word
}

fn decode(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        let pair = if byte == b'%' { rest.as_slice_pair() } else { None };
        match pair {
            Some(value) => {
                bytes.push(value);
                rest.next();
                rest.next();
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Looks at the next two hexadecimal digits.
trait HexPair {
    fn as_slice_pair(&self) -> Option<u8>;
}

impl HexPair for std::str::Bytes<'_> {
    fn as_slice_pair(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let digits = [ahead.next()?, ahead.next()?];
        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
    }
}

/// What the guard starts again if it has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rescue {
    /// A process, through `supervisorctl`.
    Process {
        /// `group:name`.
        name: String,
        /// `[sudo -n] supervisorctl -s ADDRESS`.
        supervisorctl: Vec<String>,
    },
    /// A group that an update has taken out.
    Group {
        /// Its name.
        name: String,
        /// `[sudo -n] supervisorctl -s ADDRESS`.
        supervisorctl: Vec<String>,
    },
    /// A service that init runs.
    Init {
        /// Its name.
        name: String,
        /// `sudo -n`, or nothing.
        prefix: Vec<String>,
    },
}

/// How long the guard tries to start something again, in seconds: `stopwaitsecs` and `startsecs` of the program, which
/// supervisord does not tell, and 30 s more. Contrail's programs have at most 10 s and 10 s.
const RESCUE_LIMIT: u32 = 120;

impl Rescue {
    /// As a line for the guard. None where a word holds what no line can.
    fn code(&self) -> Option<String> {
        let (verb, name, words) = match self {
            Self::Process { name, supervisorctl } => ("up", name, supervisorctl),
            Self::Group { name, supervisorctl } => ("grp", name, supervisorctl),
            Self::Init { name, prefix } => ("init", name, prefix),
        };
        let mut code = format!("{verb} {RESCUE_LIMIT}");
        for word in std::iter::once(name).chain(words) {
            if word.contains(['\n', '\r', '\u{1f}']) {
                return None;
            }
            code.push(' ');
            code.push_str(&shlex::try_quote(word).ok()?);
        }
        let program = match self {
            Self::Process { .. } | Self::Group { .. } => words.iter().find(|word| *word != "sudo" && *word != "-n")?,
            Self::Init { .. } => "service",
        };
        code.push_str(&format!(" --needs {program}"));
        Some(code)
    }
}

/// Why a node's guard could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// Another run has the node.
    #[error("locked by {0}")]
    Held(Holder),
    /// The node cannot offer it.
    #[error("the node cannot be guarded: {0}")]
    Unable(String),
    /// What its shell prints has no end.
    #[error("the node cannot be guarded: its shell printed more than {NOISE_LIMIT} bytes")]
    Endless,
    /// It did not come up in time.
    #[error("the node did not answer within {} s while its lock was taken", .0.as_secs())]
    Silent(Duration),
    /// sudo did not run it.
    #[error(transparent)]
    Sudo(SudoError),
    /// The connection is gone, or sshd runs no command.
    #[error(transparent)]
    Transport(TransportError),
}

impl TakeError {
    /// Whether the node cannot offer a guard, be it asked or not.
    #[must_use]
    pub fn is_of_the_node(&self) -> bool {
        match self {
            Self::Unable(_) | Self::Endless | Self::Silent(_) | Self::Sudo(_) => true,
            Self::Transport(error) => {
                matches!(error, TransportError::CommandRefused { .. } | TransportError::Silent { .. })
            }
            Self::Held(_) => false,
        }
    }

    /// The same as a failure of a result.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (kind, hint) = match self {
            Self::Sudo(error) => return error.failure(Stage::Inspect),
            Self::Transport(error) => return error.failure(),
            Self::Held(_) => {
                let hint = "wait for it (--lock-wait), or talk to whoever runs it; nothing was changed";
                return Failure::new(Stage::Plan, FailureKind::Locked, self.to_string()).with_hint(hint);
            }
            Self::Silent(_) => (FailureKind::TimedOut, HUNG),
            Self::Unable(_) => (FailureKind::Command, UNGUARDED),
            Self::Endless => (FailureKind::Protocol, UNGUARDED),
        };
        Failure::new(Stage::Inspect, kind, self.to_string()).with_hint(hint)
    }
}

const UNGUARDED: &str =
    "without it a lost connection could leave a service stopped, and two runs could meet; --no-guard goes without";

/// What to do about a node that lets one in and then does not answer.
const HUNG: &str = "sshd let us in and then hung: look at the node's load, memory and disks";

/// Why something could not be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// The guard is no more: so is the lock.
    #[error("the guard on the node has ended, and with it the lock")]
    Gone,
    /// The guard does not answer.
    #[error("the guard on the node did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The guard could not do it.
    #[error("the guard could not start it again: {0}")]
    Unable(String),
}

/// A node's guard, as long as the run owns the node.
#[derive(Debug)]
pub struct Guard {
    asks: mpsc::Sender<Ask>,
    alive: Arc<AtomicBool>,
}

/// What the holder wants of the task that speaks with the guard.
#[derive(Debug)]
enum Ask {
    Arm(String, oneshot::Sender<Result<u64, ArmError>>),
    Disarm(u64),
    Release(oneshot::Sender<()>),
}

impl Guard {
    /// Takes the node's lock and starts the guard. Where sudo may ask for a password, the guard itself goes through it:
    /// nobody could answer later.
    ///
    /// # Errors
    /// [`TakeError`].
    pub async fn take<S: Session>(session: &S, owner: &Holder, sudo: &Sudo) -> Result<Self, TakeError> {
        // Who held it a moment ago may be gone when one looks who it was.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_take(session, owner, sudo).await {
                Err(TakeError::Held(holder)) if holder.run.is_empty() && attempts < 3 => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                taken => return taken,
            }
        }
    }

    async fn try_take<S: Session>(session: &S, owner: &Holder, sudo: &Sudo) -> Result<Self, TakeError> {
        let mark = format!("ctl-{:016x}", rand::random::<u64>());
        let passage = Passage::new();
        let (prefix, shell) = if sudo.has_password() {
            (sudo.prefix(&passage), read_and_run(passage.mark()))
        } else {
            (String::new(), READ_AND_RUN.to_owned())
        };
        let line = format!("exec {prefix}/bin/sh -c {shell} ctl-guard {mark}{}", owner.words());
        let time = if sudo.has_password() { PATIENCE + PATIENCE_WITH_SUDO } else { PATIENCE };
        let opened = timeout(time, Channel::open(session, &line, mark, sudo, &passage)).await;
        let channel = opened.map_err(|_| TakeError::Silent(time))??;
        let (asks, inbox) = mpsc::channel(64);
        let alive = Arc::new(AtomicBool::new(true));
        tokio::spawn(keep(channel, inbox, Arc::clone(&alive)));
        Ok(Self { asks, alive })
    }

    /// Whether the guard lives, and with it the lock.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// From the moment this returns, `rescue` is done if the channel ends. The number disarms it.
    ///
    /// # Errors
    /// [`ArmError`]; nothing is armed then.
    pub async fn arm(&self, rescue: &Rescue) -> Result<u64, ArmError> {
        let unable = || ArmError::Unable("its name cannot be written on one line".to_owned());
        let code = rescue.code().ok_or_else(unable)?;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.asks.send(Ask::Arm(code, reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(PATIENCE, asked).await {
            Ok(Some(armed)) => armed,
            Ok(None) => Err(ArmError::Gone),
            Err(_) => Err(ArmError::Silent),
        }
    }

    /// It need not be started again any more.
    pub async fn disarm(&self, number: u64) {
        if !matches!(timeout(PATIENCE, self.asks.send(Ask::Disarm(number))).await, Ok(Ok(()))) {
            debug!("the guard has ended, or hangs, and was not disarmed");
        }
    }

    /// Lets the node go. Returns when the lock is free, or after a few seconds.
    pub async fn release(self) {
        let (reply, released) = oneshot::channel();
        let farewell = async { self.asks.send(Ask::Release(reply)).await.is_ok() && released.await.is_ok() };
        if timeout(FAREWELL, farewell).await.is_err() {
            debug!("the guard did not say that it ended");
        }
    }
}

const LOCK: &str = include_str!("lock.sh");
const GUARD: &str = include_str!("guard.sh");

/// Splits what comes into lines; a line that is too long is dropped.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    whole: VecDeque<String>,
}

impl Lines {
    fn take_in(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.whole.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if self.rest.len() > LINE_LIMIT {
            self.rest.clear();
        }
    }
}

/// The channel to a guard.
struct Channel<C: RemoteCommand> {
    command: C,
    mark: String,
    lines: Lines,
    /// Bytes that came since the last line of the guard's own.
    printed: usize,
    /// Whether its end was told; otherwise the connection ended.
    has_ended: bool,
}

impl<C: RemoteCommand> Channel<C> {
    /// Starts the guard by this command line, and waits until it is ready.
    async fn open<S: Session<Command = C>>(
        session: &S,
        line: &str,
        mark: String,
        sudo: &Sudo,
        passage: &Passage,
    ) -> Result<Self, TakeError> {
        let mut command = session.start(line).await.map_err(TakeError::Transport)?;
        if sudo.has_password()
            && let Err(error) = sudo.enter(&mut command, passage, PATIENCE_WITH_SUDO).await
        {
            command.close().await;
            return Err(match error {
                EnterError::Sudo(error) => TakeError::Sudo(error),
                EnterError::Transport(error) => TakeError::Transport(error),
                EnterError::Ended { .. } => TakeError::Unable(error.to_string()),
            });
        }
        let mut channel = Self { command, mark, lines: Lines::default(), printed: 0, has_ended: false };
        let scripts = format!("{}\n{}\n", one_line(LOCK), one_line(GUARD));
        channel.command.write(scripts.as_bytes()).await.map_err(TakeError::Transport)?;
        channel.greeting().await?;
        Ok(channel)
    }

    /// The next line of the guard's own, without its mark. None: it has ended. May be dropped and asked again.
    async fn line(&mut self, noise: &mut String) -> Option<String> {
        loop {
            while let Some(line) = self.lines.whole.pop_front() {
                // A login shell may leave its last line without an end.
                match line.split_once(&format!("{} ", self.mark)) {
                    Some((_, said)) => {
                        self.printed = 0;
                        return Some(said.to_owned());
                    }
                    None if noise.len() < 512 && !line.trim().is_empty() => *noise = line,
                    None => {}
                }
            }
            if self.printed > NOISE_LIMIT {
                return None;
            }
            match self.command.next().await? {
                Piece::Stdout(bytes) => {
                    self.printed += bytes.len();
                    self.lines.take_in(&bytes);
                }
                Piece::Stderr(bytes) => {
                    self.printed += bytes.len();
                    if noise.is_empty() {
                        String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().clone_into(noise);
                    }
                }
                Piece::Exit(_) => self.has_ended = true,
            }
        }
    }

    /// Waits until the guard is ready, or says why it will not be.
    async fn greeting(&mut self) -> Result<(), TakeError> {
        let mut noise = String::new();
        let mut held = false;
        while let Some(line) = self.line(&mut noise).await {
            match line.split_once(' ').unwrap_or((line.as_str(), "")) {
                ("ready", _) => return Ok(()),
                ("held", _) => held = true,
                ("by", words) => return Err(TakeError::Held(Holder::read(words))),
                ("noflock", _) => return Err(TakeError::Unable("it has no `flock` (util-linux)".to_owned())),
                ("ended", code) => return Err(TakeError::Unable(format!("flock ended with {code}: {noise}"))),
                _ => {}
            }
        }
        if held {
            return Err(TakeError::Held(Holder::default()));
        }
        if self.printed > NOISE_LIMIT {
            self.command.close().await;
            return Err(TakeError::Endless);
        }
        if !self.has_ended {
            let reason = "it ended while the node's lock was taken".to_owned();
            return Err(TakeError::Transport(TransportError::Lost { reason }));
        }
        let said = if noise.is_empty() { "nothing".to_owned() } else { format!("`{noise}`") };
        Err(TakeError::Unable(format!("its shell ended at once and said {said}")))
    }
}

/// Speaks with the guard until it ends or is let go.
async fn keep<C: RemoteCommand>(mut channel: Channel<C>, mut inbox: mpsc::Receiver<Ask>, alive: Arc<AtomicBool>) {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = 0_u64;
    let mut waiting: BTreeMap<u64, oneshot::Sender<Result<u64, ArmError>>> = BTreeMap::new();
    let mut released: Option<oneshot::Sender<()>> = None;
    let mut noise = String::new();
    loop {
        let send = tokio::select! {
            line = channel.line(&mut noise) => {
                let Some(line) = line else { break };
                heard(&line, &mut waiting);
                continue;
            }
            ask = inbox.recv() => match ask {
                Some(Ask::Arm(code, reply)) => {
                    last += 1;
                    waiting.insert(last, reply);
                    format!("+{last} {code}\n")
                }
                Some(Ask::Disarm(number)) => format!("-{number}\n"),
                Some(Ask::Release(reply)) => {
                    released = Some(reply);
                    "q\n".to_owned()
                }
                // The run is gone without letting go: what is armed stays armed, and the end of the channel tells.
                None => break,
            },
            _ = beat.tick() => ".\n".to_owned(),
        };
        // A node that takes nothing for so long has its guard end anyway.
        if !matches!(timeout(PATIENCE, channel.command.write(send.as_bytes())).await, Ok(Ok(()))) {
            break;
        }
        if released.is_some() {
            // Nothing more is wanted but its end.
            while channel.line(&mut noise).await.is_some() {}
            break;
        }
    }
    alive.store(false, Ordering::Release);
    channel.command.close().await;
    if let Some(reply) = released
        && reply.send(()).is_err()
    {
        debug!("nobody waits for the end of the guard any more");
    }
}

/// A line of the guard: what was armed, or cannot be.
fn heard(line: &str, waiting: &mut BTreeMap<u64, oneshot::Sender<Result<u64, ArmError>>>) {
    let (armed, rest) = match (line.strip_prefix('+'), line.strip_prefix('!')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return,
    };
    let (number, program) = rest.split_once(' ').unwrap_or((rest, ""));
    let Some((number, reply)) = number.parse().ok().and_then(|number| Some((number, waiting.remove(&number)?))) else {
        return;
    };
    let answer = if armed { Ok(number) } else { Err(ArmError::Unable(format!("it finds no `{program}` on the node"))) };
    if reply.send(answer).is_err() {
        debug!(number, "armed for nobody");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_holder_is_one_line_for_every_shell() {
        let holder = Holder {
            key: "0123456789abcdef".to_owned(),
            run: "20261123-002634-muat".to_owned(),
            user: "o'neil".to_owned(),
            host: "c1".to_owned(),
            since: "2026-11-23T00:26:34Z".to_owned(),
            reason: "upgrade; rm -rf / `x` $(y) \"z\" 100% ünïcode\n!".to_owned(),
        };
        let words = holder.words();
        assert!(words.chars().all(|c| c.is_ascii_alphanumeric() || " =%._:@+,-".contains(c)), "{words}");
        assert_eq!(Holder::read(&words), holder);
        assert_eq!(
            holder.to_string(),
            "run 20261123-002634-muat of o'neil@c1 since 2026-11-23T00:26:34Z (upgrade; rm -rf / `x` $(y) \"z\" 100% ünïcode\n!)"
        );
    }

    #[test]
    fn a_rescue_is_one_line() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let process = Rescue::Process {
            name: "api:it's 0".to_owned(),
            supervisorctl: words("sudo -n supervisorctl -s unix:///tmp/x.sock"),
        };
        assert_eq!(
            process.code().as_deref(),
            Some("up 120 \"api:it's 0\" sudo -n supervisorctl -s unix:///tmp/x.sock --needs supervisorctl")
        );
        let init = Rescue::Init { name: "supervisor-vrouter".to_owned(), prefix: Vec::new() };
        assert_eq!(init.code().as_deref(), Some("init 120 supervisor-vrouter --needs service"));
        let broken = Rescue::Init { name: "a\nb".to_owned(), prefix: Vec::new() };
        assert_eq!(broken.code(), None);
    }

    #[test]
    fn the_scripts_are_one_line_each() {
        for script in [LOCK, GUARD, command::EXEC] {
            let line = one_line(script);
            assert!(!line.contains('\n') && line.len() < 16 * 1024);
        }
    }

    proptest! {
        #[test]
        fn words_come_back(text in "\\PC{0,60}") {
            let word = encode(&text);
            prop_assert!(!word.contains(char::is_whitespace));
            prop_assert_eq!(decode(&word), text);
        }

        #[test]
        fn no_words_panic(words in "\\PC{0,80}") {
            let holder = Holder::read(&words);
            prop_assert!(holder.run.len() <= words.len() * 3);
        }
    }
}
