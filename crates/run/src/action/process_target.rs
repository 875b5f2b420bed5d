//! One process on one supervisord: reading it, sending it an action, showing its state meanwhile.
//!
//! Invariants: an action is sent once, and its answer is returned but decides nothing; the readings decide. It
//! is used by the actions (`process.rs`) and by the proof of a start (`start_proof.rs`).

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::action::obligations::TargetContext;
use crate::node::connection::LiveInstance;
use crate::verdict::ActionVerdict;
use ctl_event::{Outcome, ProcessState, Stage};
use ctl_supervisor::process::{ProcessReading, ProcessVerb};
use ctl_supervisor::{ProcessInfo, RpcFault, SupervisorError};
use ctl_transport::{Transport, TransportError};

/// How often the state is read until the answer to an action comes.
const WATCH: Duration = Duration::from_secs(1);

/// When it is read first. supervisord looks whether `startsecs` are over when a request wakes it, and one second after
/// that: a request just before a whole second would make each start take a second longer.
const FIRST_WATCH: Duration = Duration::from_millis(1200);

/// How long a process may stay as it was before a request without a reply counts as not obeyed.
pub(crate) const OBEYED: Duration = Duration::from_secs(1);

/// A process that is acted on.
pub(crate) struct ProcessTarget<'a, T: Transport> {
    pub(crate) instance: &'a LiveInstance<T>,
    /// As listed when the node was first read.
    pub(crate) listed: &'a ProcessInfo,
    /// Notified before anything is sent.
    pub(crate) context: &'a TargetContext<'a, T>,
}

impl<T: Transport> ProcessTarget<'_, T> {
    /// Reads it.
    pub(crate) async fn look(&self) -> Result<ProcessReading, SupervisorError> {
        self.instance.look(&self.listed.group, &self.listed.name).await
    }

    pub(crate) async fn send_stop(&self) -> Result<(), SupervisorError> {
        self.send(ProcessVerb::Stop).await
    }

    pub(crate) async fn send_start(&self) -> Result<(), SupervisorError> {
        self.send(ProcessVerb::Start).await
    }

    /// Sends an action, and shows the state of the process until the answer comes: it comes when the action is over.
    pub(crate) async fn send(&self, verb: ProcessVerb) -> Result<(), SupervisorError> {
        tokio::select! {
            // Dropping the watch loses nothing: it only reads.
            sent = self.request(verb) => sent,
            never = self.watch() => match never {},
        }
    }

    /// Shows the state that the process is in, without an end. A reading that fails is left out: the answer decides.
    async fn watch(&self) -> Infallible {
        if self.instance.capabilities().acts_on_programs {
            // The command that reads must not run beside the one that acts: they are the same script.
            return std::future::pending().await;
        }
        let mut seen = StateWatch::from(Instant::now());
        let mut turns = interval_at(Instant::now() + FIRST_WATCH, WATCH);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Ok(now) = self.look().await {
                self.show_state(now.process.state, &mut seen).await;
            }
        }
    }

    async fn request(&self, verb: ProcessVerb) -> Result<(), SupervisorError> {
        let client = self.instance.client().await?;
        // Where one action reaches all processes of a program, it is sent once for the first of them.
        if client.capabilities().acts_on_programs && !self.instance.is_first_of_program(&self.listed.group) {
            return Ok(());
        }
        let sent = client.act(verb, self.listed).await;
        if let Err(error) = &sent {
            debug!(service = self.listed.full_name(), %verb, %error, "answered");
        }
        sent
    }

    /// Shows a state on its way to another, each second once it has lasted for one.
    pub(crate) async fn show_state(&self, state: ProcessState, seen: &mut StateWatch) {
        let doing = match state {
            ProcessState::Stopping => "stopping",
            ProcessState::Starting | ProcessState::Backoff => "starting",
            ProcessState::Running
            | ProcessState::Stopped
            | ProcessState::Exited
            | ProcessState::Fatal
            | ProcessState::Unknown => return,
        };
        let Some(lasts) = seen.lasts(state, Instant::now()) else { return };
        let doing = format!("{doing} {}", self.listed.full_name());
        self.context.phase(self.context.work_in_state(doing, state, lasts)).await;
    }
}

/// For how long a process has been in its state.
#[derive(Debug, Default)]
pub(crate) struct StateWatch {
    /// The state, since when, and the seconds that were reported.
    seen: Option<(ProcessState, Instant, u64)>,
    /// When the first state began, if that was before it was seen.
    began: Option<Instant>,
}

impl StateWatch {
    /// The first state is the effect of an action of this moment.
    pub(crate) fn from(began: Instant) -> Self {
        Self { seen: None, began: Some(began) }
    }

    /// For how long it has lasted, each second once.
    fn lasts(&mut self, state: ProcessState, now: Instant) -> Option<Duration> {
        let (_, since, said) = match &mut self.seen {
            Some(seen) if seen.0 == state => seen,
            seen => seen.insert((state, self.began.take().unwrap_or(now), 0)),
        };
        let lasts = now.duration_since(*since);
        (lasts.as_secs() > *said).then(|| {
            *said = lasts.as_secs();
            lasts
        })
    }
}

/// The time since a reading was noted first; notes this one if there is none.
pub(crate) fn time_since(first: &mut Option<Instant>) -> Duration {
    first.get_or_insert_with(Instant::now).elapsed()
}

/// For how long a supervisord has not answered.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
}

impl Outage {
    /// Takes an error of a reading. While the action may still be under way, waiting continues for up to `patience`; an
    /// error that no waiting can fix ends it.
    pub(crate) fn tolerate(&mut self, error: &SupervisorError, patience: Duration) -> Result<(), Box<ActionVerdict>> {
        let passes = match error {
            SupervisorError::Down(_) | SupervisorError::NoSocket(_) | SupervisorError::Silent(_) => true,
            SupervisorError::Transport(TransportError::ChannelRefused { .. }) => true,
            // The action may have cut the connection itself, and the time for the node bounds the waiting.
            SupervisorError::Transport(error) if error.may_come_back() => return Ok(()),
            // A login or a host key that is refused will be refused again, and each attempt counts against us.
            SupervisorError::Transport(_) => false,
            // A name that an instance which just came up does not know yet.
            SupervisorError::Fault { fault, .. } => *fault == RpcFault::BadName && patience == Duration::MAX,
            SupervisorError::Permission(_)
            | SupervisorError::Sudo(_)
            | SupervisorError::CommandMissing(_)
            | SupervisorError::NoAnswer(_)
            | SupervisorError::Protocol(_)
            | SupervisorError::Unsupported(_) => false,
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if passes && since.elapsed() < patience {
            return Ok(());
        }
        let failure = Some(error.failure(Stage::Verify));
        // A supervisord that stays away is a failure; any other error leaves open how the action ended.
        let outcome = if passes { Outcome::Failed } else { Outcome::Unknown };
        Err(Box::new(ActionVerdict { outcome, process: None, message: String::new(), failure }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_reported_each_second_that_it_lasts() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut seen = StateWatch::from(began);
        let lasts: Vec<Option<u64>> = [400, 1000, 1400, 2100]
            .map(|millis| seen.lasts(ProcessState::Stopping, at(millis)).map(|lasts| lasts.as_secs()))
            .into();
        assert_eq!(lasts, [None, Some(1), None, Some(2)]);
        // Another state begins anew.
        assert_eq!(seen.lasts(ProcessState::Backoff, at(2200)), None);
        assert_eq!(seen.lasts(ProcessState::Backoff, at(3300)), Some(Duration::from_millis(1100)));
    }
}
