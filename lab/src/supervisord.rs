//! One simulated supervisord: its processes over time, its own lifetime, and the actions that clients request.
//!
//! Start at [`Supervisord`]. Time passes lazily: every read first applies due changes ([`Supervisord::look`]), and one
//! timer wakes the waiters. Invariants: an action takes effect at once and under the lock; dropping a waiter does not
//! change its result.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::actions::Key;
use crate::catalogue::{InstanceConfig, ProgramConfig};
use crate::fault::Fault;
use crate::process::{Process, State, World};
use crate::shared::Shared;
use crate::util::lock;

/// Whether and how a supervisord can be reached at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It answers.
    Open,
    /// The socket file exists without a listener, or nothing listens on the port: connection refused.
    Refused,
    /// There is no socket file.
    Missing,
}

/// What happens after all processes have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Halt,
    /// A new supervisord, with a new pid.
    Restart,
    /// The same supervisord rereads its configuration.
    Reload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Up,
    Ending(After),
    /// Not running; `stale` if its socket file was left behind.
    Down {
        boot: Option<Instant>,
        pid: u32,
        stale: bool,
    },
}

/// The state behind the lock.
pub(crate) struct Inner {
    /// supervisord's own pid; 0 while it is down.
    pub(crate) pid: u32,
    /// supervisord's state number: 1 running, 0 restarting, -1 shutting down.
    pub(crate) mood: i32,
    /// When it came up, or was last seen up, in seconds since 1970.
    pub(crate) since: f64,
    /// The active groups, and their processes by name.
    pub(crate) groups: BTreeMap<String, Vec<Process>>,
    /// The configuration files as they are on disk.
    pub(crate) config: Vec<ProgramConfig>,
    phase: Phase,
    cascade: Option<Instant>,
    armed: Option<Instant>,
    /// Starts and stops of processes of earlier supervisords.
    past: BTreeMap<Key, (u32, u32)>,
}

impl Inner {
    pub(crate) fn process(&self, key: &Key) -> Option<&Process> {
        self.groups.get(&key.0)?.iter().find(|p| p.config.name == key.1)
    }

    pub(crate) fn process_mut(&mut self, key: &Key) -> Option<&mut Process> {
        self.groups.get_mut(&key.0)?.iter_mut().find(|p| p.config.name == key.1)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Process> {
        self.groups.values().flatten()
    }

    fn is_running(&self, group_suffix: &str) -> bool {
        self.all().any(|p| p.config.group.ends_with(group_suffix) && p.state == State::Running)
    }

    /// Starts and stops since the lab started, including those under earlier supervisords.
    pub(crate) fn counts(&self, process: &Process) -> (u32, u32) {
        let key = (process.config.group.clone(), process.config.name.clone());
        let (starts, stops) = self.past.get(&key).copied().unwrap_or_default();
        (starts + process.starts, stops + process.stops)
    }

    pub(crate) fn insert(&mut self, config: ProgramConfig) {
        let group = self.groups.entry(config.group.clone()).or_default();
        group.push(Process::new(config));
        group.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    }

    pub(crate) fn forget(&mut self, group: &str) {
        for process in self.groups.remove(group).unwrap_or_default() {
            let past = self.past.entry((process.config.group, process.config.name)).or_default();
            past.0 += process.starts;
            past.1 += process.stops;
        }
    }
}

/// See the module's head.
pub(crate) struct Supervisord {
    pub(crate) config: InstanceConfig,
    pub(crate) shared: Arc<Shared>,
    inner: Mutex<Inner>,
    changed: Notify,
    /// Changes when the listening socket closes, and with it every connection.
    pub(crate) generation: watch::Sender<u64>,
    me: Weak<Supervisord>,
}

impl Supervisord {
    /// A supervisord that has been up, with all its programs, as long as the node.
    pub(crate) fn new(config: InstanceConfig, shared: Arc<Shared>) -> Arc<Self> {
        let since = shared.clock.epoch_now() - shared.spec.uptime.as_secs_f64();
        let mut inner = Inner {
            pid: shared.next_pid(),
            mood: 1,
            since,
            groups: BTreeMap::new(),
            config: config.programs.clone(),
            phase: Phase::Up,
            cascade: None,
            armed: None,
            past: BTreeMap::new(),
        };
        for program in &config.programs {
            inner.insert(program.clone());
        }
        for process in inner.groups.values_mut().flatten() {
            process.put_running(shared.next_pid(), since + 1.0);
        }
        let this = Arc::new_cyclic(|me| Self {
            config,
            shared,
            inner: Mutex::new(inner),
            changed: Notify::new(),
            generation: watch::Sender::new(0),
            me: me.clone(),
        });
        for fault in this.shared.faults().iter() {
            this.apply(fault);
        }
        this
    }

    /// Applies the immediate effect of a fault to a running supervisord.
    pub(crate) fn apply(&self, fault: &Fault) {
        if let Some(stale) = fault.downs(&self.config.service) {
            self.crash(stale);
        } else {
            self.edit(|inner, now, world| {
                for process in inner.groups.values_mut().flatten() {
                    process.break_now(fault, now, world);
                    process.loop_now(fault, now, world);
                }
            });
        }
    }

    /// Reverts the immediate effect of a fault, where possible.
    pub(crate) fn unapply(&self, fault: &Fault) {
        if fault.downs(&self.config.service).is_some() {
            self.boot_if_down();
        }
    }

    // ---- time ----------------------------------------------------------------------------------------

    /// Applies due changes, then reads. Starts nothing.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Inner) -> R) -> R {
        self.edit(|inner, _, _| look(inner))
    }

    /// Applies due changes, then changes something.
    pub(crate) fn edit<R>(&self, edit: impl FnOnce(&mut Inner, Instant, &mut World<'_>) -> R) -> R {
        let faults = self.shared.faults();
        let mut next_pid = || self.shared.next_pid();
        let mut world = World {
            faults: &faults,
            timing: &self.shared.timing,
            clock: &self.shared.clock,
            next_pid: &mut next_pid,
            may_spawn: true,
        };
        let (result, wake) = {
            let mut inner = lock(&self.inner);
            let now = Instant::now();
            let mut fired = self.advance(&mut inner, now, &mut world);
            world.may_spawn = inner.phase == Phase::Up;
            let result = edit(&mut inner, now, &mut world);
            fired |= self.advance(&mut inner, now, &mut world);
            (result, fired)
        };
        if wake {
            self.wake();
        }
        self.arm();
        result
    }

    fn next(inner: &Inner) -> Option<Instant> {
        let boot = match inner.phase {
            Phase::Down { boot, .. } => boot,
            Phase::Up | Phase::Ending(_) => None,
        };
        inner.all().filter_map(Process::next).chain(boot).chain(inner.cascade).min()
    }

    /// Applies everything that is due, in order. Returns true if anything was.
    fn advance(&self, inner: &mut Inner, now: Instant, world: &mut World<'_>) -> bool {
        let mut any = false;
        loop {
            any |= self.end_if_empty(inner, now);
            let Some(at) = Self::next(inner).filter(|at| *at <= now) else {
                return any;
            };
            any = true;
            world.may_spawn = inner.phase == Phase::Up;
            if let Phase::Down { boot: Some(boot), pid, .. } = inner.phase
                && boot <= at
            {
                self.boot(inner, at, pid, world);
            } else if inner.cascade.is_some_and(|c| c <= at) {
                inner.cascade = None;
                Self::begin_end(inner, After::Restart, at, world);
            } else {
                self.fire(inner, at, world);
            }
        }
    }

    /// Fires the processes that are due at that instant.
    fn fire(&self, inner: &mut Inner, at: Instant, world: &mut World<'_>) {
        let Some(process) = inner.groups.values_mut().flatten().find(|p| p.next().is_some_and(|n| n <= at)) else {
            return;
        };
        let before = process.state;
        process.fire(at, world);
        let (group, after) = (process.config.group.clone(), process.state);
        if before != after {
            self.on_change(inner, &group, after, at, world);
        }
    }

    /// Does what Contrail's node managers do when a program's state changes.
    pub(crate) fn on_change(&self, inner: &mut Inner, group: &str, state: State, at: Instant, world: &World<'_>) {
        if !self.shared.spec.cascades
            || inner.phase != Phase::Up
            || !state.is_stopped()
            || !inner.is_running("-nodemgr")
        {
            return;
        }
        if self.config.cascade.contains(&group) && inner.cascade.is_none() {
            inner.cascade = Some(at + world.timing.cascade);
        }
        if group == "contrail-query-engine" && state == State::Fatal {
            for process in inner.groups.get_mut("contrail-analytics-api").into_iter().flatten() {
                process.kill(at, world);
            }
        }
    }

    /// Sets the timer for the next due time, unless one is already set early enough.
    fn arm(&self) {
        let at = {
            let mut inner = lock(&self.inner);
            match Self::next(&inner) {
                Some(at) if inner.armed.is_none_or(|armed| at < armed) => {
                    inner.armed = Some(at);
                    at
                }
                _ => return,
            }
        };
        let me = self.me.clone();
        self.shared.runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(this) = me.upgrade() {
                {
                    let mut inner = lock(&this.inner);
                    if inner.armed == Some(at) {
                        inner.armed = None;
                    }
                }
                this.look(|_| ());
            }
        });
    }

    // ---- supervisord's own life ------------------------------------------------------------------------

    /// Whether a connection to its address is accepted.
    pub(crate) fn access(&self) -> Access {
        let tcp = matches!(self.config.address, crate::catalogue::Address::Tcp(_));
        let missing = self.shared.has(&Fault::SupervisorMissing);
        self.look(|inner| match inner.phase {
            _ if missing && !tcp => Access::Missing,
            _ if missing => Access::Refused,
            Phase::Up | Phase::Ending(_) => Access::Open,
            Phase::Down { stale, .. } if stale || tcp => Access::Refused,
            Phase::Down { .. } => Access::Missing,
        })
    }

    /// supervisord's own state number, or the one that a fault sets.
    pub(crate) fn mood(&self) -> i32 {
        if self.shared.has(&Fault::ShutdownState) {
            return -1;
        }
        self.look(|inner| inner.mood)
    }

    /// Dies at once, with all its processes; `stale` leaves the socket file behind.
    fn crash(&self, stale: bool) {
        self.edit(|inner, now, _| {
            let at = self.shared.clock.epoch_at(now);
            let groups: Vec<_> = inner.groups.keys().cloned().collect();
            groups.iter().for_each(|g| inner.forget(g));
            for program in self.config.programs.clone() {
                inner.insert(program);
            }
            inner.since = at;
            inner.pid = 0;
            inner.cascade = None;
            inner.phase = Phase::Down { boot: None, pid: 0, stale };
        });
        self.generation.send_modify(|n| *n += 1);
        self.wake();
    }

    fn boot_if_down(&self) {
        self.edit(|inner, now, world| {
            if matches!(inner.phase, Phase::Down { boot: None, .. }) {
                self.boot(inner, now, 0, world);
            }
        });
        self.wake();
    }

    fn boot(&self, inner: &mut Inner, at: Instant, pid: u32, world: &mut World<'_>) {
        let groups: Vec<_> = inner.groups.keys().cloned().collect();
        groups.iter().for_each(|g| inner.forget(g));
        for program in inner.config.clone() {
            inner.insert(program);
        }
        inner.pid = if pid == 0 { (world.next_pid)() } else { pid };
        inner.mood = 1;
        inner.phase = Phase::Up;
        inner.since = world.clock.epoch_at(at);
        world.may_spawn = true;
        for process in inner.groups.values_mut().flatten() {
            process.spawn(at, world);
        }
    }

    fn begin_end(inner: &mut Inner, after: After, at: Instant, world: &World<'_>) {
        if inner.phase != Phase::Up {
            return;
        }
        inner.phase = Phase::Ending(after);
        inner.mood = if after == After::Reload { 0 } else { -1 };
        for process in inner.groups.values_mut().flatten() {
            process.kill(at, world);
        }
    }

    /// Goes away if it is shutting down and no process is left.
    fn end_if_empty(&self, inner: &mut Inner, now: Instant) -> bool {
        let Phase::Ending(after) = inner.phase else {
            return false;
        };
        if !inner.all().all(|p| p.state.is_stopped()) {
            return false;
        }
        let gap = self.shared.timing.gap;
        inner.phase = Phase::Down {
            boot: (after != After::Halt).then(|| now + gap),
            pid: if after == After::Reload { inner.pid } else { 0 },
            stale: false,
        };
        inner.since = self.shared.clock.epoch_at(now);
        inner.pid = 0;
        inner.cascade = None;
        self.generation.send_modify(|n| *n += 1);
        true
    }

    /// Begins to shut down: every process is stopped, then `after` happens. Does nothing if it is not up.
    pub(crate) fn end(&self, after: After) {
        self.edit(|inner, now, world| Self::begin_end(inner, after, now, world));
    }

    /// Starts it if it is down and not about to restart by itself.
    pub(crate) fn start_daemon(&self) {
        self.boot_if_down();
    }

    /// Waits until it is up.
    pub(crate) async fn until_up(&self) {
        self.wait_for(|inner| (inner.phase == Phase::Up).then_some(())).await;
    }

    /// Waits until a shutdown in progress is done.
    pub(crate) async fn until_gone(&self) {
        self.wait_for(|inner| (!matches!(inner.phase, Phase::Ending(_))).then_some(())).await;
    }

    /// Makes a process die by itself. Returns false if it is not up.
    pub(crate) fn die(&self, key: &Key) -> bool {
        let died = self.edit(|inner, now, world| {
            let Some(process) = inner.process_mut(key).filter(|p| p.pid != 0) else {
                return false;
            };
            process.die(now, world);
            let state = process.state;
            self.on_change(inner, &key.0, state, now, world);
            true
        });
        self.wake();
        died
    }

    /// Whether a supervisord process exists, even if it is shutting down.
    pub(crate) fn is_up(&self) -> bool {
        self.look(|inner| matches!(inner.phase, Phase::Up | Phase::Ending(_)))
    }

    /// Whether it is up and not shutting down.
    pub(crate) fn stays_up(&self) -> bool {
        self.look(|inner| inner.phase == Phase::Up)
    }

    /// Wakes the tasks that wait for a change.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Evaluates `look` at every change until it returns a value.
    pub(crate) async fn wait_for<R>(&self, mut look: impl FnMut(&Inner) -> Option<R>) -> R {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(result) = self.look(&mut look) {
                return result;
            }
            changed.await;
        }
    }
}
