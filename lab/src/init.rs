//! `service NAME VERB` and `systemctl VERB NAME`: the three init systems.
//!
//! There are three kinds of names: supervisord instances, services that init runs without supervisord (Cassandra), and
//! wrappers that pass a verb to supervisorctl under their own name. Invariants: text and exit code match the init
//! system; a restarted instance is up, with a new pid, before the command ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::catalogue;
use crate::commands::Context;
use crate::conn::CutKind;
use crate::fault::{Fault, Moment};
use crate::node::NodeInner;
use crate::process::State;
use crate::shared::Shared;
use crate::spec::InitFlavour;
use crate::streams::Io;
use crate::supervisorctl;
use crate::supervisord::{After, Supervisord};
use crate::util::{Date, lock, timedelta};

/// A service that init runs without supervisord.
pub(crate) struct InitService {
    pub(crate) name: &'static str,
    shared: Arc<Shared>,
    state: Mutex<Daemon>,
}

/// A daemon as init sees it.
#[derive(Debug, Clone, Copy)]
struct Daemon {
    /// 0 while it is stopped.
    pid: u32,
    since: f64,
    starts: u32,
    stops: u32,
    /// Whether a stop was requested and it has not ended yet.
    stopping: bool,
}

impl InitService {
    pub(crate) fn new(name: &'static str, shared: Arc<Shared>) -> Self {
        let state = Daemon {
            pid: shared.next_pid(),
            since: shared.clock.epoch_now() - shared.spec.uptime.as_secs_f64(),
            starts: 1,
            stops: 0,
            stopping: false,
        };
        Self { name, shared, state: Mutex::new(state) }
    }

    /// Pid (0 when stopped), starts and stops.
    pub(crate) fn snapshot(&self) -> (u32, u32, u32) {
        let state = *lock(&self.state);
        (state.pid, state.starts, state.stops)
    }

    fn daemon(&self) -> Daemon {
        *lock(&self.state)
    }

    async fn stop(&self) {
        if self.daemon().pid == 0 {
            return;
        }
        if self.shared.has(&Fault::HangAction) {
            self.shared.until_closing().await;
        }
        lock(&self.state).stopping = true;
        tokio::time::sleep(self.shared.timing.stop).await;
        let mut state = lock(&self.state);
        state.stopping = false;
        state.pid = 0;
        state.stops += 1;
        state.since = self.shared.clock.epoch_now();
        drop(state);
        self.shared.mid_action(Moment::Stop);
    }

    fn start(&self) {
        let pid = self.shared.next_pid();
        let mut state = lock(&self.state);
        if state.pid == 0 {
            state.pid = pid;
            state.starts += 1;
            state.since = self.shared.clock.epoch_now();
        }
    }
}

/// The unit that a name refers to on a node.
enum Unit {
    Instance(Arc<Supervisord>),
    Service(Arc<InitService>),
    Wrapper,
}

fn find(node: &NodeInner, name: &str) -> Option<Unit> {
    let name = name.strip_suffix(".service").unwrap_or(name);
    if let Some(sup) = node.instances.iter().find(|i| i.config.service == name) {
        let missing = node.shared.has(&Fault::SupervisorMissing);
        return (!missing).then(|| Unit::Instance(Arc::clone(sup)));
    }
    if let Some(service) = node.services.iter().find(|s| s.name == name) {
        return Some(Unit::Service(Arc::clone(service)));
    }
    let programs = || node.instances.iter().flat_map(|i| &i.config.programs);
    (programs().any(|p| p.group == name) && catalogue::has_wrapper(node.shared.spec.release, name))
        .then_some(Unit::Wrapper)
}

/// Whether the unit is running and no stop was requested. False for names that init does not know.
pub(crate) fn stays_up(node: &NodeInner, name: &str) -> bool {
    match find(node, name) {
        Some(Unit::Instance(sup)) => sup.stays_up(),
        Some(Unit::Service(service)) => {
            let daemon = service.daemon();
            daemon.pid != 0 && !daemon.stopping
        }
        Some(Unit::Wrapper) => node.instances.iter().any(|sup| {
            sup.look(|inner| {
                let mut all = inner.all().filter(|p| p.config.group == name).peekable();
                all.peek().is_some() && all.all(|p| p.state == State::Running)
            })
        }),
        None => false,
    }
}

/// Whether init knows the name.
pub(crate) fn exists(node: &NodeInner, name: &str) -> bool {
    find(node, name).is_some()
}

/// Whether the node has `systemctl`.
pub(crate) fn has_systemctl(node: &NodeInner) -> bool {
    node.shared.spec.init == InitFlavour::Systemd
}

/// Runs `service NAME VERB`.
pub(crate) async fn service(context: &Context, io: &Io, args: &[String]) -> i32 {
    let [name, verb, ..] = args else {
        io.err("Usage: service < option > | --status-all | [ service_name [ command | --full-restart ] ]\n").await;
        return 1;
    };
    let flavour = context.node.shared.spec.init;
    let Some(unit) = find(&context.node, name) else {
        return unknown(io, flavour, name, verb).await;
    };
    if let Unit::Wrapper = unit {
        return wrapper(context, io, name, verb).await;
    }
    act(context, io, &unit, name, verb, false).await
}

/// Runs `systemctl VERB NAME`.
pub(crate) async fn systemctl(context: &Context, io: &Io, args: &[String]) -> i32 {
    if !has_systemctl(&context.node) {
        io.err("sh: 1: systemctl: not found\n").await;
        return 127;
    }
    let words: Vec<_> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let [verb, name, ..] = words.as_slice() else {
        io.err("Too few arguments.\n").await;
        return 1;
    };
    let unit = find(&context.node, name);
    if *verb == "is-active" {
        let active = match &unit {
            Some(unit) => daemon(unit).pid != 0,
            None => false,
        };
        io.out(if active { "active\n" } else { "inactive\n" }).await;
        return if active { 0 } else { 3 };
    }
    match unit {
        None => unknown(io, InitFlavour::Systemd, name, verb).await,
        Some(Unit::Wrapper) => wrapper(context, io, name, verb).await,
        Some(unit) => act(context, io, &unit, name, verb, true).await,
    }
}

async fn unknown(io: &Io, flavour: InitFlavour, name: &str, verb: &str) -> i32 {
    match (flavour, verb) {
        (InitFlavour::SysV | InitFlavour::Upstart, _) => {
            io.err(&format!("{name}: unrecognized service\n")).await;
            1
        }
        (InitFlavour::Systemd, "status") => {
            io.err(&format!("Redirecting to /bin/systemctl status {name}.service\n")).await;
            io.err(&format!("Unit {name}.service could not be found.\n")).await;
            4
        }
        (InitFlavour::Systemd, verb) => {
            io.err(&format!("Redirecting to /bin/systemctl {verb} {name}.service\n")).await;
            io.err(&format!("Failed to {verb} {name}.service: Unit not found.\n")).await;
            5
        }
    }
}

/// A per-program init script: runs supervisorctl on its instance, once per process of a numbered group.
async fn wrapper(context: &Context, io: &Io, name: &str, verb: &str) -> i32 {
    if context.node.shared.has(&Fault::NoSupervisorctl) {
        let text = format!("/etc/init.d/{name}: line 41: supervisorctl: command not found\n");
        io.err(&text).await;
        return 127;
    }
    let programs = |sup: &Arc<Supervisord>| {
        let all = sup.config.programs.iter().filter(|p| p.group == name);
        all.map(|p| p.name.clone()).collect::<Vec<_>>()
    };
    let Some(sup) = context.node.instances.iter().find(|i| !programs(i).is_empty()) else {
        return 1;
    };
    let mut code = 0;
    for process in programs(sup) {
        let target = if process == name { process } else { format!("{name}:{process}") };
        let words = ["-s", &sup.config.address.url(), verb, &target].map(str::to_owned);
        code = supervisorctl::run(context, io, &words).await;
    }
    code
}

/// The main process of a unit, as init sees it.
fn daemon(unit: &Unit) -> Daemon {
    match unit {
        Unit::Service(service) => service.daemon(),
        Unit::Instance(sup) => {
            let up = sup.is_up();
            sup.look(|inner| Daemon {
                pid: if up { inner.pid } else { 0 },
                since: inner.since,
                starts: 0,
                stops: 0,
                stopping: false,
            })
        }
        Unit::Wrapper => Daemon { pid: 0, since: 0.0, starts: 0, stops: 0, stopping: false },
    }
}

async fn act(context: &Context, io: &Io, unit: &Unit, name: &str, verb: &str, direct: bool) -> i32 {
    let flavour = context.node.shared.spec.init;
    if verb == "status" {
        return status(context, io, unit, name).await;
    }
    if !matches!(verb, "start" | "stop" | "restart") {
        return match flavour {
            InitFlavour::SysV => 0,
            InitFlavour::Upstart => {
                io.err(&format!("initctl: invalid command: {verb}\n")).await;
                1
            }
            InitFlavour::Systemd => {
                io.err(&format!("Unknown operation '{verb}'.\n")).await;
                1
            }
        };
    }
    let faults = &context.node.shared;
    if !context.root || (verb == "restart" && faults.has(&Fault::RestartDenied)) {
        return denied(io, flavour, name, verb).await;
    }
    context.acts();
    let before = daemon(unit).pid != 0;
    let stopped = if verb == "start" { String::new() } else { stop(context, unit, verb == "restart").await };
    if verb == "restart" && faults.has(&Fault::HalfRestart) {
        faults.edit_faults(|f| f.add(Fault::CommandRefused));
        io.out(&stopped).await;
        return 1;
    }
    if verb != "stop" {
        start(unit).await;
    }
    let now = daemon(unit);
    match flavour {
        InitFlavour::SysV => {
            io.out(&stopped).await;
        }
        InitFlavour::Systemd => {
            let label = match verb {
                "start" => "Starting",
                "stop" => "Stopping",
                _ => "Restarting",
            };
            if !direct {
                let text = format!("{label} {name} (via systemctl):");
                io.out(&format!("{text:<60}[  OK  ]\n")).await;
            }
        }
        InitFlavour::Upstart => {
            if verb == "start" && before {
                io.err(&format!("start: Job is already running: {name}\n")).await;
                return 1;
            }
            if verb != "start" && before {
                io.out(&format!("{name} stop/waiting\n")).await;
            } else if verb != "start" {
                io.err("stop: Unknown instance: \n").await;
            }
            if verb != "stop" {
                io.out(&format!("{name} start/running, process {}\n", now.pid)).await;
            } else if !before {
                return 1;
            }
        }
    }
    0
}

/// Stops a unit. Returns the text that a SysV script prints.
async fn stop(context: &Context, unit: &Unit, restart: bool) -> String {
    match unit {
        Unit::Service(service) => {
            service.stop().await;
            String::new()
        }
        Unit::Instance(sup) if sup.is_up() => {
            let lines = sup.look(|inner| {
                let running = inner.all().filter(|p| p.state.is_running());
                running.map(|p| format!("{}: stopped\n", p.namespec())).collect::<String>()
            });
            sup.end(if restart { After::Restart } else { After::Halt });
            if sup.config.short == "vrouter" && context.node.shared.spec.vrouter_cuts_ssh {
                context.node.shared.cut_all(CutKind::Reset);
            }
            sup.until_gone().await;
            context.node.shared.mid_action(Moment::Stop);
            lines + "Shut down\n"
        }
        Unit::Instance(_) | Unit::Wrapper => String::new(),
    }
}

async fn start(unit: &Unit) {
    match unit {
        Unit::Service(service) => {
            service.start();
            service.shared.mid_action(Moment::Start);
            // Cassandra's script returns before Cassandra is usable.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Unit::Instance(sup) => {
            sup.start_daemon();
            sup.until_up().await;
            sup.shared.mid_action(Moment::Start);
        }
        Unit::Wrapper => {}
    }
}

async fn denied(io: &Io, flavour: InitFlavour, name: &str, verb: &str) -> i32 {
    match flavour {
        InitFlavour::SysV => {
            io.err(&format!(
                "/etc/init.d/{name}: line 22: ulimit: open files: cannot modify limit: Operation not permitted\n"
            ))
            .await;
            4
        }
        InitFlavour::Upstart => {
            let text = format!(
                "{verb}: Rejected send message, 1 matched rules; type=\"method_call\", sender=\":1.52\" \
                 (uid=1000 pid=4243 comm=\"{verb} {name} \") interface=\"com.ubuntu.Upstart0_6.Job\" \
                 member=\"Start\" error name=\"(unset)\" requested_reply=\"0\" \
                 destination=\"com.ubuntu.Upstart\" (uid=0 pid=1 comm=\"/sbin/init\")\n"
            );
            io.err(&text).await;
            1
        }
        InitFlavour::Systemd => {
            let text = format!("Failed to {verb} {name}.service: Interactive authentication required.\n");
            io.err(&text).await;
            1
        }
    }
}

async fn status(context: &Context, io: &Io, unit: &Unit, name: &str) -> i32 {
    let daemon = daemon(unit);
    let pid = daemon.pid;
    let instance = match unit {
        Unit::Instance(sup) => Some(sup),
        Unit::Service(_) | Unit::Wrapper => None,
    };
    match context.node.shared.spec.init {
        InitFlavour::SysV => {
            let program = if instance.is_some() { "supervisord" } else { name };
            // A supervisord that died leaves its pid file; one that was stopped does not.
            let stale = instance.is_some_and(|s| s.access() == crate::supervisord::Access::Refused);
            let (text, code) = match pid {
                0 if stale => (format!("{program} dead but pid file exists\n"), 1),
                0 => (format!("{program} is stopped\n"), 3),
                pid => (format!("{program} (pid  {pid}) is running...\n"), 0),
            };
            io.out(&text).await;
            code
        }
        InitFlavour::Upstart if instance.is_some() => {
            let text = match pid {
                0 => format!("{name} stop/waiting\n"),
                pid => format!("{name} start/running, process {pid}\n"),
            };
            io.out(&text).await;
            0
        }
        InitFlavour::Upstart => {
            let label = if name == "contrail-database" { "Cassandra" } else { name };
            let (text, code) = match pid {
                0 => (format!(" * {label} is not running\n"), 3),
                _ => (format!(" * {label} is running\n"), 0),
            };
            io.out(&text).await;
            code
        }
        InitFlavour::Systemd => systemd_status(context, io, unit, name, daemon).await,
    }
}

async fn systemd_status(context: &Context, io: &Io, unit: &Unit, name: &str, daemon: Daemon) -> i32 {
    let (program, command) = match unit {
        Unit::Instance(sup) => {
            ("supervisord", format!("/usr/bin/python /usr/bin/supervisord -c {}", sup.config.config))
        }
        Unit::Service(_) | Unit::Wrapper => ("java", format!("/usr/bin/java {name}")),
    };
    let clock = &context.node.shared.clock;
    let since = Date::from_epoch(daemon.since).systemd();
    let ago = ago(clock.epoch_now() - daemon.since);
    let exited = context.node.shared.spec.database_exited && name == "contrail-database";
    let active = match daemon.pid {
        0 => format!("inactive (dead) since {since}; {ago} ago"),
        _ if exited => format!("active (exited) since {since}; {ago} ago"),
        _ => format!("active (running) since {since}; {ago} ago"),
    };
    let mut text = format!(
        "● {name}.service - SYSV: {name}\n   Loaded: loaded (/etc/rc.d/init.d/{name}; bad; vendor preset: \
         disabled)\n   Active: {active}\n     Docs: man:systemd-sysv-generator(8)\n"
    );
    if daemon.pid != 0 && !exited {
        let pid = daemon.pid;
        text.push_str(&format!(
            " Main PID: {pid} ({program})\n   CGroup: /system.slice/{name}.service\n           └─{pid} {command}\n"
        ));
    }
    io.out(&text).await;
    // The functions file of EL7 turns `active (exited)` into 3.
    if daemon.pid != 0 && !exited { 0 } else { 3 }
}

/// `3 days` or `2min 5s`, like systemctl; more detail is not needed.
#[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
fn ago(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as i64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}min", seconds / 3600, seconds % 3600 / 60),
        _ => timedelta(seconds).split(',').next().unwrap_or("days").to_owned(),
    }
}
