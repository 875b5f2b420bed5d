//! `supervisorctl` as it runs on a node: its output and exit codes, by version.
//!
//! Invariants: 3.0 and 3.3 always exit with 0, except after a Python exception (2); 4.2.5 exits with LSB codes, where
//! the last failure counts. A client that disconnects stops nothing, because the command runs on the node.

mod config;

use std::sync::Arc;

use crate::actions::{Item, Named, Verb, split};
use crate::catalogue::Address;
use crate::commands::Context;
use crate::rpc;
use crate::rpcfault::{RpcFault, code};
use crate::spec::SupervisorVersion;
use crate::streams::Io;
use crate::supervisord::{Access, Supervisord};

/// A command ended early with this exit code; the text was already printed.
type Ended = i32;

struct Ctl<'a> {
    context: &'a Context,
    url: String,
    version: SupervisorVersion,
    out: String,
    /// The exit code so far, as 4.x counts it.
    status: i32,
    auth: Option<(String, String)>,
}

/// A value for a configuration file, where `%` starts an expansion since 3.2.
fn expanded(version: SupervisorVersion, value: &str) -> String {
    if version == SupervisorVersion::V3_0 { value.to_owned() } else { value.replace("%%", "%") }
}

/// Runs `supervisorctl ARGS`.
pub(crate) async fn run(context: &Context, io: &Io, args: &[String]) -> i32 {
    let version = context.node.shared.spec.supervisor;
    let mut ctl = Ctl { context, url: String::new(), version, out: String::new(), status: 0, auth: None };
    let at = match ctl.options(io, args).await {
        Ok(at) => at,
        Err(problem) => {
            io.err(&format!("Error: {problem}\nFor help, use /usr/bin/supervisorctl -h\n")).await;
            return 2;
        }
    };
    let (verb, names) = match args.get(at..).and_then(|a| a.split_first()) {
        Some((verb, names)) => (verb.as_str(), names),
        None => ("status", &[][..]),
    };
    if verb == "tail" && names.first().is_some_and(|n| n == "-f") {
        return ctl.follow(io, names).await;
    }
    let ended = ctl.verb(verb, names).await;
    io.out(&ctl.out).await;
    match (ended, version) {
        (Err(code), _) => code,
        (Ok(()), SupervisorVersion::V4_2_5) => ctl.status,
        (Ok(()), _) => 0,
    }
}

impl Ctl<'_> {
    /// Reads the options before the verb; returns the verb's place, or what is wrong.
    async fn options(&mut self, io: &Io, args: &[String]) -> Result<usize, String> {
        let (mut user, mut password, mut at) = (None, None, 0);
        while let Some(arg) = args.get(at).filter(|a| a.starts_with('-')) {
            let (flag, glued) = match arg.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            at += 1;
            if flag == "--" {
                break;
            }
            let value = match glued {
                Some(value) => value,
                None => {
                    at += 1;
                    args.get(at - 1).cloned().unwrap_or_default()
                }
            };
            match flag {
                "-s" | "--serverurl" => self.url = value,
                "-u" | "--username" => user = Some(value),
                "-p" | "--password" => password = Some(value),
                "-c" | "--configuration" if value == "/dev/stdin" => {
                    while let Some(line) = io.read_whole_line().await {
                        match line.split_once('=') {
                            Some(("serverurl", value)) => self.url = value.to_owned(),
                            Some(("username", value)) => user = Some(expanded(self.version, value)),
                            Some(("password", value)) => password = Some(expanded(self.version, value)),
                            _ => {}
                        }
                    }
                }
                "-c" | "--configuration" => {
                    let found = self.context.node.instances.iter().find(|i| i.config.config == value);
                    let found = found.ok_or_else(|| format!("could not find config file {value}"))?;
                    self.url = found.config.address.url();
                }
                _ => return Err(format!("option {flag} not recognized")),
            }
        }
        if self.url.is_empty() {
            return Err("No config file found at default paths (/usr/etc/supervisord.conf, \
                        /usr/supervisord.conf, supervisord.conf, etc/supervisord.conf, /etc/supervisord.conf); \
                        use the -c option to specify a config file at a different path"
                .to_owned());
        }
        self.auth = user.zip(password);
        Ok(at)
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn old(&self) -> bool {
        self.version == SupervisorVersion::V3_0
    }

    fn is_4(&self) -> bool {
        self.version == SupervisorVersion::V4_2_5
    }

    /// Prints a Python exception, and ends.
    fn raised(&mut self, class: &str, text: &str) -> Ended {
        let (class, file) = if self.is_4() {
            let class = match class {
                "Fault" => "xmlrpc.client.Fault",
                "EACCES" => "PermissionError",
                "ENOENT" => "FileNotFoundError",
                "ECONNREFUSED" => "ConnectionRefusedError",
                _ => "http.client.RemoteDisconnected",
            };
            let file = if class.starts_with("xmlrpc") {
                "/usr/lib/python3.11/xmlrpc/client.py line: 656"
            } else {
                "/usr/lib/python3/dist-packages/supervisor/xmlrpc.py line: 557"
            };
            (class, file)
        } else {
            let (class, file) = match class {
                "Fault" => ("xmlrpclib.Fault", "/usr/lib/python2.7/xmlrpclib.py line: 800"),
                "EACCES" | "ENOENT" | "ECONNREFUSED" => ("socket.error", "<string> line: 1"),
                _ => ("httplib.BadStatusLine", "/usr/lib/python2.7/httplib.py line: 373"),
            };
            (class, file)
        };
        self.line(&format!("error: <class '{class}'>, {text}: file: {file}"));
        if self.is_4() { 1 } else { 2 }
    }

    fn fault(&mut self, fault: &RpcFault) -> Ended {
        match fault.code {
            code::GONE => self.raised("gone", "''"),
            n => self.raised("Fault", &format!("<Fault {n}: '{}'>", fault.text)),
        }
    }

    /// The supervisord at the address, or the reason why it does not answer.
    fn connect(&mut self) -> Result<Arc<Supervisord>, Access> {
        let unix = self.url.strip_prefix("unix://");
        let found = self
            .context
            .node
            .instances
            .iter()
            .find(|i| match (&i.config.address, unix) {
                (Address::Unix(path), Some(asked)) => path == asked,
                (Address::Tcp(port), None) => {
                    let url = self.url.trim_end_matches('/');
                    url == format!("http://localhost:{port}") || url == format!("http://127.0.0.1:{port}")
                }
                _ => false,
            })
            .cloned();
        match found {
            None if unix.is_some_and(|path| self.context.node.stale_socket(path)) => Err(Access::Refused),
            None if unix.is_some() => Err(Access::Missing),
            None => Err(Access::Refused),
            Some(sup) => match sup.access() {
                Access::Open => Ok(sup),
                access @ (Access::Refused | Access::Missing) => Err(access),
            },
        }
    }

    /// The first contact; `Ok(None)` if it fails with an error that supervisorctl reports itself.
    fn upcheck(&mut self) -> Result<Option<Arc<Supervisord>>, Ended> {
        match self.connect() {
            Ok(sup) => self.admitted(&sup).map(|()| Some(sup)),
            Err(Access::Missing) => {
                self.line(&format!("{} no such file", self.url));
                self.status = 7;
                Ok(None)
            }
            Err(_) => {
                self.line(&format!("{} refused connection", self.url));
                self.status = 4;
                Ok(None)
            }
        }
    }

    /// A contact by a verb that does not check first, so that Python raises an exception.
    fn unchecked(&mut self) -> Result<Arc<Supervisord>, Ended> {
        match self.connect() {
            Ok(sup) => self.admitted(&sup).map(|()| sup),
            Err(Access::Missing) => Err(self.raised("ENOENT", "[Errno 2] No such file or directory")),
            Err(_) => Err(self.raised("ECONNREFUSED", "[Errno 111] Connection refused")),
        }
    }

    fn admitted(&mut self, sup: &Supervisord) -> Result<(), Ended> {
        if self.url.starts_with("unix:") && !self.context.may_connect() {
            return Err(self.raised("EACCES", "[Errno 13] Permission denied"));
        }
        if let Some(auth) = &self.context.node.shared.spec.rpc_auth
            && self.auth.as_ref() != Some(auth)
        {
            self.line("Server requires authentication");
            return Err(if self.is_4() { 1 } else { 2 });
        }
        if sup.mood() < 1 {
            return Err(self.fault(&RpcFault::bare(code::SHUTDOWN_STATE)));
        }
        Ok(())
    }

    async fn verb(&mut self, verb: &str, names: &[String]) -> Result<(), Ended> {
        match verb {
            "status" => self.status(names),
            "start" => self.act(Verb::Start, names).await,
            "stop" => self.act(Verb::Stop, names).await,
            "restart" => {
                if self.upcheck()?.is_none() {
                    return Ok(());
                }
                if names.is_empty() {
                    self.line("Error: restart requires a process name");
                    self.status = 1;
                    return Ok(());
                }
                self.act(Verb::Stop, names).await?;
                self.act(Verb::Start, names).await
            }
            "pid" => self.pid(names),
            "reread" => self.reread(),
            "update" => self.update(names).await,
            "add" => self.add(names),
            "remove" => self.remove(names),
            "tail" => self.tail(names),
            "shutdown" | "reload" => self.end(verb),
            "version" => {
                if self.upcheck()?.is_some() {
                    self.line(self.version.text());
                }
                Ok(())
            }
            "maintail" => self.maintail(names),
            "avail" | "clear" | "signal" | "fg" | "open" => {
                self.line("Error: not simulated by the lab");
                self.status = 1;
                Ok(())
            }
            _ => {
                let line = [&[verb.to_owned()], names].concat().join(" ");
                self.line(&format!("*** Unknown syntax: {line}"));
                self.status = 1;
                Ok(())
            }
        }
    }

    fn status(&mut self, names: &[String]) -> Result<(), Ended> {
        let Some(sup) = self.upcheck()? else {
            self.status = 4;
            return Ok(());
        };
        let all = sup.look(|inner| {
            inner
                .all()
                .map(|p| {
                    let config = &p.config;
                    let key = (config.group.clone(), config.name.clone());
                    (key, p.namespec(), p.state, rpc::description(&sup, p))
                })
                .collect::<Vec<_>>()
        });
        let everything = if self.old() {
            names.first().is_none_or(|n| n == "all")
        } else {
            names.is_empty() || names.iter().any(|n| n == "all")
        };
        let mut rows = Vec::new();
        if everything {
            rows = all;
        } else {
            for name in names {
                let (group, process) = split(name);
                let before = rows.len();
                // 3.0 queries one process by name, so that it does not know groups.
                let whole = process.is_none() && !self.old();
                rows.extend(
                    all.iter()
                        .filter(|(key, ..)| key.0 == group && (whole || process.is_some_and(|p| p == key.1)))
                        .cloned(),
                );
                if rows.len() > before {
                    continue;
                }
                if self.old() {
                    self.line(&format!("No such process {name}"));
                } else if process.is_none() {
                    self.line(&format!("{group}: ERROR (no such group)"));
                } else {
                    self.line(&format!("{name}: ERROR (no such process)"));
                }
                self.status = 4;
            }
        }
        let width = rows.iter().map(|r| r.1.len()).max().unwrap_or(0).max(30) + 3;
        for (_, name, state, description) in rows {
            let state_name = state.name();
            if self.old() {
                self.line(&format!("{name:<32} {state_name:<10} {description}"));
            } else {
                self.line(&format!("{name:<width$}{state_name:<10}{description}"));
            }
            if state.is_stopped() {
                self.status = 3;
            }
        }
        Ok(())
    }

    /// The name in a line about one process. 3.0 prints group members without their group.
    fn label(&self, item: &Item) -> String {
        if self.old() || item.group == item.name { item.name.clone() } else { format!("{}:{}", item.group, item.name) }
    }

    fn result(&mut self, verb: Verb, label: &str, status: i32, text: &str) {
        let why = match status {
            code::SUCCESS => {
                let done = if verb == Verb::Start { "started" } else { "stopped" };
                self.line(&format!("{label}: {done}"));
                return;
            }
            code::BAD_NAME => "no such process",
            code::NO_FILE => "no such file",
            code::NOT_EXECUTABLE => "file is not executable",
            code::ALREADY_STARTED => "already started",
            code::SPAWN_ERROR => "spawn error",
            code::ABNORMAL_TERMINATION => "abnormal termination",
            code::NOT_RUNNING => "not running",
            // `_stopresult` prints this one as it comes, without a name.
            code::FAILED => {
                self.line(text);
                self.status = 1;
                return;
            }
            _ => text,
        };
        self.line(&format!("{label}: ERROR ({why})"));
        let ignored = match verb {
            Verb::Start => code::ALREADY_STARTED,
            Verb::Stop => code::NOT_RUNNING,
        };
        if status != ignored {
            let dead = [code::SPAWN_ERROR, code::ABNORMAL_TERMINATION, code::NOT_RUNNING];
            self.status = if dead.contains(&status) { 7 } else { 1 };
        }
    }

    async fn act(&mut self, verb: Verb, names: &[String]) -> Result<(), Ended> {
        let Some(sup) = self.upcheck()? else {
            return Ok(());
        };
        if names.is_empty() {
            let (word, status) = if verb == Verb::Start { ("start", 2) } else { ("stop", 1) };
            self.line(&format!("Error: {word} requires a process name"));
            self.status = status;
            return Ok(());
        }
        self.context.acts();
        if names.iter().any(|n| n == "all") {
            return self.many(&sup, None, verb).await;
        }
        for name in names {
            let (group, process) = split(name);
            if process.is_none() {
                self.many(&sup, Some(group), verb).await?;
                continue;
            }
            let result = match sup.resolve(name) {
                Ok(Named::One(key)) => match sup.begin(&key, verb, name, true) {
                    Ok(Some(wait)) => sup.finish(wait).await,
                    Ok(None) => Ok(()),
                    Err(fault) => Err(fault),
                },
                Ok(Named::Group(_)) => Ok(()),
                Err(fault) => Err(fault),
            };
            let (status, text) = match result {
                Ok(()) => (code::SUCCESS, String::new()),
                Err(fault) if matches!(fault.code, code::GONE | code::SHUTDOWN_STATE) => {
                    return Err(self.fault(&fault));
                }
                Err(fault) => (fault.code, fault.text),
            };
            let label = match process {
                Some(process) if group == process => process.to_owned(),
                _ => name.clone(),
            };
            self.result(verb, &label, status, &text);
        }
        Ok(())
    }

    async fn many(&mut self, sup: &Supervisord, group: Option<&str>, verb: Verb) -> Result<(), Ended> {
        let (done, pending) = match sup.begin_many(group, verb, true) {
            Ok(begun) => begun,
            Err(fault) if self.old() => return Err(self.fault(&fault)),
            Err(_) => {
                self.line(&format!("{}: ERROR (no such group)", group.unwrap_or("all")));
                self.status = if verb == Verb::Start { 2 } else { 1 };
                return Ok(());
            }
        };
        for item in sup.finish_many(done, pending).await {
            if item.status == code::GONE {
                return Err(self.fault(&RpcFault::bare(code::GONE)));
            }
            let label = self.label(&item);
            self.result(verb, &label, item.status, &item.description);
        }
        Ok(())
    }

    fn pid(&mut self, names: &[String]) -> Result<(), Ended> {
        let Some(sup) = self.upcheck()? else {
            return Ok(());
        };
        if names.is_empty() {
            let pid = sup.look(|inner| inner.pid);
            self.line(&pid.to_string());
            return Ok(());
        }
        if names.iter().any(|n| n == "all") {
            for pid in sup.look(|inner| inner.all().map(|p| p.pid).collect::<Vec<_>>()) {
                self.line(&pid.to_string());
            }
            return Ok(());
        }
        for name in names {
            let pid = match sup.resolve(name) {
                Ok(Named::One(key)) => sup.look(|inner| inner.process(&key).map(|p| p.pid)),
                _ => None,
            };
            match pid {
                Some(pid) => {
                    self.line(&pid.to_string());
                    if pid == 0 {
                        self.status = 7;
                    }
                }
                None => {
                    self.line(&format!("No such process {name}"));
                    self.status = 1;
                }
            }
        }
        Ok(())
    }
}
