//! Decisions about host keys, by tables and against `ssh-keygen`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;

impl KnownHosts {
    /// The index of texts, each with the name of its file.
    fn parse(texts: &[(PathBuf, String)]) -> Self {
        let mut known = Self::default();
        for (path, text) in texts {
            known.add_text(path, text);
        }
        known
    }

    fn check(&self, host: &str, port: u16, key: &PublicKey) -> KnownHostsVerdict {
        self.lookup(host, port).check(key.key_data())
    }

    fn algorithms_for(&self, host: &str, port: u16) -> Vec<Algorithm> {
        self.lookup(host, port).algorithms()
    }
}

const ED1: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
const EC1: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBzwndddBb5W29J7wAm/WJsuyKVFBWxaS64MVaRPUETUNK3b/WR8G0A1f89a7YYrvOH0zkvKI/59FTqk/GOr0nY=";
const RSA1: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDgZliIi6ON5anSUI4ntlZ+klkVrWctgADsm/96hTGam35IeEZQIkCNVaRYX2pB5r0WxxGCvjTsRKZFPmUOSzwwiq3BanFWKQFhrbnt0onug6wjVnVnSSeyRERffhcNY07OYxRV7s5AHQsl9ZA6EV25/3H1IRYhcBhaEzJeetMOIw==";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).expect("test key")
}

fn known(text: &str) -> KnownHosts {
    KnownHosts::parse(&[(PathBuf::from("kh"), text.to_owned())])
}

#[test]
fn names_of_one_host_belong_together() {
    let text = format!(
        "a6s01,10.0.0.1 {ED1}\na6s01 {EC1}\n10.0.0.2 {RSA1}\n[B1]:2222 {ED2}\n10.0.0.9 {EC1}\n*.dc1 {ED2}\n!x,y {ED2}\n\
         @revoked old {ED2}\n@cert-authority ca {ED2}\n{} {ED2}\nbad line\n",
        hash_name("hidden", &[7; 20])
    );
    let names = KnownHostNames::of(&known(&text));
    let host = |name: &KnownHostName| format!("{} {}", name.host, name.port.unwrap_or_default());
    let hosts: Vec<Vec<String>> = names.hosts.iter().map(|one| one.iter().map(host).collect()).collect();
    assert_eq!(hosts, [vec!["10.0.0.1 0", "a6s01 0", "10.0.0.9 0"], vec!["10.0.0.2 0"], vec!["b1 2222"]]);
    assert_eq!(names.hashed, 1);
}

#[test]
fn machines_with_equal_keys_are_not_one_host() {
    for (text, wanted) in [
        // Clones: each is a host, and an address goes to the first name.
        ("n1 ED1\nn2 ED1\nn3 ED1\n", &["n1", "n2", "n3"][..]),
        ("10.0.0.1 ED1\n10.0.0.2 ED1\n", &["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.1 ED1\n10.0.0.2 ED1\nn1 ED1\nn2 ED1\n", &["10.0.0.1 n1", "10.0.0.2 n2"]),
        // One host, with a short name and a full one, each on its own line.
        ("n1 ED1\n10.0.0.1 ED1\nn1.example.net ED1\n", &["n1 10.0.0.1 n1.example.net"]),
        ("n1,web ED1\n10.0.0.1 ED1\n", &["n1 web 10.0.0.1"]),
    ] {
        let names = KnownHostNames::of(&known(&text.replace("ED1", ED1)));
        let host =
            |names: &Vec<KnownHostName>| names.iter().map(|name| name.host.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(names.hosts.iter().map(host).collect::<Vec<_>>(), wanted, "{text}");
    }
}

/// The verdict as one word and a line.
fn said(verdict: &KnownHostsVerdict) -> String {
    match verdict {
        KnownHostsVerdict::Known(place) => format!("known {}", place.line),
        KnownHostsVerdict::Unknown => "unknown".to_owned(),
        KnownHostsVerdict::Changed { place, .. } => format!("changed {}", place.line),
        KnownHostsVerdict::Revoked(place) => format!("revoked {}", place.line),
    }
}

#[test]
fn decisions() {
    let cases: &[(&str, &str, u16, &str, &str)] = &[
        ("n1 ED1", "n1", 22, ED1, "known 1"),
        ("n1 ED1 some comment # x", "n1", 22, ED1, "known 1"),
        ("# c\n\n  n1 ED1", "n1", 22, ED1, "known 3"),
        ("n1\tED1", "n1", 22, ED1, "known 1"),
        ("n1  \t ED1\r", "n1", 22, ED1, "known 1"),
        ("n1 ED1", "N1", 22, ED1, "known 1"),
        ("N1.DC ED1", "n1.dc", 22, ED1, "known 1"),
        ("n1,10.0.0.1 ED1", "10.0.0.1", 22, ED1, "known 1"),
        ("n1 ED1", "n2", 22, ED1, "unknown"),
        ("n1 ED2", "n1", 22, ED1, "changed 1"),
        ("n1 ED2\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("n1 EC1", "n1", 22, ED1, "changed 1"),
        ("n1 EC1\nn1 ED2", "n1", 22, ED1, "changed 2"),
        ("*.dc1 ED1", "a.dc1", 22, ED1, "known 1"),
        ("*.dc1 ED1", "a.dc2", 22, ED1, "unknown"),
        ("n? ED1", "n7", 22, ED1, "known 1"),
        ("n*,!n1 ED1", "n1", 22, ED1, "unknown"),
        ("!n1,n* ED1", "n1", 22, ED1, "unknown"),
        ("n*,!n1 ED1", "n2", 22, ED1, "known 1"),
        ("n*,!n1 ED1\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("@revoked * ED1\nn1 ED1", "n1", 22, ED1, "revoked 1"),
        ("n1 ED1\n@revoked n1 ED1", "n1", 22, ED1, "revoked 2"),
        ("@revoked\tn1\tED1\nn1 ED1", "n1", 22, ED1, "revoked 1"),
        ("@revoked n2 ED1\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("@revoked * ED2\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("@cert-authority * ED1", "n1", 22, ED1, "unknown"),
        ("@cert-authority * ED2\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("@other n1 ED1", "n1", 22, ED1, "unknown"),
        ("@revoked @revoked n1 ED1\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("n1 ssh-ed25519 AAAA\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("n1\nn1 ED1", "n1", 22, ED1, "known 2"),
        ("n1 1024 35 1234567890\nn1 ED1", "n1", 22, ED1, "known 2"),
        // Ports.
        ("[n1]:2222 ED1", "n1", 2222, ED1, "known 1"),
        ("[n1]:2222 ED1", "n1", 22, ED1, "unknown"),
        ("n1 ED1", "n1", 2222, ED1, "known 1"),
        ("n1 ED2", "n1", 2222, ED1, "unknown"),
        ("[n1]:2222 ED2\nn1 ED1", "n1", 2222, ED1, "changed 1"),
        ("[n1]:2222 EC1\nn1 ED1", "n1", 2222, ED1, "changed 1"),
        ("[*]:2222 ED1", "n1", 2222, ED1, "known 1"),
        ("[n1]:* ED1", "n1", 2222, ED1, "known 1"),
        ("@revoked n1 ED1\n[n1]:2222 ED1", "n1", 2222, ED1, "revoked 1"),
        ("[fe80::1]:2222 ED1", "fe80::1", 2222, ED1, "known 1"),
    ];
    for (text, host, port, shown, expected) in cases {
        let text = text.replace("ED1", ED1).replace("ED2", ED2).replace("EC1", EC1);
        assert_eq!(said(&known(&text).check(host, *port, &key(shown))), *expected, "{text:?} for {host}:{port}");
    }
}

#[test]
fn a_comment_does_not_change_a_key() {
    assert_eq!(said(&known(&format!("n1 {ED1}")).check("n1", 22, &key(&format!("{ED1} root@x")))), "known 1");
}

#[test]
fn changed_tells_the_key_of_the_same_type() {
    let verdict = known(&format!("n1 {EC1}\nn1 {ED2}")).check("n1", 22, &key(ED1));
    let KnownHostsVerdict::Changed { place, known } = verdict else { panic!("{verdict:?}") };
    assert_eq!((place.to_string(), known.key_data()), ("kh:2".to_owned(), key(ED2).key_data()));
}

#[test]
fn files_come_in_their_order() {
    let texts = [("a", format!("n1 {ED2}")), ("b", format!("n1 {ED1}"))];
    let texts: Vec<(PathBuf, String)> = texts.into_iter().map(|(p, t)| (PathBuf::from(p), t)).collect();
    let known = KnownHosts::parse(&texts);
    let b = KnownHostsLine { file: Arc::from(Path::new("b")), line: 1 };
    assert_eq!(known.check("n1", 22, &key(ED1)), KnownHostsVerdict::Known(b));
    let KnownHostsVerdict::Changed { place, .. } =
        known.check("n1", 22, &key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
    else {
        panic!("must be changed")
    };
    assert_eq!(&*place.file, Path::new("a"));
}

#[test]
fn bad_lines_are_remembered() {
    let long = "x".repeat(MAX_LINE + 1);
    let name = "x".repeat(MAX_NAME + 1);
    let text = format!(
        "ok {ED1}\n@nope n1 {ED1}\nn1\nn1 ssh-ed25519 AAAA\n|1|x|y {ED1}\n{long}\n{name} {ED1}\nn1 made-up@x AAAA\n@revoked n1 {}",
        ED1.replace("ssh-ed25519", "ssh-rsa")
    );
    let known = known(&text);
    let found: Vec<(usize, SkipReason)> = known.skipped.iter().map(|s| (s.place.line, s.reason)).collect();
    assert_eq!(
        found,
        [
            (2, SkipReason::Marker),
            (3, SkipReason::NoKey),
            (4, SkipReason::BadKey),
            (5, SkipReason::BadHash),
            (6, SkipReason::TooLong),
            (7, SkipReason::TooLong),
            (8, SkipReason::BadKey),
            (9, SkipReason::BadKey),
        ]
    );
    assert_eq!(known.skipped_count, 8);
}

#[test]
fn preferred_algorithms() {
    let rsa = [Some(HashAlg::Sha512), Some(HashAlg::Sha256), None].map(|hash| Algorithm::Rsa { hash });
    let ed = Algorithm::Ed25519;
    let text = format!("n1 {RSA1}\nn1 {ED1}\nn1 {ED2}\n@cert-authority n2 {ED1}\n@revoked * {ED1}\nn3 {ED1}\nn4 {ED2}");
    let known = known(&text);
    let with_ed: Vec<Algorithm> = rsa.iter().cloned().chain([ed.clone()]).collect();
    assert_eq!(known.algorithms_for("n1", 22), with_ed);
    assert_eq!(known.algorithms_for("n2", 22), []);
    assert_eq!(known.algorithms_for("n3", 22), []);
    assert_eq!(known.algorithms_for("n4", 22), [ed]);
    assert_eq!(known.algorithms_for("n4", 2222), [], "the bare name does not say what is shown on another port");
    assert!(known.lookup("n2", 22).authority(key(ED1).key_data()).is_some());
    assert!(known.lookup("n2", 22).authority(key(ED2).key_data()).is_none());
    assert!(known.lookup("n2", 2222).authority(key(ED1).key_data()).is_some());
    assert!(!known.lookup("n2", 2222).has_authority());
    for (host, empty) in [("n1", false), ("n2", false), ("n9", true)] {
        assert_eq!(known.lookup(host, 22).is_empty(), empty, "{host}");
    }
}

#[test]
fn files_missing_and_unreadable() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let missing = dir.path().join("none");
    assert_eq!(said(&KnownHosts::read(&[missing]).expect("missing is empty").check("n1", 22, &key(ED1))), "unknown");
    let error = KnownHosts::read(&[dir.path().to_owned()]).expect_err("a directory cannot be read");
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", dir.path().display())), "{error}");
    let latin = dir.path().join("latin");
    fs::write(&latin, [b"n1 ", ED1.as_bytes(), b" M\xfcller\nn2 ", ED1.as_bytes()].concat()).expect("write");
    let known = KnownHosts::read(&[latin]).expect("readable");
    assert_eq!(said(&known.check("n1", 22, &key(ED1))), "known 1");
    assert_eq!(said(&known.check("n2", 22, &key(ED1))), "known 2");
}

fn keygen(arguments: &[&str]) -> String {
    let output = Command::new("ssh-keygen")
        .args(arguments)
        .output()
        .expect("ssh-keygen must be installed (Debian: apt-get install openssh-client)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `ssh-keygen -F` finds the same lines.
#[test]
fn agrees_with_ssh_keygen() {
    let names = [
        "n1",
        "n2,n3",
        "*.dc1",
        "!a.dc1,*.dc1",
        "*.dc1,!a.dc1",
        "n?",
        "[n1]:2222",
        "[*]:2222",
        "*",
        "n1,,n2",
        "!n1",
        "10.0.0.*",
        "!!n1,n*",
        "@revoked n1",
        "@cert-authority *.dc1",
        "  n1",
        "N1",
        "n1\t",
    ];
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("kh");
    let text: String = names.iter().map(|name| format!("{name} {ED1}\n")).collect();
    fs::write(&path, &text).expect("write");
    let path = path.to_str().expect("plain path");
    let known = known(&text);
    for host in ["n1", "n2", "n3", "a.dc1", "b.dc1", "[n1]:2222", "[n2]:2222", "10.0.0.7", "n10", "other"] {
        let output = keygen(&["-F", host, "-f", path]);
        let theirs: Vec<usize> = output
            .lines()
            .filter_map(|line| line.strip_prefix("# Host ")?.split("line ").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        let ours: Vec<usize> =
            known.matching(host).into_iter().filter_map(|line| Some(known.lines.get(line)?.place.line)).collect();
        assert_eq!(ours, theirs, "{host}: {output}");
    }
}

/// `ssh-keygen -H` makes hashed names that are found, and `ssh-keygen -F` finds ours.
#[test]
fn agrees_with_ssh_keygen_on_hashes() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("kh");
    fs::write(&path, format!("n1,10.0.0.1 {ED1}\n[n1]:2222 {ED2}\n")).expect("write");
    keygen(&["-q", "-H", "-f", path.to_str().expect("plain path")]);
    let text = fs::read_to_string(&path).expect("read");
    assert!(text.lines().all(|line| line.starts_with("|1|")), "{text}");
    let known = known(&text);
    assert_eq!(said(&known.check("N1", 22, &key(ED1))), "known 1");
    assert_eq!(said(&known.check("10.0.0.1", 22, &key(ED1))), "known 2");
    assert_eq!(said(&known.check("n1", 2222, &key(ED2))), "known 3");
    assert_eq!(said(&known.check("n1", 2222, &key(ED1))), "changed 3");
    assert_eq!(said(&known.check("n2", 22, &key(ED1))), "unknown");

    let ours = format!("{} {ED1}\n", hash_name("[n5]:2022", &[9; 20]));
    fs::write(&path, text + &ours).expect("write");
    let found = keygen(&["-F", "[n5]:2022", "-f", path.to_str().expect("plain path")]);
    assert!(found.contains("line 4"), "{found}");
}

/// What a look-up has found is kept, and hides neither another name nor a line that comes later.
#[test]
fn a_repeated_look_up_of_hashed_names_finds_the_same() {
    let line = |name: &str, salt: u8, key: &str| format!("{} {key}\n", hash_name(name, &[salt; 20]));
    let mut known = known(&[line("n1", 1, ED1), line("n2", 2, ED2), line("n1", 3, EC1)].concat());
    for _ in 0..2 {
        assert_eq!(known.matching("n1"), [0, 2]);
        assert_eq!(known.matching("n2"), [1]);
        assert_eq!(known.matching("n3"), [0_usize; 0]);
    }
    let file: Arc<Path> = Arc::from(Path::new("kh"));
    for (name, salt) in [("n1", 4), ("n3", 5)] {
        known.push(Arc::clone(&file), line(name, salt, RSA1).trim_end());
    }
    let copy = known.clone();
    for known in [&known, &copy] {
        assert_eq!(known.matching("n1"), [0, 2, 3]);
        assert_eq!(known.matching("n2"), [1]);
        assert_eq!(known.matching("n3"), [4]);
    }
}

#[test]
fn large_files_are_looked_up_quickly() {
    let mut text = String::new();
    for host in 0..20_000 {
        text.push_str(&format!("host{host},10.1.{}.{} {ED1}\n", host / 250, host % 250));
    }
    let known = known(&text);
    let found: BTreeMap<usize, usize> =
        (0..5_000).map(|host| (host, known.matching(&format!("host{host}")).len())).collect();
    assert!(found.values().all(|count| *count == 1));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", host in "\\PC{0,20}", port: u16) {
        let known = known(&text);
        let _verdict = known.check(&host, port, &key(ED1));
        let _algorithms = known.algorithms_for(&host, port);
    }

    #[test]
    fn no_line_of_the_right_kind_panics(words in prop::collection::vec(
        prop::sample::select(vec!["n1", "@revoked", "@cert-authority", "|1|", "|1|AAAA|AAAA", "*", "!n1", ",", ED1, EC1, "\t", " ", "\n", "#", "\r"]), 0..20)
    ) {
        let known = known(&words.concat());
        let verdict = known.check("n1", 22, &key(ED1));
        let revoked = known.lookup("n1", 22).revoked(key(ED1).key_data()).is_some();
        prop_assert_eq!(revoked, matches!(verdict, KnownHostsVerdict::Revoked(_)));
    }
}
