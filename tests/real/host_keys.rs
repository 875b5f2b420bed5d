//! Host keys: each decision is compared with that of OpenSSH's client, for the same OpenSSH server.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use contrail_ctl::transport::{
    AlgorithmLists, AllowedFamilies, AuthMethod, Endpoint, HostKeyPolicy, HostKeySettings, Keepalive, LoginSettings,
    ProxyRoute, RunSshSettings, SshTransport, Transport, TransportError,
};

use crate::harness::{Running, Sshd, Sshds};

/// The sshds of the matrix. All have the same keys, but different certificates. Those named `two-…` have two keys of
/// that kind, and a certificate for the second.
const SERVERS: [&str; 20] = [
    "plain",
    "rsa",
    "good",
    "expired",
    "future",
    "principal",
    "wildcard",
    "empty",
    "other-ca",
    "option",
    "weak",
    "two-ed",
    "two-rsa",
    "two-ec",
    "two-ed-expired",
    "two-rsa-expired",
    "two-ec-expired",
    "two-ed-principal",
    "two-rsa-principal",
    "two-ec-principal",
];

/// Settings of `ctl` and `ssh` other than the files.
#[derive(Clone, Copy)]
enum Setting {
    Alias(&'static str),
    /// New names are hashed.
    Hash,
    /// The known_hosts files are hashed before.
    Hashed,
    /// `RevokedHostKeys`, with this content.
    Revoked(&'static str),
    /// The same, as a key revocation list from this specification.
    Krl(&'static str),
    /// `RevokedHostKeys` names a file that does not exist.
    RevokedMissing,
    MinRsaBits(u32),
}

/// One cell: the content of the files, and the expected decision of `ctl` under the strict policy.
struct Case {
    server: &'static str,
    /// The user's file, the user's second file and the global file, with `{…}` for names and keys.
    files: [&'static str; 3],
    settings: &'static [Setting],
    expected: &'static str,
    /// `ssh` accepts this host, and `ctl` rejects it on purpose.
    stricter: bool,
}

const fn case(server: &'static str, user: &'static str, expected: &'static str) -> Case {
    Case { server, files: [user, "", ""], settings: &[], expected, stricter: false }
}

const fn with(settings: &'static [Setting], case: Case) -> Case {
    Case { settings, ..case }
}

const fn stricter(case: Case) -> Case {
    Case { stricter: true, ..case }
}

/// The cells for a kind of which the host has two keys, the second with a certificate: sshd presents that key only in
/// the certificate.
macro_rules! two_keys {
    ($kind:literal) => {
        [
            case(concat!("two-", $kind), concat!("{name} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind), concat!("{bare} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind), concat!("{name} {", $kind, "}\n"), "changed"),
            case(concat!("two-", $kind), "@cert-authority * {ca}\n", "ok"),
            case(concat!("two-", $kind), concat!("@cert-authority * {ca}\n{name} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind), concat!("@cert-authority * {ca2}\n{name} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind), concat!("@revoked * {", $kind, "2}\n{name} {", $kind, "2}\n"), "revoked"),
            case(concat!("two-", $kind), concat!("@revoked * {ca}\n{name} {", $kind, "2}\n"), "revoked"),
            case(concat!("two-", $kind), "", "unknown"),
            case(concat!("two-", $kind, "-expired"), concat!("@cert-authority * {ca}\n{name} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind, "-expired"), concat!("{name} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind, "-expired"), "@cert-authority * {ca}\n", "unknown"),
            case(
                concat!("two-", $kind, "-principal"),
                concat!("@cert-authority * {ca}\n{name} {", $kind, "2}\n"),
                "ok",
            ),
            case(concat!("two-", $kind, "-principal"), concat!("{name} {", $kind, "2}\n"), "ok"),
            case(concat!("two-", $kind, "-principal"), "@cert-authority * {ca}\n", "unknown"),
        ]
    };
}

fn matrix() -> Vec<Case> {
    let two = [two_keys!("ed"), two_keys!("rsa"), two_keys!("ec")].into_iter().flatten();
    written_matrix().into_iter().chain(two).collect()
}

fn written_matrix() -> Vec<Case> {
    use Setting::{Alias, Hash, Hashed, Krl, MinRsaBits, Revoked, RevokedMissing};
    vec![
        // Known, unknown, changed.
        case("plain", "{name} {ed}\n", "ok"),
        case("plain", "", "unknown"),
        case("plain", "other {ed}\n", "unknown"),
        case("plain", "{name} {other}\n", "changed"),
        case("plain", "{name} {other}\n{name} {ed}\n", "ok"),
        case("plain", "{name} {rsa}\n", "ok"),
        case("plain", "{name} {ec}\n", "ok"),
        case("rsa", "{name} {ed}\n", "changed"),
        case("plain", "{name} {other-rsa}\n", "changed"),
        case("plain", "{name} {other-rsa}\n{name} {ed}\n", "ok"),
        case("plain", "{name} {other-rsa}\n{name} {ec}\n", "ok"),
        case("plain", "# a comment\n\n  {name}\t{ed} and a comment", "ok"),
        case("plain", "{name} ssh-ed25519 AAAA\n{name} {ed}\n", "ok"),
        Case { files: ["", "{name} {ed}\n", ""], ..case("plain", "", "ok") },
        Case { files: ["", "", "{name} {ed}\n"], ..case("plain", "", "ok") },
        Case { files: ["{name} {other}", "", "{name} {ed}\n"], ..case("plain", "", "ok") },
        Case { files: ["", "", "{name} {other}\n"], ..case("plain", "", "changed") },
        Case { files: ["{name} {ed}", "", "@revoked * {ed}\n"], ..case("plain", "", "revoked") },
        // The bare name.
        case("plain", "{bare} {ed}\n", "ok"),
        case("plain", "{bare} {other}\n", "unknown"),
        case("plain", "{bare} {rsa}\n", "unknown"),
        case("plain", "{name} {other}\n{bare} {ed}\n", "changed"),
        case("plain", "[{bare}]:1 {ed}\n", "unknown"),
        // Wildcards and negation.
        case("plain", "[127.*]:{port} {ed}\n", "ok"),
        case("plain", "* {ed}\n", "ok"),
        case("plain", "*,!{name} {ed}\n", "ok"),
        case("plain", "*,!{name},!{bare} {ed}\n", "unknown"),
        case("plain", "!{name},* {other}\n", "unknown"),
        case("plain", "127.* {other}\n", "unknown"),
        case("plain", "x,[127.?*]:{port},y {other}\n", "changed"),
        // Revoked.
        case("plain", "{name} {ed}\n@revoked * {ed}\n", "revoked"),
        case("plain", "@revoked {name} {ed}\n{name} {ed}\n", "revoked"),
        case("plain", "@revoked * {ed}\n", "revoked"),
        case("plain", "@revoked * {other}\n{name} {ed}\n", "ok"),
        case("plain", "@revoked elsewhere {ed}\n{name} {ed}\n", "ok"),
        stricter(case("plain", "@revoked {bare} {ed}\n{name} {ed}\n", "revoked")),
        with(&[Revoked("# none\n")], case("plain", "{name} {ed}\n", "ok")),
        with(&[Revoked("{ed}\n")], case("plain", "{name} {ed}\n", "revoked")),
        with(&[Revoked("{other}\n{ed}\n")], case("plain", "", "revoked")),
        with(&[Revoked("{other}\nnonsense\n")], case("plain", "{name} {ed}\n", "unreadable")),
        with(&[RevokedMissing], case("plain", "{name} {ed}\n", "unreadable")),
        with(&[Krl("key: {ed}")], case("plain", "{name} {ed}\n", "revoked")),
        with(&[Krl("sha1: {ed}")], case("plain", "{name} {ed}\n", "revoked")),
        with(&[Krl("key: {other}")], case("plain", "{name} {ed}\n", "ok")),
        with(&[Krl("serial: 7")], case("good", "@cert-authority * {ca}\n{name} {ed}\n", "revoked")),
        with(&[Krl("serial: 3-9")], case("good", "{name} {ed}\n", "revoked")),
        with(&[Krl("serial: 8-9")], case("good", "@cert-authority * {ca}\n", "ok")),
        with(&[Krl("id: good")], case("good", "@cert-authority * {ca}\n", "revoked")),
        with(&[Revoked("{ca}\n")], case("good", "@cert-authority * {ca}\n{name} {ed}\n", "revoked")),
        // Certificates.
        case("good", "@cert-authority * {ca}\n", "ok"),
        case("good", "@cert-authority {name} {ca}\n", "ok"),
        case("good", "@cert-authority {bare} {ca}\n", "ok"),
        case("good", "@cert-authority elsewhere {ca}\n", "unknown"),
        case("good", "@cert-authority * {other}\n", "unknown"),
        case("good", "@cert-authority * {other}\n@cert-authority * {ca}\n", "ok"),
        case("good", "@cert-authority * {ca}\n{name} {other}\n", "ok"),
        case("good", "@cert-authority * {other}\n{name} {ed}\n", "ok"),
        case("good", "@cert-authority * {other}\n{name} {other}\n", "changed"),
        case("good", "{name} {ed}\n", "ok"),
        case("good", "{name} {rsa}\n", "ok"),
        case("good", "@cert-authority * {other}\n{name} {rsa}\n", "changed"),
        case("good", "* {ca}\n", "changed"),
        case("good", "@cert-authority * {ca}\n@revoked * {ca}\n", "revoked"),
        case("good", "@cert-authority * {ca}\n@revoked * {ca}\n{name} {ed}\n", "revoked"),
        case("good", "@revoked * {ca}\n{name} {ed}\n", "revoked"),
        case("good", "@revoked * {ca}\n{name} {rsa}\n", "ok"),
        case("good", "@cert-authority * {ca}\n@revoked * {ed}\n", "revoked"),
        stricter(case("good", "{name} {other}\n{bare} {ed}\n", "changed")),
        case("plain", "@cert-authority * {ca}\n", "unknown"),
        case("plain", "@cert-authority * {ca}\n{name} {ed}\n", "ok"),
        case("plain", "@cert-authority * {ed}\n", "unknown"),
        case("expired", "@cert-authority * {ca}\n", "unknown"),
        case("expired", "@cert-authority * {ca}\n{name} {ed}\n", "ok"),
        case("expired", "@cert-authority * {ca}\n{name} {other}\n", "changed"),
        case("future", "@cert-authority * {ca}\n", "unknown"),
        case("principal", "@cert-authority * {ca}\n", "unknown"),
        case("principal", "@cert-authority * {ca}\n{bare} {ed}\n", "ok"),
        case("wildcard", "@cert-authority * {ca}\n", "unknown"),
        stricter(case("empty", "@cert-authority * {ca}\n", "unknown")),
        case("other-ca", "@cert-authority * {ca}\n", "unknown"),
        case("other-ca", "@cert-authority * {ca2}\n", "ok"),
        case("option", "@cert-authority * {ca}\n", "unknown"),
        case("weak", "@cert-authority * {rsa-ca}\n", "unknown"),
        // Aliases.
        with(&[Alias("node-7")], case("plain", "node-7 {ed}\n", "ok")),
        with(&[Alias("Node-7")], case("plain", "node-7 {ed}\n", "ok")),
        with(&[Alias("node-7")], case("plain", "{name} {ed}\n{bare} {ed}\n", "unknown")),
        with(&[Alias("node-7")], case("plain", "[node-7]:{port} {ed}\n", "unknown")),
        with(&[Alias("node-7")], case("plain", "node-7 {other}\n", "changed")),
        with(&[Alias("node-7")], case("principal", "@cert-authority node-7 {ca}\n", "ok")),
        with(&[Alias("node-8")], case("principal", "@cert-authority * {ca}\n", "unknown")),
        with(&[Alias("node-7")], case("good", "@cert-authority * {ca}\n", "unknown")),
        // Hashed names.
        with(&[Hashed], case("plain", "{name} {ed}\n", "ok")),
        with(&[Hashed], case("plain", "{bare} {ed}\n", "ok")),
        with(&[Hashed], case("plain", "{name} {other}\n", "changed")),
        with(&[Hashed], case("plain", "elsewhere {ed}\n", "unknown")),
        with(&[Hashed, Alias("node-7")], case("plain", "node-7 {ed}\n", "ok")),
        with(&[Hash], case("plain", "elsewhere {ed}\n", "unknown")),
        with(&[Hash, Alias("node-7")], case("plain", "", "unknown")),
        // Short keys.
        with(&[MinRsaBits(4096)], case("rsa", "{name} {rsa}\n", "short")),
        with(&[MinRsaBits(3072)], case("rsa", "{name} {rsa}\n", "ok")),
        with(&[MinRsaBits(4096)], case("plain", "{name} {ed}\n", "ok")),
    ]
}

/// The sshds and keys of the matrix.
struct Fixture {
    sshds: Sshds,
    servers: Vec<Sshd>,
    /// The values of the placeholders for keys.
    keys: Vec<(&'static str, String)>,
    runtime: tokio::runtime::Runtime,
}

fn keygen(sshds: &Sshds, arguments: &[&str]) {
    let status = Command::new("ssh-keygen").current_dir(sshds.path("")).args(arguments).stdout(Stdio::null()).status();
    assert!(status.unwrap().success(), "ssh-keygen {arguments:?}");
}

impl Fixture {
    fn start() -> Self {
        let sshds = Sshds::new();
        let mut keys: Vec<(&'static str, String)> = Vec::new();
        for (word, name) in [("{ed}", "ed"), ("{ed2}", "ed2"), ("{other}", "other"), ("{ca}", "ca"), ("{ca2}", "ca2")] {
            keys.push((word, sshds.key(name)));
        }
        let others = [
            ("{rsa}", "rsa"),
            ("{rsa2}", "rsa"),
            ("{other-rsa}", "rsa"),
            ("{rsa-ca}", "rsa"),
            ("{ec}", "ecdsa"),
            ("{ec2}", "ecdsa"),
        ];
        for (word, kind) in others {
            let name = word.trim_matches(['{', '}']);
            keygen(&sshds, &["-q", "-t", kind, "-N", "", "-C", "", "-f", name]);
            keys.push((word, fs::read_to_string(sshds.path(&format!("{name}.pub"))).unwrap().trim().to_owned()));
        }
        let key = |name: &str| format!("HostKey {}", sshds.path(name).display());
        let mut servers = Vec::new();
        for (number, server) in (0..).zip(SERVERS) {
            let mut lines = if server == "rsa" { vec![key("rsa")] } else { ["ed", "rsa", "ec"].map(key).to_vec() };
            if !matches!(server, "plain" | "rsa") {
                let name = sshds.address(number).to_string();
                let certified = match server.split('-').nth(1).filter(|_| server.starts_with("two-")) {
                    Some(kind) => format!("{kind}2"),
                    None => "ed".to_owned(),
                };
                if certified != "ed" {
                    lines.push(key(&certified));
                }
                let ca = match server {
                    "other-ca" => "ca2",
                    "weak" => "rsa-ca",
                    _ => "ca",
                };
                let principals = match server {
                    "empty" => &[][..],
                    server if server.ends_with("principal") => &["-n", "node-7,elsewhere"],
                    "wildcard" => &["-n", "127.*"],
                    _ => &["-n", &name],
                };
                let more = match server {
                    server if server.ends_with("expired") => &["-V", "20200101000000Z:20210101000000Z"][..],
                    "future" => &["-V", "20900101000000Z:20910101000000Z"],
                    "option" => &["-O", "critical:made-up@example.org=1"],
                    "weak" => &["-t", "ssh-rsa"],
                    _ => &[],
                };
                let head = ["-q", "-h", "-s", ca, "-I", server, "-z", "7"];
                keygen(&sshds, &[&head[..], principals, more, &[&format!("{certified}.pub")]].concat());
                let certificate = sshds.path(&format!("{server}-cert.pub"));
                fs::rename(sshds.path(&format!("{certified}-cert.pub")), &certificate).unwrap();
                lines.push(format!("HostCertificate {}", certificate.display()));
            }
            servers.push(sshds.start(number, &lines));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { sshds, servers, keys, runtime }
    }

    /// A text of the matrix with the values for this server.
    fn text(&self, text: &str, server: &Sshd) -> String {
        let mut text = text.to_owned();
        for (word, key) in &self.keys {
            text = text.replace(word, key);
        }
        let (address, port) = (server.address.to_string(), self.sshds.port.to_string());
        text.replace("{name}", &format!("[{address}]:{port}")).replace("{bare}", &address).replace("{port}", &port)
    }

    /// Writes the files of a cell into their own directory.
    fn write(&self, case: &Case, server: &Sshd, directory: &str) -> [PathBuf; 3] {
        let directory = self.sshds.path(directory);
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        let mut number = 0;
        case.files.map(|text| {
            number += 1;
            let path = directory.join(format!("known_hosts{number}"));
            if text.is_empty() {
                return path;
            }
            fs::write(&path, self.text(text, server)).unwrap();
            if case.settings.iter().any(|setting| matches!(setting, Setting::Hashed)) {
                let status = Command::new("ssh-keygen")
                    .args(["-q", "-H", "-f"])
                    .arg(&path)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                assert!(status.unwrap().success());
            }
            path
        })
    }

    /// The file of revoked keys, if any.
    fn revoked(&self, case: &Case, server: &Sshd) -> Option<PathBuf> {
        let path = self.sshds.path("revoked");
        drop(fs::remove_file(&path));
        for setting in case.settings {
            match setting {
                Setting::RevokedMissing => return Some(path),
                Setting::Revoked(text) => {
                    fs::write(&path, self.text(text, server)).unwrap();
                    return Some(path);
                }
                Setting::Krl(text) => {
                    fs::write(self.sshds.path("spec"), self.text(text, server) + "\n").unwrap();
                    keygen(&self.sshds, &["-q", "-k", "-f", "revoked", "-s", "ca.pub", "spec"]);
                    return Some(path);
                }
                Setting::Alias(_) | Setting::Hash | Setting::Hashed | Setting::MinRsaBits(_) => {}
            }
        }
        None
    }

    /// Whether OpenSSH's client accepts the host, and its output.
    fn ssh(&self, case: &Case, server: &Sshd, files: &[PathBuf; 3], policy: HostKeyPolicy) -> (bool, String) {
        let mut command = Command::new("ssh");
        let policy = match policy {
            HostKeyPolicy::Strict | HostKeyPolicy::Ask => "yes",
            HostKeyPolicy::AcceptNew => "accept-new",
        };
        let [user, user2, global] = files.each_ref().map(|path| path.display().to_string());
        let mut options = vec![
            format!("StrictHostKeyChecking={policy}"),
            format!("UserKnownHostsFile={user} {user2}"),
            format!("GlobalKnownHostsFile={global}"),
            format!("IdentityFile={}", self.sshds.identity().display()),
        ];
        options.extend(["BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=30"].map(str::to_owned));
        options.extend(self.revoked(case, server).map(|path| format!("RevokedHostKeys={}", path.display())));
        for setting in case.settings {
            match setting {
                Setting::Alias(alias) => options.push(format!("HostKeyAlias={alias}")),
                Setting::Hash => options.push("HashKnownHosts=yes".to_owned()),
                Setting::MinRsaBits(bits) => options.push(format!("RequiredRSASize={bits}")),
                Setting::Hashed | Setting::Revoked(_) | Setting::Krl(_) | Setting::RevokedMissing => {}
            }
        }
        command.args(["-F", "none"]).args(options.iter().flat_map(|option| ["-o", option]));
        command.args(["-p", &self.sshds.port.to_string(), &format!("root@{}", server.address), "true"]);
        let finished = Running::start({
            command.stdin(Stdio::null());
            command
        })
        .finish();
        (finished.code() == Some(0), finished.stderr)
    }

    fn endpoint(&self, case: &Case, server: &Sshd, files: &[PathBuf; 3], policy: HostKeyPolicy) -> Endpoint {
        let [user, user2, global] = files.clone();
        let mut settings = HostKeySettings {
            user_files: vec![user, user2],
            global_files: vec![global],
            revoked: self.revoked(case, server).into_iter().collect(),
            alias: None,
            policy,
            hash_names: false,
            min_rsa_bits: 1024,
        };
        for setting in case.settings {
            match setting {
                Setting::Alias(alias) => settings.alias = Some((*alias).to_owned()),
                Setting::Hash => settings.hash_names = true,
                Setting::MinRsaBits(bits) => settings.min_rsa_bits = *bits,
                Setting::Hashed | Setting::Revoked(_) | Setting::Krl(_) | Setting::RevokedMissing => {}
            }
        }
        Endpoint {
            host: server.address.to_string(),
            port: self.sshds.port,
            family: AllowedFamilies::Any,
            bind: None,
            proxy: ProxyRoute::Direct,
            login: LoginSettings {
                user: "root".to_owned(),
                identities: vec![self.sshds.identity()],
                identities_named: true,
                certificates: Vec::new(),
                identities_only: true,
                agent: None,
                methods: vec![AuthMethod::PublicKey],
            },
            host_keys: Arc::new(settings),
            algorithms: Arc::new(AlgorithmLists::default()),
            keepalive: Keepalive { interval: Duration::from_secs(15), count: 3, when_idle: false },
            connect_timeout: Duration::from_secs(30),
            retries: 0,
            keep: None,
        }
    }

    /// The decision of the transport: a keyword, and the message.
    fn ours(&self, endpoint: &Endpoint) -> (&'static str, String) {
        let transport = SshTransport::new(RunSshSettings::default()).0;
        match self.runtime.block_on(transport.connect(endpoint)) {
            Ok(_) => ("ok", String::new()),
            Err(error) => (word(&error), error.to_string()),
        }
    }

    /// The decision of the program, if options can express the case: a keyword, and its output.
    fn program(&self, server: &Sshd, file: &PathBuf, policy: HostKeyPolicy) -> (String, String) {
        // A file named in an option must exist.
        if !file.exists() {
            fs::write(file, "").unwrap();
        }
        let inventory = self.sshds.path("inventory.yaml");
        let (address, port) = (server.address, self.sshds.port);
        let text = format!(
            "version: 1\ndefaults: {{port: {port}, user: root}}\nnodes:\n  n1: {{address: \"{address}\", roles: [analytics]}}\n"
        );
        fs::write(&inventory, text).unwrap();
        let policy = match policy {
            HostKeyPolicy::Strict | HostKeyPolicy::Ask => "strict",
            HostKeyPolicy::AcceptNew => "accept-new",
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.sshds.path("")).stdin(Stdio::null());
        command.args(["ping", "-o", "json", "--ssh-config", "none", "--host-key", policy, "--known-hosts"]).arg(file);
        command.arg("--identity").arg(self.sshds.identity()).arg("-i").arg(inventory);
        let finished = Running::start(command).finish();
        let kind = finished.result("n1")["failure"]["kind"].as_str().unwrap_or("ok").to_owned();
        let word = match kind.strip_prefix("host_key_") {
            Some(word) => word.to_owned(),
            // After the login there is no supervisord and no command runs, so these failures mean a successful login.
            None if ["supervisor_down", "command", "protocol", "ok"].contains(&kind.as_str()) => "ok".to_owned(),
            None => kind,
        };
        (word, finished.to_string())
    }
}

fn word(error: &TransportError) -> &'static str {
    let words = [
        (matches!(error, TransportError::HostKeyUnknown { .. }), "unknown"),
        (matches!(error, TransportError::HostKeyChanged { .. }), "changed"),
        (matches!(error, TransportError::HostKeyRevoked { .. }), "revoked"),
        (matches!(error, TransportError::HostKeyTooShort { .. }), "short"),
        (matches!(error, TransportError::RevokedKeys { .. }), "unreadable"),
    ];
    words.into_iter().find_map(|(is, word)| is.then_some(word)).unwrap_or("another error")
}

/// Every cell under both policies: `ctl` makes the same decision as OpenSSH, and leaves the same lines in the files.
/// Where `ctl` is stricter on purpose, the matrix says so, and OpenSSH must in fact be less strict.
#[test]
fn the_matrix() {
    let fixture = Fixture::start();
    let mut wrong = Vec::new();
    let (mut cells, mut differences, mut programs) = (0, 0, 0);
    for case in matrix() {
        let number = SERVERS.iter().position(|name| *name == case.server).unwrap();
        let server = &fixture.servers[number];
        for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
            cells += 1;
            let what = format!("{} {:?} {:?}", case.server, case.files, policy);
            let expected = match (case.expected, policy) {
                ("unknown", HostKeyPolicy::AcceptNew) => "ok",
                (expected, _) => expected,
            };
            let theirs = fixture.write(&case, server, "theirs");
            let (passes, said) = fixture.ssh(&case, server, &theirs, policy);
            let ours = fixture.write(&case, server, "ours");
            let (word, message) = fixture.ours(&fixture.endpoint(&case, server, &ours, policy));
            if word != expected {
                wrong.push(format!("{what}: expected {expected}, got {word}: {message}"));
            }
            // With accept-new both accept a host that is unknown because it has no valid certificate.
            let differs = case.stricter && word != "ok";
            differences += u32::from(differs);
            if passes != (word == "ok" || differs) {
                wrong.push(format!("{what}: ctl says {word} {message}, ssh says {said}"));
            }
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let (ours, theirs) = (fs::read_to_string(ours).ok(), fs::read_to_string(theirs).ok());
                // Each hash has a different salt.
                let hashes = case.settings.iter().any(|setting| matches!(setting, Setting::Hash | Setting::Hashed));
                let same = if hashes {
                    let ends = |text: Option<String>| -> Vec<String> {
                        let text = text.unwrap_or_default();
                        text.lines()
                            .map(|line| format!("{} {line}", line.starts_with("|1|")))
                            .map(|line| {
                                let words: Vec<&str> = line.split(' ').collect();
                                format!("{} {}", words[0], words[2..].join(" "))
                            })
                            .collect()
                    };
                    ends(ours.clone()) == ends(theirs.clone())
                } else {
                    ours == theirs
                };
                if !same && !case.stricter {
                    wrong.push(format!("{what}: ctl wrote {ours:?}, ssh wrote {theirs:?}"));
                }
            }
            let plain = case.settings.is_empty() && case.files[1].is_empty() && case.files[2].is_empty();
            if plain && (policy == HostKeyPolicy::Strict || word != case.expected) {
                programs += 1;
                let files = fixture.write(&case, server, "program");
                let (word, output) = fixture.program(server, &files[0], policy);
                if word != expected {
                    wrong.push(format!("{what}: expected {expected}, the program reports {word}\n{output}"));
                }
            }
        }
    }
    println!("{cells} cells, {differences} of them stricter than ssh; {programs} also with the program");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
