//! Protects a node while a run owns it: one channel holds the node's lock and a dead-man's switch.
//!
//! Here live [`Guard`], the restarts that it performs ([`Rescue`]), the holder of a lock ([`LockHolder`]), and the
//! shell scripts for the node (`lock.sh`, `guard.sh`; those in `exec/` run a user's command, `put.sh` and `get.sh` copy files). It uses `remote`, `transport`
//! and the leaf `event`. Invariants: nothing is written to the node's disk but the files of [`copy`]; the lock ends with the guard, and the guard
//! ends with the channel; armed targets are started again when the channel ends without a release, or is silent for 20
//! s; no restart is armed unless the same command was tried before ([`Guard::arm`]); what a run did is taken back only
//! after every restart ([`Guard::arm_undo`]).
//!
//! The scripts are sent over standard input. Output of the login shell is ignored: the guard's lines start with a
//! random mark.

mod channel;
pub mod command;
pub mod copy;
mod holder;
mod live;
mod rescue;
mod staged;
mod turn;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use secrecy::zeroize::Zeroizing;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};
use tracing::debug;

pub use self::channel::TakeError;
use self::channel::{GuardChannel, PATIENCE_WITH_SUDO};
use self::command::NodeCommand;
pub use self::holder::LockHolder;
use self::live::LiveMark;
pub use self::rescue::{ControlCommand, ControlSettings, Rescue, TrialAnswer, TrialJudge};
use self::rescue::{RescueTrial, TRIAL_LIMIT};
pub use self::staged::StagedCommand;
pub use self::turn::{GuardDoor, GuardLiveness, HelperTurn, TurnError};
use self::turn::{TurnReply, TurnRequest};
use ctl_event::Failure;
use ctl_remote::script::{READ_AND_RUN, read_and_run};
use ctl_remote::{Sudo, SudoPrompt};
use ctl_transport::{RemoteCommand, Session};

/// Interval of the heartbeat. The guard acts after 20 s without one: two may be lost and the third be late, and 10 s
/// remain to start the services within the promised 30 s.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long to wait for an answer of the guard.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for the answer of a trial: longer than the node's own limit.
const PATIENCE_WITH_TRIALS: Duration = Duration::from_secs(TRIAL_LIMIT as u64 + 4);

/// How long to wait for a guard that a lost connection left behind. Its silence and its rescue take up to 30 s, and
/// more on a busy node; the node's time limit bounds both.
const PATIENCE_WITH_OLD_GUARD: Duration = Duration::from_secs(60);

/// Interval of the checks whether that guard has ended.
const OLD_GUARD_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait for the end of a guard, so that the lock is free when the run reports its end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Maximum number of lines to keep of a trial's output, and of characters in each.
const ANSWER_LINES: (usize, usize) = (200, 800);

/// Why a rescue could not be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// The guard has ended, and its lock with it.
    #[error("the guard on the node has exited, so the lock is gone")]
    Gone,
    /// The guard does not answer.
    #[error("the guard on the node did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The guard cannot run it.
    #[error("the guard could not start it again: {0}")]
    Unable(String),
    /// The trial failed.
    #[error("{}", .0.message)]
    Refused(Box<Failure>),
}

/// A node's guard, for as long as the run owns the node.
#[derive(Debug)]
pub struct Guard {
    mark: Arc<LiveMark>,
    asks: mpsc::Sender<GuardRequest>,
    turns: mpsc::Sender<TurnRequest>,
    alive: Arc<AtomicBool>,
    /// The code of successful trials.
    tried: std::sync::Mutex<BTreeSet<String>>,
    /// The settings that the guard has received, by number.
    handed: tokio::sync::Mutex<Vec<ControlSettings>>,
    trials: AtomicU64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Unregister now: the task that serves the guard ends a moment later.
        self.mark.end();
        self.alive.store(false, Ordering::Release);
    }
}

/// A request to the task that serves the guard.
#[derive(Debug)]
enum GuardRequest {
    Hand(u64, ControlSettings),
    Try(u64, String, oneshot::Sender<Vec<String>>),
    Arm(String, oneshot::Sender<u64>),
    Disarm(u64),
    Release(oneshot::Sender<()>),
}

impl Guard {
    /// Takes the node's lock and starts the guard. If sudo may ask for a password, the guard itself runs through sudo:
    /// later nobody could answer. Waits for a guard of this process that a lost connection left on the node.
    ///
    /// # Errors
    /// [`TakeError`].
    pub async fn take<S: Session>(session: &S, owner: &LockHolder, sudo: &Sudo) -> Result<Self, TakeError> {
        // The holder may exit between the failed lock and the lookup of its name: retry.
        let mut attempts = 0;
        let deadline = Instant::now() + PATIENCE_WITH_OLD_GUARD;
        loop {
            attempts += 1;
            match Self::try_take(session, owner, sudo).await {
                // An unnamed holder is probably that race; a nameless lock of another program still fails after three
                // attempts.
                Err(TakeError::Held(holder)) if holder.run.is_empty() && attempts < 3 => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                // Our own guard from a lost connection: starting beside it is unsafe, since the lock ends with it, so
                // wait for its end.
                Err(TakeError::Held(holder)) if holder.key == owner.key && Instant::now() < deadline => {
                    debug!("waiting for the guard of a lost connection to exit; it still has the lock");
                    tokio::time::sleep(OLD_GUARD_PAUSE).await;
                }
                taken => return taken,
            }
        }
    }

    async fn try_take<S: Session>(session: &S, owner: &LockHolder, sudo: &Sudo) -> Result<Self, TakeError> {
        // A new random mark for each guard: lines of an earlier guard or of the login shell can never match it.
        let mark = format!("ctl-{:016x}", rand::random::<u64>());
        let passage = SudoPrompt::new();
        let (prefix, shell) = if sudo.has_password() {
            (sudo.prefix(&passage), read_and_run(passage.mark()))
        } else {
            (String::new(), READ_AND_RUN.to_owned())
        };
        let line = format!("exec {prefix}/bin/sh -c {shell} ctl-guard {mark}{}", owner.words());
        let time = if sudo.has_password() { PATIENCE + PATIENCE_WITH_SUDO } else { PATIENCE };
        // On a timeout nothing is armed yet: a guard that did start ends with its channel, or after 20 s of silence.
        let opened = timeout(time, GuardChannel::open(session, &line, mark, sudo, &passage)).await;
        let channel = opened.map_err(|_| TakeError::Silent(time))??;
        let (asks, inbox) = mpsc::channel(64);
        let (turns, turn_inbox) = mpsc::channel(64);
        let alive = Arc::new(AtomicBool::new(true));
        // Register only now that the guard has reported ready, and so holds the lock.
        let mark = Arc::new(LiveMark::new(channel.mark.clone()));
        tokio::spawn(keep(channel, (inbox, turn_inbox), Arc::clone(&mark), Arc::clone(&alive)));
        let (tried, handed, trials) = Default::default();
        Ok(Self { mark, asks, turns, alive, tried, handed, trials })
    }

    /// Whether the guard is alive, and with it the lock.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Whether it is alive, for those who outlive their reference to it.
    #[must_use]
    pub fn liveness(&self) -> GuardLiveness {
        GuardLiveness::new(&self.alive)
    }

    /// The way into a node that several runs use, for one at a time.
    #[must_use]
    pub fn door(&self) -> GuardDoor {
        GuardDoor::new(&self.turns)
    }

    /// Tries the commands of the rescues, one trial for all with the same command, with `status` in place of `start`.
    /// This changes nothing. Successful trials are not repeated.
    ///
    /// # Errors
    /// [`ArmError`] of the first failed trial.
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
        // Remember them only after every judgment, so that a failed trial is repeated the next time.
        let codes = open.into_iter().map(|(_, code)| code);
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).extend(codes);
        Ok(())
    }

    /// The answer of a trial's command on the node.
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

    /// The number of `settings` in the guard; sends them first if it does not have them.
    async fn hand(&self, settings: Option<&ControlSettings>) -> Result<Option<u64>, ArmError> {
        let Some(settings) = settings else { return Ok(None) };
        // The lock stays held during the send: a concurrent caller must not use the number before the guard has the
        // settings.
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

    /// The guard's code for a rescue.
    async fn code(&self, rescue: &Rescue) -> Result<String, ArmError> {
        let settings = self.hand(rescue.settings()).await?;
        rescue.code(settings).ok_or_else(not_a_line)
    }

    /// Once this returns, `rescue` runs if the channel ends. The returned number disarms it. Its command is tried
    /// first.
    ///
    /// # Errors
    /// [`ArmError`]; nothing is armed then.
    pub async fn arm(&self, rescue: &Rescue, judge: TrialJudge) -> Result<u64, ArmError> {
        self.rehearse(std::slice::from_ref(rescue), judge).await?;
        let code = self.code(rescue).await?;
        let (reply, answer) = oneshot::channel();
        // Wait for the confirmation: only then may the caller stop the service.
        self.ask(GuardRequest::Arm(code, reply), answer, PATIENCE).await
    }

    /// Once this returns, `command` runs if the channel ends, for up to `time` until it exits 0: after every rescue, and the
    /// last one first. The returned number disarms it. Nothing is tried first, since an undo is an act.
    ///
    /// # Errors
    /// [`ArmError`]; nothing is armed then.
    pub async fn arm_undo(&self, command: NodeCommand<'_>, sudo: &Sudo, time: Duration) -> Result<u64, ArmError> {
        let code = undo::code(command, sudo, time);
        let code = code.ok_or_else(|| ArmError::Unable("the undo is too long".to_owned()))?;
        let (reply, answer) = oneshot::channel();
        self.ask(GuardRequest::Arm(code, reply), answer, PATIENCE).await
    }

    /// Sends a request to the guard, and waits for its answer.
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

    /// Disarms a rescue that is not needed any more.
    pub async fn disarm(&self, number: u64) {
        if !matches!(timeout(PATIENCE, self.asks.send(GuardRequest::Disarm(number))).await, Ok(Ok(()))) {
            debug!("the guard has exited or hangs, and was not disarmed");
        }
    }

    /// Releases the node. Returns once the lock is free, or after a few seconds.
    pub async fn release(self) {
        let (reply, released) = oneshot::channel();
        let farewell = async { self.asks.send(GuardRequest::Release(reply)).await.is_ok() && released.await.is_ok() };
        if timeout(FAREWELL, farewell).await.is_err() {
            debug!("the guard did not report its exit");
        }
    }
}

/// Serves the guard until it ends or is released.
async fn keep<C: RemoteCommand>(
    mut channel: GuardChannel<C>,
    (mut inbox, mut turns): (mpsc::Receiver<GuardRequest>, mpsc::Receiver<TurnRequest>),
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
                // Its lines are only answers: nothing to send, so read on.
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
                    // Register the reply before the write, so that the answer cannot arrive first.
                    waiting.armed.insert(last, reply);
                    format!("+{last} {code}\n").into()
                }
                Some(GuardRequest::Disarm(number)) => format!("-{number}\n").into(),
                Some(GuardRequest::Release(reply)) => {
                    released = Some(reply);
                    "q\n".to_owned().into()
                }
                // The run dropped the guard without a release: armed rescues stay armed, and the end of the
                // channel triggers them.
                None => break,
            },
            Some(ask) = turns.recv() => match ask {
                TurnRequest::Enter(wait, turn, reply) => {
                    last += 1;
                    waiting.turns.insert(last, (reply, turn));
                    format!("t{last} {}\n", wait.as_secs().max(1)).into()
                }
                TurnRequest::Leave => "f\n".to_owned().into(),
            },
            _ = beat.tick() => Zeroizing::new(".\n".to_owned()),
        };
        // If the node accepts no data for this long, its guard has missed its heartbeats and acts anyway.
        if !matches!(timeout(PATIENCE, channel.command.write(send.as_bytes())).await, Ok(Ok(()))) {
            break;
        }
        if released.is_some() {
            // After a release, only the exit remains to be read.
            while channel.line(&mut noise).await.is_some() {}
            break;
        }
    }
    // In this order: a caller that finds the guard dead takes a new one, and must not find the old mark live then.
    mark.end();
    alive.store(false, Ordering::Release);
    channel.command.close().await;
    if let Some(reply) = released
        && reply.send(()).is_err()
    {
        debug!("nobody waits for the end of the guard any more");
    }
}

/// The callers that wait for an answer of the guard.
#[derive(Default)]
struct PendingReplies {
    /// By the number of the rescue.
    armed: BTreeMap<u64, oneshot::Sender<u64>>,
    /// By the number of the trial, with its output so far.
    trials: BTreeMap<u64, (oneshot::Sender<Vec<String>>, Vec<String>)>,
    /// By the number of the turn.
    turns: BTreeMap<u64, (TurnReply, HelperTurn)>,
}

impl PendingReplies {
    /// Handles a line of the guard: a confirmation, output of a trial, the end of a trial, or a turn.
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
            // A turn that nobody waits for any more ends here, where it is dropped.
            Some('t') => self.turns.remove(&number).is_none_or(|(reply, turn)| reply.send(Some(turn)).is_ok()),
            Some('b') => self.turns.remove(&number).is_none_or(|(reply, turn)| {
                turn.forget();
                reply.send(None).is_ok()
            }),
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

    /// Stopped services start within 30 s of the last heartbeat: the silence, and 10 s for the rescue. Two heartbeats
    /// may be lost meanwhile, and the third be late.
    #[test]
    fn the_silence_leaves_time_for_the_rescue() {
        let (_, watch) = channel::GUARD.split_once("watch() {").unwrap_or_default();
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
        for script in [channel::LOCK, channel::GUARD, command::READ] {
            let line = ctl_remote::script::one_line(script);
            assert!(!line.contains('\n') && line.len() < 16 * 1024);
        }
    }

    /// csh leaves an exclamation mark alone before a blank, and fish takes two backslashes in quotes for one.
    #[test]
    fn the_other_scripts_are_one_word_each() {
        for script in [command::WORD, command::WATCHER, staged::STAGE, staged::HOLD, undo::UNDO] {
            let word = ctl_remote::script::quoted(script);
            let inside = word.trim_matches('\'');
            assert!(!inside.contains(['\'', '\n']) && !inside.contains("\\\\"), "{word}");
            assert!(inside.split('!').skip(1).all(|rest| rest.starts_with(' ')), "{word}");
            for shell in ["dash", "bash"] {
                let read = std::process::Command::new(shell).args(["-n", "-c", inside]).output().expect("a shell");
                assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}");
            }
        }
    }
}
