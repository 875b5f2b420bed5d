//! A command that is held back on a node together with the node's lock: one shell and one channel for both.
//!
//! Here lives [`StagedCommand`]; `exec/stage.sh` and `exec/hold.sh` are the node's side. Invariants: the command
//! starts at most once, and only while its lock is held; it ends as one without a lock does (`command.rs`); without a
//! start nothing of it runs. Its lock ends with it, so it suits a run that has nothing else to do on the node.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout, timeout_at};
use tracing::debug;

use super::channel::{GuardChannel, TakeError};
use super::command::{CommandEnd, CommandOutput, GatheredOutput, RunError, gather, node_limit, word};
use super::holder::LockHolder;
use super::live::LiveMark;
use ctl_remote::script::quoted;
use ctl_transport::{RemoteCommand, Session, TransportError};

/// Interval of the signs of life, as for a guard.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a node may take to lock, and to accept a line.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait until the lock is free, so that it is when the run reports its end.
const FAREWELL: Duration = Duration::from_secs(3);

/// The shell that becomes the command.
pub(super) const STAGE: &str =
    concat!(include_str!("exec/word.sh"), "\n", include_str!("exec/stage.sh"), "\n", include_str!("exec/run.sh"));

/// The holder of the lock.
pub(super) const HOLD: &str = include_str!("exec/hold.sh");

/// A command on a node, and the node's lock.
#[derive(Debug)]
pub struct StagedCommand {
    asks: oneshot::Sender<StageRequest>,
    alive: Arc<AtomicBool>,
}

/// The request to the task that serves the channel.
#[derive(Debug)]
enum StageRequest {
    /// Start the command; it is stopped when the receiver gets a message.
    Start(oneshot::Receiver<()>, oneshot::Sender<CommandOutput>),
    Release(oneshot::Sender<()>),
}

impl StagedCommand {
    /// Takes the node's lock for `command`, which may then take `time`. None: the node cannot, or another has the lock;
    /// [`Guard::take`](super::Guard::take) finds out which.
    ///
    /// # Errors
    /// [`TakeError::Transport`] if the connection was lost.
    pub async fn take<S: Session>(
        session: &Arc<S>,
        owner: &LockHolder,
        command: &str,
        time: Duration,
    ) -> Result<Option<Self>, TakeError> {
        let mark = format!("ctl-{:016x}", rand::random::<u64>());
        let output_mark = format!("ctl-out-{:032x}", rand::random::<u128>());
        let limit = node_limit(time);
        let Some(word) = word(command) else { return Ok(None) };
        let words = format!("{limit} {output_mark} 0 {} {word} {mark}{}", quoted(HOLD), owner.words());
        let line = format!("exec /bin/sh -c {} ctl-staged {words}", quoted(STAGE));
        let opened = timeout(PATIENCE, open(session.as_ref(), &line, &mark)).await;
        let channel = match opened {
            Ok(Ok(Some(channel))) => channel,
            Ok(Err(error @ TransportError::Lost { .. })) => return Err(TakeError::Transport(error)),
            Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
        };
        let (asks, inbox) = oneshot::channel();
        let alive = Arc::new(AtomicBool::new(true));
        let yields = Arc::new(Notify::new());
        let holding = HeldCommand {
            session: Arc::clone(session),
            channel,
            output_mark,
            time,
            _mark: LiveMark::yielding(mark, Arc::clone(&yields)),
            yields,
        };
        let is_alive = Arc::clone(&alive);
        tokio::spawn(async move {
            let ended = holding.serve(inbox, &is_alive).await;
            is_alive.store(false, Ordering::Release);
            ended.report();
        });
        Ok(Some(Self { asks, alive }))
    }

    /// Whether the lock is held, and the command can be started.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Starts the command and collects its output. It is stopped after its time, and when `give_up` completes.
    ///
    /// # Errors
    /// [`RunError`] if it did not run. A connection lost later is a [`CommandEnd`].
    pub async fn run(self, give_up: impl Future<Output = ()>) -> Result<CommandOutput, RunError> {
        let lost = || RunError::Transport(TransportError::Lost { reason: "its lock was lost".to_owned() });
        let (stop, stopped) = oneshot::channel();
        let (reply, mut ended) = oneshot::channel();
        if self.asks.send(StageRequest::Start(stopped, reply)).is_err() {
            return Err(lost());
        }
        tokio::select! {
            ended = &mut ended => return ended.map_err(|_| lost()),
            () = give_up => {}
        }
        if stop.send(()).is_err() {
            debug!("the command ended before it was stopped");
        }
        ended.await.map_err(|_| lost())
    }

    /// Releases the node without starting the command. Returns once the lock is free, or after a few seconds.
    pub async fn release(self) {
        let (reply, released) = oneshot::channel();
        let farewell = async { self.asks.send(StageRequest::Release(reply)).is_ok() && released.await.is_ok() };
        if timeout(FAREWELL, farewell).await.is_err() {
            debug!("a lock did not report its end");
        }
    }
}

/// Starts the shell with this command line, and waits until it has the lock. None if it has not.
async fn open<S: Session>(
    session: &S,
    line: &str,
    mark: &str,
) -> Result<Option<GuardChannel<S::Command>>, TransportError> {
    let mut channel = GuardChannel::new(session.start(line).await?, mark.to_owned());
    let mut noise = String::new();
    let said = channel.line(&mut noise).await;
    if said.as_deref() == Some("ready") {
        return Ok(Some(channel));
    }
    debug!(?said, noise, "no lock for the command alone");
    channel.command.close().await;
    Ok(None)
}

/// A command that waits for its start, and its channel.
struct HeldCommand<S: Session> {
    session: Arc<S>,
    channel: GuardChannel<S::Command>,
    output_mark: String,
    time: Duration,
    _mark: LiveMark,
    yields: Arc<Notify>,
}

/// What is to be reported once the lock has ended.
enum StageEnd {
    Nothing,
    Ran(oneshot::Sender<CommandOutput>, CommandOutput),
    Released(oneshot::Sender<()>),
}

impl StageEnd {
    fn report(self) {
        let is_heard = match self {
            Self::Nothing => true,
            Self::Ran(reply, output) => reply.send(output).is_ok(),
            Self::Released(reply) => reply.send(()).is_ok(),
        };
        if !is_heard {
            debug!("nobody waits for the end of a command any more");
        }
    }
}

impl<S: Session> HeldCommand<S> {
    /// Keeps the lock until the command has ended.
    async fn serve(mut self, mut inbox: oneshot::Receiver<StageRequest>, is_alive: &AtomicBool) -> StageEnd {
        let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut noise = String::new();
        loop {
            tokio::select! {
                // A line is no answer to anything; the end of the channel is the end of the lock.
                line = self.channel.line(&mut noise) => if line.is_none() { return StageEnd::Nothing },
                ask = &mut inbox => match ask {
                    Ok(StageRequest::Start(stop, reply)) => {
                        // From now on nothing else can be asked of it.
                        is_alive.store(false, Ordering::Release);
                        return StageEnd::Ran(reply, self.start(stop, beat).await);
                    }
                    Ok(StageRequest::Release(reply)) => {
                        self.let_go().await;
                        return StageEnd::Released(reply);
                    }
                    // The run dropped it: nothing was started.
                    Err(_) => {
                        self.channel.command.close().await;
                        return StageEnd::Nothing;
                    }
                },
                () = self.yields.notified() => {
                    self.let_go().await;
                    return StageEnd::Nothing;
                }
                _ = beat.tick() => {
                    // A node that takes nothing for this long has missed the signs of life, and ends the lock itself.
                    if !self.send(b".\n").await {
                        self.channel.command.close().await;
                        return StageEnd::Nothing;
                    }
                }
            }
        }
    }

    async fn send(&mut self, line: &[u8]) -> bool {
        matches!(timeout(PATIENCE, self.channel.command.write(line)).await, Ok(Ok(())))
    }

    /// Ends the shell, and waits until it has.
    async fn let_go(&mut self) {
        let mut noise = String::new();
        if self.send(b"q\n").await {
            while self.channel.line(&mut noise).await.is_some() {}
        }
        self.channel.command.close().await;
    }

    /// Starts the command, and collects its output until it ends, its time is over, or `stop` gets a message.
    async fn start(mut self, stop: oneshot::Receiver<()>, beat: Interval) -> CommandOutput {
        let deadline = Instant::now() + self.time;
        let stop = async {
            tokio::select! {
                () = sleep_until(deadline) => CommandEnd::TimedOut,
                // A caller that is gone has given up too.
                _ = stop => CommandEnd::GivenUp,
            }
        };
        let gathered = GatheredOutput::new(&self.output_mark);
        let unsent = match timeout_at(deadline, self.send(b"g\n")).await {
            Ok(true) => None,
            Ok(false) => Some(CommandEnd::Lost),
            Err(_) => Some(CommandEnd::TimedOut),
        };
        if let Some(end) = unsent {
            self.channel.command.close().await;
            // The line may have arrived, so the command may have begun.
            return gathered.ended(end);
        }
        gather(self.session.as_ref(), self.channel.command, gathered, pin!(stop), Some(beat)).await
    }
}
