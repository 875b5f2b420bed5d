//! The store over files: what it says, what it writes. What OpenSSH says of the same is in `tests/real/host_keys.rs`.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// Files of a test, and keys by their names, made when they are first asked for.
struct TestFiles(TempDir);

impl TestFiles {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn keygen(&self, arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen").current_dir(self.0.path()).args(arguments).output();
        let output = output.expect("ssh-keygen must be installed (Debian: apt-get install openssh-client)");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The public key of that name, as text; `rsa…` is an RSA key of 2048 bits.
    fn text(&self, name: &str) -> String {
        if !self.path(name).exists() {
            let kind = if name.starts_with("rsa") { &["rsa", "-b", "2048"][..] } else { &["ed25519"] };
            self.keygen(&[&["-q", "-N", "", "-C", "", "-f", name, "-t"], kind].concat());
        }
        self.read(&format!("{name}.pub")).trim_end().to_owned()
    }

    fn key(&self, name: &str) -> PublicKey {
        PublicKey::from_openssh(&self.text(name)).expect("a key")
    }

    /// A certificate of `ca` for the key of that name.
    fn certificate(&self, ca: &str, name: &str, options: &[&str]) -> PublicKeyOrCertificate {
        self.text(ca);
        self.text(name);
        let public = format!("{name}.pub");
        self.keygen(&[&["-q", "-h", "-s", ca, "-I", "id"], options, &[public.as_str()]].concat());
        let text = self.read(&format!("{name}-cert.pub"));
        PublicKeyOrCertificate::Certificate(Certificate::from_openssh(&text).expect("a certificate"))
    }

    /// Strict, with the user's file `user` and the machine's file `global`.
    fn settings(&self) -> HostKeySettings {
        HostKeySettings {
            user_files: vec![self.path("user"), self.path("user2")],
            global_files: vec![self.path("global")],
            revoked: Vec::new(),
            alias: None,
            policy: HostKeyPolicy::Strict,
            hash_names: false,
            min_rsa_bits: 1024,
        }
    }

    fn accept_new(&self) -> HostKeySettings {
        HostKeySettings { policy: HostKeyPolicy::AcceptNew, ..self.settings() }
    }

    /// A message without this directory in it.
    fn plain(&self, error: &TransportError) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn plain(key: &PublicKey) -> PublicKeyOrCertificate {
    PublicKeyOrCertificate::from(key.clone())
}

async fn judge(
    store: &Arc<HostKeyStore>,
    settings: &HostKeySettings,
    (host, port): (&str, u16),
    shown: &PublicKeyOrCertificate,
) -> Result<(), TransportError> {
    store.judge(&Arc::new(settings.clone()), host, port, &ShownKey::from(shown)).await
}

#[tokio::test]
async fn errors_name_the_file_the_line_and_the_fingerprint() {
    let files = TestFiles::new();
    let store = Arc::default();
    let (k1, k2) = (files.key("k1"), files.key("k2"));
    files.write("user", &format!("# mine\n[n1]:2222 {}\n", files.text("k2")));
    files.write("global", &format!("@revoked * {}\n", files.text("k3")));
    let print = |name: &str, host: &str| files.keygen(&["-lf", &format!("{name}.pub")]).replace("no comment", host);

    let error = judge(&store, &files.settings(), ("n9", 22), &plain(&k1)).await.expect_err("unknown");
    let expected =
        format!("the host key of n9 is not known: it shows {}; looked in user, user2, global", print("k1", "n9"));
    assert_eq!(files.plain(&error), expected);

    let error = judge(&store, &files.settings(), ("N1", 2222), &plain(&k1)).await.expect_err("changed");
    let (shown, known) = (print("k1", "[n1]:2222"), print("k2", "[n1]:2222"));
    let expected = format!("the host key of [n1]:2222 has CHANGED: it shows {shown}, user:2 has {known}");
    assert_eq!(files.plain(&error), expected);
    let hint = error.failure().hint.expect("a hint");
    let remove = format!("`ssh-keygen -f {} -R '[n1]:2222'`", files.path("user").display());
    assert!(hint.starts_with("this may be an attack") && hint.ends_with(&remove), "{hint}");

    let error = judge(&store, &files.settings(), ("n1", 2222), &plain(&files.key("k3"))).await.expect_err("revoked");
    let expected = format!("the host key of [n1]:2222 is revoked by global:1: {}", print("k3", "[n1]:2222"));
    assert_eq!(files.plain(&error), expected);
    assert_eq!(judge(&store, &files.settings(), ("n1", 2222), &plain(&k2)).await, Ok(()));
}

#[tokio::test]
async fn an_alias_has_no_port() {
    let files = TestFiles::new();
    let store = Arc::default();
    files.write("user2", &format!("node-7 {}\n", files.text("k1")));
    let settings = HostKeySettings { alias: Some("Node-7".to_owned()), ..files.settings() };
    assert_eq!(judge(&store, &settings, ("10.0.0.7", 2222), &plain(&files.key("k1"))).await, Ok(()));
    let error = judge(&store, &settings, ("node-7", 22), &plain(&files.key("k2"))).await.expect_err("changed");
    assert!(files.plain(&error).starts_with("the host key of node-7 has CHANGED"), "{error}");
    let settings = HostKeySettings { alias: Some("node-8".to_owned()), ..files.accept_new() };
    assert_eq!(judge(&store, &settings, ("10.0.0.8", 2222), &plain(&files.key("k2"))).await, Ok(()));
    assert_eq!(files.read("user"), format!("node-8 {}\n", files.text("k2")));
}

#[tokio::test]
async fn new_keys_are_written_down_once() {
    let files = TestFiles::new();
    let store = Arc::default();
    let (k1, k2) = (plain(&files.key("k1")), plain(&files.key("k2")));
    files.write("user", &format!("other {}", files.text("k2")));
    let settings = files.accept_new();
    for _ in 0..2 {
        assert_eq!(judge(&store, &settings, ("n1", 22), &k1).await, Ok(()));
        assert_eq!(judge(&store, &settings, ("n1", 2222), &k1).await, Ok(()), "known by its bare name");
        assert_eq!(judge(&store, &settings, ("n2", 2222), &k2).await, Ok(()));
    }
    let (t1, t2) = (files.text("k1"), files.text("k2"));
    assert_eq!(files.read("user"), format!("other {t2}\nn1 {t1}\n[n2]:2222 {t2}\n"));
    let error = judge(&store, &settings, ("n2", 2222), &k1).await.expect_err("changed");
    assert!(files.plain(&error).contains("CHANGED") && files.plain(&error).contains("user:3 has"), "{error}");

    let hashed = HostKeySettings { hash_names: true, ..settings };
    assert_eq!(judge(&store, &hashed, ("n3", 2222), &k1).await, Ok(()));
    assert_eq!(judge(&store, &hashed, ("n3", 2222), &k1).await, Ok(()));
    let text = files.read("user");
    assert!(text.lines().count() == 4 && text.lines().last().is_some_and(|line| line.starts_with("|1|")), "{text}");
    let found = files.keygen(&["-F", "[n3]:2222", "-f", "user"]);
    assert!(found.contains("line 4"), "{found}");
}

#[tokio::test]
async fn what_another_run_has_written_counts() {
    let files = TestFiles::new();
    let (ours, theirs): (Arc<HostKeyStore>, Arc<HostKeyStore>) = (Arc::default(), Arc::default());
    let (k1, k2) = (plain(&files.key("k1")), plain(&files.key("k2")));
    let (strict, new) = (files.settings(), files.accept_new());
    assert_eq!(judge(&ours, &new, ("n0", 22), &k1).await, Ok(()));
    assert_eq!(judge(&theirs, &new, ("n1", 22), &k1).await, Ok(()));
    assert_eq!(judge(&ours, &strict, ("n1", 22), &k1).await, Ok(()), "though it was read before");
    assert_eq!(judge(&ours, &new, ("n1", 22), &k1).await, Ok(()));
    let error = judge(&ours, &new, ("n1", 22), &k2).await.expect_err("changed");
    assert!(files.plain(&error).contains("user:2 has"), "{error}");
    assert_eq!(files.read("user").lines().count(), 2);
    // The operator forgets a line, or revokes a key, in mid-run.
    files.write("user", &format!("@revoked * {}\n", files.text("k1")));
    let error = judge(&ours, &new, ("n0", 22), &k1).await.expect_err("revoked");
    assert!(matches!(error, TransportError::HostKeyRevoked { .. }), "{error}");
}

/// Both know nothing when they look; one of them has the lock first.
#[test]
fn under_the_lock_the_file_decides() {
    let files = TestFiles::new();
    let settings = Arc::new(files.accept_new());
    let (store, asked) = (HostKeyStore::default(), QueriedHost::new(&settings, "n1", 22));
    let (k1, k2) = (files.key("k1"), files.key("k2"));
    let decided = store.decide(&asked, &ShownKey { key: k1.key_data().clone(), certificate: None });
    assert!(matches!(decided, Ok(KeyDecision::Unknown(None))));
    files.write("user", &format!("n1 {}\n", files.text("k1")));
    assert_eq!(store.take(&asked, k1.key_data(), None), Ok(()));
    assert!(matches!(store.take(&asked, k2.key_data(), None), Err(TransportError::HostKeyChanged { .. })));
    assert_eq!(files.read("user").lines().count(), 1);
}

#[tokio::test]
async fn a_file_that_keeps_nothing() {
    let files = TestFiles::new();
    let store = Arc::default();
    let settings = HostKeySettings { user_files: vec!["/dev/null".into()], ..files.accept_new() };
    let (k1, k2) = (plain(&files.key("k1")), plain(&files.key("k2")));
    assert_eq!(judge(&store, &settings, ("n1", 22), &k1).await, Ok(()));
    assert_eq!(judge(&store, &settings, ("n1", 22), &k1).await, Ok(()));
    let error = judge(&store, &settings, ("n1", 22), &k2).await.expect_err("another key");
    assert!(matches!(error, TransportError::HostKeyChanged { remove: None, .. }), "{error}");
    // And none at all: there is nothing to be written to.
    let settings = HostKeySettings { user_files: Vec::new(), ..files.accept_new() };
    let error = judge(&store, &settings, ("n1", 22), &k1).await.expect_err("nothing is known");
    assert!(matches!(error, TransportError::HostKeyUnknown { .. }), "{error}");
}

#[tokio::test]
async fn files_that_cannot_be_used() {
    let files = TestFiles::new();
    let store: Arc<HostKeyStore> = Arc::default();
    let key = plain(&files.key("k1"));
    assert_eq!(store.check_files(&files.settings()), Ok(()), "missing files are empty");
    fs::create_dir(files.path("global")).expect("a directory");
    let error = store.check_files(&files.settings()).expect_err("a directory is no file");
    assert!(files.plain(&error).starts_with("cannot read global: "), "{error}");
    let judged = judge(&store, &files.accept_new(), ("n1", 22), &key).await;
    assert!(matches!(judged, Err(TransportError::KnownHosts { .. })), "{judged:?}");
    fs::remove_dir(files.path("global")).expect("removed");

    let revoked = HostKeySettings { revoked: vec![files.path("revoked")], ..files.accept_new() };
    let error = store.check_files(&revoked).expect_err("missing, but anything might stand in it");
    assert!(files.plain(&error).starts_with("cannot read the revoked keys of revoked: "), "{error}");
    assert_eq!(judge(&store, &revoked, ("n1", 22), &key).await, Err(error));
    files.write("revoked", "");
    assert_eq!(judge(&store, &revoked, ("n1", 22), &key).await, Ok(()), "it is there now");

    fs::create_dir(files.path("directory")).expect("a directory");
    let unwritable = HostKeySettings { user_files: vec!["/proc/none/known_hosts".into()], ..files.accept_new() };
    let error = judge(&store, &unwritable, ("n2", 22), &key).await.expect_err("nowhere to write");
    assert!(error.to_string().starts_with("cannot add the key of n2 to /proc/none/known_hosts: "), "{error}");
}

#[tokio::test]
async fn revoked_keys_of_a_file() {
    let files = TestFiles::new();
    let store = Arc::default();
    let settings = HostKeySettings { revoked: vec![files.path("revoked"), files.path("krl")], ..files.accept_new() };
    files.write("revoked", &format!("# keys\n{}\n", files.text("k1")));
    files.write("spec", &format!("key: {}\n", files.text("k2")));
    files.keygen(&["-q", "-k", "-f", "krl", "spec"]);
    files.write("user", &format!("n1 {}\n", files.text("k1")));
    for (key, place) in [("k1", "revoked:2"), ("k2", "krl")] {
        let error = judge(&store, &settings, ("n1", 22), &plain(&files.key(key))).await.expect_err("revoked");
        let print = files.keygen(&["-lf", &format!("{key}.pub")]).replace("no comment", "n1");
        assert_eq!(files.plain(&error), format!("the host key of n1 is revoked by {place}: {print}"));
    }
    assert_eq!(judge(&store, &settings, ("n2", 22), &plain(&files.key("k3"))).await, Ok(()));
    let certificate = files.certificate("k2", "k4", &["-n", "n1"]);
    let error = judge(&store, &settings, ("n1", 22), &certificate).await.expect_err("revoked");
    assert!(
        files.plain(&error).starts_with("the authority of the host certificate of n1 is revoked by krl"),
        "{error}"
    );
}

#[tokio::test]
async fn short_rsa_keys() {
    let files = TestFiles::new();
    let store = Arc::default();
    let settings = HostKeySettings { min_rsa_bits: 3072, ..files.settings() };
    files.write("user", &format!("n1 {}\nn1 {}\n", files.text("rsa"), files.text("k1")));
    assert_eq!(judge(&store, &files.settings(), ("n1", 22), &plain(&files.key("rsa"))).await, Ok(()));
    assert_eq!(judge(&store, &settings, ("n1", 22), &plain(&files.key("k1"))).await, Ok(()));
    let error = judge(&store, &settings, ("n1", 22), &plain(&files.key("rsa"))).await.expect_err("too short");
    let print = files.keygen(&["-lf", "rsa.pub"]).replace("no comment", "n1");
    assert_eq!(error.to_string(), format!("the host key of n1 is too short: {print}; at least 3072 bits are required"));
}

#[tokio::test]
async fn certificates() {
    let files = TestFiles::new();
    let store: Arc<HostKeyStore> = Arc::default();
    let settings = files.settings();
    let good = files.certificate("ca", "k1", &["-n", "n1"]);
    let expired = files.certificate("ca", "k1", &["-n", "n1", "-V", "20200101000000Z:20210101000000Z"]);
    let (ca, other, k1) = (files.text("ca"), files.text("ca2"), files.text("k1"));
    let cases: &[(String, &PublicKeyOrCertificate, u16, &str)] = &[
        (format!("@cert-authority * {ca}"), &good, 22, "good"),
        (format!("@cert-authority n1 {ca}"), &good, 2222, "good"),
        (format!("@cert-authority n2 {ca}"), &good, 22, "not known"),
        (format!("@cert-authority * {other}"), &good, 22, "is unknown for this host"),
        (format!("@cert-authority * {other}\nn1 {k1}"), &good, 22, "good"),
        (format!("@cert-authority * {ca}"), &expired, 22, "it expired at 2021-01-01T00:00:00Z"),
        (format!("@cert-authority * {ca}\nn1 {k1}"), &expired, 22, "good"),
        (format!("@cert-authority * {ca}\nn1 {other}"), &good, 22, "good"),
        (format!("@cert-authority * {ca}\nn1 {other}"), &expired, 22, "CHANGED"),
        (
            format!("@cert-authority * {ca}\n@revoked * {ca}\nn1 {k1}"),
            &good,
            22,
            "the authority of the host certificate of n1 is revoked by user:2",
        ),
        (format!("@cert-authority * {ca}\n@revoked n1 {k1}"), &good, 22, "the host key of n1 is revoked by user:2"),
    ];
    for (text, shown, port, expected) in cases {
        files.write("user", text);
        let said = judge(&store, &settings, ("n1", *port), shown).await;
        let said = said.map_or_else(|error| files.plain(&error), |()| "good".to_owned());
        assert!(said.contains(expected), "{text}: {said}");
    }
    // An alias is the name that the certificate must have.
    files.write("user", &format!("@cert-authority * {ca}"));
    let alias = HostKeySettings { alias: Some("N1".to_owned()), ..files.settings() };
    assert_eq!(judge(&store, &alias, ("10.0.0.1", 2222), &good).await, Ok(()));
    assert!(judge(&store, &files.settings(), ("10.0.0.1", 2222), &good).await.is_err());
    // Under accept-new a bad one is a plain key of an unknown host, as with ssh.
    assert_eq!(judge(&store, &files.accept_new(), ("n1", 22), &expired).await, Ok(()));
    assert_eq!(files.read("user"), format!("@cert-authority * {ca}\nn1 {k1}\n"));
}

#[tokio::test]
async fn what_a_host_is_asked_for() {
    let files = TestFiles::new();
    let store: Arc<HostKeyStore> = Arc::default();
    let (ca, ed, rsa) = (files.text("ca"), files.text("k1"), files.text("rsa"));
    let cases = [
        (String::new(), 22, "", false),
        (format!("n1 {ed}"), 22, "ssh-ed25519", false),
        (format!("n1 {rsa}"), 22, "rsa-sha2-512 rsa-sha2-256 ssh-rsa", false),
        (format!("n1 {rsa}"), 2222, "", false),
        (format!("@cert-authority n1 {ca}"), 22, "", true),
        (format!("@cert-authority n1 {ca}\nn1 {rsa}"), 22, "rsa-sha2-512 rsa-sha2-256 ssh-rsa", true),
        (format!("@cert-authority n1 {ca}"), 2222, "", false),
        (format!("@cert-authority n1 {ca}\n[n1]:2222 {rsa}"), 2222, "rsa-sha2-512 rsa-sha2-256 ssh-rsa", false),
        (format!("@revoked * {ca}\nn1 {ed}"), 22, "ssh-ed25519", false),
        (format!("@cert-authority n2 {ca}"), 22, "", false),
    ];
    for (text, port, known, authority) in cases {
        files.write("user", &text);
        let wanted = store.wanted(&Arc::new(files.settings()), "n1", port).await.expect("readable");
        let names: Vec<String> = wanted.known.iter().map(ToString::to_string).collect();
        assert_eq!((names.join(" ").as_str(), wanted.authority), (known, authority), "{text}");
    }
}

#[tokio::test]
async fn keys_that_the_operator_confirms() {
    let files = TestFiles::new();
    let store: Arc<HostKeyStore> = Arc::default();
    let settings = Arc::new(files.settings());
    let (k1, k2) = (files.key("k1"), files.key("k2"));
    files.write("user", &format!("@revoked * {}\n@cert-authority ca* {}\n", files.text("k3"), files.text("k3")));
    assert_eq!(store.has_no_known_key(&settings, "n1", 2222), Ok(true));
    assert_eq!(store.has_no_known_key(&settings, "ca1", 22), Ok(false));
    for _ in 0..2 {
        assert_eq!(store.accept(&settings, "n1", 2222, &k1).await, Ok(()));
    }
    assert_eq!(store.has_no_known_key(&settings, "n1", 2222), Ok(false));
    assert_eq!(files.read("user").lines().last(), Some(format!("[n1]:2222 {}", files.text("k1")).as_str()));
    assert_eq!(files.read("user").lines().count(), 3);
    assert_eq!(judge(&store, &settings, ("n1", 2222), &plain(&k1)).await, Ok(()), "strict");
    let refused = store.accept(&settings, "n1", 2222, &k2).await;
    assert!(matches!(refused, Err(TransportError::HostKeyChanged { .. })), "{refused:?}");
    let refused = store.accept(&settings, "n2", 22, &files.key("k3")).await;
    assert!(matches!(refused, Err(TransportError::HostKeyRevoked { .. })), "{refused:?}");
}

/// Many connections at once, two stores as two runs would have them: a line for each host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_at_once() {
    let files = TestFiles::new();
    let stores: [Arc<HostKeyStore>; 2] = [Arc::default(), Arc::default()];
    let settings = Arc::new(files.accept_new());
    let key = files.key("k1");
    let mut tasks = tokio::task::JoinSet::new();
    for host in 0..50 {
        for store in &stores {
            let (store, settings, key) = (Arc::clone(store), Arc::clone(&settings), plain(&key));
            tasks.spawn(async move { store.judge(&settings, &format!("n{host}"), 22, &ShownKey::from(&key)).await });
        }
    }
    while let Some(judged) = tasks.join_next().await {
        assert_eq!(judged.expect("no panic"), Ok(()));
    }
    let text = files.read("user");
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 50);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 50);
    assert!(lines.iter().all(|line| line.ends_with(&files.text("k1"))), "{text}");
}
