//! The actions of a supervisord: it starts and stops processes, and changes its configuration.
//!
//! Start at [`Supervisord::begin`] and [`Supervisord::finish`]. Invariants: an action changes a process only in `begin`,
//! under the lock; `finish` only waits.

use tokio::time::Instant;

use crate::fault::{Fault, Moment, SpawnKind};
use crate::process::{Process, State, World};
use crate::rpcfault::{RpcFault, code};
use crate::spec::SupervisorVersion;
use crate::supervisord::{Inner, Supervisord};

/// A process by group and name.
pub(crate) type Key = (String, String);

/// Start or stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
}

/// An action in progress that a caller waits for.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    key: Key,
    asked: String,
    verb: Verb,
    generation: u64,
}

/// One line of the reply to an action on several processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) status: i32,
    pub(crate) description: String,
}

impl Item {
    fn new(key: &Key, result: Result<(), RpcFault>) -> Self {
        let (status, description) = match result {
            Ok(()) => (code::SUCCESS, "OK".to_owned()),
            Err(fault) => (fault.code, fault.text),
        };
        Self { group: key.0.clone(), name: key.1.clone(), status, description }
    }
}

/// The state of several actions: the lines of finished ones, and the waits for the rest.
pub(crate) type Begun = (Vec<Item>, Vec<(Key, Wait)>);

/// The processes or group that a name refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    One(Key),
    Group(String),
}

/// Splits `group:name` as supervisord does: `None` for a whole group.
pub(crate) fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        None => (name, Some(name)),
        Some((group, "" | "*")) => (group, None),
        Some((group, process)) => (group, Some(process)),
    }
}

impl Supervisord {
    /// The processes that a name refers to: `name`, `group:name`, or `group:*` and `group:` for a group.
    pub(crate) fn resolve(&self, asked: &str) -> Result<Named, RpcFault> {
        let (group, name) = split(asked);
        self.look(|inner| {
            let bad = || RpcFault::new(code::BAD_NAME, asked);
            let members = inner.groups.get(group).ok_or_else(bad)?;
            match name {
                None => Ok(Named::Group(group.to_owned())),
                Some(name) => members
                    .iter()
                    .any(|p| p.config.name == name)
                    .then(|| Named::One((group.to_owned(), name.to_owned())))
                    .ok_or_else(bad),
            }
        })
    }

    /// Begins to start or stop one process. Returns what to wait for, or nothing if it is done.
    pub(crate) fn begin(&self, key: &Key, verb: Verb, asked: &str, wait: bool) -> Result<Option<Wait>, RpcFault> {
        let version = self.shared.spec.supervisor;
        let result = self.edit(|inner, now, world| {
            let process = inner.process_mut(key).ok_or_else(|| RpcFault::new(code::BAD_NAME, asked))?;
            match verb {
                Verb::Start => Self::begin_start(process, now, world, asked, wait, version),
                Verb::Stop => {
                    if !process.state.is_running() {
                        return Err(RpcFault::new(code::NOT_RUNNING, asked));
                    }
                    // Before 3.1.0 a process without a pid cannot be stopped, and is tried again.
                    if process.state == State::Backoff && version == SupervisorVersion::V3_0 {
                        let name = &key.1;
                        let extra = format!("attempted to kill {name} with sig SIGTERM but it wasn't running");
                        return Err(RpcFault::new(code::FAILED, &extra));
                    }
                    process.kill(now, world);
                    let (group, state) = (key.0.as_str(), process.state);
                    if state == State::Stopped {
                        self.on_change(inner, group, state, now, world);
                    }
                    Ok(wait && !state.is_stopped())
                }
            }
        });
        self.wake();
        let pending = result?;
        if verb == Verb::Start {
            self.shared.mid_action(Moment::Start);
        } else if !pending {
            self.shared.mid_action(Moment::Stop);
        }
        let generation = *self.generation.borrow();
        Ok(pending.then(|| Wait { key: key.clone(), asked: asked.to_owned(), verb, generation }))
    }

    /// Starts the process. Returns true if the caller must still wait until it is up.
    fn begin_start(
        process: &mut Process,
        now: Instant,
        world: &mut World<'_>,
        asked: &str,
        wait: bool,
        version: SupervisorVersion,
    ) -> Result<bool, RpcFault> {
        match process.refused(world.faults) {
            Some(SpawnKind::NoFile) => {
                let extra = format!("can't find command '{}'", process.config.command());
                return Err(RpcFault::new(code::NO_FILE, &extra));
            }
            Some(SpawnKind::NotExecutable) => {
                let extra = format!("command at '{}' is not executable", process.config.command());
                return Err(RpcFault::new(code::NOT_EXECUTABLE, &extra));
            }
            Some(SpawnKind::Spawn) | None => {}
        }
        if process.state.is_running() {
            return Err(RpcFault::new(code::ALREADY_STARTED, asked));
        }
        // A process that is still STOPPING has a pid, so the spawn does nothing, and the wait below ends with
        // ABNORMAL_TERMINATION while the process becomes STOPPED.
        process.spawn(now, world);
        if process.state == State::Backoff {
            return Err(RpcFault::new(code::SPAWN_ERROR, asked));
        }
        if !wait {
            return Ok(false);
        }
        Self::started(process, asked, version).map_or(Ok(true), |result| result.map(|()| false))
    }

    /// The result of a start that a caller waits for; `None` while it is still in progress.
    fn started(process: &Process, asked: &str, version: SupervisorVersion) -> Option<Result<(), RpcFault>> {
        // supervisord 3.0 does not check the spawn error here.
        if version > SupervisorVersion::V3_0 && !process.spawnerr.is_empty() {
            return Some(Err(RpcFault::new(code::SPAWN_ERROR, asked)));
        }
        match process.state {
            State::Running => Some(Ok(())),
            State::Starting => None,
            State::Stopped | State::Backoff | State::Stopping | State::Exited | State::Fatal => {
                Some(Err(RpcFault::new(code::ABNORMAL_TERMINATION, asked)))
            }
        }
    }

    fn ended(&self, inner: &Inner, wait: &Wait) -> Option<Result<(), RpcFault>> {
        if *self.generation.borrow() != wait.generation {
            return Some(Err(RpcFault::bare(code::GONE)));
        }
        let Some(process) = inner.process(&wait.key) else {
            return Some(Err(RpcFault::bare(code::GONE)));
        };
        match wait.verb {
            Verb::Start => Self::started(process, &wait.asked, self.shared.spec.supervisor),
            Verb::Stop => process.state.is_stopped().then_some(Ok(())),
        }
    }

    /// Waits until the action has finished.
    pub(crate) async fn finish(&self, wait: Wait) -> Result<(), RpcFault> {
        let result = self.wait_for(|inner| self.ended(inner, &wait)).await;
        if wait.verb == Verb::Stop && result.is_ok() {
            self.shared.mid_action(Moment::Stop);
        }
        result
    }

    /// Begins to start or stop all processes of a group (of all groups for `None`) that are not yet in that state.
    pub(crate) fn begin_many(&self, group: Option<&str>, verb: Verb, wait: bool) -> Result<Begun, RpcFault> {
        let mut keys = self.look(|inner| {
            if let Some(group) = group
                && !inner.groups.contains_key(group)
            {
                return Err(RpcFault::new(code::BAD_NAME, group));
            }
            Ok(inner
                .all()
                .filter(|p| group.is_none_or(|g| g == p.config.group))
                .filter(|p| p.state.is_running() == (verb == Verb::Stop))
                .map(|p| {
                    let key = (p.config.group.clone(), p.config.name.clone());
                    (p.config.priority, key, p.namespec())
                })
                .collect::<Vec<_>>())
        })?;
        keys.sort();
        let (mut done, mut pending) = (Vec::new(), Vec::new());
        for (_, key, asked) in keys {
            match self.begin(&key, verb, &asked, wait) {
                Ok(Some(wait)) => pending.push((key, wait)),
                Ok(None) => done.push(Item::new(&key, Ok(()))),
                Err(fault) => done.push(Item::new(&key, Err(fault))),
            }
        }
        Ok((done, pending))
    }

    /// Waits until all of them have finished. The lines come in the order in which they finish.
    pub(crate) async fn finish_many(&self, mut done: Vec<Item>, mut pending: Vec<(Key, Wait)>) -> Vec<Item> {
        let stop = pending.first().is_some_and(|(_, w)| w.verb == Verb::Stop);
        self.wait_for(|inner| {
            pending.retain(|(key, wait)| match self.ended(inner, wait) {
                None => true,
                Some(result) => {
                    done.push(Item::new(key, result));
                    false
                }
            });
            pending.is_empty().then_some(())
        })
        .await;
        if stop {
            self.shared.mid_action(Moment::Stop);
        }
        done
    }

    // ---- configuration ---------------------------------------------------------------------------------

    /// The groups that a reread of the configuration finds added, changed and removed.
    pub(crate) fn reread(&self) -> Result<[Vec<String>; 3], RpcFault> {
        if self.shared.has(&Fault::BadConfig) {
            let extra = format!("File contains parsing errors: {}", self.config.config);
            return Err(RpcFault::new(code::CANT_REREAD, &extra));
        }
        Ok(self.look(|inner| {
            let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
            for program in &inner.config {
                let name = &program.group;
                match inner.groups.get(name) {
                    None if !added.contains(name) => added.push(name.clone()),
                    Some(group) if !group.iter().any(|p| p.config == *program) && !changed.contains(name) => {
                        changed.push(name.clone());
                    }
                    _ => {}
                }
            }
            for name in inner.groups.keys() {
                if !inner.config.iter().any(|p| p.group == *name) {
                    removed.push(name.clone());
                }
            }
            [added, changed, removed]
        }))
    }

    /// Activates a configured group and starts it.
    pub(crate) fn add_group(&self, name: &str) -> Result<(), RpcFault> {
        let result = self.edit(|inner, now, world| {
            let programs: Vec<_> = inner.config.iter().filter(|p| p.group == name).cloned().collect();
            if programs.is_empty() {
                return Err(RpcFault::new(code::BAD_NAME, name));
            }
            if inner.groups.contains_key(name) {
                return Err(RpcFault::new(code::ALREADY_ADDED, name));
            }
            programs.into_iter().for_each(|p| inner.insert(p));
            for process in inner.groups.get_mut(name).into_iter().flatten() {
                process.spawn(now, world);
            }
            Ok(())
        });
        self.wake();
        result
    }

    /// Removes an active group that has no running process.
    pub(crate) fn remove_group(&self, name: &str) -> Result<(), RpcFault> {
        self.edit(|inner, _, _| {
            let group = inner.groups.get(name).ok_or_else(|| RpcFault::new(code::BAD_NAME, name))?;
            if !group.iter().all(|p| p.state.is_stopped()) {
                return Err(RpcFault::new(code::STILL_RUNNING, name));
            }
            inner.forget(name);
            Ok(())
        })
    }
}
