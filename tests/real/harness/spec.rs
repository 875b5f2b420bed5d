//! The services of a node: Contrail's supervisords with their real paths, and programs that work or misbehave.
//!
//! Pure: turns a [`NodeSpec`] into the files of the node. The paths are those of Contrail 3.1 and 3.2 unless [`Listen`]
//! says otherwise.

use std::fmt::Write as _;

/// The address of a supervisord. Contrail changed it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// `/var/run/supervisord_X.sock`, Contrail 3.0.3 to 3.2.
    VarRun,
    /// `/tmp/supervisord_X.sock`, Contrail 1.10 to 3.0.2.
    Tmp,
    /// A port on localhost, Contrail 1.0x.
    Tcp,
}

/// One program of a supervisord.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    command: String,
    workers: Option<u32>,
    settings: Vec<(&'static str, String)>,
    listener: bool,
    /// The port on which it listens after its start.
    pub(crate) port: Option<u16>,
    /// Whether it leaves STARTING by itself.
    pub(crate) settles: bool,
}

impl Program {
    /// A program with this command.
    pub(crate) fn running(name: &str, command: &str) -> Self {
        let settings = vec![("startsecs", "1".to_owned())];
        let (name, command) = (name.to_owned(), command.to_owned());
        Self { name, command, workers: None, settings, listener: false, port: None, settles: true }
    }

    /// Runs until it gets a stop signal, and stops at once.
    pub(crate) fn steady(name: &str) -> Self {
        Self::running(name, "/bin/sleep 1000000")
    }

    /// Ignores TERM and has a stop timeout of ten minutes: a stop that hangs.
    pub(crate) fn deaf(name: &str) -> Self {
        Self::running(name, r#"/bin/sh -c "trap '' TERM; while :; do sleep 1; done""#).set("stopwaitsecs", "600")
    }

    /// Needs `seconds` to stop, so that a test can act while it is STOPPING.
    pub(crate) fn slow_to_stop(name: &str, seconds: u32) -> Self {
        let command = format!(r#"/bin/sh -c "trap 'kill $!; sleep {seconds}; exit 0' TERM; sleep infinity & wait""#);
        Self::running(name, &command).set("stopwaitsecs", "600")
    }

    /// Exits as soon as it starts, so it is in BACKOFF and, after `retries` attempts, FATAL.
    pub(crate) fn dies_at_once(name: &str, retries: u32) -> Self {
        Self::running(name, "/bin/false").set("startretries", &retries.to_string())
    }

    /// Stays in STARTING for days.
    pub(crate) fn starting(name: &str) -> Self {
        Self { settles: false, ..Self::steady(name).set("startsecs", "1000000") }
    }

    /// Stays in BACKOFF: it cannot be spawned, so it is in no other state while supervisord retries.
    pub(crate) fn backing_off(name: &str) -> Self {
        Self::running(name, "/nonexistent/program").set("startretries", "1000000")
    }

    /// Is EXITED as soon as it has started, with this exit code.
    pub(crate) fn exits_at_once(name: &str, code: u8) -> Self {
        Self::running(name, &format!("/bin/sh -c 'exit {code}'")).set("startsecs", "0").set("autorestart", "false")
    }

    /// Exits every second and is started again each time. supervisord considers this normal, so its pid keeps changing.
    pub(crate) fn restarting(name: &str) -> Self {
        Self::running(name, "/bin/sleep 1").set("startsecs", "0").set("autorestart", "true")
    }

    /// A node manager that restarts the whole of `supervisor-config` when contrail-api stops.
    pub(crate) fn cascading_node_manager(name: &str) -> Self {
        let listener = Self::running(name, "/bin/bash /etc/contrail/nodemgr.sh");
        Self { listener: true, ..listener }
            .set("events", "PROCESS_STATE_EXITED,PROCESS_STATE_FATAL,PROCESS_STATE_STOPPED")
    }

    /// Reports NodeStatus on `port`, as set with [`Node::introspect`](super::Node::introspect); healthy by default.
    pub(crate) fn introspecting(name: &str, port: u16) -> Self {
        let server = "/usr/bin/env python3 -S -E /etc/contrail/introspect.py";
        let program = Self::running(name, &format!("{server} {port} {name} /run/introspect-{name}"));
        Self { port: Some(port), ..program }
    }

    /// `count` processes, `NAME:0` and up.
    pub(crate) fn workers(mut self, count: u32) -> Self {
        self.workers = Some(count);
        self
    }

    /// Any other setting of a `[program:x]` section; a later one replaces an earlier one.
    pub(crate) fn set(mut self, key: &'static str, value: &str) -> Self {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.to_owned()));
        self
    }

    /// The program's `.ini` file.
    pub(crate) fn ini(&self) -> String {
        let kind = if self.listener { "eventlistener" } else { "program" };
        let mut text = format!("[{kind}:{}]\ncommand={}\n", self.name, self.command);
        if let Some(count) = self.workers {
            // As in Contrail's own files: a process is named by its number alone.
            writeln!(text, "process_name=%(process_num)s\nnumprocs={count}").unwrap();
        }
        for (key, value) in &self.settings {
            writeln!(text, "{key}={value}").unwrap();
        }
        text
    }
}

/// One supervisord of a node.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// The inventory's role.
    pub(crate) role: &'static str,
    /// The name of the init service, `supervisor-analytics`.
    pub(crate) service: &'static str,
    /// The middle of its file names, `analytics`.
    short: &'static str,
    pidfile: &'static str,
    tcp_port: u16,
    pub(crate) listen: Listen,
    pub(crate) programs: Vec<Program>,
    cuts_ssh: bool,
    listed: bool,
    /// `username` and `password` in its configuration file.
    login: Option<(&'static str, &'static str)>,
}

/// The first action of an instance's script at a stop: it cuts the connection that it may run on.
const CUT_SSH: &str = r#"for dir in /proc/[0-9]*; do
        if [ "$(cat "$dir/comm" 2>/dev/null)" = sshd ]; then kill -9 "${dir#/proc/}" 2>/dev/null; fi
    done"#;

impl Instance {
    fn contrail(
        role: &'static str,
        service: &'static str,
        short: &'static str,
        pidfile: &'static str,
        tcp_port: u16,
    ) -> Self {
        let (listen, programs) = (Listen::VarRun, Vec::new());
        Self { role, service, short, pidfile, tcp_port, listen, programs, cuts_ssh: false, listed: true, login: None }
    }

    pub(crate) fn analytics() -> Self {
        Self::contrail("analytics", "supervisor-analytics", "analytics", "/var/run/supervisord-analytics.pid", 9002)
    }

    pub(crate) fn control() -> Self {
        Self::contrail("control", "supervisor-control", "control", "/var/run/supervisord_control.pid", 9003)
    }

    pub(crate) fn config() -> Self {
        Self::contrail("config", "supervisor-config", "config", "/var/run/supervisord-config.pid", 9004)
    }

    /// The second instance of a config node.
    pub(crate) fn support_service() -> Self {
        let pidfile = "/var/run/supervisord-support-service.pid";
        Self::contrail("config", "supervisor-support-service", "support_service", pidfile, 0)
    }

    /// An instance of a role that Contrail does not have.
    pub(crate) fn billing() -> Self {
        Self::contrail("billing", "supervisor-billing", "billing", "/var/run/supervisord_billing.pid", 9010)
    }

    pub(crate) fn vrouter() -> Self {
        Self::contrail("compute", "supervisor-vrouter", "vrouter", "/var/run/supervisord-vrouter.pid", 9005)
    }

    pub(crate) fn database() -> Self {
        Self::contrail(
            "database",
            "supervisor-database",
            "database",
            "/var/run/supervisord_contrail_database.pid",
            9007,
        )
    }

    pub(crate) fn webui() -> Self {
        Self::contrail("web-ui", "supervisor-webui", "webui", "/var/run/supervisord_webui.pid", 9008)
    }

    pub(crate) fn with(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    pub(crate) fn listening(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// The same supervisord under this role.
    pub(crate) fn serving(mut self, role: &'static str) -> Self {
        self.role = role;
        self
    }

    /// The instance is on the node, but the inventory does not list its role for the node.
    pub(crate) fn unlisted(mut self) -> Self {
        self.listed = false;
        self
    }

    /// It listens on TCP and requires this user and password, written as in its configuration file. The tests query it
    /// without.
    pub(crate) fn asking_for(mut self, user: &'static str, password: &'static str) -> Self {
        self.login = Some((user, password));
        self.listening(Listen::Tcp)
    }

    /// A stop of the instance ends every SSH connection of the node, as a restart of supervisor-vrouter can.
    pub(crate) fn cutting_ssh(mut self) -> Self {
        self.cuts_ssh = true;
        self
    }

    /// The argument for `supervisorctl -s`.
    pub(crate) fn address(&self) -> String {
        match self.listen {
            Listen::VarRun | Listen::Tmp => format!("unix://{}", self.socket()),
            Listen::Tcp => format!("http://localhost:{}", self.tcp_port),
        }
    }

    /// The path of its unix socket on the node.
    pub(crate) fn socket(&self) -> String {
        let dir = if self.listen == Listen::Tmp { "/tmp" } else { "/var/run" };
        format!("{dir}/supervisord_{}.sock", self.short)
    }

    fn conf_path(&self) -> String {
        format!("/etc/contrail/supervisord_{}.conf", self.short)
    }

    fn conf(&self) -> String {
        let (short, pidfile, address) = (self.short, self.pidfile, self.address());
        // The tests query a supervisord through its unix socket. One that listens on TCP has an additional private
        // socket, at a path that `ctl` does not know.
        let login = self.login.map(|(user, password)| format!("username={user}\npassword={password}\n"));
        let server = match self.listen {
            Listen::VarRun | Listen::Tmp => format!("[unix_http_server]\nfile={}\nchmod=0700\n", self.socket()),
            Listen::Tcp => format!(
                "[inet_http_server]\nport=127.0.0.1:{}\n{}\n[unix_http_server]\nfile={}\nchmod=0700\n",
                self.tcp_port,
                login.unwrap_or_default(),
                self.probe_socket()
            ),
        };
        format!(
            "{server}\n\
             [supervisord]\nlogfile=/var/log/contrail/supervisord-{short}.log\npidfile={pidfile}\nchildlogdir=/var/log/contrail\nuser=root\n\n\
             [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\n\
             [supervisorctl]\nserverurl={address}\n\n\
             [include]\nfiles=/etc/contrail/supervisord_{short}_files/*.ini\n"
        )
    }

    /// The socket that the tests query, with its path inside the node.
    pub(crate) fn probe_socket(&self) -> String {
        match self.listen {
            // Not through the /var/run link: it is absolute, and would lead out of the node if followed from outside.
            Listen::VarRun => format!("/run/supervisord_{}.sock", self.short),
            Listen::Tmp => self.socket(),
            Listen::Tcp => format!("/run/probe-{}.sock", self.short),
        }
    }

    /// The file with a program's section.
    pub(crate) fn ini_path(&self, program: &str) -> String {
        format!("/etc/contrail/supervisord_{}_files/{program}.ini", self.short)
    }
}

/// One real node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeSpec {
    pub(crate) instances: Vec<Instance>,
    init_services: Vec<String>,
    lacking: Vec<&'static str>,
    pub(crate) inventory: Vec<String>,
    pub(crate) sshd: Vec<String>,
    host_keys: Vec<&'static str>,
    sudoers: String,
}

impl NodeSpec {
    pub(crate) fn new(instance: Instance) -> Self {
        Self::default().and(instance)
    }

    /// One more supervisord.
    pub(crate) fn and(mut self, instance: Instance) -> Self {
        self.instances.push(instance);
        self
    }

    /// A service that init runs, outside supervisord.
    pub(crate) fn init_service(mut self, name: &str) -> Self {
        self.init_services.push(name.to_owned());
        self
    }

    /// A role that the inventory lists for the node, but that the node does not have.
    pub(crate) fn lacking(mut self, role: &'static str) -> Self {
        self.lacking.push(role);
        self
    }

    /// Another setting of the node in the inventory, `key: value`.
    pub(crate) fn inventory(mut self, setting: &str) -> Self {
        self.inventory.push(setting.to_owned());
        self
    }

    /// Another line of the node's sshd_config. The first value of a keyword counts, and these lines come first.
    pub(crate) fn sshd(mut self, line: &str) -> Self {
        self.sshd.push(line.to_owned());
        self
    }

    /// The types of its host keys as in `ssh-keygen -t`; one ed25519 key by default.
    pub(crate) fn with_host_keys(mut self, kinds: &[&'static str]) -> Self {
        self.host_keys = kinds.to_vec();
        self
    }

    pub(crate) fn host_keys(&self) -> Vec<&'static str> {
        if self.host_keys.is_empty() { vec!["ed25519"] } else { self.host_keys.clone() }
    }

    /// Another line of the node's sudoers.
    pub(crate) fn sudoers(mut self, line: &str) -> Self {
        self.sudoers = format!("{line}\n");
        self
    }

    /// The node's roles, for the inventory.
    pub(crate) fn roles(&self) -> Vec<&'static str> {
        let listed = self.instances.iter().filter(|instance| instance.listed).map(|instance| instance.role);
        let mut roles: Vec<&str> = listed.chain(self.lacking.iter().copied()).collect();
        roles.dedup();
        roles
    }

    /// Every file of the node that does not concern SSH: path below the stage, content, whether it is executable.
    pub(crate) fn files(&self) -> Vec<(String, String, bool)> {
        let mut files = vec![
            ("etc/contrail/nodemgr.sh".to_owned(), include_str!("../node/nodemgr.sh").to_owned(), true),
            ("etc/contrail/introspect.py".to_owned(), include_str!("../node/introspect.py").to_owned(), true),
            ("etc/sudoers.extra".to_owned(), self.sudoers.clone(), false),
        ];
        for instance in &self.instances {
            let address = instance.address();
            let script = include_str!("../node/instance.sh")
                .replace("@NAME@", instance.service)
                .replace("@CONF@", &instance.conf_path())
                .replace("@PIDFILE@", instance.pidfile)
                .replace("@ADDRESS@", &address)
                .replace("@WHEN_STOPPING@", if instance.cuts_ssh { CUT_SSH } else { ":" });
            files.push((format!("etc/init.d/{}", instance.service), script, true));
            files.push((
                format!("boot.d/{}", instance.service),
                format!("#!/bin/sh\nexec /etc/init.d/{} start\n", instance.service),
                true,
            ));
            files.push((instance.conf_path()[1..].to_owned(), instance.conf(), false));
            for program in &instance.programs {
                files.push((instance.ini_path(&program.name)[1..].to_owned(), program.ini(), false));
                let wrapper = if program.workers.is_some() {
                    include_str!("../node/group-wrapper.sh")
                } else {
                    include_str!("../node/wrapper.sh")
                };
                files.push((format!("etc/init.d/{}", program.name), wrapper.replace("@ADDRESS@", &address), true));
            }
        }
        for name in &self.init_services {
            files.push((format!("etc/init.d/{name}"), include_str!("../node/daemon.sh").to_owned(), true));
            files.push((format!("boot.d/{name}"), format!("#!/bin/sh\nexec /etc/init.d/{name} start\n"), true));
        }
        files
    }
}
