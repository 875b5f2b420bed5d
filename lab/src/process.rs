//! One supervised process: supervisord's state machine, driven by time.
//!
//! A process does nothing by itself: [`Process::next`] returns when something is due and [`Process::fire`] does it.
//! Invariants: `pid` is nonzero exactly in STARTING, RUNNING and STOPPING; each spawn takes a pid that is new on its
//! node.

use std::time::Duration;

use tokio::time::Instant;

use crate::catalogue::{ProgramConfig, StopSignal};
use crate::fault::{Fault, FaultSet, SpawnKind};
use crate::logs::Logs;
use crate::spec::Timing;
use crate::util::{Clock, Date, scaled, timedelta};

/// A process's state, with supervisord's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Stopped on request, or never started.
    Stopped,
    /// Spawned, not yet up for `startsecs`.
    Starting,
    /// Up.
    Running,
    /// Died too soon; will be tried again.
    Backoff,
    /// Asked to stop, has not ended yet.
    Stopping,
    /// Ended by itself after having been up.
    Exited,
    /// Could not be started; given up.
    Fatal,
}

impl State {
    /// The number in the XML-RPC interface.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Stopped => 0,
            Self::Starting => 10,
            Self::Running => 20,
            Self::Backoff => 30,
            Self::Stopping => 40,
            Self::Exited => 100,
            Self::Fatal => 200,
        }
    }

    /// The name in the XML-RPC interface and in `supervisorctl status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
        }
    }

    /// Whether supervisord answers ALREADY_STARTED to a start.
    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Backoff | Self::Starting)
    }

    /// Whether a stop that a caller waits for is done.
    pub(crate) fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Fatal)
    }
}

/// The parts of the node that a process uses when something happens to it.
pub(crate) struct World<'a> {
    pub(crate) faults: &'a FaultSet,
    pub(crate) timing: &'a Timing,
    pub(crate) clock: &'a Clock,
    pub(crate) next_pid: &'a mut dyn FnMut() -> u32,
    /// False while supervisord shuts down or restarts, when it spawns nothing.
    pub(crate) may_spawn: bool,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) config: ProgramConfig,
    pub(crate) state: State,
    pub(crate) pid: u32,
    /// Last start and stop in seconds since 1970; zero for never.
    pub(crate) start: f64,
    pub(crate) stop: f64,
    pub(crate) spawnerr: String,
    pub(crate) exitstatus: i32,
    pub(crate) starts: u32,
    pub(crate) stops: u32,
    pub(crate) logs: Logs,
    backoff: u32,
    /// When the state ends by itself: after `startsecs`, after the back-off pause, or when the process has ended after
    /// its signal.
    due: Option<Instant>,
    /// When the process dies by itself.
    dies: Option<Instant>,
}

impl Process {
    /// A process that has never been started.
    pub(crate) fn new(config: ProgramConfig) -> Self {
        Self {
            config,
            state: State::Stopped,
            pid: 0,
            start: 0.0,
            stop: 0.0,
            spawnerr: String::new(),
            exitstatus: 0,
            starts: 0,
            stops: 0,
            logs: Logs::default(),
            backoff: 0,
            due: None,
            dies: None,
        }
    }

    /// `group:name`, or the name alone where both are equal.
    pub(crate) fn namespec(&self) -> String {
        if self.config.group == self.config.name {
            self.config.name.clone()
        } else {
            format!("{}:{}", self.config.group, self.config.name)
        }
    }

    /// Sets it to RUNNING since that moment, like a process that was up before the lab started.
    pub(crate) fn put_running(&mut self, pid: u32, start: f64) {
        self.state = State::Running;
        self.pid = pid;
        self.start = start;
        self.starts = 1;
        self.log_line(start, "started");
    }

    pub(crate) fn log_line(&mut self, at: f64, text: &str) {
        let date = Date::from_epoch(at);
        let line = format!("{} {}: {text}\n", date.systemd(), self.config.group);
        self.logs.write(false, line.as_bytes());
        if text.contains("fatal") || text.contains("cannot start") {
            self.logs.write(true, line.as_bytes());
        }
    }

    /// Adds an entry to supervisord's own log. The entry names the process without its group, here `{}`.
    fn note_at(&mut self, at: f64, text: &str) {
        let text = text.replacen("{}", &self.config.name, 1);
        self.logs.note(at, &text);
    }

    /// The reason why it cannot be spawned, if supervisord detects it before it tries.
    pub(crate) fn refused(&self, faults: &FaultSet) -> Option<SpawnKind> {
        faults.spawn(&self.config.group, &self.config.name)
    }

    /// Starts it. A process that has a pid is left unchanged, as in supervisord.
    pub(crate) fn spawn(&mut self, now: Instant, world: &mut World<'_>) {
        if self.pid != 0 {
            return;
        }
        self.spawnerr.clear();
        self.exitstatus = 0;
        self.start = world.clock.epoch_at(now);
        self.starts += 1;
        self.dies = None;
        if let Some(kind) = self.refused(world.faults) {
            self.spawnerr = match kind {
                SpawnKind::Spawn => format!("unknown error making dispatchers for '{}': EACCES", self.config.name),
                SpawnKind::NoFile => format!("can't find command '{}'", self.config.command()),
                SpawnKind::NotExecutable => {
                    format!("command at '{}' is not executable", self.config.command())
                }
            };
            self.back_off(now, world);
            return;
        }
        if world.faults.ends(&self.config.group, &self.config.name) {
            self.config.startsecs = 0.0;
        }
        self.pid = (world.next_pid)();
        self.state = State::Starting;
        let scale = world.timing.scale;
        let up = scaled(self.config.startsecs, scale) + world.faults.slow_start();
        self.dies = world.faults.death(&self.config.group, &self.config.name, up).map(|after| now + after);
        self.due = (!world.faults.has(&Fault::HangAction)).then(|| now + up);
        let at = self.start;
        self.log_line(at, "started");
        let note = format!("INFO spawned: '{}' with pid {}", self.config.name, self.pid);
        self.logs.note(at, &note);
    }

    /// Asks it to stop. Does nothing to a process that is neither up nor waiting for a retry.
    pub(crate) fn kill(&mut self, now: Instant, world: &World<'_>) {
        match self.state {
            State::Backoff => {
                self.state = State::Stopped;
                self.due = None;
            }
            State::Running | State::Starting => {
                self.state = State::Stopping;
                self.dies = None;
                let scale = world.timing.scale;
                let wait = match self.config.stop {
                    StopSignal::Kill => Duration::from_millis(5),
                    StopSignal::Term => world.timing.stop.min(scaled(self.config.stopwaitsecs, scale)),
                };
                self.due = (!world.faults.has(&Fault::HangAction)).then(|| now + wait);
            }
            State::Stopped | State::Stopping | State::Exited | State::Fatal => {}
        }
    }

    fn back_off(&mut self, now: Instant, world: &World<'_>) {
        self.pid = 0;
        self.dies = None;
        self.state = State::Backoff;
        self.backoff += 1;
        // supervisord waits one second longer after each failure. A process that must stay in BACKOFF is never retried:
        // a test that reads its state must not see the STARTING of a retry.
        self.due = if self.stays_in_backoff(world.faults) {
            None
        } else {
            let retried = self.backoff <= self.config.startretries;
            let pause = if retried { f64::from(self.backoff) } else { 0.0 };
            Some(now + scaled(pause, world.timing.scale))
        };
        if world.faults.has(&Fault::ControlCharacters) {
            self.spawnerr = format!("\x1b[2J\x1b]0;owned\x07{}\r\x08\u{9b}31m", self.spawnerr);
        }
        if let Some(text) = world.faults.says() {
            self.spawnerr.push_str(&text);
        }
    }

    fn stays_in_backoff(&self, faults: &FaultSet) -> bool {
        faults.stays_in_backoff(&self.config.group, &self.config.name)
    }

    /// Handles the end of the process, for any cause.
    fn ends(&mut self, now: Instant, world: &World<'_>) {
        let at = world.clock.epoch_at(now);
        let was = self.state;
        self.stop = at;
        self.pid = 0;
        self.dies = None;
        self.due = None;
        match was {
            State::Stopping => {
                self.state = State::Stopped;
                self.stops += 1;
                self.exitstatus = if self.config.stop == StopSignal::Kill { -1 } else { 0 };
                self.log_line(at, "stopped");
                self.note_at(at, "INFO stopped: {} (terminated by SIGTERM)");
            }
            State::Starting => {
                self.log_line(at, "cannot start, giving up");
                self.note_at(at, "WARN exited: {} (exit status 1; not expected)");
                self.spawnerr = "Exited too quickly (process log may have details)".to_owned();
                self.back_off(now, world);
            }
            State::Running if world.faults.ends(&self.config.group, &self.config.name) => {
                self.backoff = 0;
                self.state = State::Exited;
                self.note_at(at, "INFO exited: {} (exit status 0; expected)");
            }
            State::Running => {
                self.backoff = 0;
                self.exitstatus = 1;
                self.spawnerr = "Bad exit code 1".to_owned();
                self.state = State::Exited;
                self.log_line(at, "fatal error, exiting");
                self.note_at(at, "WARN exited: {} (exit status 1; not expected)");
                self.due = Some(now + Duration::from_millis(50));
            }
            State::Stopped | State::Backoff | State::Exited | State::Fatal => {}
        }
    }

    /// Makes it die by itself, in any state.
    pub(crate) fn die(&mut self, now: Instant, world: &World<'_>) {
        self.ends(now, world);
    }

    /// Kills it as if it had died: RUNNING becomes BACKOFF or FATAL at once, as the fault requires.
    pub(crate) fn break_now(&mut self, fault: &Fault, now: Instant, world: &World<'_>) {
        let Some(fatal) = fault.breaks(&self.config.group, &self.config.name) else {
            return;
        };
        if !matches!(self.state, State::Running | State::Starting | State::Exited) {
            return;
        }
        self.state = State::Starting;
        self.backoff = 0;
        self.ends(now, world);
        if fatal {
            self.give_up();
        }
    }

    /// If the fault requires it, makes it a process that has exited repeatedly in the last minute and was just started.
    pub(crate) fn loop_now(&mut self, fault: &Fault, now: Instant, world: &mut World<'_>) {
        if !fault.loops(&self.config.group, &self.config.name) || self.state != State::Running {
            return;
        }
        let at = world.clock.epoch_at(now);
        for ago in [46.0, 31.0, 16.0, 1.0] {
            self.note_at(at - ago, "WARN exited: {} (exit status 1; not expected)");
            self.pid = (world.next_pid)();
            let spawned = format!("INFO spawned: '{{}}' with pid {}", self.pid);
            self.note_at(at - ago + 0.1, &spawned);
            self.starts += 1;
        }
        self.start = at - 0.9;
        let (group, name) = (&self.config.group, &self.config.name);
        self.dies = world.faults.death(group, name, Duration::ZERO).map(|after| now + after);
    }

    fn give_up(&mut self) {
        self.backoff = 0;
        self.due = None;
        self.state = State::Fatal;
    }

    /// The next time at which something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        match (self.due, self.dies) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Applies the changes due at that instant, which must be the one from [`Self::next`].
    pub(crate) fn fire(&mut self, now: Instant, world: &mut World<'_>) {
        if self.dies.is_some_and(|d| d <= now) && self.due.is_none_or(|due| self.dies < Some(due)) {
            self.ends(now, world);
            return;
        }
        self.due = None;
        match self.state {
            State::Starting => {
                self.backoff = 0;
                self.state = State::Running;
                let at = world.clock.epoch_at(now);
                let startsecs = self.config.startsecs;
                self.note_at(
                    at,
                    &format!(
                        "INFO success: {{}} entered RUNNING state, process has stayed up for > than {startsecs:.0} seconds (startsecs)"
                    ),
                );
            }
            State::Stopping => self.ends(now, world),
            State::Backoff => {
                if self.backoff > self.config.startretries {
                    let at = world.clock.epoch_at(now);
                    self.note_at(at, "INFO gave up: {} entered FATAL state, too many start retries too quickly");
                    self.give_up();
                } else if world.may_spawn {
                    self.spawn(now, world);
                }
            }
            State::Exited if world.may_spawn => self.spawn(now, world),
            State::Stopped | State::Running | State::Exited | State::Fatal => {}
        }
    }

    /// The description in `getProcessInfo` and `supervisorctl status`.
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of this century")]
    pub(crate) fn description(&self, now: f64) -> String {
        match self.state {
            State::Running => format!("pid {}, uptime {}", self.pid, timedelta(now as i64 - self.start as i64)),
            State::Fatal | State::Backoff if self.spawnerr.is_empty() => {
                format!("unknown error (try \"tail {}\")", self.config.name)
            }
            State::Fatal | State::Backoff => self.spawnerr.clone(),
            State::Stopped | State::Exited if self.start > 0.0 => Date::from_epoch(self.stop).supervisor(),
            State::Stopped | State::Exited => "Not started".to_owned(),
            State::Starting | State::Stopping => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        faults: FaultSet,
        timing: Timing,
        clock: Clock,
        pid: u32,
        now: Instant,
    }

    impl Rig {
        fn new(faults: Vec<Fault>) -> Self {
            Self {
                faults: FaultSet::new(faults),
                timing: Timing::default(),
                clock: Clock::start(),
                pid: 100,
                now: Instant::now(),
            }
        }

        fn with<R>(&mut self, act: impl FnOnce(Instant, &mut World<'_>) -> R) -> R {
            let pid = &mut self.pid;
            let mut next_pid = || {
                *pid += 1;
                *pid
            };
            act(
                self.now,
                &mut World {
                    faults: &self.faults,
                    timing: &self.timing,
                    clock: &self.clock,
                    next_pid: &mut next_pid,
                    may_spawn: true,
                },
            )
        }

        /// Fires everything that is due within `seconds` and returns the states passed through.
        fn run(&mut self, process: &mut Process, seconds: f64) -> Vec<State> {
            let end = self.now + Duration::from_secs_f64(seconds);
            let mut seen = vec![process.state];
            while let Some(at) = process.next().filter(|at| *at <= end) {
                self.now = at;
                self.with(|now, world| process.fire(now, world));
                seen.push(process.state);
            }
            self.now = end;
            seen
        }
    }

    #[test]
    fn a_well_process_starts_and_stops() {
        let mut rig = Rig::new(vec![]);
        let mut p = Process::new(ProgramConfig::new("a"));
        assert_eq!(p.description(0.0), "Not started");
        rig.with(|now, w| p.spawn(now, w));
        assert_eq!((p.state, p.pid), (State::Starting, 101));
        assert_eq!(rig.run(&mut p, 2.0), [State::Starting, State::Running]);
        rig.with(|now, w| p.kill(now, w));
        assert_eq!(rig.run(&mut p, 2.0), [State::Stopping, State::Stopped]);
        assert_eq!((p.pid, p.starts, p.stops), (0, 1, 1));
    }

    #[test]
    fn a_start_while_stopping_changes_nothing() {
        let mut rig = Rig::new(vec![]);
        let mut p = Process::new(ProgramConfig::new("a"));
        rig.with(|now, w| p.spawn(now, w));
        rig.run(&mut p, 2.0);
        rig.with(|now, w| p.kill(now, w));
        rig.with(|now, w| p.spawn(now, w));
        assert_eq!(p.state, State::Stopping);
        assert_eq!(rig.run(&mut p, 5.0), [State::Stopping, State::Stopped]);
    }

    #[test]
    fn a_program_that_dies_too_soon_becomes_fatal_after_its_retries() {
        use State::{Backoff, Fatal, Starting};
        let mut rig = Rig::new(vec![Fault::Fatal("a".into())]);
        let mut p = Process::new(ProgramConfig::new("a"));
        rig.with(|now, w| p.spawn(now, w));
        let seen = rig.run(&mut p, 20.0);
        let mut want = [Starting, Backoff].repeat(4);
        want.push(Fatal);
        assert_eq!(seen, want);
        assert_eq!(p.starts, 4);
        assert!(p.description(0.0).starts_with("Exited too quickly"));
    }

    #[test]
    fn a_program_that_must_stay_in_backoff_is_not_retried() {
        let mut rig = Rig::new(vec![Fault::Backoff("a".into())]);
        let mut p = Process::new(ProgramConfig::new("a"));
        rig.with(|now, w| p.spawn(now, w));
        assert_eq!(rig.run(&mut p, 3600.0), [State::Starting, State::Backoff]);
    }

    #[test]
    fn an_unstable_program_runs_then_dies_then_is_started_again() {
        let after = Duration::from_secs(2);
        let mut rig = Rig::new(vec![Fault::Unstable { program: "a".into(), after }]);
        let mut p = Process::new(ProgramConfig::new("a"));
        rig.with(|now, w| p.spawn(now, w));
        let seen = rig.run(&mut p, 3.5);
        assert_eq!(seen, [State::Starting, State::Running, State::Exited, State::Starting]);
        assert_eq!(p.pid, 102);
    }
}
