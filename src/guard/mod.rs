//! What holds a node while a run owns it: one channel, on which the node's lock is kept and a dead-man's switch is set.
//!
//! Here live [`Guard`], what it starts again ([`Rescue`]), who holds a lock ([`LockHolder`]), and the shell text that is sent
//! to the node (`lock.sh`, `guard.sh`; `exec.sh` is what runs an operator's command). It uses `remote`, `transport` and
//! the leaf `event`. What always holds: nothing is written on the node; the lock ends with the guard, and the guard ends
//! with the channel; what was armed is started again when the channel ends without a word of ours, or when nothing
//! comes for 20 s; nothing is armed that was not tried before, in the same words ([`Guard::arm`]).
//!
//! The scripts go over standard input. What the login shell prints of its own is passed over: what is ours begins with a
//! random mark.

pub mod command;
mod holder;
mod live;
mod rescue;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::zeroize::Zeroizing;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};
use tracing::debug;

pub use self::holder::LockHolder;
use self::live::LiveMark;
pub use self::rescue::{ControlCommand, ControlSettings, Rescue, TrialAnswer, TrialJudge};
use self::rescue::{RescueTrial, TRIAL_LIMIT};
use crate::event::{Failure, FailureKind, Stage};
use crate::remote::script::{READ_AND_RUN, one_line, read_and_run};
use crate::remote::{EnterError, Sudo, SudoError, SudoPrompt};
use crate::transport::{HUNG, OutputPiece, RemoteCommand, Session, TransportError};

/// Between two signs of life. The guard gives up after 20 s without one: two may be lost on the way and the third be late,
/// and 10 s are left to start what was stopped within the 30 s that are promised.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the guard's answers are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the answer to what is tried is waited for: longer than the node gives it.
const PATIENCE_WITH_TRIALS: Duration = Duration::from_secs(TRIAL_LIMIT as u64 + 4);

/// How long sudo may take to let the guard through.
const PATIENCE_WITH_SUDO: Duration = Duration::from_secs(30);

/// How long a guard that a lost connection has left behind is waited for. Its silence and its rescue take up to 30 s, and
/// more on a busy node; the time for the node bounds both.
const PATIENCE_WITH_OLD_GUARD: Duration = Duration::from_secs(60);

/// Between two looks at whether that guard has ended.
const OLD_GUARD_PAUSE: Duration = Duration::from_millis(500);

/// How long the end of a guard is waited for, so that the lock is free when the run says that it is over.
const FAREWELL: Duration = Duration::from_secs(3);

/// Longest line of a guard.
const LINE_LIMIT: usize = 64 * 1024;

/// Most lines kept of what something that is tried prints, and the most of each in characters.
const ANSWER_LINES: (usize, usize) = (200, 800);

/// Most of what a login shell may print before the guard.
const NOISE_LIMIT: usize = 1024 * 1024;

/// Why a node's guard could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// Another run has the node.
    #[error("locked by {0}")]
    Held(LockHolder),
    /// The node cannot offer it.
    #[error("cannot guard the node: {0}")]
    Unable(String),
    /// What its shell prints has no end.
    #[error("cannot guard the node: its shell printed more than {NOISE_LIMIT} bytes")]
    Endless,
    /// It did not come up in time.
    #[error("the node did not answer within {} s while taking its lock", .0.as_secs())]
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
                let hint = "wait for it with --lock-wait, or contact the user that runs it; nothing was changed";
                return Failure::new(Stage::Plan, FailureKind::Locked, self.to_string()).with_hint(hint);
            }
            Self::Silent(_) => (FailureKind::TimedOut, HUNG),
            Self::Unable(_) => (FailureKind::Command, UNGUARDED),
            Self::Endless => (FailureKind::Protocol, UNGUARDED),
        };
        Failure::new(Stage::Inspect, kind, self.to_string()).with_hint(hint)
    }
}

const UNGUARDED: &str = "without a guard, a dropped connection could leave a service stopped and two runs could collide; \
                         use --no-guard to accept that";

/// Why something could not be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// The guard is no more: so is the lock.
    #[error("the guard on the node has exited, so the lock is gone")]
    Gone,
    /// The guard does not answer.
    #[error("the guard on the node did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The guard could not do it.
    #[error("the guard could not start it again: {0}")]
    Unable(String),
    /// It was tried, and would not work.
    #[error("{}", .0.message)]
    Refused(Box<Failure>),
}

/// A node's guard, as long as the run owns the node.
#[derive(Debug)]
pub struct Guard {
    mark: Arc<LiveMark>,
    asks: mpsc::Sender<GuardRequest>,
    alive: Arc<AtomicBool>,
    /// The code of what was tried and would work.
    tried: std::sync::Mutex<BTreeSet<String>>,
    /// What the guard has been handed to read, by its number.
    handed: tokio::sync::Mutex<Vec<ControlSettings>>,
    trials: AtomicU64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The task that speaks with it ends a moment later.
        self.mark.end();
    }
}

/// What the holder wants of the task that speaks with the guard.
#[derive(Debug)]
enum GuardRequest {
    Hand(u64, ControlSettings),
    Try(u64, String, oneshot::Sender<Vec<String>>),
    Arm(String, oneshot::Sender<u64>),
    Disarm(u64),
    Release(oneshot::Sender<()>),
}

impl Guard {
    /// Takes the node's lock and starts the guard. Where sudo may ask for a password, the guard itself goes through it:
    /// nobody could answer later. A guard of this process that a lost connection has left on the node is waited for.
    ///
    /// # Errors
    /// [`TakeError`].
    pub async fn take<S: Session>(session: &S, owner: &LockHolder, sudo: &Sudo) -> Result<Self, TakeError> {
        // Who held it a moment ago may be gone when one looks who it was.
        let mut attempts = 0;
        let deadline = Instant::now() + PATIENCE_WITH_OLD_GUARD;
        loop {
            attempts += 1;
            match Self::try_take(session, owner, sudo).await {
                Err(TakeError::Held(holder)) if holder.run.is_empty() && attempts < 3 => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(TakeError::Held(holder)) if holder.key == owner.key && Instant::now() < deadline => {
                    debug!("waiting for the guard of a lost connection to exit; it still has the lock");
                    tokio::time::sleep(OLD_GUARD_PAUSE).await;
                }
                taken => return taken,
            }
        }
    }

    async fn try_take<S: Session>(session: &S, owner: &LockHolder, sudo: &Sudo) -> Result<Self, TakeError> {
        let mark = format!("ctl-{:016x}", rand::random::<u64>());
        let passage = SudoPrompt::new();
        let (prefix, shell) = if sudo.has_password() {
            (sudo.prefix(&passage), read_and_run(passage.mark()))
        } else {
            (String::new(), READ_AND_RUN.to_owned())
        };
        let line = format!("exec {prefix}/bin/sh -c {shell} ctl-guard {mark}{}", owner.words());
        let time = if sudo.has_password() { PATIENCE + PATIENCE_WITH_SUDO } else { PATIENCE };
        let opened = timeout(time, GuardChannel::open(session, &line, mark, sudo, &passage)).await;
        let channel = opened.map_err(|_| TakeError::Silent(time))??;
        let (asks, inbox) = mpsc::channel(64);
        let alive = Arc::new(AtomicBool::new(true));
        let mark = Arc::new(LiveMark::new(channel.mark.clone()));
        tokio::spawn(keep(channel, inbox, Arc::clone(&mark), Arc::clone(&alive)));
        let (tried, handed, trials) = Default::default();
        Ok(Self { mark, asks, alive, tried, handed, trials })
    }

    /// Whether the guard lives, and with it the lock.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Tries what the rescues would run, once for all that go through the same command, with `status` in the place of
    /// `start`. Nothing is changed by that. What was tried before is not tried again.
    ///
    /// # Errors
    /// [`ArmError`] of the first that would not work.
    pub async fn rehearse(&self, rescues: &[Rescue], judge: TrialJudge) -> Result<(), ArmError> {
        let mut open = Vec::new();
        for rescue in rescues {
            let code = self.code(rescue).await?;
            if !self.tried.lock().unwrap_or_else(PoisonError::into_inner).contains(&code) {
                open.push((rescue, code));
            }
        }
        let trials = RescueTrial::of(open.iter().map(|(rescue, _)| *rescue));
        let answers = join_all(trials.iter().map(|trial| self.answer(trial))).await;
        for (trial, answer) in trials.iter().zip(answers) {
            let answer = answer?;
            for rescue in &trial.rescues {
                judge(rescue, &answer).map_err(|failure| ArmError::Refused(Box::new(failure)))?;
            }
        }
        let codes = open.into_iter().map(|(_, code)| code);
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).extend(codes);
        Ok(())
    }

    /// What a trial's command answers on the node.
    async fn answer(&self, trial: &RescueTrial<'_>) -> Result<TrialAnswer, ArmError> {
        let settings = self.hand(trial.settings).await?;
        let code = trial.code(settings).ok_or_else(not_a_line)?;
        let number = self.trials.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let mut lines = self.ask(GuardRequest::Try(number, code, reply), answer, PATIENCE_WITH_TRIALS).await?;
        let exit = lines.last().and_then(|line| line.strip_prefix("exit ")).and_then(|code| code.parse().ok());
        if exit.is_some() {
            lines.pop();
        }
        Ok(TrialAnswer { command: trial.command().unwrap_or_default(), said: lines.join("\n"), exit })
    }

    /// The number under which the guard has `settings`; it is handed them now unless it has them.
    async fn hand(&self, settings: Option<&ControlSettings>) -> Result<Option<u64>, ArmError> {
        let Some(settings) = settings else { return Ok(None) };
        let mut handed = self.handed.lock().await;
        let place = match handed.iter().position(|known| known == settings) {
            Some(place) => place,
            None => {
                handed.push(settings.clone());
                let number = handed.len() as u64;
                let sent = timeout(PATIENCE, self.asks.send(GuardRequest::Hand(number, settings.clone()))).await;
                sent.ok().and_then(Result::ok).ok_or(ArmError::Gone)?;
                handed.len() - 1
            }
        };
        Ok(Some(place as u64 + 1))
    }

    /// A rescue as the guard's code.
    async fn code(&self, rescue: &Rescue) -> Result<String, ArmError> {
        let settings = self.hand(rescue.settings()).await?;
        rescue.code(settings).ok_or_else(not_a_line)
    }

    /// From the moment this returns, `rescue` is done if the channel ends. The number disarms it. It was tried before.
    ///
    /// # Errors
    /// [`ArmError`]; nothing is armed then.
    pub async fn arm(&self, rescue: &Rescue, judge: TrialJudge) -> Result<u64, ArmError> {
        self.rehearse(std::slice::from_ref(rescue), judge).await?;
        let code = self.code(rescue).await?;
        let (reply, answer) = oneshot::channel();
        self.ask(GuardRequest::Arm(code, reply), answer, PATIENCE).await
    }

    /// Asks the guard, and waits for its answer.
    async fn ask<A>(&self, ask: GuardRequest, answer: oneshot::Receiver<A>, patience: Duration) -> Result<A, ArmError> {
        let asked = async {
            self.asks.send(ask).await.ok()?;
            answer.await.ok()
        };
        match timeout(patience, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(ArmError::Gone),
            Err(_) => Err(ArmError::Silent(patience)),
        }
    }

    /// It need not be started again any more.
    pub async fn disarm(&self, number: u64) {
        if !matches!(timeout(PATIENCE, self.asks.send(GuardRequest::Disarm(number))).await, Ok(Ok(()))) {
            debug!("the guard has exited or hangs, and was not disarmed");
        }
    }

    /// Lets the node go. Returns when the lock is free, or after a few seconds.
    pub async fn release(self) {
        let (reply, released) = oneshot::channel();
        let farewell = async { self.asks.send(GuardRequest::Release(reply)).await.is_ok() && released.await.is_ok() };
        if timeout(FAREWELL, farewell).await.is_err() {
            debug!("the guard did not report its exit");
        }
    }
}

const LOCK: &str = include_str!("lock.sh");
const GUARD: &str = include_str!("guard.sh");

/// Splits what comes into lines; a line that is too long is dropped.
#[derive(Debug, Default)]
struct GuardLines {
    rest: Vec<u8>,
    whole: VecDeque<String>,
}

impl GuardLines {
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
struct GuardChannel<C: RemoteCommand> {
    command: C,
    mark: String,
    lines: GuardLines,
    /// Bytes that came since the last line of the guard's own.
    printed: usize,
    /// Whether its end was told; otherwise the connection ended.
    has_ended: bool,
}

impl<C: RemoteCommand> GuardChannel<C> {
    /// Starts the guard by this command line, and waits until it is ready.
    async fn open<S: Session<Command = C>>(
        session: &S,
        line: &str,
        mark: String,
        sudo: &Sudo,
        passage: &SudoPrompt,
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
        let mut channel = Self { command, mark, lines: GuardLines::default(), printed: 0, has_ended: false };
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
                OutputPiece::Stdout(bytes) => {
                    self.printed += bytes.len();
                    self.lines.take_in(&bytes);
                }
                OutputPiece::Stderr(bytes) => {
                    self.printed += bytes.len();
                    if noise.is_empty() {
                        String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().clone_into(noise);
                    }
                }
                OutputPiece::Exit(_) => self.has_ended = true,
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
                ("own", words) => {
                    if !LiveMark::is_live(words.split(' ').next().unwrap_or_default()) {
                        return Err(TakeError::Held(LockHolder::read(words)));
                    }
                    self.command.write(b"beside\n").await.map_err(TakeError::Transport)?;
                }
                ("by", words) => return Err(TakeError::Held(LockHolder::read(words))),
                ("noflock", _) => return Err(TakeError::Unable("`flock` (util-linux) is missing".to_owned())),
                ("ended", code) => return Err(TakeError::Unable(format!("flock exited with {code}: {noise}"))),
                _ => {}
            }
        }
        if held {
            return Err(TakeError::Held(LockHolder::default()));
        }
        if self.printed > NOISE_LIMIT {
            self.command.close().await;
            return Err(TakeError::Endless);
        }
        if !self.has_ended {
            let reason = "it closed while taking the node's lock".to_owned();
            return Err(TakeError::Transport(TransportError::Lost { reason }));
        }
        let said = if noise.is_empty() { "nothing".to_owned() } else { format!("`{noise}`") };
        Err(TakeError::Unable(format!("its shell exited immediately and printed {said}")))
    }
}

/// Speaks with the guard until it ends or is let go.
async fn keep<C: RemoteCommand>(
    mut channel: GuardChannel<C>,
    mut inbox: mpsc::Receiver<GuardRequest>,
    mark: Arc<LiveMark>,
    alive: Arc<AtomicBool>,
) {
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = 0_u64;
    let mut waiting = PendingReplies::default();
    let mut released: Option<oneshot::Sender<()>> = None;
    let mut noise = String::new();
    loop {
        let send = tokio::select! {
            line = channel.line(&mut noise) => {
                let Some(line) = line else { break };
                waiting.hear(&line);
                continue;
            }
            ask = inbox.recv() => match ask {
                Some(GuardRequest::Hand(number, settings)) => settings.line(number),
                Some(GuardRequest::Try(number, code, reply)) => {
                    waiting.trials.insert(number, (reply, Vec::new()));
                    format!("?{number} {code}\n").into()
                }
                Some(GuardRequest::Arm(code, reply)) => {
                    last += 1;
                    waiting.armed.insert(last, reply);
                    format!("+{last} {code}\n").into()
                }
                Some(GuardRequest::Disarm(number)) => format!("-{number}\n").into(),
                Some(GuardRequest::Release(reply)) => {
                    released = Some(reply);
                    "q\n".to_owned().into()
                }
                // The run is gone without letting go: what is armed stays armed, and the end of the channel tells.
                None => break,
            },
            _ = beat.tick() => Zeroizing::new(".\n".to_owned()),
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
    // In this order: who finds the guard dead takes another, and must not take this one for alive then.
    mark.end();
    alive.store(false, Ordering::Release);
    channel.command.close().await;
    if let Some(reply) = released
        && reply.send(()).is_err()
    {
        debug!("nobody waits for the end of the guard any more");
    }
}

/// Who waits for which of the guard's words.
#[derive(Default)]
struct PendingReplies {
    /// For a rescue to be armed, by its number.
    armed: BTreeMap<u64, oneshot::Sender<u64>>,
    /// For the end of what is tried, by its number, and what it has said so far.
    trials: BTreeMap<u64, (oneshot::Sender<Vec<String>>, Vec<String>)>,
}

impl PendingReplies {
    /// A line of the guard: what was armed, what something that is tried has said, and that it has ended.
    fn hear(&mut self, line: &str) {
        let mut chars = line.chars();
        let kind = chars.next();
        let (number, said) = chars.as_str().split_once(' ').unwrap_or((chars.as_str(), ""));
        let Ok(number) = number.parse::<u64>() else { return };
        let is_heard = match kind {
            Some('+') => self.armed.remove(&number).is_none_or(|reply| reply.send(number).is_ok()),
            Some('>') => {
                if let Some((_, lines)) = self.trials.get_mut(&number)
                    && lines.len() < ANSWER_LINES.0
                {
                    lines.push(said.chars().take(ANSWER_LINES.1).collect());
                }
                true
            }
            Some('?') => self.trials.remove(&number).is_none_or(|(reply, lines)| reply.send(lines).is_ok()),
            _ => true,
        };
        if !is_heard {
            debug!(number, "nobody waits for it any more");
        }
    }
}

fn not_a_line() -> ArmError {
    ArmError::Unable("its name does not fit on one line".to_owned())
}

#[cfg(test)]
mod lock_tests;

#[cfg(test)]
mod tests {
    use super::*;

    /// What was stopped is started within 30 s of the last sign of life: the silence, and 10 s for the rescue. Two
    /// signs of life may be lost meanwhile, and the third be late.
    #[test]
    fn the_silence_leaves_time_for_the_rescue() {
        let (_, watch) = GUARD.split_once("watch() {").unwrap_or_default();
        let (_, sleep) = watch.split_once("sleep ").unwrap_or_default();
        let silence = Duration::from_secs(sleep.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(99));
        assert!(silence + Duration::from_secs(10) <= Duration::from_secs(30));
        assert!(silence > HEARTBEAT * 3 + Duration::from_secs(3), "{silence:?}");
    }

    #[test]
    fn a_silent_guard_had_the_time_that_is_named() {
        assert!(ArmError::Silent(PATIENCE_WITH_TRIALS).to_string().ends_with("within 12 s"));
    }

    #[test]
    fn the_scripts_are_one_line_each() {
        for script in [LOCK, GUARD, command::EXEC] {
            let line = one_line(script);
            assert!(!line.contains('\n') && line.len() < 16 * 1024);
        }
    }
}
