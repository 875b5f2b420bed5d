//! The parts of a Contrail node by role and release: instances, addresses, programs, init services. Data only; nothing
//! here depends on time or state.
//!
//! Invariants: a program appears once in an instance, and the instances of one node have different addresses.

use crate::spec::{NodeSpec, Release, Role};

/// The signal that stops a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopSignal {
    Term,
    Kill,
}

/// One process of a program, as in the configuration file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProgramConfig {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) priority: u32,
    pub(crate) startsecs: f64,
    pub(crate) startretries: u32,
    pub(crate) stopwaitsecs: f64,
    pub(crate) stop: StopSignal,
    /// Changes with each edit of the configuration, so that a reread sees the difference.
    pub(crate) edition: u32,
}

impl ProgramConfig {
    /// A program with supervisord's defaults and one process of the same name.
    pub(crate) fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            name: group.to_owned(),
            priority: 999,
            startsecs: 1.0,
            startretries: 3,
            stopwaitsecs: 10.0,
            stop: StopSignal::Term,
            edition: 0,
        }
    }

    /// The command that supervisord runs.
    pub(crate) fn command(&self) -> String {
        format!("/usr/bin/{}", self.group)
    }
}

/// One supervisord of a node.
#[derive(Debug, Clone)]
pub(crate) struct InstanceConfig {
    /// The init service's name, `supervisor-analytics`.
    pub(crate) service: String,
    /// The short name in files and sockets, `analytics`.
    pub(crate) short: String,
    pub(crate) address: Address,
    pub(crate) config: String,
    pub(crate) pidfile: String,
    pub(crate) programs: Vec<ProgramConfig>,
    /// Groups whose exit makes the node manager restart the whole instance.
    pub(crate) cascade: Vec<&'static str>,
}

/// The address of a supervisord on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(String),
    Tcp(u16),
}

impl Address {
    /// The address as `supervisorctl -s` takes it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{path}"),
            Self::Tcp(port) => format!("http://localhost:{port}"),
        }
    }
}

fn program(group: &str) -> ProgramConfig {
    use StopSignal::{Kill, Term};
    // Priority, startsecs, stop signal, startretries.
    let (priority, startsecs, stop, startretries) = match group {
        "contrail-snmp-collector" | "contrail-topology" => (340, 5.0, Kill, 3),
        "contrail-collector" => (420, 5.0, Kill, 3),
        "contrail-query-engine" | "contrail-qe" => (430, 5.0, Kill, 3),
        "contrail-analytics-api" | "contrail-opserver" | "contrail-alarm-gen" => (440, 5.0, Kill, 3),
        "ifmap" => (420, 1.0, Term, 3),
        "contrail-discovery" => (430, 1.0, Kill, 3),
        "contrail-api" => (440, 1.0, Term, 3),
        "contrail-schema" | "contrail-device-manager" => (450, 1.0, Term, 3),
        "contrail-svc-monitor" => (460, 1.0, Term, 3),
        "contrail-control" | "contrail-named" => (520, 5.0, Kill, 3),
        "contrail-dns" => (520, 10.0, Kill, 3),
        "contrail-vrouter-agent" | "contrail-vrouter" => (420, 5.0, Kill, 3),
        "contrail-webui" | "contrail-webui-middleware" => (420, 5.0, Kill, 10),
        "rabbitmq-server" => (410, 5.0, Term, 15),
        _ => (999, 1.0, Term, 3),
    };
    ProgramConfig { priority, startsecs, stop, startretries, ..ProgramConfig::new(group) }
}

/// The numbered processes of a group: `group:0` to `group:workers-1`.
fn numbered(group: &str, workers: u8) -> impl Iterator<Item = ProgramConfig> {
    (0..workers.clamp(1, 9)).map(move |n| ProgramConfig { name: n.to_string(), ..program(group) })
}

fn instance(release: Release, short: &str, programs: Vec<ProgramConfig>) -> InstanceConfig {
    let port = match short {
        "analytics" => 9002,
        "control" => 9003,
        "config" => 9004,
        "vrouter" => 9005,
        "dns" => 9006,
        "database" => 9007,
        _ => 9008,
    };
    let address = match release {
        Release::R1_05 => Address::Tcp(port),
        Release::R2_20 | Release::R3_0 => Address::Unix(format!("/tmp/supervisord_{short}.sock")),
        Release::R3_2 => Address::Unix(format!("/var/run/supervisord_{short}.sock")),
    };
    let old_database = release == Release::R1_05 && short == "database";
    // Pid files mix `-` and `_`, as in the packages.
    let pidfile = match short {
        "control" | "webui" | "dns" => format!("/var/run/supervisord_{short}.pid"),
        "database" => "/var/run/supervisord_contrail_database.pid".to_owned(),
        "support_service" => "/var/run/supervisord-support-service.pid".to_owned(),
        _ => format!("/var/run/supervisord-{short}.pid"),
    };
    let config = if old_database {
        "/etc/contrail/supervisord_contrail_database.conf".to_owned()
    } else {
        format!("/etc/contrail/supervisord_{short}.conf")
    };
    let cascade = match (short, release) {
        ("config", Release::R2_20 | Release::R3_0) => vec!["contrail-api", "ifmap"],
        ("config", Release::R3_2) => vec!["ifmap"],
        _ => Vec::new(),
    };
    InstanceConfig {
        service: if old_database {
            "supervisord-contrail-database".to_owned()
        } else {
            format!("supervisor-{}", short.replace('_', "-"))
        },
        short: short.to_owned(),
        address,
        config,
        pidfile,
        programs,
        cascade,
    }
}

/// The supervisords of a node.
pub(crate) fn instances(spec: &NodeSpec) -> Vec<InstanceConfig> {
    let release = spec.release;
    let old = release == Release::R1_05;
    let list = |names: &[&str]| names.iter().map(|n| program(n)).collect::<Vec<_>>();
    let mut all = Vec::new();
    for role in &spec.roles {
        match role {
            Role::Analytics => {
                let mut programs = if old {
                    list(&[
                        "contrail-collector",
                        "contrail-qe",
                        "contrail-opserver",
                        "contrail-analytics-nodemgr",
                        "redis-query",
                        "redis-uve",
                    ])
                } else {
                    list(&[
                        "contrail-collector",
                        "contrail-query-engine",
                        "contrail-analytics-api",
                        "contrail-analytics-nodemgr",
                        "contrail-snmp-collector",
                        "contrail-topology",
                    ])
                };
                if !old {
                    programs.push(program("contrail-alarm-gen"));
                }
                all.push(instance(release, "analytics", programs));
            }
            Role::Config => {
                let mut programs: Vec<_> = numbered("contrail-api", spec.api_workers).collect();
                if release == Release::R3_2 {
                    // Release 3.2 as provisioned also runs discovery as `:0`.
                    programs.extend(numbered("contrail-discovery", 1));
                } else if old {
                    programs.push(program("contrail-discovery"));
                } else {
                    programs.extend(numbered("contrail-discovery", 1));
                }
                programs.extend(list(&["contrail-schema", "contrail-svc-monitor", "contrail-config-nodemgr"]));
                if !old {
                    programs.extend(list(&["ifmap", "contrail-device-manager"]));
                }
                all.push(instance(release, "config", programs));
                if !old {
                    let support = list(&["rabbitmq-server"]);
                    all.push(instance(release, "support_service", support));
                }
            }
            Role::Control => {
                let mut programs = list(&["contrail-control", "contrail-control-nodemgr"]);
                let names = list(&["contrail-dns", "contrail-named"]);
                if old {
                    all.push(instance(release, "control", programs));
                    all.push(instance(release, "dns", names));
                } else {
                    programs.extend(names);
                    all.push(instance(release, "control", programs));
                }
            }
            Role::Compute => {
                let programs = list(&[
                    if old { "contrail-vrouter" } else { "contrail-vrouter-agent" },
                    "contrail-vrouter-nodemgr",
                ]);
                all.push(instance(release, "vrouter", programs));
            }
            Role::WebUi => {
                let mut programs = list(&["contrail-webui", "contrail-webui-middleware"]);
                if old {
                    programs.push(program("redis-webui"));
                }
                all.push(instance(release, "webui", programs));
            }
            Role::Database => {
                let programs = match release {
                    Release::R1_05 => list(&["contrail-database"]),
                    Release::R2_20 => list(&["contrail-database", "contrail-database-nodemgr", "kafka"]),
                    Release::R3_0 | Release::R3_2 => list(&["contrail-database-nodemgr", "kafka"]),
                };
                all.push(instance(release, "database", programs));
            }
        }
    }
    all
}

/// Services of the node that init runs without supervisord.
pub(crate) fn init_services(spec: &NodeSpec) -> Vec<&'static str> {
    let mut all = Vec::new();
    if spec.roles.contains(&Role::Database) && spec.release >= Release::R3_0 {
        all.push("contrail-database");
    }
    if spec.roles.contains(&Role::Config) || spec.roles.contains(&Role::Database) {
        all.push("zookeeper");
    }
    if spec.release > Release::R1_05 && (spec.roles.contains(&Role::Analytics) || spec.roles.contains(&Role::WebUi)) {
        all.push("redis-server");
    }
    all
}

/// Whether `/etc/init.d/NAME` exists for a program. Node managers have one since 2015.
pub(crate) fn has_wrapper(release: Release, program: &str) -> bool {
    release > Release::R1_05 || !program.ends_with("-nodemgr")
}

/// A program's introspect port, for programs that have one and report NodeStatus.
pub(crate) fn introspect(program: &str) -> Option<u16> {
    Some(match program {
        "contrail-control" => 8083,
        "contrail-api" => 8084,
        "contrail-vrouter-agent" | "contrail-vrouter" => 8085,
        "contrail-schema" => 8087,
        "contrail-svc-monitor" => 8088,
        "contrail-collector" => 8089,
        "contrail-analytics-api" | "contrail-opserver" => 8090,
        "contrail-query-engine" | "contrail-qe" => 8091,
        "contrail-dns" => 8092,
        "contrail-device-manager" => 8096,
        "contrail-snmp-collector" => 5920,
        "contrail-topology" => 5921,
        "contrail-alarm-gen" => 5995,
        "contrail-discovery" => 5997,
        "contrail-config-nodemgr" => 8100,
        "contrail-control-nodemgr" => 8101,
        "contrail-vrouter-nodemgr" => 8102,
        "contrail-database-nodemgr" => 8103,
        "contrail-analytics-nodemgr" => 8104,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(release: Release) -> Vec<InstanceConfig> {
        instances(&NodeSpec::new("n", release).roles(Role::ALL))
    }

    #[test]
    fn addresses_follow_the_release() {
        let url = |release, short: &str| node(release).into_iter().find(|i| i.short == short).map(|i| i.address.url());
        assert_eq!(url(Release::R1_05, "analytics").as_deref(), Some("http://localhost:9002"));
        assert_eq!(url(Release::R2_20, "config").as_deref(), Some("unix:///tmp/supervisord_config.sock"));
        assert_eq!(
            url(Release::R3_2, "support_service").as_deref(),
            Some("unix:///var/run/supervisord_support_service.sock")
        );
        assert_eq!(url(Release::R1_05, "support_service"), None);
    }

    #[test]
    fn cassandra_leaves_supervisord_with_3_0() {
        let has = |release| node(release).iter().flat_map(|i| &i.programs).any(|p| p.group == "contrail-database");
        assert!(has(Release::R1_05) && has(Release::R2_20));
        assert!(!has(Release::R3_0) && !has(Release::R3_2));
        let spec = NodeSpec::new("n", Release::R3_2).roles([Role::Database]);
        assert!(init_services(&spec).contains(&"contrail-database"));
    }
}
