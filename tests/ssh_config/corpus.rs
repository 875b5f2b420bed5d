//! Hand-written cases: at least three for every keyword of the contract, and the corner cases of blocks.

use super::compare::Case;

/// The keywords that the contract lists as supported.
pub(crate) const CONTRACT: &[&str] = &[
    "Host",
    "Match",
    "Include",
    "HostName",
    "User",
    "Port",
    "IdentityFile",
    "IdentitiesOnly",
    "IdentityAgent",
    "CertificateFile",
    "ProxyJump",
    "ProxyCommand",
    "UserKnownHostsFile",
    "GlobalKnownHostsFile",
    "RevokedHostKeys",
    "HashKnownHosts",
    "StrictHostKeyChecking",
    "HostKeyAlias",
    "HostKeyAlgorithms",
    "KexAlgorithms",
    "Ciphers",
    "MACs",
    "PubkeyAcceptedAlgorithms",
    "ConnectTimeout",
    "ServerAliveInterval",
    "ServerAliveCountMax",
    "IgnoreUnknown",
];

/// A text, and the hosts to resolve with it.
type Text = (&'static str, &'static [&'static str]);

const H: &[&str] = &["h"];

/// Numeric addresses in every form, and names that only look like one.
const ADDRESSES: &[&str] = &[
    "2001:DB8:0:0::1",
    "2001:DB8::1",
    "2001:db8::1",
    "::FFFF:1.2.3.4",
    "::FFFF:102:304",
    "::1.2.3.4",
    "::102:304",
    "::1.2.0.0",
    "::0:1",
    "::0:0",
    "1:2:3:4:5:6:7::",
    "::2:3:4:5:6:7:8",
    "0:0:1::2:0",
    "1:0:2:0:0:3:0:4",
    "1::2:3:4:5:6:7",
    "1:2:3:4:5:6:1.2.3.4",
    "64:ff9b::1.2.3.4",
    "64:ff9b::01.2.3.4",
    "1:0:0:2:3:0:0:4",
    "::ffff:0:1.2.3.4",
    "00001::1",
    "1:::2",
    "12345::",
    "1:2:3:4:5:6:7:8:9",
    "::1%1",
    "::0:1%1",
    "::0:1%0",
    "::1%nope",
    "010.1.2.3",
    "0x10.1",
    "0X10.1",
    "1",
    "4294967295",
    "4294967296",
    "1.2.3",
    "1.2.65535",
    "1.2.65536",
    "1.256",
    "1.16777216",
    "256.1.1.1",
    "0x",
    "0x.1",
    "1.",
    "1.2.3.4.",
    "08.1.2.3",
    "1..2",
    "0x1G",
    "1.2.3.4A",
    "00.0.0.0",
    "127.1",
    "0",
    "0X7F000001",
    "00000000000001.2.3.4",
    "1.2.0x100",
    "0x100000000",
    "037777777777",
    "040000000000",
    "1.2.3.4%1",
    "1.2.3.4.5",
    "1.2.3.256",
    "10.0.0.1",
    "1.2.3.04",
    "::0X1",
    "A:B",
    "ABC%1",
    "1.2.3.4A%1",
    "FE80::1%NOPE",
];

/// Commands of `Match exec` that exit, and that do not.
const COMMANDS: &[Text] = &[
    ("Match exec \"kill -9 $$\"\n User u", H),
    ("Match !exec \"kill -9 $$\"\n User u", H),
    ("Match exec \"kill -TERM $$\"\n User u", H),
    ("Match host x exec \"kill -9 $$\"\n User u", &["h", "x"]),
    ("Host x\nMatch exec \"kill -9 $$\"\n User u", H),
    ("Match exec \"exit 3\"\n User u", H),
    ("Match exec no-such-command-here\n User u", H),
    ("Match exec \"(kill -9 $(sh -c 'echo $PPID'))\"\n User u", H),
];

/// Cases for single keywords.
const VALUES: &[Text] = &[
    ("HostName target", H),
    ("HostName %h.Example.COM", &["h", "H2"]),
    ("HostName %%%h%%", H),
    ("HostName %n", H),
    ("HostName a%", H),
    ("HostName first\nHostName second", H),
    ("HostName \"\"", H),
    ("HostName a b", H),
    ("HostName fe80::1%%eth0", H),
    ("User alice", H),
    ("User \"a b\"", H),
    ("User %u", H),
    ("User ${HOME}", H),
    ("User=alice", H),
    ("User = alice # me", H),
    ("User alice#bob", H),
    ("User alice bob", H),
    ("User", H),
    ("User \"alice", H),
    ("User 'alice'", H),
    ("User al\\ ice", H),
    ("User -x", H),
    ("Port 2222", H),
    ("Port 022", H),
    ("Port 0x16", H),
    ("Port 0", H),
    ("Port 65536", H),
    ("Port \" 22\"", H),
    ("Port ssh", H),
    ("Port nonsense", H),
    ("Port 22\nPort 23", H),
    ("IdentityFile none", H),
    ("IdentityFile ~/a\nIdentityFile ~/a\nIdentityFile ~/b", H),
    ("IdentityFile ~/%h_%r ", H),
    ("IdentityFile ${NOT_SET}/%z", H),
    ("IdentityFile \"/a b/c\"", H),
    ("IdentityFile a b", H),
    ("IdentityFile none\nIdentityFile ~/b", H),
    ("Host h\n IdentityFile a\nHost *\n IdentityFile b\nHost x\n IdentityFile c", &["h", "x", "y"]),
    ("IdentitiesOnly yes", H),
    ("IdentitiesOnly TRUE", H),
    ("IdentitiesOnly 1", H),
    ("IdentitiesOnly no\nIdentitiesOnly yes", H),
    ("IdentityAgent none", H),
    ("IdentityAgent SSH_AUTH_SOCK", H),
    ("IdentityAgent $VAR", H),
    ("IdentityAgent $NOT_SET", H),
    ("IdentityAgent ${NOT_SET}", H),
    ("IdentityAgent ${VAR}/%r@%h", H),
    ("IdentityAgent ~/a", H),
    ("IdentityAgent $A-B", H),
    ("IdentityAgent ${EMPTY}x", H),
    ("CertificateFile ~/a-cert.pub", H),
    ("CertificateFile %d/%u\nCertificateFile %d/%u\nCertificateFile b", H),
    ("CertificateFile none", H),
    ("CertificateFile %z", H),
    ("ProxyJump bastion", H),
    ("ProxyJump u@b:22,c", H),
    ("ProxyJump none", H),
    ("ProxyJump none\nProxyCommand nc %h %p", H),
    ("ProxyCommand nc %h %p\nProxyJump b", H),
    ("ProxyJump b\nProxyCommand nc %h %p", H),
    ("ProxyCommand none\nProxyJump b", H),
    ("ProxyJump none\nProxyJump b", H),
    ("ProxyJump none # not here", H),
    ("ProxyJump a # b,c", H),
    ("ProxyJump h", &["h", "other"]),
    ("ProxyJump root@h:22", H),
    ("ProxyJump H", H),
    ("ProxyJump h:23", H),
    ("Host h\n ProxyJump a,,b", &["h", "x"]),
    ("ProxyJump ssh://u@[::1]:22", H),
    ("ProxyJump [::1]", H),
    ("ProxyCommand none", H),
    ("ProxyCommand ssh -W %h:%p \"b c\" # d", H),
    ("ProxyCommand=nc", H),
    ("ProxyCommand = = nc  x", H),
    ("ProxyCommand nc 'x", H),
    ("ProxyCommand nc %z", H),
    ("ProxyCommand", H),
    ("ProxyCommand \"\"", H),
    ("UserKnownHostsFile a b \"c d\"", H),
    ("UserKnownHostsFile none", H),
    ("UserKnownHostsFile a none", H),
    ("UseBlacklistedKeys yes no", H),
    ("UseBlacklistedKeys", H),
    ("UserKnownHostsFile ~/.ssh/kh-%C", &["h", "H", "10.0.0.1"]),
    ("HostName x.y\nPort 7\nUser u\nUserKnownHostsFile %C %h %n %k %p %r", H),
    ("HostKeyAlias Al\nUserKnownHostsFile %k", H),
    ("UserKnownHostsFile %j", H),
    ("UserKnownHostsFile ${NOT_SET}", H),
    ("Host x\n UserKnownHostsFile ${NOT_SET}", &["h", "x"]),
    ("UserKnownHostsFile # nothing\nUserKnownHostsFile b", H),
    ("UserKnownHostsFile \"\"", H),
    ("UserKnownHostsFile a\nUserKnownHostsFile b", H),
    ("GlobalKnownHostsFile /a /b", H),
    ("GlobalKnownHostsFile none", H),
    ("GlobalKnownHostsFile ~/a %h ${X}", H),
    ("GlobalKnownHostsFile /a None", H),
    ("RevokedHostKeys /a", H),
    ("RevokedHostKeys none", H),
    ("RevokedHostKeys None\nRevokedHostKeys /a", H),
    ("RevokedHostKeys ~/%h", H),
    ("HashKnownHosts yes", H),
    ("HashKnownHosts False", H),
    ("HashKnownHosts maybe", H),
    ("StrictHostKeyChecking yes", H),
    ("StrictHostKeyChecking no", H),
    ("StrictHostKeyChecking OFF", H),
    ("StrictHostKeyChecking accept-new", H),
    ("StrictHostKeyChecking ask", H),
    ("StrictHostKeyChecking accept_new", H),
    ("HostKeyAlias Name", H),
    ("HostKeyAlias none", H),
    ("HostKeyAlias %h", H),
    ("HostKeyAlgorithms ssh-ed25519", H),
    ("HostKeyAlgorithms +ssh-rsa", H),
    ("HostKeyAlgorithms -*nist*", H),
    ("HostKeyAlgorithms ^ssh-rsa,rsa*", H),
    ("HostKeyAlgorithms ssh-*,rsa-sha2-256", H),
    ("HostKeyAlgorithms bogus", H),
    ("HostKeyAlgorithms -*", H),
    ("HostKeyAlgorithms !ssh-rsa", H),
    ("HostKeyAlgorithms RSA", H),
    ("HostKeyAlgorithms +RSA", H),
    ("KexAlgorithms curve25519-sha256", H),
    ("KexAlgorithms +diffie-hellman-group1-sha1", H),
    ("KexAlgorithms -*sha1,diffie*", H),
    ("KexAlgorithms bogus", H),
    ("KexAlgorithms curve*", H),
    ("Ciphers aes128-ctr,aes256-ctr", H),
    ("Ciphers +aes128-cbc", H),
    ("Ciphers -chacha*", H),
    ("Ciphers ^aes256-ctr", H),
    ("Ciphers aes128-ctr,bogus", H),
    ("MACs hmac-sha1", H),
    ("MACs -*etm*", H),
    ("MACs +hmac-md5,hmac-sha1", H),
    ("MACs ,hmac-sha1", H),
    ("PubkeyAcceptedAlgorithms +ssh-rsa", H),
    ("PubkeyAcceptedKeyTypes ssh-ed25519,ecdsa*", H),
    ("PubkeyAcceptedAlgorithms -rsa*", H),
    ("PubkeyAcceptedAlgorithms ^*cert*", H),
    ("PubkeyAcceptedAlgorithms a,,b", H),
    ("ConnectTimeout 5", H),
    ("ConnectTimeout 1m30s", H),
    ("ConnectTimeout none\nConnectTimeout 7", H),
    ("ConnectTimeout 0", H),
    ("ConnectTimeout -1", H),
    ("ConnectTimeout 1h30", H),
    ("ServerAliveInterval 0", H),
    ("ServerAliveInterval 1W", H),
    ("BatchMode yes", H),
    ("BatchMode yes\nServerAliveInterval 5", H),
    ("ServerAliveInterval 5x", H),
    ("ProtocolKeepAlives 9", H),
    ("SetupTimeOut 9", H),
    ("ServerAliveCountMax 5", H),
    ("ServerAliveCountMax 05", H),
    ("ServerAliveCountMax -1", H),
    ("ServerAliveCountMax 99999999999", H),
    ("IgnoreUnknown MadeUp\nMadeUp x y", H),
    ("MadeUp x\nIgnoreUnknown MadeUp", H),
    ("IgnoreUnknown made*,!madeup\nMadeUp x", H),
    ("IgnoreUnknown other\nIgnoreUnknown MadeUp\nMadeUp x", H),
    ("IgnoreUnknown MadeUp\nMadeUp \"x", H),
    ("IgnoreUnknown MadeUp\nMadeUp", H),
    ("Host x\n IgnoreUnknown MadeUp\nHost *\n MadeUp x", &["h", "x"]),
    ("MadeUp x", H),
    ("Host x\n MadeUp x", H),
    ("PubkeyAuthentication unbound", H),
    ("PreferredAuthentications publickey,password", H),
    ("SkeyAuthentication no", H),
    ("AddressFamily inet6", H),
    ("RequiredRSASize 2048", H),
    ("BindAddress 10.0.0.1", H),
    ("NumberOfPasswordPrompts 1", H),
];

/// Cases for blocks and for the syntax of lines.
const BLOCKS: &[Text] = &[
    ("Host h x*\n User u", &["h", "x", "xy", "y", "H"]),
    ("Host \"h\" 'x y'\n User u", &["h", "x"]),
    ("Host h,x\n User u", &["h", "x"]),
    ("Host * !h\n User u", &["h", "x"]),
    ("Host !h *\n User u", &["h", "x"]),
    ("Host !h\n User u", &["h", "x"]),
    ("Host h !h\n User u", H),
    ("Host !h \"\"\n User u", &["h", "x"]),
    ("Host \"\"\n User u", H),
    ("Host\n User u", H),
    ("Host # h\n User u", H),
    ("Host h # x\n User u", &["h", "x"]),
    ("Host=h\nUser u", &["h", "x"]),
    ("Host = h\nUser u", &["h", "x"]),
    ("HOST h\n\tUSER\tu", &["h", "x"]),
    ("Host ??\n User u", &["h", "xy"]),
    ("Host 10.0.*\n User u\nHost 10.*\n User v", &["10.0.0.1", "10.1.0.1"]),
    ("Host *.example.com\n HostName %h\n User u", &["a.example.com", "A.example.com", "example.com"]),
    ("User first\nHost h\n User u", H),
    ("Host BAR\n User u", &["BAR", "bar"]),
    ("Match all\n User u", H),
    ("Match !all\n User u\nMatch all\n User v", H),
    ("Match all user x\n User u", H),
    ("Match user root all\n User u", H),
    ("Match host h,x user root\n User u", &["h", "x", "y"]),
    ("Match host *,!h\n User u", &["h", "x"]),
    ("Match !host h\n User u", &["h", "x"]),
    ("Match host H\n User u", &["h", "H"]),
    ("HostName target\nMatch host target\n User u", H),
    ("HostName %h.Example\nMatch host h.example\n User u", &["h", "H"]),
    ("HostName target\nMatch originalhost h\n User u", &["h", "x"]),
    ("Match originalhost=H\n User u", &["h", "H"]),
    ("User alice\nMatch user alice\n Port 5", H),
    ("Match user root\n Port 5", H),
    ("Match user Root\n Port 5", H),
    ("Match localuser root,x\n Port 5", H),
    ("Match !localuser root\n Port 5", H),
    ("Match host h user !x\n User u", H),
    ("Match exec true\n User u", H),
    ("Match !exec true\n User u", H),
    ("Match exec \"test %h = h\"\n User u", &["h", "x"]),
    ("HostName t\nMatch exec \"test %h-%n = t-h\"\n User u", &["h", "x"]),
    ("Port 7\nMatch exec \"test %p -eq 7\"\n User u", H),
    ("HostKeyAlias Al\nMatch exec \"test %k = Al\"\n User u", H),
    ("Match exec \"test %C = x\" user root\n User u", H),
    ("Match exec \"echo %z\"\n User u", H),
    ("Match user x exec \"echo %z\"\n User u", H),
    ("Match exec = \"true\"\n User u", H),
    ("Match exec \"exit 3\"\n User u", H),
    ("Match final\n User u", H),
    ("Match final all\n User u", H),
    ("Match !final\n User u", H),
    ("Match canonical\n User u", H),
    ("Match canonical\n User u\nMatch final\n Port 5", H),
    ("Match final host t\n User u\nHost h\n HostName t", &["h", "x"]),
    ("Host t\n User u\nHost h\n HostName t\nMatch final\n Port 5", &["h", "t"]),
    ("Host h\n HostName T\n IdentityFile a\nHost t\n IdentityFile b\nMatch final\n IdentityFile c", &["h", "t"]),
    ("Host h\n HostName %h.example.com\nMatch final originalhost h\n User u", &["h", "x"]),
    ("Match user u\n Port 5\nMatch final\n User u", H),
    ("Match final user root\n User u\nMatch final\n User v", H),
    ("Match\n User u", H),
    ("Match # all\n User u", H),
    ("Match host\n User u", H),
    ("Match host # h\n User u", H),
    ("Match nonsense h\n User u", H),
    ("Match host h # comment\n User u", H),
    ("Match \"host\" \"h\"user root\n User u", H),
    ("Match host 'h'\n User u", H),
    ("Match host \"h\n User u", H),
    ("Match host h \"\" user x\n User u", H),
    ("", H),
    ("\n\n   \n# only comments\n", H),
    ("User u\r\nPort 5\r\n", H),
    ("User u\u{c}\n", H),
    ("\u{c}\nUser u", H),
    ("User u\u{0}junk\nPort 5", H),
    ("\u{0}\nUser u", H),
    ("\u{feff}User u", H),
    ("\"User\" u", H),
    ("\"User u", H),
    ("=User u", H),
    ("  = User u", H),
    ("User==u", H),
    ("User  =  u", H),
    ("User u\\", H),
    ("User a\\\"b", H),
    ("User \"a\\\"b\"", H),
    ("User 'a\"b'", H),
    ("User a\"b c\"d", H),
    ("Us er u", H),
    ("ForwardAgent ${NOT_SET}", H),
    ("LocalForward 1 b:2\nRemoteForward 3\nDynamicForward 4", H),
    ("LocalForward 1", H),
    ("Cipher x\nProtocol 2\nUseRsh no\nRSAAuthentication yes", H),
    ("LogLevel LOUD", H),
    ("ControlPersist never", H),
    ("SendEnv A=B", H),
];

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (text, hosts) in VALUES.iter().chain(BLOCKS).chain(COMMANDS) {
        cases.extend(hosts.iter().map(|host| Case::new(text, host)));
    }
    let families = ["", "AddressFamily inet", "AddressFamily inet6", "HostName %h\nMatch final host *:*,*.*\n User u"];
    cases.extend(families.iter().flat_map(|text| ADDRESSES.iter().map(|host| Case::new(text, host))));
    cases.extend(includes());
    cases.extend(bytes_and_sizes());
    cases.extend(command_line());
    cases
}

fn includes() -> Vec<Case> {
    let both =
        |text: &str, name: &str, included: &str| ["h", "x"].map(|host| Case::new(text, host).with(name, included));
    let mut cases = Vec::new();
    cases.extend(both("Include @DIR@/a\nPort 7", "a", "User u\n"));
    cases.extend(both("Host h\n Include @DIR@/a\n Port 7", "a", "User u\nHost x\n User v\n Port 8\n"));
    cases.extend(both("Include @DIR@/a\nPort 7", "a", "Host x\n User v\n"));
    cases.extend(both("Host x\nInclude @DIR@/a", "a", "Match all\n User v\n"));
    cases.extend(both("Match host h\nInclude @DIR@/a\nPort 7", "a", "Match all\n User v\nMatch host x\n Port 8\n"));
    cases.extend(both("Match final\nInclude @DIR@/a", "a", "Host h\n User v\n"));
    cases.extend(both("Host x\nInclude @DIR@/a", "a", "Match final\n User v\nHost *\n Port 5\n"));
    cases.extend(both("Host x\nInclude @DIR@/a", "a", "Nonsense v\n"));
    cases.extend(both("Host x\nInclude @DIR@/a", "a", "Port nonsense\n"));
    cases.extend(both("IgnoreUnknown Non*\nInclude @DIR@/a", "a", "Nonsense v\n"));
    cases.extend(both("Include @DIR@/a\nNonsense v", "a", "IgnoreUnknown Non*\n"));
    cases.extend(both("Include \"@DIR@/a b\"", "a b", "User u\n"));
    cases.extend(both("Include @DIR@/a\\ b", "a b", "User u\n"));
    cases.extend(both("Include @DIR@/missing @DIR@/a @DIR@/no*", "a", "User u\n"));
    cases.extend(both("Include @DIR@/d", "d/a", "User u\n"));
    cases.extend(both("Include @DIR@/d/*", "d/.hidden", "User u\n"));
    cases.extend(both("Include @DIR@/[ab]", "a", "User u\n"));
    cases.extend(both("Include @DIR@/[!a]", "a", "User u\n"));
    cases.extend(both("Include @DIR@/[^a]", "b", "User u\n"));
    cases.extend(both("Include @DIR@/[[:alpha:]]", "a", "User u\n"));
    cases.extend(both("Include @DIR@/[^[:digit:]x]", "a", "User u\n"));
    cases.extend(both("Include @DIR@/?", "a", "User u\n"));
    cases.extend(both("Include @DIR@/\\\\[a]", "[a]", "User u\n"));
    cases.extend(both("Include @DIR@/a[", "a[", "User u\n"));
    cases.extend(both("Include @DIR@/**/a", "d/a", "User u\n"));
    cases.extend(both("Include @DIR@/*/*/a", "d/e/a", "User u\n"));
    cases.extend(both("Include @DIR@/{a,b}", "a", "User u\n"));
    cases.extend(both("Include @DIR@/config", "a", ""));
    cases.extend(both("Include \"\"", "a", ""));
    cases.extend(both("Include", "a", ""));
    cases.extend(both("Include # @DIR@/a", "a", "User u\n"));
    cases.extend(both("Include=@DIR@/a # more", "a", "User u\n"));
    cases.extend(both("Include @DIR@/%h", "h", "User u\n"));
    cases.extend(both("Include ${SUB_DIR}/a", "a", "User u\n"));
    cases.extend(both("Include ~nobody-here/a", "a", "User u\n"));
    let ordered = Case::new("Include @DIR@/d/*.conf", "h");
    cases.push(
        ordered
            .with("d/10.conf", "User ten\n")
            .with("d/9.conf", "User nine\n")
            .with("d/B.conf", "Port 5\n")
            .with("d/a.conf", "Port 6\n"),
    );
    for depth in [15, 16, 17] {
        let mut case = Case::new("Include @DIR@/1\n", "h");
        for level in 1..depth {
            case = case.with(&level.to_string(), &format!("Include @DIR@/{}\n", level + 1));
        }
        cases.push(case.with(&depth.to_string(), "User deep\n"));
    }
    cases
}

fn bytes_and_sizes() -> Vec<Case> {
    let raw = |bytes: Vec<u8>| Case { config: bytes, host: "h".to_owned(), ..Case::default() };
    let files = |count: usize| format!("UserKnownHostsFile{}", " a".repeat(count));
    let keys = |count: usize| (0..count).map(|index| format!("IdentityFile k{index}\n")).collect::<String>();
    vec![
        raw(b"User u # caf\xe9\n".to_vec()),
        raw(b"# caf\xe9\nUser u\n".to_vec()),
        raw(b"\x7fELF\x02\x01\x01\x00\x00\n".to_vec()),
        raw((0..=255).collect()),
        Case::new(&format!("User {}", "u".repeat(100_000)), "h"),
        Case::new(&format!("Host {}h\n User u", "x ".repeat(50_000)), "h"),
        Case::new(&format!("Match host {},h\n User u", "x".repeat(1021)), "h"),
        Case::new(&format!("Match host {},h\n User u", "x".repeat(1022)), "h"),
        Case::new(&format!("Match host {},h\n User u", "x".repeat(1023)), "h"),
        Case::new(&format!("Match host h,{}\n User u", "x".repeat(1024)), "h"),
        Case::new(&files(32), "h"),
        Case::new(&files(33), "h"),
        Case::new(&format!("Host x\n{}", files(33)), "h"),
        Case::new(&format!("UserKnownHostsFile a\n{}", files(33)), "h"),
        Case::new(&keys(100), "h"),
        Case::new(&keys(101), "h"),
        Case::new(&format!("{}IdentityFile k0\n", keys(100)), "h"),
        Case::new(&"IdentityFile same\n".repeat(150), "h"),
        Case::new(&keys(100).replace("IdentityFile", "CertificateFile"), "h"),
        Case::new(&keys(101).replace("IdentityFile", "CertificateFile"), "h"),
    ]
}

fn command_line() -> Vec<Case> {
    let mut cases = Vec::new();
    for text in [
        "User u\nPort 5",
        "Match user alice\n IdentityFile a",
        "Match user root\n IdentityFile a",
        "Match exec \"test %r-%p = alice-2222\"\n IdentityFile a",
        "UserKnownHostsFile %r-%p",
        "ProxyJump alice@h:2222",
        "ProxyJump h",
        "Match final user alice\n IdentityFile a",
    ] {
        cases.push(Case { user: Some("alice".to_owned()), ..Case::new(text, "h") });
        cases.push(Case { user: Some("alice".to_owned()), port: Some(2222), ..Case::new(text, "h") });
        cases.push(Case { port: Some(22), ..Case::new(text, "h") });
    }
    cases
}
