//! What Ansible's connection variables mean for `ctl`.
//!
//! Where two variables set one option, the order is that of Ansible's ssh plugin: the last one in its list wins.

use std::collections::HashSet;

use super::model::{ResolvedAnsible, ResolvedAnsibleHost};
use super::ssh_args::{self, SshArguments};
use super::value::{AnsibleValue, PlacedValue};
use crate::fleet::{ImportedFleet, ImportedHost, OmissionList};
use crate::key_path::key_path;

/// Interprets the variables of every host. A host that Ansible does not reach with SSH is left out.
pub(super) fn fleet(resolved: ResolvedAnsible) -> ImportedFleet {
    let ResolvedAnsible { hosts, mut groups, group_places, omissions: known } = resolved;
    let mut omissions = OmissionList::from(known);
    let mut left_out = HashSet::new();
    let mut imported = Vec::with_capacity(hosts.len());
    for host in hosts {
        let reader = HostReader { host: &host, omissions: &mut omissions };
        match reader.read() {
            Some(read) => imported.push(read),
            None => {
                left_out.insert(host.name);
            }
        }
    }
    groups.values_mut().for_each(|names| names.retain(|name| !left_out.contains(name)));
    ImportedFleet { hosts: imported, groups, group_places, omissions: omissions.list }
}

struct HostReader<'h> {
    host: &'h ResolvedAnsibleHost,
    omissions: &'h mut OmissionList,
}

impl HostReader<'_> {
    fn read(mut self) -> Option<ImportedHost> {
        let host = self.host;
        if !self.is_ssh() {
            return None;
        }
        let mut read = ImportedHost::new(host.name.clone(), host.place.clone());
        let address = self.text(&["ansible_host", "ansible_ssh_host"]).map(without_brackets);
        read.address = address.filter(|address| *address != host.name);
        read.port = self.port();
        read.user = self.text(&["ansible_user", "ansible_ssh_user"]);
        read.identity = self.identity();
        read.sudo = self.sudo();
        let arguments = self.arguments();
        read.jump = arguments.jump;
        // Ansible's own options stand before the arguments, and the first one counts.
        read.port = read.port.or(arguments.port);
        read.user = read.user.or(arguments.user);
        read.identity = read.identity.or(arguments.identity);
        self.host_keys();
        self.executable();
        Some(read)
    }

    /// The variable that counts, the last of `names` that has a value.
    fn find(&mut self, names: &[&str]) -> Option<(String, PlacedValue)> {
        let found = names.iter().rev().find_map(|name| {
            let value = self.host.variables.get(*name)?;
            (value.value != AnsibleValue::Null).then(|| ((*name).to_owned(), value.clone()))
        })?;
        if found.1.value.is_computed() {
            self.omissions.warn(&found.1.place, found.0, "only Ansible can evaluate its template, or decrypt it");
            return None;
        }
        Some(found)
    }

    fn text(&mut self, names: &[&str]) -> Option<String> {
        let (name, value) = self.find(names)?;
        let text = value.value.to_text().filter(|text| !text.is_empty());
        if text.is_none() {
            self.omissions.warn(&value.place, name, "it is not text");
        }
        text
    }

    fn port(&mut self) -> Option<u16> {
        let (name, value) = self.find(&["ansible_port", "ansible_ssh_port"])?;
        let port = value.value.to_text().and_then(|text| text.trim().parse().ok()).filter(|port| *port > 0);
        if port.is_none() {
            self.omissions.warn(&value.place, name, "it is not a port from 1 to 65535");
        }
        port
    }

    fn identity(&mut self) -> Option<String> {
        let (name, value) = self.find(&["ansible_private_key_file", "ansible_ssh_private_key_file"])?;
        let path = value.value.to_text().unwrap_or_default();
        match key_path(&path, "Ansible") {
            Ok(()) => Some(path),
            Err(why) => {
                self.omissions.warn(&value.place, name, why);
                None
            }
        }
    }

    /// Whether Ansible connects with SSH. Another machine, or none, is not a node.
    fn is_ssh(&mut self) -> bool {
        let Some((_, value)) = self.find(&["ansible_connection"]) else { return true };
        let plugin = value.value.to_text().unwrap_or_default();
        // The last part of a full name such as `ansible.builtin.ssh`.
        let is_ssh =
            matches!(plugin.rsplit('.').next(), Some("ssh" | "smart" | "paramiko" | "paramiko_ssh" | "libssh"));
        if !is_ssh {
            let why = format!("Ansible does not connect to it with SSH (ansible_connection is {plugin})");
            self.omissions.note(&value.place, self.host.name.clone(), why);
        }
        is_ssh
    }

    fn sudo(&mut self) -> Option<bool> {
        // `ansible_sudo` is an old name of the first.
        let (name, value) = self.find(&["ansible_sudo", "ansible_become"])?;
        let Some(sudo) = value.value.to_bool() else {
            self.omissions.note(&value.place, name, "it is neither true nor false");
            return None;
        };
        if !sudo {
            return Some(false);
        }
        let method = self.find(&["ansible_become_method"]);
        let method = method.and_then(|(name, value)| Some((name, value.value.to_text()?, value.place)));
        let user = self.find(&["ansible_become_user", "ansible_sudo_user"]);
        let user = user.and_then(|(name, value)| Some((name, value.value.to_text()?, value.place)));
        if let Some((name, method, place)) = method.filter(|(_, method, _)| method.rsplit('.').next() != Some("sudo")) {
            self.omissions.note(&place, name, format!("ctl uses only sudo, not {method}"));
            return None;
        }
        if let Some((name, user, place)) = user.filter(|(_, user, _)| user != "root") {
            self.omissions.note(&place, name, format!("with sudo, ctl becomes root and not {user}"));
            return None;
        }
        Some(true)
    }

    fn arguments(&mut self) -> SshArguments {
        let mut arguments = SshArguments::default();
        // The order in which Ansible appends them.
        for name in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
            let Some((name, value)) = self.find(&[name]) else { continue };
            let Some(text) = value.value.to_text() else { continue };
            ssh_args::read(&text, &name, &value.place, &mut arguments, self.omissions);
        }
        arguments
    }

    fn host_keys(&mut self) {
        let names = ["ansible_host_key_checking", "ansible_ssh_host_key_checking"];
        let Some((name, value)) = self.find(&names) else { return };
        if value.value.to_bool() == Some(false) {
            self.omissions.note(&value.place, name, "ctl always checks host keys");
        }
    }

    fn executable(&mut self) {
        if let Some((name, value)) = self.find(&["ansible_ssh_executable"]) {
            self.omissions.warn(&value.place, name, "ctl does not run ssh");
        }
    }
}

/// An IPv6 address, which may stand in brackets for Ansible.
fn without_brackets(address: String) -> String {
    let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.filter(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok()).map_or(address.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_may_stand_in_brackets() {
        for (typed, expected) in [
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[h1]", "[h1]"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(without_brackets(typed.to_owned()), expected);
        }
    }
}
