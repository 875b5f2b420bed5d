//! Which of Contrail's instances a supervisord is, by its address and by its services.
//!
//! Pure; uses the catalogue of `inventory`. Invariants: an address alone never makes a supervisord that runs other
//! programs one of Contrail's, since its ports and its sockets in /tmp are anybody's. Start at [`Catalogue::recognise`].

use std::collections::BTreeSet;

use super::observation::{ObservedInstance, UnreadCause};
use ctl_inventory::{ControlAddress, ROLE_ORDER, Role, Supervisor, built_in_role};
use ctl_supervisor::instance_search::is_same_address;

/// The instances of Contrail's roles.
#[derive(Debug)]
pub(super) struct Catalogue {
    roles: Vec<Role>,
}

/// An instance of the catalogue, and its role.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownInstance<'c> {
    pub(super) role: &'c Role,
    pub(super) supervisor: &'c Supervisor,
}

impl PartialEq for KnownInstance<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.role.name, &self.supervisor.name) == (&other.role.name, &other.supervisor.name)
    }
}

impl Catalogue {
    /// In the order of the roles' steps.
    pub(super) fn built_in() -> Self {
        Self { roles: ROLE_ORDER.iter().filter_map(|name| built_in_role(name)).collect() }
    }

    /// Every instance.
    pub(super) fn instances(&self) -> impl Iterator<Item = KnownInstance<'_>> {
        self.roles
            .iter()
            .flat_map(|role| role.supervisors.iter().map(move |supervisor| KnownInstance { role, supervisor }))
    }

    /// The instance that listens at this address in some release.
    pub(super) fn at(&self, address: &ControlAddress) -> Option<KnownInstance<'_>> {
        self.instances().find(|known| known.has_address(address))
    }

    /// Every unix socket.
    pub(super) fn sockets(&self) -> BTreeSet<String> {
        let addresses = self.instances().flat_map(|known| &known.supervisor.addresses);
        let unix = addresses.filter_map(|address| match address {
            ControlAddress::Unix(path) => Some(path.clone()),
            ControlAddress::Http { .. } => None,
        });
        unix.collect()
    }

    /// Every configuration file.
    pub(super) fn config_files(&self) -> BTreeSet<String> {
        self.instances().filter_map(|known| known.supervisor.config_file.clone()).collect()
    }

    /// Which instance a supervisord is.
    pub(super) fn recognise(&self, observed: &ObservedInstance) -> Option<KnownInstance<'_>> {
        let at = observed.address.as_ref().and_then(|address| self.at(address));
        match &observed.services {
            // Its socket has the name, somebody listens there, and nothing more is to be had.
            Err(unread) => at.filter(|_| matches!(unread.cause, UnreadCause::Forbidden | UnreadCause::Silent)),
            Ok(services) => {
                let has_own = |known: &KnownInstance<'_>| services.is_empty() || known.overlap(services) > 0;
                at.filter(has_own).or_else(|| self.by_services(services))
            }
        }
    }

    /// The instance that runs most of these services, wherever it listens.
    fn by_services(&self, services: &BTreeSet<String>) -> Option<KnownInstance<'_>> {
        // Names such as kafka or rabbitmq-server are not Contrail's own.
        let is_contrail = |known: &KnownInstance<'_>| {
            services
                .iter()
                .any(|service| service.starts_with("contrail-") && known.supervisor.services.contains(service))
        };
        let known: Vec<_> =
            self.instances().filter(is_contrail).map(|known| (known.overlap(services), known)).collect();
        let most = known.iter().map(|(overlap, _)| *overlap).max()?;
        let mut best = known.iter().filter(|(overlap, _)| *overlap == most);
        let (_, first) = best.next()?;
        // contrail-dns alone may be that of two instances: none is better than the wrong one.
        (best.next().is_none() && most * 2 > services.len()).then_some(*first)
    }
}

impl KnownInstance<'_> {
    /// Whether it listens at this address in some release.
    pub(super) fn has_address(&self, address: &ControlAddress) -> bool {
        self.supervisor.addresses.iter().any(|own| is_same_address(own, address))
    }

    fn overlap(&self, services: &BTreeSet<String>) -> usize {
        // `has_service` of a role alone, so that a ToR agent counts too.
        let is_own = |service: &&String| {
            self.supervisor.services.contains(service)
                || (self.supervisor.services.iter().any(|own| own == "contrail-vrouter-agent")
                    && service.starts_with("contrail-tor-agent-"))
        };
        services.iter().filter(is_own).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, unread};

    #[test]
    fn instances_are_known_by_address_and_services() {
        let catalogue = Catalogue::built_in();
        for (address, services, wanted) in [
            // Each release has addresses of its own.
            ("/var/run/supervisord_analytics.sock", Ok(&["contrail-collector"][..]), Some("supervisor-analytics")),
            ("/run/supervisord_analytics.sock", Ok(&["contrail-collector"]), Some("supervisor-analytics")),
            ("/tmp/supervisord_config.sock", Ok(&["contrail-api", "ifmap"]), Some("supervisor-config")),
            ("localhost:9005", Ok(&["contrail-vrouter"]), Some("supervisor-vrouter")),
            ("/tmp/supervisord_support_service.sock", Ok(&["rabbitmq-server"]), Some("supervisor-support-service")),
            ("/tmp/supervisord_vrouter.sock", Ok(&["contrail-tor-agent-2"]), Some("supervisor-vrouter")),
            ("/var/run/supervisord_control.sock", Ok(&[]), Some("supervisor-control")),
            ("/var/run/supervisord_control.sock", Err(UnreadCause::Forbidden), Some("supervisor-control")),
            ("/var/run/supervisord_control.sock", Err(UnreadCause::Silent), Some("supervisor-control")),
            // Elsewhere, the services decide.
            ("/srv/a.sock", Ok(&["contrail-collector", "contrail-query-engine"]), Some("supervisor-analytics")),
            ("localhost:9001", Ok(&["contrail-api", "contrail-schema", "mine"]), Some("supervisor-config")),
            // Anybody's programs, anybody's ports.
            ("localhost:9002", Ok(&["web"]), None),
            ("/tmp/supervisord_database.sock", Ok(&["postgres"]), None),
            ("/srv/k.sock", Ok(&["kafka"]), None),
            ("/srv/k.sock", Ok(&["rabbitmq-server"]), None),
            ("/srv/d.sock", Ok(&["contrail-dns"]), None),
            ("/srv/d.sock", Ok(&["contrail-api", "a", "b"]), None),
            ("/srv/d.sock", Ok(&[]), None),
            ("/var/run/supervisord_control.sock", Err(UnreadCause::Other), None),
            ("localhost:9003", Err(UnreadCause::Password), None),
        ] {
            let observed = match services {
                Ok(services) => instance(address, services),
                Err(cause) => unread(address, cause, ""),
            };
            let known = catalogue.recognise(&observed).map(|known| known.supervisor.name.as_str());
            assert_eq!(known, wanted, "{address} {services:?}");
        }
    }

    #[test]
    fn every_instance_is_recognised_by_its_own_services() {
        let catalogue = Catalogue::built_in();
        for known in catalogue.instances() {
            for address in &known.supervisor.addresses {
                let services = known.supervisor.services.iter().cloned().collect();
                let all =
                    ObservedInstance { address: Some(address.clone()), services: Ok(services), ..instance("/x", &[]) };
                assert!(catalogue.recognise(&all) == Some(known), "{} at {address}", known.supervisor.name);
            }
        }
    }
}
