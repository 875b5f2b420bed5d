//! Writes inventories: the commented YAML of a new file.
//!
//! Here lives [`InventoryDraft`], the content of a file that does not exist yet, and its text. It uses `nodeset` to write
//! nodes with equal settings as one entry. Invariants: [`parse`](super::parse) accepts the text if it accepts every name
//! and value, and then gives the same nodes, roles and groups; no name, value or comment can end its scalar or its line. Start reading
//! at [`InventoryDraft::to_yaml`].

mod entries;
mod scalar;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::time::Duration;

use nodeset::NodeSet;

use self::scalar::{block_key, comment, flow_list, scalar};
use super::model::SshKeyword;
use ctl_event::Via;

/// A line with all keys of an entry is at most this wide; otherwise each key has a line.
const MAX_WIDTH: usize = 110;

/// The content of an inventory that is written for the user.
///
/// The writer does not check names and values: use [`check_host`](super::check_host), [`check_user`](super::check_user)
/// and [`check_name`](super::values::check_name) for those that come from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventoryDraft {
    /// Comment lines at the top.
    pub header: Vec<String>,
    /// Values for nodes without their own. `maintenance` is not allowed here.
    pub defaults: DraftSettings,
    /// Changes to built-in roles, and other roles.
    pub roles: Vec<DraftRole>,
    /// Named node sets.
    pub groups: Vec<DraftGroup>,
    /// The nodes. An entry stands where its first node does.
    pub nodes: Vec<DraftNode>,
    /// Comment lines at the end, such as what could not be carried over.
    pub footer: Vec<String>,
}

/// The settings of a node; a value that is absent is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DraftSettings {
    /// Its roles.
    pub roles: Vec<String>,
    /// Host name or IP address to connect to.
    pub address: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// User to log in as.
    pub user: Option<String>,
    /// Private key files, as they are to be written: `~` and `$VAR` have their meaning.
    pub identities: Vec<String>,
    /// Jump hosts, `[user@]host[:port]`, separated by commas, or `none`.
    pub jump: Option<String>,
    /// Whether its commands use sudo.
    pub sudo: Option<bool>,
    /// The backend that reaches its supervisords.
    pub via: Option<Via>,
    /// Time limit for an authenticated session.
    pub connect_timeout: Option<Duration>,
    /// Time limit of an action.
    pub timeout: Option<Duration>,
    /// Algorithms, in the syntax of ssh_config.
    pub ssh_options: Vec<(SshKeyword, String)>,
    /// The reason for its maintenance.
    pub maintenance: Option<String>,
}

/// A node of a draft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftNode {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: DraftSettings,
    /// Comment lines above its entry. Nodes with equal settings and comments share an entry.
    pub comments: Vec<String>,
}

/// A group of a draft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftGroup {
    /// Its name.
    pub name: String,
    /// Names of its nodes.
    pub nodes: Vec<String>,
    /// Comment lines above it.
    pub comments: Vec<String>,
}

/// A role of a draft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftRole {
    /// Its name.
    pub name: String,
    /// Its supervisord instances; empty keeps those of a built-in role.
    pub supervisors: Vec<DraftSupervisor>,
    /// Its services that are run by init.
    pub init_services: Vec<String>,
    /// How many nodes may be down at once: a number, a percentage or `none`.
    pub max_unavailable: Option<String>,
    /// Programs that are meant to exit.
    pub oneshot: Vec<String>,
    /// Comment lines above it.
    pub comments: Vec<String>,
}

/// A supervisord instance of a draft.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftSupervisor {
    /// Its name, which is that of its init service.
    pub name: String,
    /// Candidate addresses; may be empty for an instance of the built-in role.
    pub sockets: Vec<String>,
    /// Programs that it usually runs.
    pub services: Vec<String>,
    /// The user name that supervisord requires.
    pub username: Option<String>,
    /// The file with its password, as it is to be written.
    pub password_file: Option<String>,
    /// Comment lines above it.
    pub comments: Vec<String>,
}

impl InventoryDraft {
    /// The text of the file.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        comments(&mut out, "", &self.header);
        if !self.header.is_empty() {
            out.push('\n');
        }
        out.push_str("version: 1\n");
        let defaults = settings_fields(&self.defaults, self.defaults.address.as_deref());
        if !defaults.is_empty() {
            out.push_str("\ndefaults:\n");
            block(&mut out, "  ", &defaults);
        }
        if !self.roles.is_empty() {
            out.push_str("\nroles:\n");
            self.roles.iter().for_each(|role| role_entry(&mut out, role));
        }
        if !self.groups.is_empty() {
            out.push_str("\ngroups:\n");
            for group in &self.groups {
                comments(&mut out, "  ", &group.comments);
                let set = NodeSet::from_names(&group.nodes);
                // Text that is empty is a mistake to the reader; an empty list is an empty group.
                let value = if set.is_empty() { "[]".to_owned() } else { scalar(&set.to_string()) };
                line(&mut out, "  ", &scalar(&group.name), &value);
            }
        }
        // A file without nodes is a mistake to the reader, which says so.
        out.push_str("\nnodes:\n");
        for entry in entries::of_nodes(&self.nodes) {
            comments(&mut out, "  ", entry.comments);
            let fields = settings_fields(entry.settings, entry.address.as_deref());
            mapping(&mut out, "  ", &block_key(&entry.key), &fields);
        }
        if !self.footer.is_empty() {
            out.push('\n');
        }
        comments(&mut out, "", &self.footer);
        out
    }
}

/// A key with its value as YAML.
type YamlField = (&'static str, String);

/// The fields of some settings, in the order of the documentation. The address can be a pattern for several nodes.
fn settings_fields(settings: &DraftSettings, address: Option<&str>) -> Vec<YamlField> {
    let DraftSettings {
        roles,
        address: _,
        port,
        user,
        identities,
        jump,
        sudo,
        via,
        connect_timeout,
        timeout,
        ssh_options,
        maintenance,
    } = settings;
    let time = |time: &Duration| scalar(&humantime::format_duration(*time).to_string());
    let options = ssh_options.iter().map(|(keyword, value)| format!("{keyword}: {}", scalar(value)));
    let options = options.collect::<Vec<_>>().join(", ");
    let identity = match identities.as_slice() {
        [] => None,
        [one] => Some(scalar(one)),
        several => Some(flow_list(several)),
    };
    let fields = [
        ("roles", (!roles.is_empty()).then(|| flow_list(roles))),
        ("address", address.map(scalar)),
        ("port", port.map(|port| port.to_string())),
        ("user", user.as_deref().map(scalar)),
        ("identity", identity),
        ("jump", jump.as_deref().map(scalar)),
        ("sudo", sudo.map(|sudo| sudo.to_string())),
        ("via", via.map(|via| via.as_str().to_owned())),
        ("connect_timeout", connect_timeout.as_ref().map(time)),
        ("timeout", timeout.as_ref().map(time)),
        ("ssh_options", (!ssh_options.is_empty()).then(|| format!("{{{options}}}"))),
        ("maintenance", maintenance.as_deref().map(scalar)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn role_entry(out: &mut String, role: &DraftRole) {
    comments(out, "  ", &role.comments);
    let mut fields = Vec::new();
    fields.extend((!role.init_services.is_empty()).then(|| ("init_services", flow_list(&role.init_services))));
    fields.extend(role.max_unavailable.as_deref().map(|cap| ("max_unavailable", scalar(cap))));
    fields.extend((!role.oneshot.is_empty()).then(|| ("oneshot", flow_list(&role.oneshot))));
    let name = scalar(&role.name);
    if role.supervisors.is_empty() {
        mapping(out, "  ", &name, &fields);
        return;
    }
    line(out, "  ", &name, "");
    block(out, "    ", &fields);
    out.push_str("    supervisors:\n");
    for supervisor in &role.supervisors {
        comments(out, "      ", &supervisor.comments);
        let mut fields = Vec::new();
        fields.extend(match supervisor.sockets.as_slice() {
            [] => None,
            [one] => Some(("socket", scalar(one))),
            several => Some(("socket", flow_list(several))),
        });
        fields.extend((!supervisor.services.is_empty()).then(|| ("services", flow_list(&supervisor.services))));
        fields.extend(supervisor.username.as_deref().map(|name| ("username", scalar(name))));
        fields.extend(supervisor.password_file.as_deref().map(|file| ("password_file", scalar(file))));
        line(out, "      - ", "name", &scalar(&supervisor.name));
        block(out, "        ", &fields);
    }
}

fn comments(out: &mut String, indent: &str, lines: &[String]) {
    for text in lines {
        // An empty line of a comment has no space at its end.
        let text = comment(text);
        let space = if text.is_empty() { "" } else { " " };
        push(out, format_args!("{indent}#{space}{text}\n"));
    }
}

fn line(out: &mut String, indent: &str, key: &str, value: &str) {
    let space = if value.is_empty() { "" } else { " " };
    push(out, format_args!("{indent}{key}:{space}{value}\n"));
}

fn block(out: &mut String, indent: &str, fields: &[YamlField]) {
    for (key, value) in fields {
        line(out, indent, key, value);
    }
}

/// A key with its fields: in one line if they fit.
fn mapping(out: &mut String, indent: &str, key: &str, fields: &[YamlField]) {
    let inner = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ");
    if indent.len() + key.len() + inner.len() + ": {}".len() <= MAX_WIDTH {
        return line(out, indent, key, &format!("{{{inner}}}"));
    }
    line(out, indent, key, "");
    block(out, &format!("{indent}  "), fields);
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A `String` accepts every write.
    let Ok(()) = out.write_fmt(text) else { return };
}
