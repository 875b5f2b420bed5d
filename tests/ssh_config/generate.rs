//! Random cases, reproducible from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::compare::Case;

const HOSTS: &[&str] =
    &["h", "H", "web1", "web2.example.com", "db-1", "10.0.0.5", "fe80::1", "Mixed.Case", "jump", "x_y"];
const NAMES: &[&str] = &[
    "h",
    "H",
    "web1",
    "web*",
    "web?",
    "*.example.com",
    "db-*",
    "10.0.0.*",
    "fe80::1",
    "*",
    "mixed.case",
    "Mixed.*",
    "?",
    "jump",
    "*e*",
    "**",
    "other",
    "x_y",
    "a,b",
    "h,web1",
];
const USERS: &[&str] = &["root", "alice", "bob", "r*", "a*,b*", "*", "!root", "*,!alice", "nobody"];
const FILES: &[&str] = &[
    "~/.ssh/id_a",
    "/k/%h",
    "~/%r@%h:%p",
    "none",
    "NONE",
    "a b",
    "%d/.ssh/%n-%k",
    "%L.%l",
    "%u%i",
    "%C",
    "${VAR}/x",
    "$VAR/x",
    "${SUB_DIR}%%x",
    "~",
    "rel/path",
    "%%",
    "~//x",
    "x~y",
];
const BAD_FILES: &[&str] = &["%z", "${MISSING}/x", "a%", "~nobody-here/x", "${}", "${VAR", "%j"];
const TIMES: &[&str] = &["0", "5", "90", "1m30s", "1h30", "1W", "2d3h", "none", "+7", "10M", " 5"];
const BAD_TIMES: &[&str] = &["-1", "x", "1.5", "99999999999", "5x", "None", "1m x"];
const NUMBERS: &[&str] = &["0", "1", "3", "010", "+4", "2048", "2147483647", " 6"];
const BAD_NUMBERS: &[&str] = &["-1", "x", "1m", "0x10", "2147483648", "1 2", "none"];
const FLAGS: &[&str] = &["yes", "no", "true", "false", "YES", "No", "True"];
const PORTS: &[&str] = &["22", "022", "2222", "65535", "+80", "ssh", "http", "1"];
const BAD_PORTS: &[&str] = &["0", "65536", "-1", "x", "0x16", "22 23", "22a"];
const STRICT: &[&str] = &["yes", "no", "ask", "off", "accept-new", "ACCEPT-NEW", "true", "False"];
const CIPHERS: &[&str] = &[
    "aes128-ctr",
    "aes256-gcm@openssh.com,aes128-ctr",
    "+3des-cbc",
    "-aes*",
    "^aes256-ctr",
    "-*,!aes128-ctr",
    "+aes128-cbc,aes128-ctr",
    "aes128-ctr,",
    "-made-up",
    "aes128-ctr,aes128-ctr",
    "-",
    "+3des-cbc,,bogus",
];
const BAD_CIPHERS: &[&str] = &["aes*", "bogus", "+", "^", "+aes*", "none", "aes128-ctr,bogus", "!aes128-ctr"];
const MACS: &[&str] = &[
    "hmac-sha1",
    "hmac-sha2-256,hmac-sha1",
    "+hmac-md5",
    "-*etm*",
    "^hmac-sha2-512",
    "-hmac-sha1,umac*",
    "+hmac-md5-96,hmac-sha1",
    "-*,!hmac*",
];
const BAD_MACS: &[&str] = &["hmac*", "bogus", "+bogus", "hmac-sha1,bogus", "^"];
const KEX: &[&str] = &[
    "curve25519-sha256",
    "+diffie-hellman-group1-sha1",
    "-diffie*",
    "^ecdh-sha2-nistp256",
    "-*sha512",
    "curve25519-sha256,gss-gex-sha1-",
    "+gss-gex-sha1-",
];
const BAD_KEX: &[&str] = &["bogus", "curve*", "+", "ecdh-sha2-nistp256,bogus"];
const KEYS: &[&str] = &[
    "ssh-ed25519",
    "+ssh-rsa",
    "-ecdsa*",
    "^ssh-ed25519,rsa-sha2-512",
    "ssh-*",
    "*",
    "+ssh-dss*",
    "-*cert*",
    "^*sk*",
    "rsa-sha2-256,RSA",
    "+RSA",
    "ssh-rsa,",
    "-*,!ssh-ed25519",
    "*ed25519*,rsa*",
];
const BAD_KEYS: &[&str] = &["bogus", "+bogus*", "+", "^", "ssh-ed25519,bogus"];
const JUMPS: &[&str] = &[
    "none",
    "NONE",
    "jump",
    "u@jump",
    "jump:2222",
    "a,b",
    "u@a:1,v@b:2",
    "[::1]:22",
    "10.0.0.1",
    "ssh://u@b:33",
    "a # x",
    "ssh://b/",
    "\"a\"",
    "a b",
    "=a",
    "a:",
    "u@v@a",
    "a,none",
    "jump:22",
    "h:ssh",
];
const BAD_JUMPS: &[&str] = &["a,,b", "::1", "@a", "a:0", "a:x", "ssh://a/b", "a,", "ssh://[::1]"];
const COMMANDS: &[&str] = &[
    "none",
    "nc %h %p",
    "None",
    "ssh -W %h:%p \"gate way\"",
    "= x y # z",
    "nc 'a b'",
    "echo %% %n %r %k",
    "exec a  b",
];
const AGENTS: &[&str] =
    &["none", "SSH_AUTH_SOCK", "$VAR", "${SUB_DIR}/a", "~/agent", "/run/%i/%u", "NONE", "$MISSING", "$SSH_AUTH_SOCK"];
const BAD_AGENTS: &[&str] = &["${MISSING}", "$A-B", "%z", "$", "~nobody-here/a"];
const HOSTNAMES: &[&str] = &["%h.example.com", "%h", "Target.Example.COM", "10.1.2.3", "a%%b", "web1", "[::1]", "%h%h"];
const WORDS: &[&str] =
    &["alice", "bob", "a b", "c#d", "x'y", "q\"r", "back\\slash", "ü", "a=b", "=", "-x", "!x", "%h", "${VAR}"];

/// Valid values, invalid values.
type Values = (&'static [&'static str], &'static [&'static str]);

const KEYWORDS: &[(&str, Values, bool)] = &[
    ("HostName", (HOSTNAMES, &["%z", "a%"]), false),
    ("User", (WORDS, &[]), false),
    ("Port", (PORTS, BAD_PORTS), false),
    ("IdentityFile", (FILES, &[]), false),
    ("IdentitiesOnly", (FLAGS, &["maybe"]), false),
    ("IdentityAgent", (AGENTS, BAD_AGENTS), false),
    ("CertificateFile", (FILES, &[]), false),
    ("ProxyJump", (JUMPS, BAD_JUMPS), true),
    ("ProxyCommand", (COMMANDS, &["nc 'a", "\"x"]), true),
    ("UserKnownHostsFile", (FILES, BAD_FILES), false),
    ("GlobalKnownHostsFile", (FILES, &[]), false),
    ("RevokedHostKeys", (FILES, &[]), false),
    ("HashKnownHosts", (FLAGS, &["maybe", "1"]), false),
    ("StrictHostKeyChecking", (STRICT, &["maybe", "accept"]), false),
    ("HostKeyAlias", (WORDS, &[]), false),
    ("HostKeyAlgorithms", (KEYS, BAD_KEYS), false),
    ("KexAlgorithms", (KEX, BAD_KEX), false),
    ("Ciphers", (CIPHERS, BAD_CIPHERS), false),
    ("MACs", (MACS, BAD_MACS), false),
    ("PubkeyAcceptedAlgorithms", (KEYS, BAD_KEYS), false),
    ("PubkeyAcceptedKeyTypes", (KEYS, BAD_KEYS), false),
    ("ConnectTimeout", (TIMES, BAD_TIMES), false),
    ("ServerAliveInterval", (TIMES, BAD_TIMES), false),
    ("ServerAliveCountMax", (NUMBERS, BAD_NUMBERS), false),
    ("IgnoreUnknown", (&["made*", "up,made-up", "*", "!x,*x*", "MadeUp"], &[]), false),
    ("PubkeyAuthentication", (&["yes", "no", "unbound", "Host-Bound", "true"], &["maybe"]), false),
    ("PasswordAuthentication", (FLAGS, &["maybe"]), false),
    ("KbdInteractiveAuthentication", (FLAGS, &["maybe"]), false),
    ("ChallengeResponseAuthentication", (FLAGS, &["maybe"]), false),
    ("PreferredAuthentications", (&["publickey", "password,publickey", "none"], &[]), false),
    ("AddressFamily", (&["any", "inet", "INET6"], &["inet4", "none"]), false),
    ("NumberOfPasswordPrompts", (NUMBERS, BAD_NUMBERS), false),
    ("RequiredRSASize", (NUMBERS, BAD_NUMBERS), false),
    ("BindAddress", (&["10.0.0.1", "localhost", "none"], &[]), false),
    ("BatchMode", (FLAGS, &["maybe"]), false),
];

/// Keywords that are only parsed, each with a valid and an invalid value.
const OTHERS: &[(&str, &str, &str)] = &[
    ("AddKeysToAgent", "confirm 5m", "yes 5m"),
    ("CanonicalDomains", "a.example b.example", "*"),
    ("CanonicalizePermittedCNAMEs", "none", "x"),
    ("CheckHostIP", "no", "maybe"),
    ("Compression", "yes", "true"),
    ("ConnectionAttempts", "3", "x"),
    ("ControlMaster", "autoask", "maybe"),
    ("ControlPath", "~/.ssh/c-%h", "a b"),
    ("ControlPersist", "10m", "maybe"),
    ("DynamicForward", "1080", "x"),
    ("EscapeChar", "^]", "ab"),
    ("FingerprintHash", "md5", "crc"),
    ("ForwardAgent", "$VAR", "${MISSING}"),
    ("ForwardX11Timeout", "1h", "x"),
    ("GSSAPIAuthentication", "yes", "x"),
    ("GSSAPIClientIdentity", "x", "x y"),
    ("HostbasedAcceptedAlgorithms", "ssh-rsa", "x"),
    ("IPQoS", "ef 0x10", "x"),
    ("KnownHostsCommand", "/bin/x %h \"y\" # z", "'"),
    ("LocalCommand", "echo x y", "\""),
    ("LocalForward", "8080 host:80", "8080"),
    ("LocalForward", "[::1]:8080 [::1]:80", "0 host:80"),
    ("LogLevel", "debug2", "5"),
    ("LogVerbose", "a b", "a none"),
    ("PermitRemoteOpen", "a:22 [::1]:*", "a"),
    ("ProxyUseFdpass", "no", "x"),
    ("RekeyLimit", "1G 1h", "5"),
    ("RemoteCommand", "echo a b", "'x"),
    ("RemoteForward", "0", "a b"),
    ("RequestTTY", "force", "x"),
    ("SendEnv", "LANG LC_*", "A=B"),
    ("SessionType", "none", "x"),
    ("SetEnv", "A=B C=D", "A"),
    ("StreamLocalBindMask", "0177", "8"),
    ("SyslogFacility", "local7", "x"),
    ("TCPKeepAlive", "yes", "x"),
    ("Tunnel", "ethernet", "x"),
    ("TunnelDevice", "any:1", "x"),
    ("UpdateHostKeys", "ask", "x"),
    ("VerifyHostKeyDNS", "ask", "x"),
    ("XAuthLocation", "/x", "a b"),
    ("Protocol", "2,1 x", "'"),
    ("UseRsh", "no", "\""),
    ("MadeUp", "x", "y z"),
    ("made-up", "x", "x"),
];

/// Keywords that are only parsed, with any of [`ODD`].
const ANY: &[&str] = &[
    "AddKeysToAgent",
    "AFSTokenPassing",
    "BatchMode",
    "BindInterface",
    "CASignatureAlgorithms",
    "CanonicalDomains",
    "CanonicalizeFallbackLocal",
    "CanonicalizeMaxDots",
    "CheckHostIP",
    "Cipher",
    "ClearAllForwardings",
    "Compression",
    "CompressionLevel",
    "ConnectionAttempts",
    "ControlMaster",
    "ControlPersist",
    "DSAAuthentication",
    "DynamicForward",
    "EnableEscapeCommandline",
    "EnableSSHKeysign",
    "EscapeChar",
    "ExitOnForwardFailure",
    "FallBackToRsh",
    "FingerprintHash",
    "ForwardAgent",
    "ForwardX11",
    "ForwardX11Timeout",
    "ForwardX11Trusted",
    "GSSAPIAuthentication",
    "GSSAPIClientIdentity",
    "GSSAPIDelegateCredentials",
    "GSSAPIKexAlgorithms",
    "GSSAPIKeyExchange",
    "GSSAPIRenewalForcesRekey",
    "GSSAPIServerIdentity",
    "GSSAPITrustDNS",
    "GatewayPorts",
    "GlobalKnownHostsFile2",
    "HostbasedAuthentication",
    "HostbasedKeyTypes",
    "IPQoS",
    "IdentityFile2",
    "KbdInteractiveDevices",
    "KeepAlive",
    "KerberosAuthentication",
    "KerberosTgtPassing",
    "KnownHostsCommand",
    "LocalCommand",
    "LocalForward",
    "LogFacility",
    "LogLevel",
    "LogVerbose",
    "NoHostAuthenticationForLocalhost",
    "PKCS11Provider",
    "PermitLocalCommand",
    "PermitRemoteOpen",
    "Protocol",
    "ProtocolKeepAlives",
    "ProxyUseFdpass",
    "RSAAuthentication",
    "RekeyLimit",
    "RemoteForward",
    "RequestTTY",
    "RhostsAuthentication",
    "RhostsRSAAuthentication",
    "SecurityKeyProvider",
    "SendEnv",
    "SessionType",
    "SetEnv",
    "SetupTimeOut",
    "SkeyAuthentication",
    "SmartcardDevice",
    "StdinNull",
    "StreamLocalBindMask",
    "StreamLocalBindUnlink",
    "SyslogFacility",
    "TCPKeepAlive",
    "TISAuthentication",
    "Tunnel",
    "TunnelDevice",
    "UpdateHostKeys",
    "UseLogin",
    "UsePrivilegedPort",
    "UseRoaming",
    "UseRsh",
    "UserKnownHostsFile2",
    "VerifyHostKeyDNS",
    "VisualHostKey",
    "XAuthLocation",
];
const ODD: &[&str] = &[
    "no",
    "no",
    "no",
    "no",
    "false",
    "NO",
    "none",
    "None",
    "ask",
    "auto",
    "5",
    "1m",
    "0",
    "a b",
    "\"\"",
    "1:2",
    "1:a:2",
    "a:b c:5",
    "80 a:5",
    "[::1]:80 /x",
    "/x",
    "/x /y",
    "INFO",
    "any",
    "any:1",
    "*",
    "a.b",
    "A=B",
    "ssh-rsa",
    "16",
    "16k",
    "1.5M none",
    "1G 5m",
    "default",
    "ef",
    "0x10 07",
    "cs1 le",
    "confirm",
    "confirm 5m",
    "0177",
    "99",
    "~",
    "^a",
    "^1",
    "user",
    "local3",
    "sha256",
    "# x",
    "'a b'",
    "gss-gex-sha1-",
    "point-to-point",
    "force",
    "default none",
    "-1",
    "${VAR}:/x",
    "0:a:5",
    "a:5",
    "[a]:5",
    "a/5",
    "x%z",
];

/// `count` cases for a seed.
pub(crate) fn cases(seed: u64, count: usize) -> Vec<Case> {
    let mut maker = Maker(StdRng::seed_from_u64(seed));
    (0..count).map(|_| maker.case()).collect()
}

struct Maker(StdRng);

impl Maker {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.0).expect("the list is empty")
    }

    /// True with a probability of one in `times`.
    fn once_in(&mut self, times: u32) -> bool {
        self.0.random_range(0..times) == 0
    }

    fn case(&mut self) -> Case {
        let mut case = Case { host: self.pick(HOSTS).to_owned(), ..Case::default() };
        case.config = self.file(0, &mut case.others).into_bytes();
        if self.once_in(6) {
            case.user = Some(self.pick(&["alice", "bob", "root"]).to_owned());
        }
        if self.once_in(6) {
            case.port = Some(self.pick(&[22, 2222, 1]));
        }
        case
    }

    fn file(&mut self, depth: usize, others: &mut Vec<(String, Vec<u8>)>) -> String {
        let mut text = String::new();
        for _ in 0..self.0.random_range(0..12) {
            let line = self.line(depth, others);
            text.push_str(&line);
            text.push_str(match self.0.random_range(0..40) {
                0 => "\r\n",
                1 => " \t\n",
                2 => "\u{c}\n",
                3 => "\n\n",
                _ => "\n",
            });
        }
        if self.once_in(10) {
            text.pop();
        }
        text
    }

    fn line(&mut self, depth: usize, others: &mut Vec<(String, Vec<u8>)>) -> String {
        let indent = self.pick(&["", "", "  ", "\t", " \t "]);
        let (keyword, value) = match self.0.random_range(0..20) {
            0..3 => ("Host", self.names()),
            3..6 => ("Match", self.criteria()),
            6 if depth < 3 => ("Include", self.include(depth, others)),
            7 => return self.pick(&["", "# comment", "   # User x", "#", "\"User x", " "]).to_owned(),
            8 if self.once_in(2) => (self.pick(ANY), self.pick(ODD).to_owned()),
            8 => {
                let (keyword, good, bad) = self.pick(OTHERS);
                (keyword, if self.once_in(15) { bad } else { good }.to_owned())
            }
            _ => {
                let (keyword, (good, bad), raw) = self.pick(KEYWORDS);
                let value = if !bad.is_empty() && self.once_in(60) { self.pick(bad) } else { self.pick(good) };
                let mut value = if raw { value.to_owned() } else { self.quoted(value) };
                if keyword.ends_with("HostsFile") && self.once_in(3) {
                    let more = self.pick(FILES);
                    value = format!("{value} {}", self.quoted(more));
                }
                (keyword, value)
            }
        };
        let keyword = match self.0.random_range(0..8) {
            0 => keyword.to_ascii_uppercase(),
            1 => keyword.to_ascii_lowercase(),
            2 if self.once_in(4) => format!("\"{keyword}\""),
            _ => keyword.to_owned(),
        };
        let between = self.pick(&[" ", " ", " ", "\t", "=", " = ", "  ", "= ", " =\t"]);
        let after = match self.0.random_range(0..30) {
            0 => " # comment",
            1 => "  #",
            2 => "#glued",
            3 if self.once_in(4) => " extra",
            4 if self.once_in(4) => " 'open",
            5 if self.once_in(4) => " \"\"",
            _ => "",
        };
        format!("{indent}{keyword}{between}{value}{after}")
    }

    /// The value, quoted as one word.
    fn quoted(&mut self, value: &str) -> String {
        let needs = value.contains([' ', '\'', '"', '\\']) || value.starts_with('#');
        match self.0.random_range(0..6) {
            0 => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            1 => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
            2 if value.is_ascii() && value.len() > 1 => {
                let (head, tail) = value.split_at(1);
                if needs { self.escaped(value) } else { format!("{head}\"{tail}\"") }
            }
            _ if needs => self.escaped(value),
            _ => value.to_owned(),
        }
    }

    fn escaped(&mut self, value: &str) -> String {
        let mut text = String::new();
        for c in value.chars() {
            if matches!(c, ' ' | '\'' | '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text
    }

    fn names(&mut self) -> String {
        let count = self.0.random_range(1..4);
        let names: Vec<String> = (0..count)
            .map(|_| {
                let negated = if self.once_in(5) { "!" } else { "" };
                let name = format!("{negated}{}", self.pick(NAMES));
                self.quoted(&name)
            })
            .collect();
        names.join(self.pick(&[" ", "  ", "\t"]))
    }

    fn criteria(&mut self) -> String {
        let mut parts = Vec::new();
        if self.once_in(8) {
            parts.push(self.pick(&["all", "ALL", "!all", "final all", "all # x", "canonical all"]).to_owned());
            return parts.concat();
        }
        for _ in 0..self.0.random_range(1..4) {
            let negated = if self.once_in(4) { "!" } else { "" };
            let list: String = (0..self.0.random_range(1..3))
                .map(|_| format!("{}{}", if self.once_in(5) { "!" } else { "" }, self.pick(NAMES)))
                .collect::<Vec<_>>()
                .join(",");
            let (name, value) = match self.0.random_range(0..16) {
                0..5 => ("host", list),
                5..8 => ("originalhost", list),
                8..10 => ("user", self.pick(USERS).to_owned()),
                10..12 => ("localuser", self.pick(USERS).to_owned()),
                12 => ("exec", self.command()),
                13 => ("final", String::new()),
                14 => ("canonical", String::new()),
                _ if self.once_in(10) => ("madeup", "x".to_owned()),
                _ => ("host", "*".to_owned()),
            };
            let between = self.pick(&[" ", " ", "=", " = ", "\t"]);
            let value = match name {
                "final" | "canonical" => String::new(),
                _ if value.contains(' ') || self.once_in(5) => format!("{between}\"{value}\""),
                _ => format!("{between}{value}"),
            };
            let name = if self.once_in(6) { name.to_ascii_uppercase() } else { name.to_owned() };
            parts.push(format!("{negated}{name}{value}"));
        }
        parts.join(" ")
    }

    fn command(&mut self) -> String {
        let host = self.pick(HOSTS);
        match self.0.random_range(0..8) {
            0 => "true".to_owned(),
            1 => "false".to_owned(),
            2 => format!("test %h = {host}"),
            3 => format!("test %n = {host}"),
            4 => "test %p -eq 22".to_owned(),
            5 => "test %r = root".to_owned(),
            6 => format!("test %k = {host}"),
            _ if self.once_in(4) => "test %z".to_owned(),
            _ => "test %u%i%L%d = x".to_owned(),
        }
    }

    fn include(&mut self, depth: usize, others: &mut Vec<(String, Vec<u8>)>) -> String {
        if self.once_in(5) {
            return self
                .pick(&["@DIR@/missing", "@DIR@/none*", "@DIR@", "missing-there", "@DIR@/d/*", "~nobody-here/x"])
                .to_owned();
        }
        let name = format!("{}inc{}.conf", self.pick(&["", "d/", "d/", "e e/"]), others.len());
        others.push((name.clone(), Vec::new()));
        let at = others.len() - 1;
        let text = self.file(depth + 1, others);
        if let Some((_, place)) = others.get_mut(at) {
            *place = text.into_bytes();
        }
        match self.0.random_range(0..4) {
            0 => "@DIR@/d/*.conf".to_owned(),
            1 => format!("\"@DIR@/{name}\" @DIR@/d/inc?.conf"),
            _ => format!("\"@DIR@/{name}\""),
        }
    }
}
