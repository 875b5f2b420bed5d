//! One simulated node: its supervisords, services and files, and the handle with which tests observe and disturb it.
//!
//! Start at [`Node`]. Invariants: a test reads the state at that instant, after everything that was due has happened.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::actions::Named;
use crate::bounded::{Commands, CommandsSnapshot};
use crate::catalogue::{self, Address, ProgramConfig};
use crate::commands::Context;
use crate::conn::CutKind;
use crate::fault::Fault;
use crate::files::Files;
use crate::guard::{GuardSnapshot, Guards};
use crate::init::{self, InitService};
use crate::introspect::{Introspect, Setting, Settings};
use crate::logs::Logs;
use crate::process::State;
use crate::rpc;
use crate::shared::{Counters, Shared};
use crate::supervisord::{Access, Supervisord};
use crate::util::lock;

/// The parts of a node.
pub(crate) struct NodeInner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) instances: Vec<Arc<Supervisord>>,
    pub(crate) services: Vec<Arc<InitService>>,
    pub(crate) guards: Guards,
    pub(crate) commands: Commands,
    pub(crate) introspect: Settings,
    files: Mutex<BTreeMap<String, String>>,
}

impl NodeInner {
    pub(crate) fn new(shared: Shared, address: Ipv4Addr, port: u16) -> Self {
        let shared = Arc::new(shared);
        let instances = catalogue::instances(&shared.spec)
            .into_iter()
            .map(|config| Supervisord::new(config, Arc::clone(&shared)))
            .collect();
        let services = catalogue::init_services(&shared.spec)
            .into_iter()
            .map(|name| Arc::new(InitService::new(name, Arc::clone(&shared))))
            .collect();
        let introspect = shared.spec.introspect.iter().map(|(program, port, state)| Setting {
            program: program.clone(),
            port: *port,
            state: state.clone(),
        });
        Self {
            introspect: Settings::new(introspect.collect()),
            shared,
            address,
            port,
            instances,
            services,
            guards: Guards::default(),
            commands: Commands::default(),
            files: Mutex::new(BTreeMap::new()),
        }
    }

    /// The supervisord behind a unix socket.
    pub(crate) fn by_socket(&self, path: &str) -> Option<&Arc<Supervisord>> {
        self.instances.iter().find(|i| matches!(&i.config.address, Address::Unix(p) if p == path))
    }

    /// The supervisord behind a TCP port.
    pub(crate) fn by_port(&self, port: u16) -> Option<&Arc<Supervisord>> {
        self.instances.iter().find(|i| matches!(&i.config.address, Address::Tcp(p) if *p == port))
    }

    /// Whether this is the path of a stale `/tmp` socket, left from before an upgrade.
    pub(crate) fn stale_socket(&self, path: &str) -> bool {
        self.shared.has(&Fault::StaleTmpSocket)
            && self.by_socket(path).is_none()
            && self.instances.iter().any(|i| path == format!("/tmp/supervisord_{}.sock", i.config.short))
    }

    /// The sockets that have a listener, each with the pid of its supervisord.
    pub(crate) fn listening(&self) -> Vec<(String, u32)> {
        let open = self.instances.iter().filter(|sup| sup.access() == Access::Open);
        let named = open.filter_map(|sup| match &sup.config.address {
            Address::Unix(path) => Some((path.clone(), sup.look(|inner| inner.pid))),
            Address::Tcp(_) => None,
        });
        named.collect()
    }

    fn is_socket(&self, path: &str) -> bool {
        self.stale_socket(path) || self.by_socket(path).is_some_and(|sup| sup.access() != Access::Missing)
    }

    pub(crate) fn is_dir(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        matches!(
            path,
            "" | "/tmp"
                | "/var"
                | "/var/run"
                | "/run"
                | "/etc"
                | "/etc/contrail"
                | "/etc/init.d"
                | "/var/log"
                | "/var/log/contrail"
                | "/root"
                | "/usr/bin"
                | "/bin"
        )
    }

    /// `test FLAG PATH`; `None` for an unknown flag.
    pub(crate) fn file_test(&self, flag: &str, path: &str, context: &Context) -> Option<bool> {
        let socket = self.is_socket(path);
        let dir = self.is_dir(path);
        let file = self.read_file(path).is_some();
        let program =
            ["/usr/bin/", "/bin/", "/sbin/", "/usr/sbin/", "/etc/init.d/"].iter().any(|d| path.starts_with(d))
                && (file || path.ends_with("/sh") || path.ends_with("/sudo") || path.ends_with("/service"));
        let any = socket || dir || file || program;
        Some(match flag {
            "-S" => socket,
            "-e" | "-a" => any,
            "-f" => file || program,
            "-d" => dir,
            "-s" => file,
            "-r" => any && (!socket || context.may_connect()),
            "-w" if socket => context.may_connect(),
            "-w" => any && (context.root || path.starts_with("/tmp")),
            "-x" => dir || program,
            "-h" | "-L" => false,
            _ => return None,
        })
    }

    /// Replaces a file, or adds it.
    pub(crate) fn write_file(&self, path: String, text: String) {
        lock(&self.files).insert(path, text);
    }

    /// The text of a file, if there is one.
    pub(crate) fn read_file(&self, path: &str) -> Option<String> {
        if let Some(text) = lock(&self.files).get(path) {
            return Some(text.clone());
        }
        let missing = self.shared.has(&Fault::SupervisorMissing);
        for sup in self.instances.iter().filter(|_| !missing) {
            if path == sup.config.pidfile {
                let pid = sup.look(|inner| inner.pid);
                // A supervisord that died leaves its pid file, with a pid that no process has.
                return match (pid, sup.access()) {
                    (0, Access::Refused) => Some("99999\n".to_owned()),
                    (0, _) => None,
                    (pid, _) => Some(format!("{pid}\n")),
                };
            }
            if path == sup.config.config {
                return Some(format!(
                    "[unix_http_server]\nfile={}\n\n[supervisorctl]\nserverurl={}\n",
                    sup.config.address.url().trim_start_matches("unix://"),
                    sup.config.address.url()
                ));
            }
        }
        let left = path.strip_prefix("/etc/contrail/supervisord_").and_then(|rest| rest.strip_suffix(".conf"));
        if left.is_some_and(|short| self.shared.has(&Fault::LeftConfig(short.to_owned()))) {
            return Some("[supervisord]\n".to_owned());
        }
        if let Some(name) = path.strip_prefix("/etc/init.d/") {
            return init::exists(self, name).then(|| "#!/bin/sh\n".to_owned());
        }
        match path {
            "/usr/bin/supervisorctl" if self.shared.has(&Fault::NoSupervisorctl) => None,
            "/usr/bin/supervisorctl" => Some("#!/usr/bin/python\n".to_owned()),
            "/etc/hostname" => Some(format!("{}\n", self.shared.spec.name)),
            _ => None,
        }
    }
}

/// A process, for tests.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSnapshot {
    /// Its state.
    pub state: State,
    /// Its pid; 0 if it has none.
    pub pid: u32,
    /// Time of its last start, in seconds since 1970; 0 for never.
    pub start: f64,
    /// How often it was started since the lab started (the process it started with counts as one).
    pub starts: u32,
    /// How often it was stopped on request.
    pub stops: u32,
    /// The description that supervisord gives.
    pub description: String,
}

/// A service that init runs without supervisord, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSnapshot {
    /// Its pid; 0 if it is stopped.
    pub pid: u32,
    /// How often it was started; the process it started with counts as one.
    pub starts: u32,
    /// How often it was stopped.
    pub stops: u32,
}

/// One node of a running lab.
pub struct Node {
    pub(crate) inner: Arc<NodeInner>,
    pub(crate) files: Arc<Files>,
}

impl Node {
    /// Its name in the inventory.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.shared.spec.name
    }

    /// Its loopback address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.inner.address
    }

    /// The names of its supervisords, `supervisor-analytics` and so on.
    #[must_use]
    pub fn instances(&self) -> Vec<String> {
        let all = self.inner.instances.iter();
        all.map(|i| i.config.service.clone()).collect()
    }

    /// The address of a supervisord, in the form that `supervisorctl -s` takes.
    #[must_use]
    pub fn url(&self, instance: &str) -> Option<String> {
        Some(self.find(instance)?.config.address.url())
    }

    fn find(&self, instance: &str) -> Option<&Arc<Supervisord>> {
        self.inner.instances.iter().find(|i| i.config.service == instance)
    }

    /// The connections and requests that it has received so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.shared.count(|c| c.clone())
    }

    /// Resets the counters, except for the number of open connections.
    pub fn reset_counters(&self) {
        self.inner.shared.count(|c| {
            let open = c.open;
            *c = Counters { open, max_open: open, ..Counters::default() };
        });
    }

    /// A process, named `group:name` or by its name alone if both are equal.
    #[must_use]
    pub fn process(&self, instance: &str, name: &str) -> Option<ProcessSnapshot> {
        let sup = self.find(instance)?;
        let Ok(Named::One(key)) = sup.resolve(name) else {
            return None;
        };
        sup.look(|inner| {
            let p = inner.process(&key)?;
            let (starts, stops) = inner.counts(p);
            Some(ProcessSnapshot {
                state: p.state,
                pid: p.pid,
                start: p.start,
                starts,
                stops,
                description: rpc::description(sup, p),
            })
        })
    }

    /// All process names of a supervisord, as `supervisorctl status` prints them.
    #[must_use]
    pub fn processes(&self, instance: &str) -> Vec<String> {
        self.find(instance).map(|sup| sup.look(|inner| inner.all().map(|p| p.namespec()).collect())).unwrap_or_default()
    }

    /// supervisord's own pid; `None` if it is down or there is no such instance.
    #[must_use]
    pub fn supervisor_pid(&self, instance: &str) -> Option<u32> {
        let pid = self.find(instance)?.look(|inner| inner.pid);
        (pid != 0).then_some(pid)
    }

    /// A service that init runs without supervisord.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<ServiceSnapshot> {
        let service = self.inner.services.iter().find(|s| s.name == name)?;
        let (pid, starts, stops) = service.snapshot();
        Some(ServiceSnapshot { pid, starts, stops })
    }

    /// Changes the reply of a program (named as in a [`Fault`]) on its introspect port, and the port.
    pub fn set_introspect(&self, program: &str, port: u16, answer: Introspect) {
        self.inner.introspect.set(Setting { program: program.to_owned(), port, state: answer });
    }

    /// Injects a fault, in addition to those in force.
    pub fn set_fault(&self, fault: Fault) {
        let shared = &self.inner.shared;
        shared.edit_faults(|f| f.add(fault.clone()));
        for sup in &self.inner.instances {
            sup.apply(&fault);
        }
        if fault == Fault::Freeze {
            shared.cut_all(CutKind::Frozen);
        }
        if fault.is_host_key() {
            self.write_files();
        }
    }

    /// Waits until the listener reflects the faults: open, closed, or a black hole. Everything else that a fault does
    /// takes effect at once.
    pub async fn settled(&self) {
        self.inner.shared.until_settled().await;
    }

    /// Removes all faults. Programs that a fault has killed stay dead; supervisords come back.
    pub fn clear_fault(&self) {
        let before = self.inner.shared.faults();
        self.inner.shared.edit_faults(crate::fault::FaultSet::clear);
        for fault in before.iter() {
            self.after_removal(fault);
        }
    }

    /// Removes one fault.
    pub fn remove_fault(&self, fault: &Fault) {
        self.inner.shared.edit_faults(|f| f.remove(fault));
        self.after_removal(fault);
    }

    fn after_removal(&self, fault: &Fault) {
        for sup in &self.inner.instances {
            sup.unapply(fault);
        }
        if *fault == Fault::Freeze {
            self.inner.shared.cut_all(CutKind::Live);
        }
        if fault.is_host_key() {
            self.write_files();
        }
    }

    fn write_files(&self) {
        if let Err(error) = self.files.write_known_hosts() {
            tracing::error!(%error, "known_hosts could not be written");
        }
    }

    /// Ends every SSH connection of the node at once.
    pub fn cut_connections(&self) {
        self.inner.shared.cut_all(CutKind::Reset);
    }

    /// Makes a program die by itself, as in a crash. False if there is no such process, or it is not up.
    #[must_use = "a process that does not exist cannot be killed"]
    pub fn kill(&self, instance: &str, name: &str) -> bool {
        let Some(sup) = self.find(instance) else {
            return false;
        };
        match sup.resolve(name) {
            Ok(Named::One(key)) => sup.die(&key),
            _ => false,
        }
    }

    /// Appends to a log of a process (stderr if `stderr`). False if there is no such process.
    #[must_use = "a log of a process that does not exist cannot be written"]
    pub fn write_log(&self, instance: &str, name: &str, stderr: bool, bytes: &[u8]) -> bool {
        self.edit_logs(instance, name, |logs| logs.write(stderr, bytes))
    }

    /// Moves the logs of a process away, so that it continues with empty ones. False if there is no such process.
    #[must_use = "a log of a process that does not exist cannot be rotated"]
    pub fn rotate_log(&self, instance: &str, name: &str) -> bool {
        self.edit_logs(instance, name, Logs::rotate)
    }

    fn edit_logs(&self, instance: &str, name: &str, edit: impl FnOnce(&mut Logs)) -> bool {
        let Some(sup) = self.find(instance) else {
            return false;
        };
        let Ok(Named::One(key)) = sup.resolve(name) else {
            return false;
        };
        sup.edit(|inner, _, _| inner.process_mut(&key).map(|p| edit(&mut p.logs)).is_some())
    }

    /// The node's lock, and the codes that its guards have armed and run.
    #[must_use]
    pub fn guard(&self) -> GuardSnapshot {
        self.inner.guards.snapshot()
    }

    /// Takes the node's lock on behalf of a process outside the lab, with this description (`run=… user=… host=…`).
    /// False if it is held.
    #[must_use = "a lock that is held cannot be taken"]
    pub fn take_lock(&self, words: &str) -> bool {
        self.inner.guards.take(words)
    }

    /// Releases the lock that [`Node::take_lock`] took. False if there is none. A guard's lock stays.
    pub fn release_lock(&self) -> bool {
        self.inner.guards.release()
    }

    /// Kills the guards on the node, as `kill -9` does: their channels end with a signal, the lock is free, and no
    /// rescue runs. Returns their number.
    pub fn kill_guards(&self) -> usize {
        self.inner.guards.kill()
    }

    /// The counts of limited commands (`ctl-exec`).
    #[must_use]
    pub fn commands(&self) -> CommandsSnapshot {
        self.inner.commands.snapshot()
    }

    /// Freezes the network of the node ([`Fault::Freeze`]) for that time: connections stay open and move no byte in
    /// either direction. Bytes in flight arrive afterwards, as TCP retransmits them. Without a time it lasts until
    /// [`Node::remove_fault`] or [`Node::clear_fault`].
    pub fn partition(&self, time: Option<Duration>) {
        self.set_fault(Fault::Freeze);
        let Some(time) = time else { return };
        let shared = Arc::clone(&self.inner.shared);
        self.inner.shared.runtime.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(time) => shared.thaw(),
                () = shared.until_closing() => {}
            }
        });
    }

    /// Puts a file on the node's virtual disk, for `cat` and `test`.
    pub fn put_file(&self, path: impl Into<String>, text: impl Into<String>) {
        lock(&self.inner.files).insert(path.into(), text.into());
    }

    /// Adds a program to an instance's configuration on disk; a reread reports it as added.
    pub fn add_program(&self, instance: &str, group: &str) {
        self.edit_config(instance, |config| config.push(ProgramConfig::new(group)));
    }

    /// Changes a program in an instance's configuration on disk; a reread reports it as changed.
    pub fn change_program(&self, instance: &str, group: &str) {
        self.edit_config(instance, |config| {
            for program in config.iter_mut().filter(|p| p.group == group) {
                program.edition += 1;
            }
        });
    }

    /// Removes a program from an instance's configuration on disk; a reread reports it as removed.
    pub fn remove_program(&self, instance: &str, group: &str) {
        self.edit_config(instance, |config| config.retain(|p| p.group != group));
    }

    fn edit_config(&self, instance: &str, edit: impl FnOnce(&mut Vec<ProgramConfig>)) {
        if let Some(sup) = self.find(instance) {
            sup.edit(|inner, _, _| edit(&mut inner.config));
        }
    }
}
