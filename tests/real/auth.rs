//! Logins against OpenSSH's server and agent: the credentials that work, and the errors when none does.
//!
//! Most tests use the transport directly, without the command line.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contrail_ctl::event::{Failure, FailureKind};
use contrail_ctl::transport::{
    AlgorithmLists, AllowedFamilies, AuthMethod, Endpoint, HostKeyPolicy, HostKeySettings, Keepalive, LoginSettings,
    ProxyRoute, RunSshSettings, Session as _, SshTransport, Transport as _, TransportError, UnlockError,
};
use russh::keys::signature::Signer as _;
use russh::keys::{HashAlg, PrivateKey, load_secret_key};
use secrecy::SecretString;

use crate::harness::{Cluster, Node, NodeSpec, Running, listening};

const ALL: [AuthMethod; 3] = [AuthMethod::PublicKey, AuthMethod::KeyboardInteractive, AuthMethod::Password];

/// A node that needs only sshd.
fn one(spec: NodeSpec) -> Cluster {
    Cluster::builder().node("a1", spec).start()
}

fn with_keys() -> NodeSpec {
    NodeSpec::default().sshd("TrustedUserCAKeys /etc/ssh/user_ca")
}

/// `password` only, or with `UsePAM yes` the prompts of PAM.
fn with_passwords(more: &[&str]) -> NodeSpec {
    more.iter().fold(NodeSpec::default(), |spec, line| spec.sshd(line)).sshd("PermitRootLogin yes")
}

/// Gives `ctlops` a password.
fn set_password(node: &Node, password: &str) {
    node.sh(&format!("echo 'ctlops:{password}' | chpasswd"));
    // The minimum, because Debian's own file may not work in a namespace.
    let pam = "auth required pam_unix.so\naccount required pam_unix.so\npassword required pam_unix.so\n\
               session required pam_permit.so\n";
    fs::write(node.inside("/etc/pam.d/sshd"), pam).unwrap();
}

fn login(user: &str, identities: &[&Path]) -> LoginSettings {
    LoginSettings {
        user: user.to_owned(),
        identities: identities.iter().map(|path| path.to_path_buf()).collect(),
        identities_named: true,
        certificates: Vec::new(),
        identities_only: false,
        agent: None,
        methods: ALL.to_vec(),
    }
}

fn endpoint(cluster: &Cluster, login: LoginSettings) -> Endpoint {
    let address = cluster.node("a1").endpoint;
    Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        family: AllowedFamilies::Any,
        bind: None,
        proxy: ProxyRoute::Direct,
        login,
        host_keys: Arc::new(HostKeySettings {
            user_files: vec![cluster.home().join(".ssh/known_hosts")],
            global_files: Vec::new(),
            revoked: Vec::new(),
            alias: None,
            policy: HostKeyPolicy::Strict,
            hash_names: false,
            min_rsa_bits: 1024,
        }),
        algorithms: Arc::default(),
        keepalive: Keepalive { interval: Duration::ZERO, count: 0, when_idle: false },
        connect_timeout: Duration::from_secs(30),
        retries: 0,
        keep: None,
    }
}

fn transport(password: Option<&str>) -> SshTransport {
    SshTransport::new(RunSshSettings { password: password.map(SecretString::from) }).0
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The user name on the node after a login.
async fn who(transport: &SshTransport, endpoint: &Endpoint) -> Result<String, TransportError> {
    let session = transport.connect(endpoint).await?;
    Ok(session.exec("id -un", 100, |_| false).await?.stdout.trim().to_owned())
}

#[track_caller]
fn let_in(cluster: &Cluster, login: LoginSettings) {
    let user = login.user.clone();
    let endpoint = endpoint(cluster, login);
    let is = block_on(who(&transport(None), &endpoint));
    assert_eq!(is.as_deref(), Ok(user.as_str()), "{}", cluster.node("a1").sshd_log());
}

#[track_caller]
fn refused(transport: &SshTransport, endpoint: &Endpoint) -> Failure {
    let began = Instant::now();
    let error = block_on(who(transport, endpoint)).expect_err("no login");
    // The margin is for a busy machine; a real hang never ends.
    assert!(began.elapsed() < endpoint.connect_timeout + Duration::from_secs(20));
    let failure = error.failure();
    assert!(failure.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{error}");
    println!("{:?}: {}\n  {:?}", failure.kind, failure.message, failure.hint);
    failure
}

#[track_caller]
fn says(failure: &Failure, kind: FailureKind, message: &[&str], hint: &str) {
    assert_eq!(failure.kind, kind, "{failure:?}");
    for part in message {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
    assert!(failure.hint.as_ref().is_some_and(|told| told.contains(hint)), "{hint}: {failure:?}");
}

fn run(command: &str, words: &[&str]) {
    let output = Command::new(command).args(words).output().unwrap();
    assert!(output.status.success(), "{command} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a key with additional arguments for `ssh-keygen`, and adds it to the node's authorized_keys if `known`.
fn make_key(cluster: &Cluster, name: &str, words: &[&str], known: bool) -> PathBuf {
    let path = cluster.path(name);
    let mut all = vec!["-q", "-C", name, "-f", path.to_str().unwrap()];
    all.extend(words);
    if !words.contains(&"-N") {
        all.extend(["-N", ""]);
    }
    run("ssh-keygen", &all);
    if known {
        take(cluster, &public(&path));
    }
    path
}

fn public(key: &Path) -> String {
    fs::read_to_string(format!("{}.pub", key.display())).unwrap()
}

/// Adds a line to authorized_keys.
fn take(cluster: &Cluster, line: &str) {
    let file = cluster.node("a1").inside("/etc/ssh/authorized_keys");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{known}\n{line}\n")).unwrap();
}

/// Signs a key with an authority that the node trusts; the certificate is next to the key.
fn certify(cluster: &Cluster, key: &Path, words: &[&str]) -> PathBuf {
    let authority = cluster.path("authority");
    if !authority.exists() {
        make_key(cluster, "authority", &["-t", "ed25519"], false);
        fs::write(cluster.node("a1").inside("/etc/ssh/user_ca"), public(&authority)).unwrap();
    }
    let mut all = vec!["-q", "-s", authority.to_str().unwrap(), "-I", "test", "-n", "root"];
    all.extend(words);
    let public = format!("{}.pub", key.display());
    all.push(&public);
    run("ssh-keygen", &all);
    PathBuf::from(format!("{}-cert.pub", key.display()))
}

/// A separate ssh-agent.
struct Agent {
    socket: PathBuf,
    running: Running,
}

impl Agent {
    fn start(cluster: &Cluster, name: &str) -> Self {
        let socket = cluster.path(name);
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket);
        let running = Running::start(command);
        listening("the agent", &socket);
        Self { socket, running }
    }

    fn add(&self, key: &Path) {
        let output = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).output().unwrap();
        assert!(output.status.success(), "ssh-add: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn login(&self, user: &str, identities: &[&Path]) -> LoginSettings {
        LoginSettings { agent: Some(self.socket.clone()), ..login(user, identities) }
    }
}

/// A security key, and the agent for it: it signs like a FIDO key, with a key from a file.
struct Device {
    key: PrivateKey,
    blob: Vec<u8>,
}

const SK: &[u8] = b"sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";

fn put(list: &mut Vec<u8>, string: &[u8]) {
    list.extend(u32::try_from(string.len()).unwrap().to_be_bytes());
    list.extend(string);
}

fn get<'a>(list: &mut &'a [u8]) -> &'a [u8] {
    let (length, rest) = list.split_first_chunk::<4>().unwrap();
    let (string, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *list = rest;
    string
}

impl Device {
    fn new(file: &Path) -> Self {
        let key = load_secret_key(file, None).unwrap();
        let mut blob = Vec::new();
        put(&mut blob, SK);
        put(&mut blob, &key.public_key().key_data().ed25519().unwrap().0);
        put(&mut blob, APPLICATION);
        Self { key, blob }
    }

    /// Its line of authorized_keys.
    fn authorized(&self) -> String {
        russh::keys::PublicKey::from_bytes(&self.blob).unwrap().to_openssh().unwrap()
    }

    /// Answers requests until the test ends.
    fn serve(self, door: UnixListener) {
        std::thread::spawn(move || {
            for stream in door.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 4];
                while stream.read_exact(&mut length).is_ok() {
                    let mut request = vec![0; u32::from_be_bytes(length) as usize];
                    stream.read_exact(&mut request).unwrap();
                    let mut framed = Vec::new();
                    put(&mut framed, &self.answer(&request));
                    stream.write_all(&framed).unwrap();
                }
            }
        });
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        match request[0] {
            11 => {
                let mut answer = vec![12, 0, 0, 0, 1];
                put(&mut answer, &self.blob);
                put(&mut answer, b"device");
                answer
            }
            13 => {
                let mut rest = &request[1..];
                assert_eq!(get(&mut rest), self.blob);
                // Touched, with signature counter 7.
                let touched = [1, 0, 0, 0, 7];
                let hash = |data: &[u8]| HashAlg::Sha256.digest(data);
                let signed = [&hash(APPLICATION)[..], &touched, &hash(get(&mut rest))].concat();
                let mut signature = Vec::new();
                put(&mut signature, SK);
                put(&mut signature, self.key.try_sign(&signed).unwrap().as_bytes());
                signature.extend(touched);
                let mut answer = vec![14];
                put(&mut answer, &signature);
                answer
            }
            _ => vec![5],
        }
    }
}

const KINDS: [(&str, &[&str]); 6] = [
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa2048", &["-t", "rsa", "-b", "2048"]),
    ("rsa3072", &["-t", "rsa", "-b", "3072"]),
];

#[test]
fn every_kind_of_key_in_every_format() {
    let cluster = one(with_keys());
    for (kind, words) in KINDS {
        // ssh-keygen writes ed25519 only in its own format.
        let formats: &[&str] = if kind == "ed25519" { &["RFC4716"] } else { &["RFC4716", "PEM", "PKCS8"] };
        for format in formats {
            let key = make_key(&cluster, &format!("{kind}-{format}"), &[words, &["-m", format]].concat(), true);
            println!("{}", key.display());
            let_in(&cluster, login("root", &[&key]));
        }
    }
}

#[test]
fn encrypted_keys() {
    let cluster = one(with_keys());
    for (kind, words) in [KINDS[0], KINDS[1], KINDS[4]] {
        let formats: &[&str] = if kind == "ed25519" { &["RFC4716"] } else { &["RFC4716", "PEM", "PKCS8"] };
        for format in formats {
            let name = format!("{kind}-{format}");
            let words = [words, &["-m", format, "-N", "right words"]].concat();
            let key = make_key(&cluster, &name, &words, true);
            println!("{}", key.display());
            let endpoint = endpoint(&cluster, login("root", &[&key]));

            let transport = transport(None);
            assert_eq!(
                block_on(transport.locked_identities([&endpoint, &endpoint].into_iter())),
                std::slice::from_ref(&key)
            );
            says(
                &refused(&transport, &endpoint),
                FailureKind::KeyFile,
                &[&name, "is encrypted and no passphrase was given"],
                "ssh-add",
            );
            let wrong = block_on(transport.unlock(&key, "wrong words".into()));
            assert_eq!(wrong, Err(UnlockError::WrongPassphrase { file: key.clone() }));
            says(&refused(&transport, &endpoint), FailureKind::KeyFile, &["the passphrase was wrong"], "ssh-add");
            assert_eq!(block_on(transport.unlock(&key, "right words".into())), Ok(()));
            assert_eq!(block_on(transport.locked_identities([&endpoint].into_iter())), [""; 0].map(PathBuf::from));
            assert_eq!(block_on(who(&transport, &endpoint)).as_deref(), Ok("root"));
        }
    }
}

#[test]
fn an_encrypted_key_that_the_agent_holds() {
    let cluster = one(with_keys());
    let key = make_key(&cluster, "plain", &["-t", "ed25519"], true);
    let agent = Agent::start(&cluster, "agent");
    agent.add(&key);
    run("ssh-keygen", &["-q", "-p", "-N", "words", "-f", key.to_str().unwrap()]);
    let endpoint = endpoint(&cluster, agent.login("root", &[&key]));
    let unasked = transport(None);
    assert!(block_on(unasked.locked_identities([&endpoint].into_iter())).is_empty());
    assert_eq!(block_on(who(&unasked, &endpoint)).as_deref(), Ok("root"));
    // The private key file may be missing, or IdentityFile may name the public key.
    fs::rename(&key, cluster.path("away")).unwrap();
    let_in(&cluster, LoginSettings { identities_only: true, ..agent.login("root", &[&key]) });
    let_in(&cluster, LoginSettings { identities_only: true, ..agent.login("root", &[&cluster.path("plain.pub")]) });
    let failure = refused(&transport(None), &self::endpoint(&cluster, login("root", &[&cluster.path("plain.pub")])));
    says(&failure, FailureKind::KeyFile, &["plain.pub is a public key"], "ssh-add");
}

#[test]
fn certificates() {
    let cluster = one(with_keys());
    let agent = Agent::start(&cluster, "agent");
    for (kind, words) in KINDS {
        let key = make_key(&cluster, kind, words, false);
        let certificate = certify(&cluster, &key, &[]);
        println!("{kind}");
        // A certificate next to the key, named explicitly, and with the private key only in the agent.
        let_in(&cluster, login("root", &[&key]));
        let elsewhere = cluster.path(&format!("{kind}.certificate"));
        fs::rename(&certificate, &elsewhere).unwrap();
        let named = LoginSettings { certificates: vec![elsewhere.clone()], ..login("root", &[&key]) };
        let_in(&cluster, named.clone());
        agent.add(&key);
        let only = LoginSettings { identities: Vec::new(), identities_only: true, ..agent.login("root", &[]) };
        let_in(&cluster, LoginSettings { certificates: vec![elsewhere], ..only });
    }
    let log = cluster.node("a1").sshd_log();
    assert!(log.contains("Accepted publickey for root") && log.contains("RSA-CERT"), "{log}");
}

/// OpenSSH's regress test `multipubkey`: what `IdentityFile` and `CertificateFile` offer if the public key next to a
/// private key is a certificate. `ssh` must decide the same each time.
#[test]
fn a_certificate_in_the_place_of_the_public_key() {
    let cluster = one(with_keys());
    for (kind, words) in [KINDS[0], KINDS[1], KINDS[4]] {
        let key = make_key(&cluster, kind, words, false);
        let plain = public(&key);
        let certificate = fs::read_to_string(certify(&cluster, &key, &[])).unwrap();
        let expired = fs::read_to_string(certify(&cluster, &key, &["-V", "20200101:20200102"])).unwrap();
        let (beside, cert_beside, elsewhere) =
            (suffixed(&key, ".pub"), suffixed(&key, "-cert.pub"), suffixed(&key, ".cert"));
        let (plain, good, old) = (Some(&plain), Some(&certificate), Some(&expired));
        for (number, (public, cert, named, passes)) in [
            (good, None, None, true),
            (good, old, None, true),
            (good, good, None, true),
            (good, None, old, true),
            (plain, None, None, false),
            (plain, good, None, true),
            (plain, good, old, false),
            (plain, None, good, true),
            (old, None, None, false),
            (old, good, None, true),
            (None, good, None, true),
        ]
        .into_iter()
        .enumerate()
        {
            for (path, text) in [(&beside, public), (&cert_beside, cert), (&elsewhere, named)] {
                drop(fs::remove_file(path));
                if let Some(text) = text {
                    fs::write(path, text).unwrap();
                }
            }
            let certificates = named.iter().map(|_| elsewhere.clone()).collect();
            let login = LoginSettings { certificates, identities_only: true, ..login("root", &[&key]) };
            let ours = block_on(who(&transport(None), &endpoint(&cluster, login)));
            assert_eq!(ours.is_ok(), passes, "{kind} {number}: {ours:?}");

            let mut ssh = Command::new("ssh");
            let address = cluster.node("a1").endpoint;
            cluster.environment(&mut ssh);
            ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"]).arg(&key);
            ssh.args(["-p", &address.port().to_string(), "-o"]);
            ssh.arg(format!("UserKnownHostsFile={}", cluster.home().join(".ssh/known_hosts").display()));
            if named.is_some() {
                ssh.arg("-o").arg(format!("CertificateFile={}", elsewhere.display()));
            }
            ssh.args([&format!("root@{}", address.ip()), "true"]);
            let theirs = Running::start(ssh).finish();
            assert_eq!(theirs.code() == Some(0), passes, "{kind} {number}: {theirs}");
        }
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn certificates_in_the_agent() {
    let cluster = one(with_keys());
    for (kind, words) in [KINDS[0], KINDS[1], KINDS[4]] {
        let key = make_key(&cluster, kind, words, false);
        certify(&cluster, &key, &[]);
        let agent = Agent::start(&cluster, &format!("agent-{kind}"));
        agent.add(&key);
        println!("{kind}");
        let_in(&cluster, agent.login("root", &[]));
    }
}

#[test]
fn a_certificate_that_does_not_hold_now() {
    let cluster = one(with_keys());
    let key = make_key(&cluster, "key", &["-t", "ed25519"], false);
    for (validity, said) in
        [("20200101:20200102", "has expired: valid from 20"), ("20900101:20900102", "not yet valid: valid from 20")]
    {
        certify(&cluster, &key, &["-V", validity]);
        let failure = refused(&transport(None), &endpoint(&cluster, login("root", &[&key])));
        says(&failure, FailureKind::KeyFile, &["key-cert.pub", said], "signed again");
    }
    // The certificate is not offered. The key is, and is accepted where it is known.
    take(&cluster, &public(&key));
    let_in(&cluster, login("root", &[&key]));
    assert!(!cluster.node("a1").sshd_log().contains("CERT"), "{}", cluster.node("a1").sshd_log());
    // A certificate in the agent is not offered either.
    let stranger = make_key(&cluster, "stranger", &["-t", "ed25519"], false);
    certify(&cluster, &stranger, &["-V", "20200101:20200102"]);
    let agent = Agent::start(&cluster, "agent");
    agent.add(&stranger);
    let failure = refused(&transport(None), &endpoint(&cluster, agent.login("root", &[&stranger])));
    says(&failure, FailureKind::KeyFile, &["has expired"], "signed again");
}

#[test]
fn an_agent_of_many_keys() {
    let cluster = one(with_keys());
    let agent = Agent::start(&cluster, "agent");
    let keys: Vec<_> =
        (1..=8).map(|number| make_key(&cluster, &format!("k{number}"), &["-t", "ed25519"], number == 8)).collect();
    for key in &keys {
        agent.add(key);
    }
    let failure = refused(&transport(None), &endpoint(&cluster, agent.login("root", &[])));
    says(&failure, FailureKind::Auth, &["too many keys were refused", "agent key k1", "k6"], "IdentitiesOnly");
    // A named key is offered first, with or without the others after it.
    let last = keys.last().unwrap();
    let_in(&cluster, agent.login("root", &[last]));
    let_in(&cluster, LoginSettings { identities_only: true, ..agent.login("root", &[last]) });
    let_in(&cluster, LoginSettings { identities_named: false, identities_only: true, ..agent.login("root", &[last]) });
    let elsewhere = make_key(&cluster, "file", &["-t", "ed25519"], true);
    let_in(&cluster, agent.login("root", &[&elsewhere]));
}

#[test]
fn many_logins_by_one_agent() {
    let cluster = one(with_keys().sshd("MaxStartups 200:30:400"));
    let agent = Agent::start(&cluster, "agent");
    agent.add(&make_key(&cluster, "key", &["-t", "ed25519"], true));
    let endpoint = endpoint(&cluster, agent.login("root", &[]));
    let transport = transport(None);
    let logins = async {
        let mut logins = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (transport, endpoint) = (transport.clone(), endpoint.clone());
            logins.spawn(async move { who(&transport, &endpoint).await });
        }
        logins.join_all().await
    };
    for login in block_on(logins) {
        assert_eq!(login.as_deref(), Ok("root"));
    }
}

#[test]
fn an_agent_that_fails() {
    let cluster = one(with_keys());
    let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
    let agent = Agent::start(&cluster, "agent");
    agent.add(&key);
    let quick =
        |login: LoginSettings| Endpoint { connect_timeout: Duration::from_secs(4), ..endpoint(&cluster, login) };

    // The agent listed the key, and hangs when it should sign.
    let halted = transport(None);
    assert_eq!(block_on(who(&halted, &quick(agent.login("root", &[])))).as_deref(), Ok("root"));
    agent.running.signal("STOP");
    let failure = refused(&halted, &quick(agent.login("root", &[])));
    says(&failure, FailureKind::Agent, &["no answer from"], "ssh-add -l");
    // The agent hangs from the start. A key file still works.
    says(
        &refused(&transport(None), &quick(agent.login("root", &[]))),
        FailureKind::Agent,
        &["no answer from"],
        "ssh-add -l",
    );
    assert_eq!(block_on(who(&transport(None), &quick(agent.login("root", &[&key])))).as_deref(), Ok("root"));
    agent.running.signal("CONT");

    let gone = agent.login("root", &[]);
    drop(agent);
    let failure = refused(&transport(None), &endpoint(&cluster, gone.clone()));
    says(&failure, FailureKind::Agent, &["the agent has exited"], "SSH_AUTH_SOCK");
    let nowhere = LoginSettings { agent: Some(cluster.path("nowhere")), ..gone.clone() };
    says(
        &refused(&transport(None), &endpoint(&cluster, nowhere)),
        FailureKind::Agent,
        &["does not exist"],
        "SSH_AUTH_SOCK",
    );
    // Refused default keys do not hide the agent's problem; refused named keys do.
    let stranger = make_key(&cluster, "stranger", &["-t", "ed25519"], false);
    let by_default = LoginSettings { identities: vec![stranger.clone()], identities_named: false, ..gone.clone() };
    says(
        &refused(&transport(None), &endpoint(&cluster, by_default)),
        FailureKind::Agent,
        &["stranger", "refused"],
        "ssh-add",
    );
    let named = LoginSettings { identities: vec![stranger], ..gone };
    says(
        &refused(&transport(None), &endpoint(&cluster, named)),
        FailureKind::Auth,
        &["permission denied", "the agent failed"],
        "authorized_keys",
    );
}

#[test]
fn a_key_that_the_agent_gives_to_one_host_only() {
    let cluster = one(with_keys());
    let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
    let agent = Agent::start(&cluster, "agent");
    let address = cluster.node("a1").endpoint;
    let host = format!("[{}]:{}", address.ip(), address.port());
    let output = Command::new("ssh-add")
        .arg("-H")
        .arg(cluster.home().join(".ssh/known_hosts"))
        .args(["-h", &host])
        .arg(&key)
        .env("SSH_AUTH_SOCK", &agent.socket)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let_in(&cluster, agent.login("root", &[]));
}

#[test]
fn an_agent_that_refuses() {
    let cluster = one(with_keys());
    let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
    let agent = Agent::start(&cluster, "agent");
    agent.add(&key);
    let transport = transport(None);
    let endpoint = endpoint(&cluster, agent.login("root", &[]));
    assert_eq!(block_on(who(&transport, &endpoint)).as_deref(), Ok("root"));
    // The key is removed from the agent during the run.
    let output = Command::new("ssh-add").arg("-D").env("SSH_AUTH_SOCK", &agent.socket).output().unwrap();
    assert!(output.status.success());
    says(&refused(&transport, &endpoint), FailureKind::Agent, &["refused to sign"], "ssh-add -l");
}

#[test]
fn a_key_file_that_is_no_good() {
    let cluster = one(with_keys());
    let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
    let told = |path: &Path| refused(&transport(None), &endpoint(&cluster, login("root", &[path])));
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let said = format!("can be read by others (mode {mode:04o})");
        says(&told(&key), FailureKind::KeyFile, &["key", &said], "chmod 600");
    }
    // An agent may have the key anyway.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let agent = Agent::start(&cluster, "agent");
    agent.add(&key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let_in(&cluster, agent.login("root", &[&key]));

    let missing = cluster.path("missing");
    says(&told(&missing), FailureKind::KeyFile, &["missing does not exist"], "--identity");
    let broken = cluster.path("broken");
    for (text, said) in [
        ("", "contains no private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "cannot be read"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "cannot be read"),
    ] {
        fs::write(&broken, text).unwrap();
        fs::set_permissions(&broken, fs::Permissions::from_mode(0o600)).unwrap();
        says(&told(&broken), FailureKind::KeyFile, &["broken", said], "");
    }
    run("mkfifo", &[cluster.path("pipe").to_str().unwrap()]);
    says(&told(&cluster.path("pipe")), FailureKind::KeyFile, &["not a regular file"], "--identity");
    // Errors mention default key files only if they exist.
    let by_default = LoginSettings { identities_named: false, ..login("root", &[&missing]) };
    let failure = refused(&transport(None), &endpoint(&cluster, by_default));
    says(&failure, FailureKind::KeyFile, &["no key to offer"], "ssh-add");
    assert!(!failure.message.contains("missing"), "{failure:?}");
}

#[test]
fn a_key_that_the_node_does_not_know() {
    let cluster = one(with_keys().sshd("Banner /etc/ssh/words"));
    fs::write(cluster.node("a1").inside("/etc/ssh/words"), "no \u{1b}[31mstrangers\n").unwrap();
    let stranger = make_key(&cluster, "stranger", &["-t", "ed25519"], false);
    let failure = refused(&transport(None), &endpoint(&cluster, login("root", &[&stranger])));
    let said = [
        "permission denied",
        "stranger (ssh-ed25519 SHA256:",
        "refused",
        "the node accepts publickey",
        "no \\u{1b}[31mstrangers",
    ];
    says(&failure, FailureKind::Auth, &said, "authorized_keys");
}

#[test]
fn algorithms_that_are_left_out() {
    let cluster = one(with_keys());
    let rsa = make_key(&cluster, "rsa", &["-t", "rsa", "-b", "2048"], true);
    let ed25519 = make_key(&cluster, "ed25519", &["-t", "ed25519"], true);
    let accepted = |names: &[&str], keys: &[&Path]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let algorithms = Arc::new(AlgorithmLists { accepted: Some(names), ..AlgorithmLists::default() });
        Endpoint { algorithms, ..endpoint(&cluster, login("root", keys)) }
    };
    let is = |endpoint: &Endpoint| block_on(who(&transport(None), endpoint));
    assert_eq!(is(&accepted(&["rsa-sha2-256"], &[&ed25519, &rsa])).as_deref(), Ok("root"));
    assert_eq!(is(&accepted(&["ssh-ed25519"], &[&rsa, &ed25519])).as_deref(), Ok("root"));
    let failure = refused(&transport(None), &accepted(&["ssh-ed25519"], &[&rsa]));
    says(&failure, FailureKind::KeyFile, &["rsa is left out by PubkeyAcceptedAlgorithms"], "PubkeyAcceptedAlgorithms");
    // With SHA-1 only, as configured here: this sshd refuses it.
    let failure = refused(&transport(None), &accepted(&["ssh-rsa"], &[&rsa]));
    says(&failure, FailureKind::Auth, &["permission denied"], "authorized_keys");
    let log = cluster.node("a1").sshd_log();
    assert!(log.contains("ssh-rsa not in PubkeyAcceptedAlgorithms"), "{log}");
}

#[test]
fn sha1_where_the_operator_allows_it() {
    let cluster = one(with_keys().sshd("PubkeyAcceptedAlgorithms ssh-rsa"));
    let rsa = make_key(&cluster, "rsa", &["-t", "rsa", "-b", "2048"], true);
    let plain = endpoint(&cluster, login("root", &[&rsa]));
    says(&refused(&transport(None), &plain), FailureKind::Auth, &["permission denied"], "authorized_keys");
    let algorithms =
        Arc::new(AlgorithmLists { accepted: Some(vec!["ssh-rsa".to_owned()]), ..AlgorithmLists::default() });
    let allowed = Endpoint { algorithms, ..plain };
    assert_eq!(block_on(who(&transport(None), &allowed)).as_deref(), Ok("root"));
}

#[test]
fn passwords() {
    let cluster = one(with_passwords(&["PasswordAuthentication yes"]));
    set_password(cluster.node("a1"), "open sesame");
    let endpoint = endpoint(&cluster, login("ctlops", &[]));
    assert_eq!(block_on(who(&transport(Some("open sesame")), &endpoint)).as_deref(), Ok("ctlops"));

    let wrong = transport(Some("open wheat"));
    says(
        &refused(&wrong, &endpoint),
        FailureKind::Auth,
        &["the node refused the password", "password: refused"],
        "try again",
    );
    let failures = || cluster.node("a1").sshd_log().matches("Failed password").count();
    assert_eq!(failures(), 1);
    // The password is not sent again, so that the account is not locked.
    says(&refused(&wrong, &endpoint), FailureKind::Auth, &["not sent again"], "right password");
    assert_eq!(failures(), 1);
    // No password at all.
    let failure = refused(&transport(None), &endpoint);
    says(&failure, FailureKind::Auth, &["no password was given", "the node accepts publickey,password"], "--ask-pass");
    assert!(!cluster.node("a1").sshd_log().contains("sesame"), "a log contains the password");
}

#[test]
fn questions() {
    let lines = ["UsePAM yes", "KbdInteractiveAuthentication yes"];
    let cluster = one(with_passwords(&lines));
    let node = cluster.node("a1");
    set_password(node, "open sesame");
    let endpoint = endpoint(&cluster, login("ctlops", &[]));
    let is = block_on(who(&transport(Some("open sesame")), &endpoint));
    assert_eq!(is.as_deref(), Ok("ctlops"), "{}", node.sshd_log());
    let failure = refused(&transport(Some("open wheat")), &endpoint);
    says(&failure, FailureKind::Auth, &["the node refused the password", "keyboard-interactive: refused"], "try again");

    node.sh("chage -d 0 ctlops");
    let failure = refused(&transport(Some("open sesame")), &endpoint);
    says(&failure, FailureKind::Auth, &["the node requires a new password"], "log in with ssh once");
    node.sh("chage -d 2020-01-01 -E 2020-01-02 ctlops");
    let failure = refused(&transport(Some("open sesame")), &endpoint);
    says(&failure, FailureKind::Auth, &["rejects this account", "Your account has expired"], "chage -l");
    // The same with a key.
    let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
    let failure = refused(&transport(None), &self::endpoint(&cluster, login("ctlops", &[&key])));
    says(&failure, FailureKind::Auth, &["rejects this account"], "chage -l");
}

/// Of an account that PAM denies without a message, sshd logs the reason, and only closes the connection.
#[test]
fn an_account_that_is_denied_without_a_word() {
    let cluster = one(with_passwords(&["UsePAM yes"]));
    let node = cluster.node("a1");
    node.sh("sed -i '1i account requisite pam_deny.so' /etc/pam.d/sshd");
    let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
    let endpoint = endpoint(&cluster, login("ctlops", &[&key]));
    let failure = block_on(who(&transport(None), &endpoint)).expect_err("no login").failure();
    assert_eq!(failure.kind, FailureKind::ConnectionLost, "{failure:?}");
    assert!(failure.message.contains("while logging in; or PAM denied the account"), "{failure:?}");
    assert!(node.sshd_log().contains("PAM account configuration"), "{}", node.sshd_log());
}

#[test]
fn more_than_one_method() {
    for (user, methods) in [("ctlops", "publickey,password"), ("root", "password,publickey")] {
        let lines = ["PasswordAuthentication yes", &format!("AuthenticationMethods {methods}")];
        let cluster = one(with_passwords(&lines));
        let node = cluster.node("a1");
        set_password(node, "open sesame");
        node.sh("echo 'root:open sesame' | chpasswd");
        let key = make_key(&cluster, "key", &["-t", "ed25519"], true);
        let endpoint = endpoint(&cluster, login(user, &[&key]));
        let is = block_on(who(&transport(Some("open sesame")), &endpoint));
        assert_eq!(is.as_deref(), Ok(user), "{}", node.sshd_log());
        says(&refused(&transport(Some("wrong")), &endpoint), FailureKind::Auth, &["refused the password"], "try again");
        if user == "ctlops" {
            let failure = refused(&transport(None), &endpoint);
            says(
                &failure,
                FailureKind::Auth,
                &["requires more than publickey", "the node accepts password"],
                "--ask-pass",
            );
        }
    }
}

#[test]
fn security_keys_only_through_the_agent() {
    let cluster = one(with_keys());
    // A private key file of a security key, as `ssh-keygen -t ed25519-sk` writes it. It was generated without one.
    let key = cluster.path("id_ed25519_sk");
    fs::write(&key, include_str!("data/id_ed25519_sk")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let failure = refused(&transport(None), &endpoint(&cluster, login("root", &[&key])));
    says(&failure, FailureKind::KeyFile, &["security key", "only through the agent"], "ssh-add");
    // An agent with the security key signs.
    let device = Device::new(&make_key(&cluster, "inside", &["-t", "ed25519"], false));
    take(&cluster, &device.authorized());
    let socket = cluster.path("device");
    device.serve(UnixListener::bind(&socket).unwrap());
    let_in(&cluster, LoginSettings { agent: Some(socket), ..login("root", &[]) });
    assert!(cluster.node("a1").sshd_log().contains("ED25519-SK"));
}

#[test]
fn attempts_are_told_with_their_answers() {
    let cluster = one(NodeSpec::default());
    let stranger = make_key(&cluster, "stranger", &["-t", "ed25519"], false);
    let line = format!("exec -v -w a1 -y --identity {} -- true", stranger.display());
    let finished = cluster.ctl(&line).expect(4);
    for part in ["offering ", "stranger (ssh-ed25519 SHA256:", "refused; the node accepts publickey"] {
        assert!(finished.stderr.contains(part), "{part}\n{finished}");
    }
    let finished = cluster.ctl("exec -v -w a1 -y -- true").expect(0);
    assert!(finished.stderr.contains("accepted"), "{finished}");
}
