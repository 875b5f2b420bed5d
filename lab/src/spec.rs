//! The description of a lab: the cluster, its nodes, their releases, privileges and faults. Data only.
//!
//! Start at [`ClusterSpec`]. Invariants: nothing here opens a socket or reads a file.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::fault::Fault;
use crate::introspect::Introspect;

/// A Contrail role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Collector, query engine, analytics API.
    Analytics,
    /// Config API, discovery, schema transformer; also the support services from 1.10 on.
    Config,
    /// Control, DNS, named.
    Control,
    /// The vRouter agent.
    Compute,
    /// The web user interface.
    WebUi,
    /// Cassandra and its companion services.
    Database,
}

impl Role {
    /// All roles, in the order in which a rolling action visits them.
    pub const ALL: [Self; 6] =
        [Self::Database, Self::Config, Self::Analytics, Self::Control, Self::WebUi, Self::Compute];

    /// The role's name in the inventory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Analytics => "analytics",
            Self::Config => "config",
            Self::Control => "control",
            Self::Compute => "compute",
            Self::WebUi => "web-ui",
            Self::Database => "database",
        }
    }
}

/// A Contrail release; it decides the control addresses, the programs and the restart cascades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 1.05: supervisord listens on TCP at localhost 9002 to 9008; programs have their old names.
    R1_05,
    /// 2.20: sockets in `/tmp`, Cassandra under supervisord.
    R2_20,
    /// 3.0 (3.0.2.x): sockets still in `/tmp`, Cassandra an init service.
    R3_0,
    /// 3.2: sockets in `/var/run`.
    R3_2,
}

/// The version of supervisor on a node; it decides texts, layouts and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SupervisorVersion {
    /// 3.0: the old layout; supervisorctl always exits with 0.
    V3_0,
    /// 3.3.1: the new layout; supervisorctl still always exits with 0.
    V3_3,
    /// 4.2.5: real exit codes.
    V4_2_5,
}

impl SupervisorVersion {
    /// The version as supervisord reports it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::V3_0 => "3.0",
            Self::V3_3 => "3.3.1",
            Self::V4_2_5 => "4.2.5",
        }
    }
}

/// The init system of a node; it decides what `service NAME VERB` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitFlavour {
    /// SysV scripts, as on CentOS 6.
    SysV,
    /// Upstart, as on Ubuntu 14.04.
    Upstart,
    /// SysV scripts under systemd, as on CentOS 7.
    Systemd,
}

/// The login user, and its privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserPolicy {
    /// Root logs in.
    Root,
    /// A user who may run anything through sudo without a password.
    SudoNoPassword,
    /// A user whose sudo asks for this password.
    SudoPassword(String),
    /// A user whose sudo wants a terminal (`requiretty`).
    RequireTty,
    /// A user who is not in the sudoers file.
    NoSudo,
    /// A user in the group that may open the sockets; no sudo.
    SocketGroup,
}

/// Speed of the simulation. The default is real time; [`Timing::fast`] is for demos and tests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Factor for supervisord's `startsecs`, back-off pauses and `stopwaitsecs`.
    pub scale: f64,
    /// Time from the stop signal until a process ends, for programs stopped with TERM.
    pub stop: Duration,
    /// Time from a program's exit until the node manager restarts the whole instance.
    pub cascade: Duration,
    /// Time from the end of an instance until its restart.
    pub gap: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            scale: 1.0,
            stop: Duration::from_millis(300),
            cascade: Duration::from_millis(200),
            gap: Duration::from_millis(500),
        }
    }
}

impl Timing {
    /// A tenth of real time: a start of five seconds takes half a second.
    #[must_use]
    pub fn fast() -> Self {
        Self {
            scale: 0.1,
            stop: Duration::from_millis(30),
            cascade: Duration::from_millis(200),
            gap: Duration::from_millis(100),
        }
    }
}

/// One simulated node. Fields may be set directly or with the methods of the same name.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// The node's name in the inventory.
    pub name: String,
    /// Its loopback address; chosen from 127.10.0.0/16 when `None`.
    pub address: Option<Ipv4Addr>,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its Contrail release.
    pub release: Release,
    /// Its supervisor's version.
    pub supervisor: SupervisorVersion,
    /// Its init system.
    pub init: InitFlavour,
    /// The login user; `root` for [`UserPolicy::Root`], else `admin`, unless set.
    pub user: Option<String>,
    /// The privileges of the login user.
    pub policy: UserPolicy,
    /// A password that is accepted in addition to the key (password and keyboard-interactive), if any.
    pub password: Option<String>,
    /// User and password that supervisord requires (HTTP basic authentication), if any.
    pub rpc_auth: Option<(String, String)>,
    /// Whether the node managers restart services by themselves, as the release defines it.
    pub cascades: bool,
    /// How many workers contrail-api runs (`contrail-api:0` and on); 1 to 9.
    pub api_workers: u8,
    /// Whether `service contrail-database status` reads `active (exited)` (systemd only).
    pub database_exited: bool,
    /// Whether a restart of supervisor-vrouter cuts every SSH connection of the node.
    pub vrouter_cuts_ssh: bool,
    /// Uptime of everything when the lab starts.
    pub uptime: Duration,
    /// Programs that report NodeStatus: name as in a [`Fault`], port, reply. For one program, the last entry counts.
    pub introspect: Vec<(String, u16, Introspect)>,
    /// Whether every other program that has an introspect port reports Functional on it (the default). If false,
    /// connects to these ports are refused.
    pub introspects: bool,
    /// Whether every limited command (`ctl-exec`) does nothing and exits with 0. For tests that install packages or use
    /// tools that the lab does not have.
    pub obliging: bool,
    /// Faults from the start.
    pub faults: Vec<Fault>,
}

impl NodeSpec {
    /// A healthy node of that release without roles, with root login and the release's usual init system and supervisor
    /// version.
    #[must_use]
    pub fn new(name: impl Into<String>, release: Release) -> Self {
        let (supervisor, init) = match release {
            Release::R1_05 => (SupervisorVersion::V3_0, InitFlavour::SysV),
            Release::R2_20 => (SupervisorVersion::V3_0, InitFlavour::Upstart),
            Release::R3_0 => (SupervisorVersion::V3_3, InitFlavour::Upstart),
            Release::R3_2 => (SupervisorVersion::V3_3, InitFlavour::Systemd),
        };
        Self {
            name: name.into(),
            address: None,
            roles: Vec::new(),
            release,
            supervisor,
            init,
            user: None,
            policy: UserPolicy::Root,
            password: None,
            rpc_auth: None,
            cascades: true,
            api_workers: 1,
            database_exited: false,
            vrouter_cuts_ssh: false,
            uptime: Duration::from_secs(3 * 86_400 + 7664),
            introspect: Vec::new(),
            introspects: true,
            obliging: false,
            faults: Vec::new(),
        }
    }

    /// Makes every limited command do nothing and exit with 0.
    #[must_use]
    pub fn obliging(mut self) -> Self {
        self.obliging = true;
        self
    }

    /// Sets the roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }

    /// Sets the privileges of the login user.
    #[must_use]
    pub fn policy(mut self, policy: UserPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the init system.
    #[must_use]
    pub fn init(mut self, init: InitFlavour) -> Self {
        self.init = init;
        self
    }

    /// Sets the version of supervisor.
    #[must_use]
    pub fn supervisor(mut self, version: SupervisorVersion) -> Self {
        self.supervisor = version;
        self
    }

    /// Makes a program report NodeStatus on that TCP port.
    #[must_use]
    pub fn introspect(mut self, program: impl Into<String>, port: u16, answer: Introspect) -> Self {
        self.introspect.push((program.into(), port, answer));
        self
    }

    /// Opens no introspect port except those set explicitly.
    #[must_use]
    pub fn mute(mut self) -> Self {
        self.introspects = false;
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The user who logs in.
    #[must_use]
    pub fn login(&self) -> &str {
        match (&self.user, &self.policy) {
            (Some(user), _) => user,
            (None, UserPolicy::Root) => "root",
            (None, _) => "admin",
        }
    }

    /// Whether the inventory must say `sudo: true`.
    #[must_use]
    pub fn needs_sudo(&self) -> bool {
        !matches!(self.policy, UserPolicy::Root | UserPolicy::SocketGroup)
    }
}

/// A simulated cluster.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// The nodes, in the order of the inventory.
    pub nodes: Vec<NodeSpec>,
    /// Speed of the simulation.
    pub timing: Timing,
    /// The SSH port of all nodes; `None` picks a free one.
    pub port: Option<u16>,
    /// How long a guard waits for a line before it runs its rescue; 20 s by default.
    pub guard_silence: Duration,
}

impl ClusterSpec {
    /// A cluster of these nodes, at the speed of [`Timing::fast`].
    #[must_use]
    pub fn new(nodes: Vec<NodeSpec>) -> Self {
        Self { nodes, timing: Timing::fast(), port: None, guard_silence: Duration::from_secs(20) }
    }

    /// `nodes` nodes of release 3.2 over all six roles. Twelve nodes are three analytics, two each of config, control,
    /// database and compute, and one web-ui. Additional nodes are compute nodes, except for a few more analytics nodes
    /// in large clusters. With fewer than six nodes, nodes share roles.
    #[must_use]
    pub fn demo(nodes: usize) -> Self {
        const SHARED: [Role; 6] =
            [Role::Analytics, Role::Config, Role::Control, Role::WebUi, Role::Database, Role::Compute];
        let nodes = nodes.max(1);
        if nodes < SHARED.len() {
            let list = (0..nodes).map(|i| {
                NodeSpec::new(format!("node{:02}", i + 1), Release::R3_2)
                    .roles(SHARED.into_iter().enumerate().filter(|(r, _)| r % nodes == i).map(|(_, r)| r))
            });
            return Self::new(list.collect());
        }
        // Counts of analytics, config, control, web-ui, database; the rest are compute nodes.
        let mut counts = [1, 1, 1, 1, 1];
        let mut rest = nodes - SHARED.len();
        for role in [0, 1, 4, 2, 0] {
            if rest > 0 {
                counts[role] += 1;
                rest -= 1;
            }
        }
        let large = nodes / 50;
        if large > counts[0] {
            rest = rest.saturating_sub(large - counts[0]);
            counts[0] = large;
        }
        let computes = rest + 1;
        let mut list = Vec::with_capacity(nodes);
        let names = [
            ("a6s", Role::Analytics),
            ("cfg", Role::Config),
            ("ctl", Role::Control),
            ("web", Role::WebUi),
            ("db", Role::Database),
        ];
        for ((name, role), count) in names.into_iter().zip(counts) {
            list.extend(numbered(name, count, Release::R3_2).map(|n| n.roles([role])));
        }
        list.extend(numbered("c", computes, Release::R3_2).map(|n| n.roles([Role::Compute])));
        Self::new(list)
    }

    /// `nodes` analytics nodes, `n01` and up, all of one release.
    #[must_use]
    pub fn uniform(nodes: usize, release: Release) -> Self {
        Self::new(numbered("n", nodes.max(1), release).map(|n| n.roles([Role::Analytics])).collect())
    }

    /// Sets the release of every node, with the init system and the supervisor that usually come with it.
    #[must_use]
    pub fn release(self, release: Release) -> Self {
        self.each(|node| {
            let usual = NodeSpec::new("", release);
            node.release = release;
            node.supervisor = usual.supervisor;
            node.init = usual.init;
        })
    }

    /// Sets the speed.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sets how long a guard waits for a line.
    #[must_use]
    pub fn guard_silence(mut self, silence: Duration) -> Self {
        self.guard_silence = silence;
        self
    }

    /// Injects a fault into the node of that name. An unknown name changes nothing.
    #[must_use]
    pub fn fault(mut self, node: &str, fault: Fault) -> Self {
        if let Some(node) = self.node_mut(node) {
            node.faults.push(fault);
        }
        self
    }

    /// The node of that name.
    pub fn node_mut(&mut self, name: &str) -> Option<&mut NodeSpec> {
        self.nodes.iter_mut().find(|n| n.name == name)
    }

    /// Changes every node.
    #[must_use]
    pub fn each(mut self, change: impl FnMut(&mut NodeSpec)) -> Self {
        self.nodes.iter_mut().for_each(change);
        self
    }
}

/// `prefix01` and up, with as many digits as the count needs, at least two.
fn numbered(prefix: &str, count: usize, release: Release) -> impl Iterator<Item = NodeSpec> {
    let width = count.to_string().len().max(2);
    (1..=count).map(move |i| NodeSpec::new(format!("{prefix}{i:0width$}"), release))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(spec: &ClusterSpec, role: Role) -> usize {
        spec.nodes.iter().filter(|n| n.roles.contains(&role)).count()
    }

    #[test]
    fn the_demo_has_every_role_at_any_size() {
        for size in [1, 2, 5, 6, 7, 11, 12, 13, 100, 1000] {
            let spec = ClusterSpec::demo(size);
            assert_eq!(spec.nodes.len(), size);
            for role in Role::ALL {
                assert!(count(&spec, role) > 0, "{size} nodes lack {role:?}");
            }
        }
        let spec = ClusterSpec::demo(12);
        let names: Vec<_> = spec.nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(
            names,
            ["a6s01", "a6s02", "a6s03", "cfg01", "cfg02", "ctl01", "ctl02", "web01", "db01", "db02", "c01", "c02"]
        );
    }
}
