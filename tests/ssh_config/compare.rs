//! Runs `ssh -G` and the resolver on one case.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use contrail_ctl::local::account;
use openssh_config::{ConfigOrigin, ExecRunner, HostQuery, OperatorEnv, ResolvedSetting, SshConfig};

/// The number of cases in which both failed.
pub(crate) static FAILING: AtomicUsize = AtomicUsize::new(0);

/// The compared keys, with their names in `ssh -G`.
const KEYS: &[&str] = &[
    "host",
    "user",
    "hostname",
    "port",
    "addressfamily",
    "batchmode",
    "hashknownhosts",
    "identitiesonly",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "pubkeyauthentication",
    "stricthostkeychecking",
    "numberofpasswordprompts",
    "serveralivecountmax",
    "serveraliveinterval",
    "requiredrsasize",
    "bindaddress",
    "ciphers",
    "hostkeyalgorithms",
    "hostkeyalias",
    "identityagent",
    "ignoreunknown",
    "preferredauthentications",
    "kexalgorithms",
    "macs",
    "proxycommand",
    "revokedhostkeys",
    "pubkeyacceptedalgorithms",
    "identityfile",
    "certificatefile",
    "globalknownhostsfile",
    "userknownhostsfile",
    "connecttimeout",
    "proxyjump",
];

/// Files, and the host to resolve. `@DIR@` in a file stands for their directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) config: Vec<u8>,
    pub(crate) others: Vec<(String, Vec<u8>)>,
    pub(crate) host: String,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
}

impl Case {
    pub(crate) fn new(config: &str, host: &str) -> Self {
        Self { config: config.as_bytes().to_vec(), host: host.to_owned(), ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &str, text: &str) -> Self {
        self.others.push((name.to_owned(), text.as_bytes().to_vec()));
        self
    }

    /// The keywords of all files, each once, in lower case.
    pub(crate) fn keywords(&self) -> Vec<String> {
        let mut found = Vec::new();
        for text in std::iter::once(&self.config).chain(self.others.iter().map(|(_, text)| text)) {
            for line in String::from_utf8_lossy(text).lines() {
                let line = line.trim_start().trim_start_matches('"');
                let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len());
                let keyword = line.get(..end).unwrap_or("").to_ascii_lowercase();
                if !keyword.is_empty() && !found.contains(&keyword) {
                    found.push(keyword);
                }
            }
        }
        found
    }
}

/// A directory and an environment for the comparison.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    operator: OperatorEnv,
    variables: BTreeMap<String, String>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("cannot create the directory");
        let mut operator = OperatorEnv::of_process(account::name_and_home());
        let home = operator.homes.get(&operator.user).cloned().expect("expected a user in /etc/passwd");
        let variables: BTreeMap<String, String> = [
            ("PATH", "/usr/bin:/bin"),
            ("HOME", home.to_str().expect("UTF-8")),
            ("VAR", "value"),
            ("SUB_DIR", "/tmp/sub"),
            ("EMPTY", ""),
            ("SSH_AUTH_SOCK", "/tmp/agent"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        operator.home = Some(home);
        operator.variables = variables.clone();
        Self { directory, operator, variables }
    }

    /// Returns the difference as an error, if there is one.
    pub(crate) fn compare(&self, case: &Case) -> Result<(), String> {
        let main = self.write(case);
        let theirs = self.theirs(case, &main);
        let ours = self.ours(case, &main);
        let differ = |what: &str| {
            let mut text = format!("=== {what}\n--- host {:?}\n{}", case.host, String::from_utf8_lossy(&case.config));
            for (name, other) in &case.others {
                text.push_str(&format!("\n--- {name}\n{}", String::from_utf8_lossy(other)));
            }
            Err(text)
        };
        match (theirs, ours) {
            (Err(_), Err(_)) => {
                FAILING.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            (Ok(_), Err(ours)) => differ(&format!("ssh succeeds, we fail: {ours}")),
            (Err(theirs), Ok(_)) => differ(&format!("ssh fails, we succeed: {theirs}")),
            (Ok(theirs), Ok(ours)) => {
                for key in KEYS {
                    let lines = |text: &str| {
                        let of_key = |line: &&str| line.split(' ').next() == Some(*key);
                        text.split('\n').filter(of_key).map(str::to_owned).collect::<Vec<_>>()
                    };
                    let (theirs, ours) = (lines(&theirs), lines(&ours));
                    if theirs != ours {
                        return differ(&format!("ssh says {theirs:?}, we say {ours:?}"));
                    }
                }
                Ok(())
            }
        }
    }

    fn write(&self, case: &Case) -> std::path::PathBuf {
        let directory = self.directory.path();
        for entry in fs::read_dir(directory).expect("readable").map(|entry| entry.expect("entry").path()) {
            if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) }.expect("removable");
        }
        let main = directory.join("config");
        let here = directory.to_str().expect("UTF-8");
        let place = |bytes: &[u8]| {
            let mut out = Vec::new();
            let mut rest = bytes;
            let mark = b"@DIR@";
            while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
                out.extend_from_slice(&rest[..at]);
                out.extend_from_slice(here.as_bytes());
                rest = &rest[at + mark.len()..];
            }
            out.extend_from_slice(rest);
            out
        };
        fs::write(&main, place(&case.config)).expect("writable");
        for (name, text) in &case.others {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("writable");
            fs::write(path, place(text)).expect("writable");
        }
        main
    }

    fn theirs(&self, case: &Case, main: &Path) -> Result<String, String> {
        let mut command = Command::new("ssh");
        command.env_clear().envs(&self.variables).stdin(Stdio::null()).arg("-n").arg("-G").arg("-F").arg(main);
        if let Some(user) = &case.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = case.port {
            command.arg("-p").arg(port.to_string());
        }
        let output = command
            .arg("--")
            .arg(&case.host)
            .output()
            .expect("ssh must be installed (Debian: apt-get install openssh-client)");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn ours(&self, case: &Case, main: &Path) -> Result<String, String> {
        let config = SshConfig::load(main, &self.operator).map_err(|error| error.to_string())?;
        let runner = ExecRunner::new(&self.operator);
        let query = HostQuery {
            host: &case.host,
            user: case.user.clone().map(|value| ResolvedSetting { value, origin: ConfigOrigin::CommandLine }),
            port: case.port.map(|value| ResolvedSetting { value, origin: ConfigOrigin::CommandLine }),
            ..HostQuery::default()
        };
        let resolved = config.resolve(&query, &self.operator, &|command| runner.run(command));
        resolved.map(|resolved| resolved.to_ssh_g()).map_err(|error| error.to_string())
    }
}
