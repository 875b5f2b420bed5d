//! Contrail's roles, supervisords and services, as data.
//!
//! It covers releases 1.04 to 3.2 of (Open)Contrail, in which supervisord runs the services. Where releases differ, the
//! catalogue has the names of all of them: it lists the services that *may* be on a node; the list of the node's own
//! supervisords is authoritative. It uses only [`super::model`]. Invariants: roles, instances and programs are unique
//! within their parent, and every instance has an address. Start reading at [`BUILT_IN`]. To add a role: an entry there,
//! and a row in docs/inventory.md.
//!
//! Sources, by repository under `github.com/Juniper` and branch:
//!
//! - instances, configuration files and addresses: `contrail-controller` R3.2
//!   `src/analytics/supervisord_analytics.conf`, `src/config/api-server/supervisord_config.conf`,
//!   `src/control-node/supervisord_control.conf`, `src/vnsw/agent/supervisord_vrouter.conf`; `contrail-packaging` R1.05
//!   to R3.2 `common/control_files/supervisord_*.conf`;
//! - programs: the `*.ini` files beside those, and `contrail-controller` R3.2 `src/nodemgr/*_nodemgr/*.ini`;
//! - introspect ports: `contrail-controller` R1.10, R2.20, R3.2 `src/sandesh/common/vns.sandesh`;
//! - packages: `contrail-packages` R3.2 `rpm/contrail/contrail.spec`, `debian/contrail/debian/control`; those that
//!   contrail-status queries (`contrail-controller` R1.10 to R3.2 `src/config/utils/contrail-status.py`) come first;
//! - restarts of a whole instance: `contrail-controller` R2.0 to R3.2 `src/config/api-server/contrail-config.rules`,
//!   `contrail-packaging` R1.10 `common/control_files/contrail-config.rules`.

use std::collections::BTreeMap;

use super::model::{ControlAddress, Role, Supervisor, UnavailableCap};

/// Services that the manuals assign to more roles than the packages do.
///
/// The manual page "service (Managing Services)" of Release 1.0 lists contrail-collector on nodes of these roles; its
/// program file is only in the analytics instance (`contrail-controller` R3.2 `src/analytics`). Those roles often share
/// a node.
const WIDER: [(&str, &[&str]); 1] = [("contrail-collector", &["analytics", "config", "web-ui", "database"])];

struct BuiltInRole {
    name: &'static str,
    supervisors: &'static [BuiltInSupervisor],
    init_services: &'static [&'static str],
    max_unavailable: Option<UnavailableCap>,
    introspect: &'static [(&'static str, u16)],
    packages: &'static [&'static str],
}

struct BuiltInSupervisor {
    name: &'static str,
    /// Unix sockets, those of the newest release first.
    sockets: &'static [&'static str],
    /// TCP port on localhost, in Release 1.0x.
    port: Option<u16>,
    config_file: &'static str,
    services: &'static [&'static str],
    cascades: &'static [&'static str],
    optional: bool,
}

/// The catalogue.
///
/// Addresses: Release 1.0x listens at localhost ports 9002 to 9008; 1.10 to 2.2x and 3.0.2 at sockets in `/tmp`; 3.0.3,
/// 3.1 and 3.2 in `/var/run`. A node that was upgraded by hand keeps its old ones (Launchpad bug 1663370), so all are
/// candidates, and the first that answers is used. None of them has a user name.
///
/// Introspect ports: only of services that publish a NodeStatus. contrail-dns has a port (8092) but no NodeStatus.
const BUILT_IN: &[BuiltInRole] = &[
    BuiltInRole {
        name: "database",
        supervisors: &[BuiltInSupervisor {
            // In 1.0x and 1.10 the init service is `supervisord-contrail-database`, at the same addresses. It is not a
            // second instance, which would be found twice: the inventory of such a cluster has `database: {supervisor:
            // supervisord-contrail-database}`.
            name: "supervisor-database",
            sockets: &["/var/run/supervisord_database.sock", "/tmp/supervisord_database.sock"],
            port: Some(9007),
            config_file: "/etc/contrail/supervisord_database.conf",
            services: &["contrail-database", "contrail-database-nodemgr", "kafka"],
            cascades: &[],
            optional: false,
        }],
        // Cassandra: a supervisord program up to 2.20, an init service from 3.0 on (`contrail-packaging` R3.2
        // `common/control_files/contrail-database.initd`).
        init_services: &["contrail-database"],
        max_unavailable: Some(UnavailableCap::Nodes(1)),
        introspect: &[("contrail-database-nodemgr", 8103)],
        packages: &["contrail-openstack-database", "contrail-database", "contrail-database-common"],
    },
    BuiltInRole {
        name: "config",
        supervisors: &[
            BuiltInSupervisor {
                name: "supervisor-config",
                sockets: &["/var/run/supervisord_config.sock", "/tmp/supervisord_config.sock"],
                port: Some(9004),
                config_file: "/etc/contrail/supervisord_config.conf",
                services: &[
                    "contrail-api",
                    "contrail-config-nodemgr",
                    "contrail-device-manager",
                    "contrail-discovery",
                    "contrail-schema",
                    "contrail-svc-monitor",
                    "ifmap",
                    "redis-config",
                ],
                cascades: &["contrail-api", "ifmap"],
                optional: false,
            },
            BuiltInSupervisor {
                // Since 1.10; from 2016 on not on EL7, where rabbitmq is an init service.
                name: "supervisor-support-service",
                sockets: &["/var/run/supervisord_support_service.sock", "/tmp/supervisord_support_service.sock"],
                port: None,
                config_file: "/etc/contrail/supervisord_support_service.conf",
                services: &["rabbitmq-server"],
                cascades: &[],
                optional: true,
            },
        ],
        init_services: &[],
        max_unavailable: Some(UnavailableCap::Nodes(1)),
        introspect: &[
            ("contrail-api", 8084),
            ("contrail-config-nodemgr", 8100),
            ("contrail-device-manager", 8096),
            ("contrail-discovery", 5997),
            ("contrail-schema", 8087),
            ("contrail-svc-monitor", 8088),
        ],
        packages: &["contrail-config", "contrail-openstack-config"],
    },
    BuiltInRole {
        name: "analytics",
        supervisors: &[BuiltInSupervisor {
            name: "supervisor-analytics",
            sockets: &["/var/run/supervisord_analytics.sock", "/tmp/supervisord_analytics.sock"],
            port: Some(9002),
            config_file: "/etc/contrail/supervisord_analytics.conf",
            services: &[
                "contrail-alarm-gen",
                "contrail-analytics-api",
                "contrail-analytics-nodemgr",
                "contrail-broadview",
                "contrail-collector",
                "contrail-query-engine",
                "contrail-snmp-collector",
                "contrail-topology",
                // Release 1.0x: later analytics-api and query-engine, and two Redis servers.
                "contrail-opserver",
                "contrail-qe",
                "redis-query",
                "redis-uve",
            ],
            cascades: &[],
            optional: false,
        }],
        init_services: &[],
        max_unavailable: None,
        introspect: &[
            ("contrail-alarm-gen", 5995),
            ("contrail-analytics-api", 8090),
            ("contrail-analytics-nodemgr", 8104),
            ("contrail-collector", 8089),
            ("contrail-query-engine", 8091),
            ("contrail-snmp-collector", 5920),
            ("contrail-topology", 5921),
        ],
        packages: &["contrail-analytics", "contrail-openstack-analytics"],
    },
    BuiltInRole {
        name: "control",
        supervisors: &[
            BuiltInSupervisor {
                name: "supervisor-control",
                sockets: &["/var/run/supervisord_control.sock", "/tmp/supervisord_control.sock"],
                port: Some(9003),
                config_file: "/etc/contrail/supervisord_control.conf",
                services: &["contrail-control", "contrail-control-nodemgr", "contrail-dns", "contrail-named"],
                cascades: &[],
                optional: false,
            },
            BuiltInSupervisor {
                // 1.0x, 1.10 and 1.30 on RPM distributions; later its programs belong to supervisor-control.
                name: "supervisor-dns",
                sockets: &["/tmp/supervisord_dns.sock"],
                port: Some(9006),
                config_file: "/etc/contrail/supervisord_dns.conf",
                services: &["contrail-dns", "contrail-named"],
                cascades: &[],
                optional: true,
            },
        ],
        init_services: &[],
        max_unavailable: None,
        introspect: &[("contrail-control", 8083), ("contrail-control-nodemgr", 8101)],
        packages: &["contrail-control", "contrail-openstack-control"],
    },
    BuiltInRole {
        name: "web-ui",
        supervisors: &[BuiltInSupervisor {
            name: "supervisor-webui",
            sockets: &[
                "/var/run/supervisord_webui.sock",
                "/tmp/supervisord_webui.sock",
                // The server's socket in some packages before 2.20.
                "/tmp/supervisord_ui.sock",
            ],
            port: Some(9008),
            config_file: "/etc/contrail/supervisord_webui.conf",
            services: &["contrail-webui", "contrail-webui-middleware", "redis-webui"],
            cascades: &[],
            optional: false,
        }],
        init_services: &[],
        max_unavailable: None,
        introspect: &[],
        packages: &["contrail-web-controller", "contrail-web-core", "contrail-openstack-webui"],
    },
    BuiltInRole {
        name: "compute",
        supervisors: &[BuiltInSupervisor {
            name: "supervisor-vrouter",
            sockets: &["/var/run/supervisord_vrouter.sock", "/tmp/supervisord_vrouter.sock"],
            port: Some(9005),
            config_file: "/etc/contrail/supervisord_vrouter.conf",
            // In addition, each ToR agent has a `contrail-tor-agent-N`, see `TOR_AGENT`. `contrail-vrouter` is the
            // agent's name in Release 1.0x.
            services: &[
                "contrail-vrouter-agent",
                "contrail-vrouter-dpdk",
                "contrail-vrouter-nodemgr",
                "contrail-vrouter",
            ],
            cascades: &[],
            optional: false,
        }],
        init_services: &[],
        max_unavailable: None,
        introspect: &[("contrail-vrouter-agent", 8085), ("contrail-vrouter-nodemgr", 8102)],
        packages: &["contrail-vrouter-agent", "contrail-vrouter", "contrail-openstack-vrouter"],
    },
];

/// Prefix of programs that are numbered at provisioning (`contrail-provisioning` R3.2
/// `contrail_provisioning/compute/toragent/templates/tor_agent_ini.py`).
const TOR_AGENT: &str = "contrail-tor-agent-";

/// The built-in roles in the order of their steps, which is that of the catalogue.
///
/// It is the order of Contrail's own upgrade task: `contrail-fabric-utils` R2.20, R3.2 `fabfile/tasks/upgrade.py`.
pub const ROLE_ORDER: [&str; BUILT_IN.len()] = {
    let mut names = [""; BUILT_IN.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = BUILT_IN[index].name;
        index += 1;
    }
    names
};

/// The built-in role with this canonical name.
#[must_use]
pub fn built_in_role(name: &str) -> Option<Role> {
    BUILT_IN.iter().find(|role| role.name == name).map(BuiltInRole::to_role)
}

/// Every built-in role by its name.
#[must_use]
pub fn built_in_roles() -> BTreeMap<String, Role> {
    BUILT_IN.iter().map(|role| (role.name.to_owned(), role.to_role())).collect()
}

/// Packages whose version identifies a role's release, best first: those of the built-in role with its name, else of
/// the built-in role with its instances; none for other roles.
#[must_use]
pub fn packages_of(role: &Role) -> &'static [&'static str] {
    let has = |name: &str| role.supervisors.iter().any(|own| own.name == name);
    let named = BUILT_IN.iter().find(|built_in| built_in.name == role.name);
    let akin = || BUILT_IN.iter().find(|built_in| built_in.supervisors.iter().any(|own| has(own.name)));
    named.or_else(akin).map_or(&[], |built_in| built_in.packages)
}

/// The default introspect port of a service.
#[must_use]
pub fn introspect_port(service: &str) -> Option<u16> {
    let ports = BUILT_IN.iter().flat_map(|role| role.introspect);
    ports.into_iter().find(|(name, _)| *name == service).map(|(_, port)| *port)
}

/// The built-in roles of a service, in the order of [`ROLE_ORDER`]; none for an unknown service.
///
/// `service` may be a program (`contrail-api`), a process (`contrail-api:0`), an instance or an init service. The list
/// is wide: it has every role to which Contrail's packages or its manuals assign the service.
#[must_use]
pub fn roles_of_service(service: &str) -> Vec<&'static str> {
    let group = service.split(':').next().unwrap_or(service);
    let wider = WIDER.iter().find(|(name, _)| *name == group).map_or(&[] as &[&str], |(_, roles)| roles);
    (BUILT_IN.iter())
        .filter(|role| wider.contains(&role.name) || role.has_service(service, group))
        .map(|role| role.name)
        .collect()
}

impl BuiltInRole {
    fn has_service(&self, service: &str, group: &str) -> bool {
        let is_tor_agent = || {
            let number = group.strip_prefix(TOR_AGENT).unwrap_or_default();
            // Provisioning numbers the ToR agents; any other suffix is another program.
            self.name == "compute" && !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
        };
        // Init services have no groups, so the whole name counts.
        self.init_services.contains(&service)
            || self.supervisors.iter().any(|own| own.name == service || own.services.contains(&group))
            || is_tor_agent()
    }

    fn to_role(&self) -> Role {
        Role {
            name: self.name.to_owned(),
            supervisors: self.supervisors.iter().map(BuiltInSupervisor::to_supervisor).collect(),
            init_services: owned(self.init_services),
            max_unavailable: self.max_unavailable,
            introspect: self.introspect.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect(),
            oneshot: Vec::new(),
        }
    }
}

impl BuiltInSupervisor {
    fn to_supervisor(&self) -> Supervisor {
        let sockets = self.sockets.iter().map(|path| ControlAddress::Unix((*path).to_owned()));
        // ctl opens the port from the node, so `localhost` is the node.
        let port = self.port.map(|port| ControlAddress::Http { host: "localhost".to_owned(), port });
        Supervisor {
            name: self.name.to_owned(),
            addresses: sockets.chain(port).collect(),
            services: owned(self.services),
            cascades: owned(self.cascades),
            optional: self.optional,
            config_file: Some(self.config_file.to_owned()),
            username: None,
            password_file: None,
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_role_is_documented() {
        let page = include_str!("../../../docs/inventory.md");
        for role in ROLE_ORDER {
            assert!(page.contains(&format!("| `{role}` |")), "docs/inventory.md has no row for {role}");
        }
    }

    #[test]
    fn the_roles_are_those_of_the_order() {
        let roles: Vec<&str> = BUILT_IN.iter().map(|role| role.name).collect();
        assert_eq!(roles, ROLE_ORDER);
        assert_eq!(built_in_roles().len(), ROLE_ORDER.len());
    }

    #[test]
    fn names_are_unique_and_every_instance_has_an_address() {
        let mut instances = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for role in built_in_roles().values() {
            for supervisor in &role.supervisors {
                assert!(instances.insert(supervisor.name.clone()), "{}", supervisor.name);
                assert!(!supervisor.addresses.is_empty(), "{}", supervisor.name);
                for address in &supervisor.addresses {
                    assert!(addresses.insert(address.clone()), "{address} belongs to two instances");
                }
                let services: BTreeSet<&String> = supervisor.services.iter().collect();
                assert_eq!(services.len(), supervisor.services.len(), "{}", supervisor.name);
                for name in &supervisor.cascades {
                    assert!(supervisor.services.contains(name), "{name}");
                }
            }
            for service in role.introspect.keys() {
                assert!(role.has_service(service), "{service}");
            }
            let has_needed = role.supervisors.iter().any(|supervisor| !supervisor.optional);
            assert!(has_needed && !role.supervisors[0].optional, "the main instance comes first");
        }
    }

    #[test]
    fn addresses_are_tried_from_the_newest_release_to_the_oldest() {
        for (role, expected) in [
            (
                "database",
                vec![
                    "unix:///var/run/supervisord_database.sock",
                    "unix:///tmp/supervisord_database.sock",
                    "http://localhost:9007",
                ],
            ),
            (
                "config",
                vec![
                    "unix:///var/run/supervisord_config.sock",
                    "unix:///tmp/supervisord_config.sock",
                    "http://localhost:9004",
                ],
            ),
            (
                "analytics",
                vec![
                    "unix:///var/run/supervisord_analytics.sock",
                    "unix:///tmp/supervisord_analytics.sock",
                    "http://localhost:9002",
                ],
            ),
            (
                "control",
                vec![
                    "unix:///var/run/supervisord_control.sock",
                    "unix:///tmp/supervisord_control.sock",
                    "http://localhost:9003",
                ],
            ),
            (
                "web-ui",
                vec![
                    "unix:///var/run/supervisord_webui.sock",
                    "unix:///tmp/supervisord_webui.sock",
                    "unix:///tmp/supervisord_ui.sock",
                    "http://localhost:9008",
                ],
            ),
            (
                "compute",
                vec![
                    "unix:///var/run/supervisord_vrouter.sock",
                    "unix:///tmp/supervisord_vrouter.sock",
                    "http://localhost:9005",
                ],
            ),
        ] {
            let role = built_in_role(role).expect(role);
            let addresses: Vec<String> = role.supervisors[0].addresses.iter().map(ToString::to_string).collect();
            assert_eq!(addresses, expected, "{}", role.name);
        }
    }

    #[test]
    fn services_know_their_roles() {
        for (service, expected) in [
            ("contrail-collector", vec!["database", "config", "analytics", "web-ui"]),
            ("contrail-collector:0", vec!["database", "config", "analytics", "web-ui"]),
            ("contrail-qe", vec!["analytics"]),
            ("contrail-api", vec!["config"]),
            ("contrail-api:3", vec!["config"]),
            ("contrail-api:*", vec!["config"]),
            ("supervisor-analytics", vec!["analytics"]),
            ("supervisor-support-service", vec!["config"]),
            ("rabbitmq-server", vec!["config"]),
            ("contrail-dns", vec!["control"]),
            ("supervisor-dns", vec!["control"]),
            ("contrail-database", vec!["database"]),
            ("kafka", vec!["database"]),
            ("contrail-webui", vec!["web-ui"]),
            ("contrail-vrouter-agent", vec!["compute"]),
            ("contrail-tor-agent-12", vec!["compute"]),
            ("contrail-tor-agent-", vec![]),
            ("invoicer", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(roles_of_service(service), expected, "{service}");
        }
    }

    #[test]
    fn caps_cascades_and_init_services() {
        let roles = built_in_roles();
        let capped: Vec<&str> = roles
            .values()
            .filter(|role| role.max_unavailable == Some(UnavailableCap::Nodes(1)))
            .map(|role| role.name.as_str())
            .collect();
        assert_eq!(capped, ["config", "database"]);
        let with_init: Vec<&str> =
            roles.values().filter(|role| !role.init_services.is_empty()).map(|role| role.name.as_str()).collect();
        assert_eq!(with_init, ["database"]);
        assert_eq!(roles["config"].supervisors[0].cascades, ["contrail-api", "ifmap"]);
        assert_eq!(roles["config"].introspect["contrail-api"], 8084);
        assert_eq!(roles["analytics"].introspect["contrail-collector"], 8089);
        assert_eq!(roles["control"].introspect.get("contrail-dns"), None);
    }
}
