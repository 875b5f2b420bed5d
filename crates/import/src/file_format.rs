//! Recognizes the files of other tools by their text, so that an error can name the command that reads them.
//!
//! Pure. Invariants: only the first [`MAX_LINES`] lines count; nothing is recognized in a file that has a key which only
//! our own inventory has; a guess changes the text of an error, never what is read.

use std::path::Path;

/// Lines that are looked at.
const MAX_LINES: usize = 200;

/// A file of another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFile {
    /// An inventory of Ansible: INI, YAML, or the JSON of `--list`.
    Ansible,
    /// fabric's `testbed.py`.
    Testbed,
    /// Groups of ClusterShell: `groups.conf`, or groups in YAML or as `group: nodes`.
    ClusterShell,
    /// An ssh_config.
    SshConfig,
    /// A known_hosts file.
    KnownHosts,
    /// Addresses with names, as `/etc/hosts`.
    EtcHosts,
    /// A host on each line.
    HostList,
}

impl ForeignFile {
    /// The format of a file with this text; none if it is not one of these, or may be our own.
    #[must_use]
    pub fn recognize(path: &Path, text: &str) -> Option<Self> {
        let lines = text.trim_start_matches('\u{feff}').lines().take(MAX_LINES).map(str::trim_end);
        // `;` begins a comment in INI, and nothing that counts in the others.
        let lines: Vec<&str> =
            lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with(['#', ';'])).collect();
        let lines: Vec<&str> = lines.into_iter().filter(|line| *line != "---").collect();
        let first = *lines.first()?;
        let has_key = |keys: &[&str]| lines.iter().any(|line| key_of(line).is_some_and(|key| keys.contains(&key)));
        if has_key(&["version", "nodes", "defaults", "source"]) {
            return None;
        }
        let is_python = |line: &&str| line.starts_with("env.roledefs") || line.starts_with("from fabric");
        if path.extension().is_some_and(|extension| extension == "py") || lines.iter().any(is_python) {
            return Some(Self::Testbed);
        }
        if first.starts_with('{') {
            return text.contains("\"_meta\"").then_some(Self::Ansible);
        }
        of_ini(&lines).or_else(|| of_yaml(&lines)).or_else(|| of_lines(&lines))
    }

    /// With its article, such as `an Ansible inventory`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ansible => "an Ansible inventory",
            Self::Testbed => "a testbed.py of fabric",
            Self::ClusterShell => "a ClusterShell groups file",
            Self::SshConfig => "an ssh_config",
            Self::KnownHosts => "a known_hosts file",
            Self::EtcHosts => "a hosts file, such as /etc/hosts",
            Self::HostList => "a list of hosts",
        }
    }

    /// The command that makes an inventory of it.
    #[must_use]
    pub fn command(self, path: &Path) -> String {
        let path = path.to_string_lossy();
        // No shell can be given such a name, so a placeholder stands for it.
        let file = shlex::try_quote(&path).map_or_else(|_| "FILE".to_owned(), std::borrow::Cow::into_owned);
        let import = |tool: &str| format!("ctl inventory import --from {tool} {file} --out inventory.yaml");
        match self {
            Self::Ansible => import("ansible"),
            Self::Testbed => import("testbed"),
            Self::ClusterShell => import("clustershell"),
            Self::SshConfig => format!("ctl init --from ssh-config --ssh-config {file}"),
            Self::KnownHosts => format!("ctl init --from known-hosts --known-hosts {file}"),
            Self::EtcHosts => format!("ctl init --from <(awk '/^[0-9]/ && !/^127/ {{print $2}}' {file})"),
            Self::HostList => format!("ctl init --from {file}"),
        }
    }
}

/// The key of a top-level line `key:` or `key: value`.
fn key_of(line: &str) -> Option<&str> {
    let (key, rest) = line.split_once(':')?;
    let key = key.trim_matches(['"', '\'']);
    let is_key = !key.is_empty() && !key.contains(char::is_whitespace) && !key.starts_with(['-', '[', '{']);
    (is_key && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
}

/// Sections in brackets, or `ansible_` variables behind a host.
fn of_ini(lines: &[&str]) -> Option<ForeignFile> {
    let section = |line: &&str| {
        let name = line.split(" #").next().unwrap_or_default().trim_end().strip_prefix('[')?.strip_suffix(']')?;
        (!name.is_empty() && !name.contains([',', ' ', '[', '"'])).then(|| name.to_owned())
    };
    let sections: Vec<String> = lines.iter().filter_map(section).collect();
    let has = |options: &[&str]| {
        lines.iter().any(|line| line.split_once([':', '=']).is_some_and(|(name, _)| options.contains(&name.trim())))
    };
    // groups.conf has a `[Main]`, or a section for each source with these commands.
    if !sections.is_empty() && (sections.iter().any(|name| name == "Main") || has(&["map", "confdir", "autodir"])) {
        return Some(ForeignFile::ClusterShell);
    }
    // Behind a host stand variables alone.
    let is_entry = |line: &&str| {
        let line = line.split(" #").next().unwrap_or_default();
        let mut words = line.split_whitespace().skip(1);
        section(&line).is_some() || words.all(|word| word.contains('=')) || line.contains(" = ")
    };
    if !lines.iter().all(is_entry) {
        return None;
    }
    let has_variable = |line: &&str| !line.starts_with(' ') && line.contains(" ansible_") && line.contains('=');
    (!sections.is_empty() || lines.iter().any(has_variable)).then_some(ForeignFile::Ansible)
}

/// Groups in YAML: Ansible's have `hosts`, `children` or `vars` below them; ClusterShell's are texts.
fn of_yaml(lines: &[&str]) -> Option<ForeignFile> {
    let inner = |line: &&str| line.starts_with([' ', '\t']);
    let (nested, outer): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| inner(line));
    // YAML has no tabs there.
    let has_tab = nested.iter().any(|line| line.starts_with('\t'));
    if has_tab || outer.is_empty() || !outer.iter().all(|line| key_of(line).is_some()) {
        return None;
    }
    let is_group = |line: &&str| ["hosts", "children", "vars"].map(Some).contains(&key_of(line.trim_start()));
    if nested.iter().any(is_group)
        || outer.iter().any(|line| key_of(line) == Some("all") && nested.is_empty() && line.contains('{'))
    {
        return Some(ForeignFile::Ansible);
    }
    let is_text = |line: &&str| {
        let value = line.trim_start().split_once(": ").map(|(_, value)| value.trim());
        let is_nodes = |value: &str| {
            let quoted = |mark| value.len() > 1 && value.starts_with(mark) && value.ends_with(mark);
            let plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || "@_".contains(c));
            quoted('"') || quoted('\'') || (plain && !value.contains(": ") && value.parse::<f64>().is_err())
        };
        key_of(line.trim_start()).is_some() && value.is_some_and(is_nodes)
    };
    // Our own keys of the same shape: then only `version` and `nodes` are missing.
    let is_ours = |line: &&str| key_of(line) == Some("groups") || key_of(line).is_some_and(|key| key.starts_with("x-"));
    if outer.iter().any(is_ours) {
        return None;
    }
    // Of a single `group: @other` the missing quotes are the likelier fault.
    let names_nodes = outer.iter().any(|line| !line.contains(": @"));
    let is_flat = nested.is_empty() && names_nodes && outer.iter().all(is_text);
    let is_source = !nested.is_empty() && nested.iter().all(is_text) && outer.iter().all(|line| line.ends_with(':'));
    (is_flat || is_source).then_some(ForeignFile::ClusterShell)
}

/// Formats of lines with words.
fn of_lines(lines: &[&str]) -> Option<ForeignFile> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let first_word = |line: &&str| words(line).first().cloned().unwrap_or_default();
    let is_ssh = |line: &&str| {
        let keyword = first_word(line).to_ascii_lowercase();
        ["host", "match", "include"].contains(&keyword.as_str()) && words(line).len() > 1
    };
    if lines.iter().any(is_ssh) {
        return Some(ForeignFile::SshConfig);
    }
    let is_key = |line: &&str| {
        let known = |word: &String| word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-");
        words(line).iter().skip(1).take(2).any(known)
    };
    if lines.iter().all(is_key) {
        return Some(ForeignFile::KnownHosts);
    }
    let has_address = |line: &&str| first_word(line).parse::<std::net::IpAddr>().is_ok() && words(line).len() > 1;
    if lines.iter().all(has_address) {
        return Some(ForeignFile::EtcHosts);
    }
    let is_host = |line: &&str| {
        let name = line.trim();
        !name.ends_with(':') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@:[],/".contains(&byte))
    };
    // A single word may be anything.
    (lines.len() > 1 && lines.iter().all(is_host)).then_some(ForeignFile::HostList)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ForeignFile as F;

    #[test]
    fn files_of_other_tools_are_recognized() {
        let table = [
            ("hosts", "# mine\n[web]\nh1 ansible_host=10.0.0.1\n", Some(F::Ansible)),
            ("hosts", "[web:vars]\nx = a b\n[web] # mine\nh1 a=1 b=2\n", Some(F::Ansible)),
            ("hosts.txt", "h1\na b\n[web]\n", None),
            ("hosts", "h1\n\n[web:children]\ndb\n", Some(F::Ansible)),
            ("hosts", "h1 ansible_user=root\nh2\n", Some(F::Ansible)),
            ("hosts.yml", "---\nall:\n  hosts:\n    h1:\n", Some(F::Ansible)),
            ("hosts.yml", "web:\n  hosts: {h1: {}}\ndb:\n  children:\n    old:\n", Some(F::Ansible)),
            ("hosts.yml", "all: {hosts: {h1: }}\n", Some(F::Ansible)),
            ("list.json", "{\"_meta\": {}, \"all\": {}}", Some(F::Ansible)),
            ("groups.conf", "[Main]\ndefault: local\n", Some(F::ClusterShell)),
            ("slurm.conf", "[slurm]\nmap: sinfo -h\n", Some(F::ClusterShell)),
            ("local.cfg", "rack1: node[1-3]\nall: @rack1\n", Some(F::ClusterShell)),
            ("racks.yaml", "racks:\n  rack1: \"node[1-3]\"\n  rack2: n4\n", Some(F::ClusterShell)),
            ("testbed.py", "host1 = 'root@10.0.0.1'\n", Some(F::Testbed)),
            ("mine", "from fabric.api import env\n", Some(F::Testbed)),
            ("config", "User root\n\nHost a b\n  HostName 10.0.0.1\n", Some(F::SshConfig)),
            (
                "known_hosts",
                "h1,10.0.0.1 ssh-ed25519 AAAA\n@revoked h2 ecdsa-sha2-nistp256 AAAA\n",
                Some(F::KnownHosts),
            ),
            (
                "hosts",
                "127.0.0.1 localhost\n::1 ip6-localhost\n10.0.0.1 h1 h1.example.net # rack 1\n",
                Some(F::EtcHosts),
            ),
            ("list", "h1\nroot@h2:2222\nnode[01-40]\n", Some(F::HostList)),
            // Our own, with or without mistakes, and anything else.
            ("inventory.yaml", "version: 1\nnodes: {}\n", None),
            ("inventory.yaml", "nodes:\n  h1: {}\n", None),
            ("inventory.yaml", "\"version\": 1\nall:\n  hosts:\n", None),
            ("inventory.yaml", "groups:\n  rack1: a\n", None),
            ("inventory.yaml", "roles:\n  web: {socket: /run/w.sock}\n", None),
            ("inventory.yaml", "a:\n  b: 2\n", None),
            ("inventory.yaml", "a:\n\tb: n2\n", None),
            ("inventory.yaml", "a: \"x\n", None),
            ("inventory.yaml", "[1, 2]\n", None),
            ("inventory.yaml", "", None),
            ("inventory.yaml", "word\n", None),
            ("inventory.yaml", "some words\n", None),
            ("inventory.json", "{\"nodes\": {}}\n", None),
        ];
        for (name, text, expected) in table {
            assert_eq!(ForeignFile::recognize(Path::new(name), text), expected, "{name}: {text:?}");
        }
    }

    #[test]
    fn a_command_names_the_file_as_a_shell_reads_it() {
        let command = |format: ForeignFile, path: &str| format.command(Path::new(path));
        assert_eq!(command(F::Ansible, "hosts"), "ctl inventory import --from ansible hosts --out inventory.yaml");
        assert_eq!(command(F::HostList, "my list"), "ctl init --from 'my list'");
        assert_eq!(command(F::EtcHosts, "e"), "ctl init --from <(awk '/^[0-9]/ && !/^127/ {print $2}' e)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "([a-z:\\[\\]{}=# \n\"-]{0,40}|\\PC{0,40})") {
            let found = ForeignFile::recognize(Path::new("hosts"), &text);
            proptest::prop_assert!(found.is_none_or(|format| !format.command(Path::new(&text)).is_empty()));
        }
    }
}
