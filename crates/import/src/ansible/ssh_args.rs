//! The arguments of ssh in `ansible_ssh_common_args` and its like.
//!
//! A jump host is carried over, also as the `ProxyCommand="ssh -W %h:%p …"` of Ansible's FAQ. Whatever else would change the
//! connection is left out with a mark.

use crate::fleet::{OmissionList, SourcePlace};
use crate::key_path::key_path;
use crate::words;

/// What some arguments set; the first of each counts, as in ssh.
#[derive(Debug, Default)]
pub(super) struct SshArguments {
    pub(super) jump: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) identity: Option<String>,
    /// Whether a proxy was set, even one that is left out.
    has_proxy: bool,
}

/// ssh's options with a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// Options that do not change where and how one connects, or that ctl has for itself.
const HARMLESS: [&str; 16] = [
    "batchmode",
    "compression",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "escapechar",
    "forwardagent",
    "forwardx11",
    "loglevel",
    "preferredauthentications",
    "requesttty",
    "serveralivecountmax",
    "serveraliveinterval",
    "tcpkeepalive",
    "visualhostkey",
];

/// Reads the arguments of one variable.
pub(super) fn read(
    text: &str,
    variable: &str,
    place: &SourcePlace,
    arguments: &mut SshArguments,
    omissions: &mut OmissionList,
) {
    let words = match words::split(text, false) {
        Ok(words) => words,
        Err(why) => return omissions.warn(place, variable, why),
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flags) = word.strip_prefix('-').filter(|flags| !flags.is_empty()) else {
            omissions.warn(place, variable, format!("{word} is not an option of ssh"));
            continue;
        };
        // Flags without a value may be put together, the last with a value: `-CqJ bastion`.
        for (at, flag) in flags.char_indices() {
            if !WITH_VALUE.contains(flag) {
                if "46bXYfGNsgMntVwyAK".contains(flag) {
                    omissions.note(place, variable, format!("-{flag} has no counterpart"));
                }
                continue;
            }
            let rest = flags.get(at + flag.len_utf8()..).unwrap_or_default();
            let value = if rest.is_empty() { words.next().unwrap_or_default() } else { rest.to_owned() };
            flag_value(flag, &value, variable, place, arguments, omissions);
            break;
        }
    }
}

fn flag_value(
    flag: char,
    value: &str,
    variable: &str,
    place: &SourcePlace,
    arguments: &mut SshArguments,
    omissions: &mut OmissionList,
) {
    let option = match flag {
        'J' => "ProxyJump",
        'p' => "Port",
        'l' => "User",
        'i' => "IdentityFile",
        'o' => {
            let (name, value) = value
                .split_once(|c: char| c == '=' || c.is_whitespace())
                .map_or((value, ""), |(name, value)| (name.trim(), value.trim_start_matches([' ', '\t', '=']).trim()));
            return option_value(name, value, variable, place, arguments, omissions);
        }
        'F' => {
            let why = "-F: another ssh_config; give it to ctl with --ssh-config";
            return omissions.warn(place, variable, why);
        }
        'c' | 'm' => {
            return omissions.note(
                place,
                variable,
                format!("-{flag}: set algorithms with `ssh_options`, or in ssh_config"),
            );
        }
        _ => return omissions.warn(place, variable, format!("-{flag} has no counterpart")),
    };
    option_value(option, value, variable, place, arguments, omissions);
}

/// An option in the syntax of ssh_config.
fn option_value(
    name: &str,
    value: &str,
    variable: &str,
    place: &SourcePlace,
    arguments: &mut SshArguments,
    omissions: &mut OmissionList,
) {
    let value = value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value);
    match name.to_ascii_lowercase().as_str() {
        "proxyjump" | "proxycommand" if arguments.has_proxy => {}
        "proxyjump" => {
            arguments.has_proxy = true;
            arguments.jump = Some(value.to_owned());
        }
        "proxycommand" => {
            arguments.has_proxy = true;
            arguments.jump = if value.eq_ignore_ascii_case("none") { Some("none".to_owned()) } else { jump_of(value) };
            if arguments.jump.is_none() {
                let why = "ProxyCommand: only `ssh -W %h:%p HOST` is carried over; put this one into ssh_config";
                omissions.warn(place, variable, why);
            }
        }
        "port" => match value.parse().ok().filter(|port| *port > 0) {
            Some(port) => arguments.port = arguments.port.or(Some(port)),
            None => omissions.warn(place, variable, format!("{value} is not a valid port")),
        },
        "user" => arguments.user = arguments.user.take().or_else(|| Some(value.to_owned())),
        "identityfile" => match key_path(value, "Ansible") {
            Ok(()) => arguments.identity = arguments.identity.take().or_else(|| Some(value.to_owned())),
            Err(why) => omissions.warn(place, variable, format!("{name}: {why}")),
        },
        "stricthostkeychecking" | "userknownhostsfile" | "globalknownhostsfile" | "checkhostip" => {
            omissions.note(
                place,
                variable,
                format!("{name}: ctl always checks host keys; see --known-hosts and --host-key"),
            );
        }
        known if HARMLESS.contains(&known) => {
            omissions.note(place, variable, format!("{name} has no counterpart and does not change the connection"));
        }
        "hostkeyalgorithms"
        | "kexalgorithms"
        | "ciphers"
        | "macs"
        | "pubkeyacceptedalgorithms"
        | "pubkeyacceptedkeytypes"
        | "connecttimeout"
        | "identitiesonly" => {
            omissions.note(place, variable, format!("{name}: set it in the inventory or in ssh_config"));
        }
        _ => omissions.warn(place, variable, format!("{name} is not carried over; put it into ssh_config")),
    }
}

/// The jump host of `ssh -W %h:%p [-q] [-p PORT] [-l USER] [USER@]HOST`.
fn jump_of(command: &str) -> Option<String> {
    let words = words::split(command, false).ok()?;
    let (program, mut rest) = words.split_first()?;
    if program != "ssh" && !program.ends_with("/ssh") {
        return None;
    }
    let (mut forwards, mut port, mut user, mut host) = (false, None, None, None);
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        let mut value = || -> Option<&String> {
            let (value, after) = rest.split_first()?;
            rest = after;
            Some(value)
        };
        match word.as_str() {
            "-W" => forwards = matches!(value()?.as_str(), "%h:%p" | "[%h]:%p"),
            "-p" => port = Some(value()?.parse::<u16>().ok()?),
            "-l" => user = Some(value()?.clone()),
            "-q" | "-C" | "-T" | "-x" | "-a" => {}
            word if word.starts_with('-') => return None,
            word if host.is_none() => host = Some(word.to_owned()),
            _ => return None,
        }
    }
    let host = host.filter(|_| forwards)?;
    let host = match user {
        Some(user) if !host.contains('@') => format!("{user}@{host}"),
        _ => host,
    };
    Some(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read_all(text: &str) -> (SshArguments, Vec<(String, bool)>) {
        let place = SourcePlace::new(&Path::new("hosts").into(), 1);
        let (mut arguments, mut omissions) = (SshArguments::default(), OmissionList::default());
        read(text, "args", &place, &mut arguments, &mut omissions);
        (arguments, omissions.list.into_iter().map(|omission| (omission.why, omission.changes_connection)).collect())
    }

    #[test]
    fn jump_hosts_are_read_in_every_spelling() {
        for (text, jump) in [
            ("-J ops@bastion:2222", "ops@bastion:2222"),
            ("-Ja,b", "a,b"),
            ("-CqJ bastion", "bastion"),
            ("-o ProxyJump=bastion", "bastion"),
            ("-oProxyJump=bastion -J other", "bastion"),
            ("-o 'ProxyJump bastion'", "bastion"),
            ("-o ProxyCommand=\"ssh -W %h:%p -q ops@bastion\"", "ops@bastion"),
            ("-o 'ProxyCommand=ssh -q -p 2222 -l ops -W %h:%p bastion'", "ops@bastion:2222"),
            ("-o ProxyCommand=none", "none"),
        ] {
            let (arguments, omissions) = read_all(text);
            assert_eq!(arguments.jump.as_deref(), Some(jump), "{text}");
            assert_eq!(omissions, [], "{text}");
        }
    }

    #[test]
    fn what_would_change_the_connection_is_marked() {
        for (text, is_marked) in [
            ("-o ProxyCommand='nc -x proxy %h %p'", true),
            ("-o ProxyCommand='ssh -i /k -W %h:%p bastion'", true),
            ("-o BindAddress=10.0.0.1", true),
            ("-F /etc/other", true),
            ("bastion", true),
            ("-o 'User", true),
            ("-o Port=x", true),
            ("-o IdentityFile=keys/id", true),
            ("-o StrictHostKeyChecking=no", false),
            ("-o ControlMaster=auto", false),
            ("-o KexAlgorithms=+diffie-hellman-group14-sha1", false),
            ("-4", false),
        ] {
            let (_, omissions) = read_all(text);
            assert_eq!(omissions.iter().map(|(_, marked)| *marked).collect::<Vec<_>>(), [is_marked], "{text}");
        }
        assert_eq!(read_all("-C -q").1, []);
        let (arguments, _) = read_all("-p 2222 -l ops -i ~/.ssh/id -o Port=22");
        assert_eq!(arguments.port, Some(2222));
        assert_eq!(arguments.user.as_deref(), Some("ops"));
        assert_eq!(arguments.identity.as_deref(), Some("~/.ssh/id"));
    }
}
