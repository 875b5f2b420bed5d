//! The cases that `ssh -G` cannot be asked in a test: both files together, settings given beforehand, origins of values,
//! keywords that are not honoured. The rest is compared with `ssh` itself in `tests/ssh_config.rs`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A home with `.ssh/config`, a directory for the system's files, and who lives there.
struct ConfigWorld {
    directory: tempfile::TempDir,
    operator: OperatorEnv,
}

impl ConfigWorld {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = directory.path().join("home");
        let mut operator = OperatorEnv {
            user: "op".to_owned(),
            hostname: "vm.example.org".to_owned(),
            ..OperatorEnv::of_process(None)
        };
        operator.variables.insert("HOME".to_owned(), home.to_str().expect("UTF-8").to_owned());
        operator.home = Some(home);
        let world = Self { directory, operator };
        for (name, text) in files {
            let path = world.path(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self) -> Result<SshConfig, SshConfigError> {
        SshConfig::load_both(Some(&self.path("home/.ssh/config")), &self.path("etc"), &self.operator)
    }

    /// The lines of a keyword.
    fn lines(&self, host: &str, keyword: &str) -> Vec<String> {
        let config = self.load().expect("readable");
        let query = HostQuery { host, ..HostQuery::default() };
        let resolved = config.resolve(&query, &self.operator, &|_| Ok(false)).expect("resolvable");
        of_key(&resolved, keyword)
    }
}

fn of_key(resolved: &ResolvedHost, keyword: &str) -> Vec<String> {
    let text = resolved.to_ssh_g();
    text.lines().filter_map(|line| line.strip_prefix(keyword)?.strip_prefix(' ')).map(str::to_owned).collect()
}

fn operator() -> OperatorEnv {
    OperatorEnv {
        home: Some("/home/op".into()),
        user: "op".to_owned(),
        hostname: "vm".to_owned(),
        ..OperatorEnv::default()
    }
}

fn resolve(text: &str, query: &HostQuery<'_>) -> Result<ResolvedHost, SshConfigError> {
    let config = SshConfig::parse(text.as_bytes(), Path::new("config"), &operator())?;
    config.resolve(query, &operator(), &|_| Ok(false))
}

fn host(host: &str) -> HostQuery<'_> {
    HostQuery { host, ..HostQuery::default() }
}

fn given<T>(value: T) -> Option<OverrideValue<T>> {
    Some(ResolvedSetting { value, origin: ConfigOrigin::CommandLine })
}

#[test]
fn the_users_file_goes_before_the_systems() {
    let world = ConfigWorld::new(&[
        ("home/.ssh/config", "Host a\n User mine\n IdentityFile one\n"),
        ("etc/ssh_config", "User theirs\nPort 7\nIdentityFile one\nIdentityFile two\n"),
    ]);
    assert_eq!(world.lines("a", "user"), ["mine"]);
    assert_eq!(world.lines("a", "port"), ["7"]);
    assert_eq!(world.lines("b", "user"), ["theirs"]);
    // The system's is another one, although it has the same name.
    assert_eq!(world.lines("a", "identityfile"), ["one", "one", "two"]);
}

#[test]
fn a_block_of_the_users_file_ends_with_it() {
    let world = ConfigWorld::new(&[("home/.ssh/config", "Host nowhere\n"), ("etc/ssh_config", "User theirs\n")]);
    assert_eq!(world.lines("a", "user"), ["theirs"]);
}

#[test]
fn missing_files_are_empty() {
    assert_eq!(ConfigWorld::new(&[]).lines("a", "user"), ["op"]);
    let world = ConfigWorld::new(&[]);
    let error = SshConfig::load(&world.path("none"), &world.operator).expect_err("must be there");
    assert!(matches!(error.problem, ConfigProblem::Read(_)), "{error}");
}

#[test]
fn relative_includes_lie_beside_each_file() {
    let world = ConfigWorld::new(&[
        ("home/.ssh/config", "Include more/*.conf other\n"),
        ("home/.ssh/more/a.conf", "User mine\n"),
        ("home/.ssh/other", "Include more/nested\n"),
        ("home/.ssh/more/nested", "ServerAliveCountMax 9\n"),
        ("etc/ssh_config", "Include ssh_config.d/*.conf\n"),
        ("etc/ssh_config.d/b.conf", "User theirs\nPort 7\nInclude ssh_config.d/last\n"),
        ("etc/ssh_config.d/last", "HashKnownHosts yes\n"),
    ]);
    assert_eq!(world.lines("a", "user"), ["mine"]);
    assert_eq!(world.lines("a", "serveralivecountmax"), ["9"]);
    assert_eq!(world.lines("a", "port"), ["7"]);
    assert_eq!(world.lines("a", "hashknownhosts"), ["yes"]);
    // A file given by hand is treated as the user's.
    let by_hand = world.path("etc/ssh_config");
    fs::write(&by_hand, "Include more/a.conf").expect("write");
    let config = SshConfig::load(&by_hand, &world.operator).expect("readable");
    let resolved = config.resolve(&host("a"), &world.operator, &|_| Ok(false)).expect("resolvable");
    assert_eq!(&*resolved.user.value, "mine");
    assert_eq!(resolved.user.origin, ConfigOrigin::File { path: world.path("home/.ssh/more/a.conf").into(), line: 1 });
}

#[test]
fn the_systems_file_names_no_home() {
    let world = ConfigWorld::new(&[("etc/ssh_config", "Include ~/x\n")]);
    let error = world.load().expect_err("refused");
    assert!(matches!(error.problem, ConfigProblem::Include { .. }), "{error}");
}

#[test]
fn files_that_others_can_write_are_refused() {
    for (name, mode, refused) in [
        ("home/.ssh/config", 0o666, true),
        ("home/.ssh/config", 0o664, true),
        ("home/.ssh/config", 0o646, true),
        ("home/.ssh/config", 0o600, false),
        ("home/.ssh/more", 0o602, true),
        ("etc/ssh_config", 0o666, false),
        ("etc/more", 0o620, true),
    ] {
        let world = ConfigWorld::new(&[
            ("home/.ssh/config", "Include more\n"),
            ("home/.ssh/more", ""),
            ("etc/ssh_config", "Include more\n"),
            ("etc/more", ""),
        ]);
        fs::set_permissions(world.path(name), Permissions::from_mode(mode)).expect("chmod");
        match world.load() {
            Ok(_) => assert!(!refused, "{name} {mode:o}"),
            Err(error) => {
                assert!(refused && matches!(error.problem, ConfigProblem::Permissions), "{name} {mode:o}: {error}");
                assert_eq!(error.file, Some(world.path(name)));
            }
        }
    }
    // `ssh -F` trusts the user that names the file.
    let world = ConfigWorld::new(&[("config", "User u\n")]);
    fs::set_permissions(world.path("config"), Permissions::from_mode(0o666)).expect("chmod");
    assert!(SshConfig::load(&world.path("config"), &world.operator).is_ok());
}

#[test]
fn files_are_bounded() {
    let world = ConfigWorld::new(&[("config", "")]);
    fs::write(world.path("config"), vec![b'#'; (4 << 20) + 1]).expect("write");
    let error = SshConfig::load(&world.path("config"), &world.operator).expect_err("too large");
    assert!(matches!(error.problem, ConfigProblem::TooLarge { .. }), "{error}");
    let itself = world.path("config").display().to_string();
    fs::write(world.path("config"), format!("Include {itself} {itself}\n")).expect("write");
    let error = SshConfig::load(&world.path("config"), &world.operator).expect_err("without end");
    assert!(matches!(error.problem, ConfigProblem::TooDeep { .. }), "{error}");
}

#[test]
fn errors_name_the_place() {
    let cases = [
        ("User a\nPort x", "config:2: bad value for port: \"x\" (a port from 1 to 65535)"),
        ("User a b", "config:1: user has extra values at the end of the line: \"b\""),
        ("User", "config:1: user needs a value"),
        ("\n\nNonsense x", "config:3: bad configuration option: nonsense (IgnoreUnknown before it allows it)"),
        ("User \"a", "config:1: a quote is not closed"),
        ("Match nonsense x", "config:1: bad Match condition: unknown criterion nonsense"),
        ("\nHostName %z", "config:2: \"%z\" has the unknown token %z"),
        (
            "UserKnownHostsFile ${NO_SUCH}",
            "config:1: \"${NO_SUCH}\" uses the environment variable \"NO_SUCH\", which is not set",
        ),
        ("ProxyJump h", "config:1: the jump host is the host itself: h"),
        (
            "Ciphers -*\nHostKeyAlgorithms RSA",
            "config:2: the list of HostKeyAlgorithms has nothing that can be used: \"RSA\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(resolve(text, &host("h")).expect_err(text).to_string(), expected);
    }
}

#[test]
fn what_is_given_is_stronger_than_any_file() {
    let text = "HostName other\nUser u\nPort 5\nProxyCommand nc\nIdentityFile i\nUserKnownHostsFile k\nConnectTimeout 9\nStrictHostKeyChecking no\nCiphers aes128-ctr\nMatch user me\n HashKnownHosts yes\n";
    let query = HostQuery {
        host: "h",
        address: given("10.0.0.1"),
        user: given("me".to_owned()),
        port: given(2222),
        jump: given("j:7".to_owned()),
        identities: given(vec![PathBuf::from("/my %h")]),
        known_hosts: given(PathBuf::from("/known")),
        connect_timeout: given(Duration::from_secs(3)),
        strict_host_key_checking: given(StrictHostKeyChecking::Yes),
        ciphers: given("+3des-cbc".to_owned()),
        ..HostQuery::default()
    };
    let resolved = resolve(text, &query).expect("resolvable");
    assert_eq!(&*resolved.host_name.value, "10.0.0.1");
    assert_eq!((&*resolved.user.value, resolved.port.value), ("me", 2222));
    assert!(matches!(&resolved.proxy.value, ConfigProxy::Jump(jump) if jump.as_str() == "j:7"));
    let paths = resolved.identity_paths(&operator()).expect("as they are");
    assert_eq!(paths, [ResolvedSetting { value: PathBuf::from("/my %h"), origin: ConfigOrigin::CommandLine }]);
    assert_eq!(resolved.user_known_hosts_files.value, [PathBuf::from("/known")]);
    assert_eq!(resolved.connect_timeout.value, Some(Duration::from_secs(3)));
    assert_eq!(resolved.strict_host_key_checking.value, StrictHostKeyChecking::Yes);
    assert!(resolved.ciphers.value.iter().any(|name| name == "3des-cbc"));
    assert!(resolved.hash_known_hosts.value, "Match sees who is given");
    let direct = resolve(text, &HostQuery { host: "h", jump: given("none".to_owned()), ..HostQuery::default() });
    assert_eq!(direct.expect("resolvable").proxy.value, ConfigProxy::Direct);
    for bad in ["a,,b", "a:x"] {
        assert!(resolve("", &HostQuery { host: "h", jump: given(bad.to_owned()), ..HostQuery::default() }).is_err());
    }
    assert!(resolve("", &HostQuery { host: "h", macs: given("bogus".to_owned()), ..HostQuery::default() }).is_err());
}

/// `ssh` expands `~` in these before it connects, but `ssh -G` prints them as they are written.
#[test]
fn the_home_is_expanded_in_global_known_hosts_files() {
    let resolved = resolve("GlobalKnownHostsFile ~/kh /etc/%h\n", &host("h")).expect("resolvable");
    let files = ["/home/op/kh", "/etc/%h"].map(PathBuf::from);
    assert_eq!(resolved.global_known_hosts_files.value, files);
    assert_eq!(of_key(&resolved, "globalknownhostsfile"), ["~/kh /etc/%h"]);
    // `ssh` ends there too, as soon as it has connected.
    let error = resolve("\nGlobalKnownHostsFile ~nobody-here/kh\n", &host("h")).expect_err("no such user");
    assert!(error.to_string().starts_with("config:2: "), "{error}");
}

#[test]
fn a_host_is_matched_under_its_name_and_its_address() {
    let both = HostQuery { host: "Node1", address: given("10.0.0.1"), ..HostQuery::default() };
    let cases = [
        ("Host Node1", true),
        ("Host 10.0.*", true),
        ("Host * !10.0.*", false),
        ("Host * !Node*", false),
        ("Host other", false),
        ("Match host 10.0.0.1", true),
        ("Match host node1", true),
        ("Match !host node1", false),
        ("Match host *,!10.*", false),
        ("Match originalhost 10.0.0.1", true),
        ("Match originalhost node1", true),
        ("Match final host node1", true),
        ("Match final\nHost Node1", true),
    ];
    for (block, expected) in cases {
        let resolved = resolve(&format!("{block}\n User found\n"), &both).expect("resolvable");
        assert_eq!(&*resolved.user.value == "found", expected, "{block}");
    }
}

#[test]
fn origins_tell_file_and_line() {
    let resolved = resolve("User u\nHost h\n\n  Port 5\n", &host("h")).expect("resolvable");
    let config: Arc<Path> = Path::new("config").into();
    assert_eq!(resolved.user.origin, ConfigOrigin::File { path: Arc::clone(&config), line: 1 });
    assert_eq!(resolved.port.origin, ConfigOrigin::File { path: config, line: 4 });
    assert_eq!(resolved.host_name.origin, ConfigOrigin::Default);
    assert_eq!(resolved.port.origin.to_string(), "config:4");
}

#[test]
fn values_are_ready_for_use() {
    let text = "HostName %h.example.org\nUser u\nIdentityFile ~/%h\nIdentityFile none\nCertificateFile %d/%r\nProxyCommand nc %h %p %r %n\nIdentityAgent $NOT_SET\n";
    let resolved = resolve(text, &host("H")).expect("resolvable");
    let values = |paths: Vec<ResolvedSetting<PathBuf>>| paths.into_iter().map(|path| path.value).collect::<Vec<_>>();
    assert_eq!(values(resolved.identity_paths(&operator()).expect("known")), [PathBuf::from("/home/op/h.example.org")]);
    assert_eq!(values(resolved.certificate_paths(&operator()).expect("known")), [PathBuf::from("/home/op/u")]);
    assert_eq!(resolved.proxy_command(&operator()).expect("known").as_deref(), Some("nc h.example.org 22 u H"));
    assert_eq!(resolved.identity_agent.value, ConfigAgent::None);
    let usual = resolve("", &host("h")).expect("resolvable");
    assert_eq!(usual.identity_paths(&operator()).expect("known").len(), 7);
    assert_eq!(usual.identity_agent.value, ConfigAgent::FromEnvironment);
    assert_eq!(usual.proxy_command(&operator()).expect("none"), None);
    let bad = resolve("IdentityFile %z\nProxyCommand %u\n", &host("h")).expect("ssh -G does not look at them");
    assert!(bad.identity_paths(&operator()).is_err() && bad.proxy_command(&operator()).is_err());
}

#[test]
fn agents() {
    let with_agent = OperatorEnv { variables: [("VAR".to_owned(), "/a".to_owned())].into(), ..operator() };
    for (text, expected) in [
        ("", ConfigAgent::FromEnvironment),
        ("IdentityAgent SSH_AUTH_SOCK", ConfigAgent::FromEnvironment),
        ("IdentityAgent none", ConfigAgent::None),
        ("IdentityAgent $VAR", ConfigAgent::Socket("/a".into())),
        ("IdentityAgent $NOT_SET", ConfigAgent::None),
        ("IdentityAgent ${VAR}/%u", ConfigAgent::Socket("/a/op".into())),
        ("IdentityAgent ~/s", ConfigAgent::Socket("/home/op/s".into())),
    ] {
        let config = SshConfig::parse(text.as_bytes(), Path::new("config"), &with_agent).expect("readable");
        let resolved = config.resolve(&host("h"), &with_agent, &|_| Ok(false)).expect("resolvable");
        assert_eq!(resolved.identity_agent.value, expected, "{text}");
    }
}

/// The keywords not honoured, as `keyword:line`, with `!` before those refused.
fn unhonoured(text: &str) -> Vec<String> {
    let resolved = resolve(text, &host("h")).expect("resolvable");
    let shown = |it: &UnsupportedKeyword| format!("{}{}:{}", if it.refused { "!" } else { "" }, it.keyword, it.line);
    resolved.unhonoured.iter().map(shown).collect()
}

#[test]
fn what_is_not_honoured_is_named() {
    let cases: &[(&str, &[&str])] = &[
        ("LogLevel DEBUG\nForwardX11 yes\nSendEnv LANG\nControlMaster auto\nTCPKeepAlive no\n", &[]),
        (
            "GSSAPIAuthentication yes\nLocalForward 1 a:2\nRekeyLimit 1G\n",
            &["GSSAPIAuthentication:1", "LocalForward:2", "RekeyLimit:3"],
        ),
        ("GSSAPIAuthentication no\nRekeyLimit default none\nCheckHostIP no\nTunnel no\n", &[]),
        ("CanonicalizeHostname yes\n", &["!CanonicalizeHostname:1"]),
        ("CanonicalizeHostname no\nCanonicalizeHostname yes\n", &[]),
        (
            "BindInterface eth0\nKnownHostsCommand /bin/x\nProxyUseFdpass yes\nCheckHostIP yes\n",
            &["!BindInterface:1", "!KnownHostsCommand:2", "!ProxyUseFdpass:3", "!CheckHostIP:4"],
        ),
        ("KnownHostsCommand none\n", &[]),
        ("CASignatureAlgorithms ssh-ed25519\n", &["!CASignatureAlgorithms:1"]),
        ("CASignatureAlgorithms -made-up\n", &[]),
        ("LocalCommand echo\n", &[]),
        ("LocalCommand echo\nPermitLocalCommand yes\n", &["LocalCommand:1"]),
        ("LocalCommand none\nPermitLocalCommand yes\n", &[]),
        ("Host x\n BindInterface eth0\n", &[]),
        ("VerifyHostKeyDNS no\nVerifyHostKeyDNS yes\n", &[]),
        ("RefuseConnection \"gone\"\n", &["!RefuseConnection:1"]),
        ("LocalForward 1 a:2\nLocalForward 3 b:4\n", &["LocalForward:1"]),
        ("ChannelTimeout none\nObscureKeystrokeTiming no\nVersionAddendum x\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(unhonoured(text), *expected, "{text}");
    }
    let debian = "Include /etc/ssh/ssh_config.d/*.none\n\nHost *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n";
    assert_eq!(unhonoured(debian), [""; 0]);
}

/// Criteria that OpenSSH 9.2 does not know, so that nothing is compared with it: ssh_config(5) of 10.0.
#[test]
fn tags_choose_what_applies() {
    let user = |text: &str| resolve(text, &host("h")).expect(text).user.value.to_string();
    for (text, expected) in [
        ("Tag a\nMatch tagged a\n User found\n", "found"),
        ("Tag a\nTag b\nMatch tagged b\n User found\n", "op"),
        ("Host h\n Tag a\nHost x\n Tag b\nMatch tagged a\n User found\n", "found"),
        ("Match tagged a\n User found\nHost *\n Tag a\n", "op"),
        ("Match tagged \"\"\n User found\n", "found"),
        ("Match final tagged a\n User found\nHost *\n Tag a\n", "found"),
        ("Match sessiontype exec !command rsync\n User found\n", "found"),
    ] {
        assert_eq!(user(text), expected, "{text}");
    }
    let resolved = resolve("Tag a\n", &host("h")).expect("readable");
    assert!(resolved.to_ssh_g().contains("\ntag a\n"));
    let error = resolve("Match localnetwork 10.1.0.0/8\n", &host("h")).expect_err("bits behind the prefix");
    assert!(error.to_string().contains("not \"10.1.0.0/8\""), "{error}");
}

#[test]
fn commands_are_run_by_the_caller_and_only_when_it_matters() {
    let text = "Match user nobody exec \"one\"\nMatch host h exec \"two %h\"\n User found\n";
    let config = SshConfig::parse(text.as_bytes(), Path::new("config"), &operator()).expect("readable");
    let asked = std::cell::RefCell::new(Vec::new());
    let exec = |command: &str| {
        asked.borrow_mut().push(command.to_owned());
        Ok(true)
    };
    let resolved = config.resolve(&host("h"), &operator(), &exec).expect("resolvable");
    assert_eq!(&*resolved.user.value, "found");
    assert_eq!(*asked.borrow(), ["two h"]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), name in "\\PC{0,10}") {
        if let Ok(config) = SshConfig::parse(&bytes, Path::new("config"), &operator()) {
            let _resolved = config.resolve(&host(&name), &operator(), &|_| Ok(true));
        }
    }

    #[test]
    fn no_likely_text_panics(words in prop::collection::vec(prop::sample::select(vec![
        "Host", "Match", "User", "Port", "ProxyJump", "IdentityAgent", "RekeyLimit", "LocalForward", "Ciphers", " ",
        "=", "\n", "\"", "'", "\\", "#", "!", "*", "h", "all", "host", "final", "22", ",", "%", "${", "}", "[", "]",
        "@", "ssh://", "+", "-", "^", ":", "/", "~", "\u{e4}",
    ]), 0..40)) {
        if let Ok(config) = SshConfig::parse(words.concat().as_bytes(), Path::new("config"), &operator()) {
            let _resolved = config.resolve(&host("h"), &operator(), &|_| Ok(true));
        }
    }
}

#[test]
fn named_hosts_are_those_without_wildcards() {
    let world = ConfigWorld::new(&[
        ("home/.ssh/config", "Host a6s01 a6s02 *.dc1 !db1\nHost *\n Include more\nMatch host m1\nHost \"b c\" a6s01\n"),
        ("home/.ssh/more", "Host db1\nHost c?\n"),
        ("etc/ssh_config", "Host web1\n"),
    ]);
    assert_eq!(world.load().expect("readable").host_names(), ["a6s01", "a6s02", "db1", "b c", "web1"]);
}
