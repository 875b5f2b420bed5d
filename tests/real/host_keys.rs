//! Host keys: `ctl` decides as OpenSSH's own client does, case by case, against real sshds. The one difference that is
//! wanted, that a changed or revoked key is never accepted, shows in none of them: `ssh` accepts neither here.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bastion, Cluster, Instance, NodeSpec, Program, Running};

/// What becomes of a host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Accepted,
    Unknown,
    Changed,
    Revoked,
    /// Refused for another reason.
    Refused,
}

/// An sshd with keys of its own.
struct Host {
    sshd: Bastion,
    /// `kind blob` of its plain keys.
    keys: Vec<String>,
}

struct Bench {
    cluster: Cluster,
    dir: PathBuf,
}

impl Bench {
    fn start() -> Self {
        let spec = NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
        let cluster = Cluster::of(1, &spec);
        let dir = cluster.path("keys");
        fs::create_dir_all(&dir).unwrap();
        Self { cluster, dir }
    }

    fn keygen(&self, words: &[&str]) {
        let output = Command::new("ssh-keygen").arg("-q").args(words).current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes a key; `kind blob` of it.
    fn key(&self, name: &str, kind: &str) -> String {
        self.keygen(&["-t", kind, "-N", "", "-C", "", "-f", name]);
        self.public(name)
    }

    fn public(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// A host with keys of these kinds. `certify` are further words for ssh-keygen, with which an authority signs each.
    fn host(&self, number: u8, kinds: &[&str], certify: Option<&[&str]>) -> Host {
        let mut settings = String::new();
        let mut keys = Vec::new();
        for kind in kinds {
            let name = format!("host{number}-{kind}");
            keys.push(self.key(&name, kind));
            writeln!(settings, "HostKey {}/{name}", self.dir.display()).unwrap();
            if let Some(words) = certify {
                let public = format!("{name}.pub");
                let mut all = vec!["-h", "-I", "host"];
                all.extend(words);
                all.push(&public);
                self.keygen(&all);
                writeln!(settings, "HostCertificate {}/{name}-cert.pub", self.dir.display()).unwrap();
            }
        }
        Host { sshd: self.cluster.bare_sshd(number, &settings), keys }
    }

    /// What both clients make of a host, and what they add to the operator's known_hosts.
    fn decide(&self, host: &Host, known: &str, global: &str, settings: &str, checking: &str) -> [(Decision, usize); 2] {
        [false, true].map(|ours| {
            let user_file = self.dir.join("user_known_hosts");
            let global_file = self.dir.join("global_known_hosts");
            fs::write(&user_file, known).unwrap();
            fs::write(&global_file, global).unwrap();
            let config = self.dir.join("ssh_config");
            let text = format!(
                "Host target\n  HostName {}\n  Port {}\n  User root\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile {}\n  \
                 IdentityFile {}/.ssh/id_ed25519\n  StrictHostKeyChecking {checking}\n  UpdateHostKeys no\n{settings}\n",
                host.sshd.address(),
                host.sshd.endpoint.port(),
                user_file.display(),
                global_file.display(),
                self.cluster.home().display(),
            );
            fs::write(&config, text).unwrap();
            let decision = if ours { self.ctl(&config) } else { self.ssh(&config) };
            let lines = |text: &str| text.lines().count();
            (decision, lines(&fs::read_to_string(&user_file).unwrap()) - lines(known))
        })
    }

    fn ssh(&self, config: &Path) -> Decision {
        let mut command = Command::new("ssh");
        self.cluster.environment(&mut command);
        command.arg("-F").arg(config).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "target", "true"]);
        let ended = Running::start(command).finish();
        let said = &ended.stderr;
        match ended.code() {
            Some(0) => Decision::Accepted,
            _ if said.contains("REVOKED HOST KEY") || said.contains("revoked by file") => Decision::Revoked,
            _ if said.contains("HOST IDENTIFICATION HAS CHANGED") => Decision::Changed,
            _ if said.contains("host key is known for") => Decision::Unknown,
            _ => Decision::Refused,
        }
    }

    fn ctl(&self, config: &Path) -> Decision {
        let inventory = self.dir.join("inventory.yaml");
        fs::write(&inventory, "version: 1\nnodes:\n  target: {roles: [analytics]}\n").unwrap();
        let line = format!("ping -i {} --ssh-config {} -o json", inventory.display(), config.display());
        let ended = self.cluster.ctl(&line);
        let result = ended.results().remove(0);
        let failure = &result["failure"];
        let message = failure["message"].as_str().unwrap_or_default();
        match failure["kind"].as_str() {
            // Nothing that would be asked for runs there: the login is what counts.
            Some("supervisor_missing" | "supervisor_down") | None => Decision::Accepted,
            Some("host_key_unknown") if message.contains("is not known") => {
                assert!(message.contains("SHA256:"), "{ended}");
                Decision::Unknown
            }
            Some("host_key_changed") => {
                assert!(message.contains("known_hosts:") && message.contains("SHA256:"), "{ended}");
                Decision::Changed
            }
            Some("host_key_revoked") => {
                assert!(message.contains("SHA256:"), "{ended}");
                Decision::Revoked
            }
            Some("host_key_unknown") => Decision::Refused,
            _ => panic!("{ended}"),
        }
    }
}

#[test]
fn the_same_decisions_as_ssh() {
    let bench = Bench::start();
    let ca = bench.key("ca", "ed25519");
    let rsa_ca = bench.key("rsa-ca", "rsa");
    let other_ca = bench.key("other-ca", "ed25519");
    let stranger = bench.key("stranger", "ed25519");
    let stranger_rsa = bench.key("stranger-rsa", "rsa");

    let plain = bench.host(1, &["ed25519"], None);
    let both = bench.host(2, &["ed25519", "rsa", "ecdsa"], None);
    // Certificates are for this name: the address that one connects to.
    let [address, second, third, fourth, fifth, sixth] =
        [3, 4, 5, 6, 7, 8].map(|n| bench.cluster.bare_address(n).to_string());
    let good = bench.host(3, &["ed25519"], Some(&["-s", "ca", "-n", &address, "-V", "-1d:+1d"]));
    let expired = bench.host(4, &["ed25519"], Some(&["-s", "ca", "-n", &second, "-V", "-2d:-1d"]));
    let elsewhere = bench.host(5, &["ed25519"], Some(&["-s", "ca", "-n", "other.example", "-V", "-1d:+1d"]));
    let strange = bench.host(6, &["ed25519"], Some(&["-s", "other-ca", "-n", &fourth, "-V", "-1d:+1d"]));
    let several =
        bench.host(7, &["rsa", "ecdsa"], Some(&["-s", "rsa-ca", "-n", &format!("web,{fifth}"), "-V", "-1d:+1d"]));
    let future = bench.host(8, &["ed25519"], Some(&["-s", "ca", "-n", &sixth, "-V", "+1d:+2d"]));
    drop((second, third, fourth, fifth, sixth));

    let name = |host: &Host| format!("[{}]:{}", host.sshd.address(), host.sshd.endpoint.port());
    let hashed = |name: &str, key: &str| {
        fs::write(bench.dir.join("to-hash"), format!("{name} {key}\n")).unwrap();
        bench.keygen(&["-H", "-f", "to-hash"]);
        fs::read_to_string(bench.dir.join("to-hash")).unwrap()
    };
    let revoked_file = |name: &str, text: &str| {
        fs::write(bench.dir.join(name), text).unwrap();
        format!("  RevokedHostKeys {}/{name}", bench.dir.display())
    };
    bench.keygen(&["-k", "-f", "krl", "host1-ed25519.pub"]);
    bench.keygen(&["-k", "-f", "krl-ca", "ca.pub"]);
    let in_dir = |keyword: &str, name: &str| format!("  {keyword} {}/{name}", bench.dir.display());

    // The host, the operator's file, the machine's, further settings.
    let mut cases: Vec<(&str, &Host, String, String, String)> = Vec::new();
    let none = String::new;
    let (p, b) = (&plain, &both);
    cases.push(("known", p, format!("{} {}\n", name(p), p.keys[0]), none(), none()));
    cases.push(("unknown", p, none(), none(), none()));
    cases.push(("only others are known", p, format!("elsewhere {}\n", p.keys[0]), none(), none()));
    cases.push(("changed", p, format!("{} {stranger}\n", name(p)), none(), none()));
    cases.push(("another type is known", p, format!("{} {stranger_rsa}\n", name(p)), none(), none()));
    cases.push(("rotated: two keys", p, format!("{0} {stranger}\n{0} {1}\n", name(p), p.keys[0]), none(), none()));
    cases.push(("revoked", p, format!("{0} {1}\n@revoked * {1}\n", name(p), p.keys[0]), none(), none()));
    cases.push(("revoked and not known", p, format!("@revoked {} {}\n", name(p), p.keys[0]), none(), none()));
    cases.push((
        "another is revoked",
        p,
        format!("{} {}\n@revoked * {stranger}\n", name(p), p.keys[0]),
        none(),
        none(),
    ));
    cases.push(("hashed", p, hashed(&name(p), &p.keys[0]), none(), none()));
    cases.push(("hashed and changed", p, hashed(&name(p), &stranger), none(), none()));
    cases.push(("bare name", p, format!("{} {}\n", p.sshd.address(), p.keys[0]), none(), none()));
    cases.push(("bare name, another key", p, format!("{} {stranger}\n", p.sshd.address()), none(), none()));
    cases.push(("bare name, hashed", p, hashed(&p.sshd.address().to_string(), &p.keys[0]), none(), none()));
    cases.push(("wildcard", p, format!("[127.*]:{} {}\n", p.sshd.endpoint.port(), p.keys[0]), none(), none()));
    cases.push(("negated", p, format!("*,!{} {}\n", name(p), p.keys[0]), none(), none()));
    cases.push(("list with tabs", p, format!("x,{}\t{}\n", name(p), p.keys[0]), none(), none()));
    cases.push(("the machine's file", p, none(), format!("{} {}\n", name(p), p.keys[0]), none()));
    cases.push(("changed in the machine's file", p, none(), format!("{} {stranger}\n", name(p)), none()));
    cases.push((
        "a bad line before",
        p,
        format!("{0} ssh-ed25519 AAAA\n{0} {1}\n", name(p), p.keys[0]),
        none(),
        none(),
    ));
    cases.push(("alias", p, format!("the-alias {}\n", p.keys[0]), none(), "  HostKeyAlias the-alias".to_owned()));
    cases.push((
        "alias in capitals",
        p,
        format!("the-alias {}\n", p.keys[0]),
        none(),
        "  HostKeyAlias The-Alias".to_owned(),
    ));
    cases.push((
        "alias unknown",
        p,
        format!("{} {}\n", name(p), p.keys[0]),
        none(),
        "  HostKeyAlias the-alias".to_owned(),
    ));
    cases.push(("alias changed", p, format!("the-alias {stranger}\n"), none(), "  HostKeyAlias the-alias".to_owned()));
    cases.push(("hashed when written", p, none(), none(), "  HashKnownHosts yes".to_owned()));
    cases.push((
        "a file that revokes it",
        p,
        format!("{} {}\n", name(p), p.keys[0]),
        none(),
        revoked_file("revoked", &p.keys[0]),
    ));
    cases.push((
        "a file that revokes another",
        p,
        format!("{} {}\n", name(p), p.keys[0]),
        none(),
        revoked_file("revoked-2", &stranger),
    ));
    cases.push((
        "a list that revokes it",
        p,
        format!("{} {}\n", name(p), p.keys[0]),
        none(),
        in_dir("RevokedHostKeys", "krl"),
    ));
    cases.push((
        "a list that is missing",
        p,
        format!("{} {}\n", name(p), p.keys[0]),
        none(),
        in_dir("RevokedHostKeys", "none"),
    ));
    for (what, key) in [("ed25519", 0), ("rsa", 1), ("ecdsa", 2)] {
        cases.push((what, b, format!("{} {}\n", name(b), b.keys[key]), none(), none()));
    }
    cases.push(("its rsa key has changed", b, format!("{} {stranger_rsa}\n", name(b)), none(), none()));
    cases.push((
        "only rsa may be shown",
        b,
        format!("{} {}\n", name(b), b.keys[0]),
        none(),
        "  HostKeyAlgorithms rsa-sha2-512".to_owned(),
    ));
    for (what, host, ca) in [
        ("certificate", &good, &ca),
        ("certificate, expired", &expired, &ca),
        ("certificate, not yet valid", &future, &ca),
        ("certificate for another", &elsewhere, &ca),
        ("certificate of another authority", &strange, &ca),
        ("certificate of an RSA authority", &several, &rsa_ca),
    ] {
        cases.push((what, host, format!("@cert-authority {} {ca}\n", name(host)), none(), none()));
        cases.push((what, host, format!("@cert-authority * {ca}\n{} {}\n", name(host), host.keys[0]), none(), none()));
    }
    cases.push((
        "two authorities",
        &good,
        format!("@cert-authority * {other_ca}\n@cert-authority * {ca}\n"),
        none(),
        none(),
    ));
    cases.push(("the machine's authority", &good, none(), format!("@cert-authority * {ca}\n"), none()));
    cases.push(("authority for another host", &good, format!("@cert-authority other {ca}\n"), none(), none()));
    cases.push(("revoked authority", &good, format!("@cert-authority * {ca}\n@revoked * {ca}\n"), none(), none()));
    cases.push((
        "revoked key in a certificate",
        &good,
        format!("@cert-authority * {ca}\n@revoked * {}\n", good.keys[0]),
        none(),
        none(),
    ));
    cases.push((
        "a list that revokes the authority",
        &good,
        format!("@cert-authority * {ca}\n"),
        none(),
        in_dir("RevokedHostKeys", "krl-ca"),
    ));
    cases.push(("an authority is no host key", &good, format!("{} {ca}\n", name(&good)), none(), none()));
    cases.push((
        "certificate, alias",
        &several,
        format!("@cert-authority web {rsa_ca}\n"),
        none(),
        "  HostKeyAlias web".to_owned(),
    ));
    cases.push((
        "certificate, alias that it is not for",
        &good,
        format!("@cert-authority * {ca}\n"),
        none(),
        "  HostKeyAlias web".to_owned(),
    ));
    cases.push((
        "authority of the bare name",
        &good,
        format!("@cert-authority {} {ca}\n", good.sshd.address()),
        none(),
        none(),
    ));

    let mut wrong = String::new();
    let mut table = String::new();
    for (what, host, known, global, settings) in &cases {
        for checking in ["yes", "accept-new"] {
            let [ssh, ctl] = bench.decide(host, known, global, settings, checking);
            writeln!(table, "{what:40} {checking:10} {:?} {}", ssh.0, ssh.1).unwrap();
            if ssh != ctl {
                writeln!(wrong, "{what}, {checking}: ssh {ssh:?}, ctl {ctl:?}\n{known}{global}{settings}").unwrap();
            }
        }
    }
    println!("{} cases, each strict and accept-new\n{table}", cases.len());
    assert!(wrong.is_empty(), "{wrong}");
    // All decisions are among them.
    for decision in ["Accepted 0", "Accepted 1", "Unknown", "Changed", "Revoked", "Refused"] {
        assert!(table.contains(decision), "{decision} never came\n{table}");
    }
}
