//! Every keyword of ssh_config(5): what values it takes, and what becomes of them here.
//!
//! Invariants: each keyword OpenSSH knows, old names and Debian's additions included, stands here once, and
//! each one that is not honoured says why. Start reading at [`Treatment`], then [`KEYWORDS`].

use super::algorithms::AlgorithmKind;
use super::check::ForwardingKind;

/// A keyword whose value is honoured, or decides about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SettingKey {
    AddressFamily,
    BatchMode,
    BindAddress,
    CanonicalizeHostname,
    CertificateFile,
    Ciphers,
    ConnectTimeout,
    GlobalKnownHostsFile,
    HashKnownHosts,
    HostKeyAlgorithms,
    HostKeyAlias,
    HostName,
    IdentitiesOnly,
    IdentityAgent,
    IdentityFile,
    IgnoreUnknown,
    KbdInteractiveAuthentication,
    KexAlgorithms,
    LocalCommand,
    Macs,
    NumberOfPasswordPrompts,
    PasswordAuthentication,
    PermitLocalCommand,
    Port,
    PreferredAuthentications,
    ProxyCommand,
    ProxyJump,
    PubkeyAcceptedAlgorithms,
    PubkeyAuthentication,
    RequiredRsaSize,
    RevokedHostKeys,
    ServerAliveCountMax,
    ServerAliveInterval,
    StrictHostKeyChecking,
    Tag,
    User,
    UserKnownHostsFile,
}

impl SettingKey {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::UserKnownHostsFile as usize + 1;
}

/// What becomes of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Treatment {
    /// It is honoured.
    Honoured(SettingKey),
    /// It is about what `ctl` does not do, so that ignoring it is no loss.
    Ignored,
    /// It is not honoured, which the operator should know. Harmless are values, in lower case, with which nothing
    /// changes; then comes the reason.
    Named(&'static [&'static str], &'static str),
    /// As `Named`, but ignoring it would change where or how securely one connects.
    Refused(&'static [&'static str], &'static str),
}

/// Words for values, and how `ssh -G` writes each.
pub(crate) type ValueChoices = &'static [(&'static str, &'static str)];

/// What a keyword takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueSyntax {
    /// Anything, without a look at it.
    Anything,
    /// One word.
    Word,
    Choice(ValueChoices),
    /// One word that a test accepts.
    Tested(fn(&str) -> bool, &'static str),
    Time,
    Integer,
    Port,
    /// Several words, none of them empty; `none` stands alone.
    Words,
    /// Several words that a test accepts.
    EachTested(fn(&str) -> bool, &'static str),
    /// Domain names; `none` stands alone.
    Domains,
    /// All that follows, as it stands.
    Command,
    Jump,
    Agent,
    ForwardAgent,
    AddKeysToAgent,
    Algorithms(AlgorithmKind),
    /// A forwarding: from here, from there, or dynamic.
    Forward(ForwardingKind),
    PermitRemoteOpen,
    PermittedCnames,
    RekeyLimit,
    Qos,
}

/// One keyword.
#[derive(Debug)]
pub(crate) struct KeywordEntry {
    /// As ssh_config(5) writes it.
    pub(crate) name: &'static str,
    /// Other names, in lower case.
    aliases: &'static [&'static str],
    pub(crate) syntax: ValueSyntax,
    pub(crate) treatment: Treatment,
}

/// Finds a keyword by its name in lower case.
pub(crate) fn find(name: &str) -> Option<&'static KeywordEntry> {
    // Names are in the case of the manual page, aliases in lower case like `name`.
    KEYWORDS.iter().find(|keyword| keyword.name.eq_ignore_ascii_case(name) || keyword.aliases.contains(&name))
}

/// `yes` and `no`.
pub(crate) const FLAG: ValueChoices = &[("true", "yes"), ("false", "no"), ("yes", "yes"), ("no", "no")];
const STRICT: ValueChoices = &[
    ("true", "true"),
    ("false", "false"),
    ("yes", "true"),
    ("no", "false"),
    ("ask", "ask"),
    ("off", "false"),
    ("accept-new", "accept-new"),
];
const PUBKEY: ValueChoices = &[
    ("true", "true"),
    ("false", "false"),
    ("yes", "true"),
    ("no", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
];
const FAMILY: ValueChoices = &[("inet", "inet"), ("inet6", "inet6"), ("any", "any")];
const CANONICALIZE: ValueChoices =
    &[("true", "true"), ("false", "false"), ("yes", "true"), ("no", "false"), ("always", "always")];
const YES_NO_ASK: ValueChoices =
    &[("true", "true"), ("false", "false"), ("yes", "true"), ("no", "false"), ("ask", "ask")];
const COMPRESSION: ValueChoices = &[("yes", "yes"), ("no", "no")];
const MASTER: ValueChoices = &[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
];
const TUNNEL: ValueChoices = &[
    ("ethernet", "ethernet"),
    ("point-to-point", "point-to-point"),
    ("true", "point-to-point"),
    ("yes", "point-to-point"),
    ("false", "false"),
    ("no", "false"),
];
const TTY: ValueChoices =
    &[("true", "true"), ("yes", "true"), ("false", "false"), ("no", "false"), ("force", "force"), ("auto", "auto")];
const SESSION: ValueChoices = &[("none", "none"), ("subsystem", "subsystem"), ("default", "default")];

const NO: &[&str] = &["no", "false"];
const NONE: &[&str] = &["none"];

const FORWARDING: &str = "ctl does not set up forwardings";
const GSSAPI: &str = "ctl cannot authenticate with GSSAPI";
const OBSOLETE: &str = "OpenSSH itself no longer supports it";

macro_rules! keywords {
    ($($name:literal $(/ $alias:literal)* => $syntax:expr, $treatment:expr;)*) => {
        &[$(KeywordEntry { name: $name, aliases: &[$($alias),*], syntax: $syntax, treatment: $treatment }),*]
    };
}

use super::check::ForwardingKind::{Dynamic, Local, Remote};
use ValueSyntax::{
    AddKeysToAgent, Agent, Algorithms, Anything, Choice, Command, EachTested, Forward, ForwardAgent, Integer, Jump,
    PermitRemoteOpen, PermittedCnames, Qos, RekeyLimit, Tested, Time, Word, Words,
};
/// `yes` or `no`.
const YES_NO: ValueSyntax = ValueSyntax::Choice(FLAG);
use Treatment::{Honoured, Ignored, Named, Refused};

/// All of them, in the order of the alphabet; the three that shape the file come first, and are read by parse.rs.
pub(crate) const KEYWORDS: &[KeywordEntry] = keywords! {
    "Host" => Anything, Ignored;
    "Match" => Anything, Ignored;
    "Include" => Anything, Ignored;

    "AddKeysToAgent" => AddKeysToAgent, Ignored;
    "AddressFamily" => Choice(FAMILY), Honoured(SettingKey::AddressFamily);
    "BatchMode" => YES_NO, Honoured(SettingKey::BatchMode);
    "BindAddress" => Word, Honoured(SettingKey::BindAddress);
    "BindInterface" => Word, Refused(&[], "ctl cannot bind to an interface, and would connect through another");
    "CASignatureAlgorithms" => Algorithms(AlgorithmKind::Signatures),
        Refused(&[], "ctl cannot restrict how host certificates are signed");
    "CanonicalDomains" => ValueSyntax::Domains, Ignored;
    "CanonicalizeFallbackLocal" => YES_NO, Ignored;
    "CanonicalizeHostname" => Choice(CANONICALIZE), Honoured(SettingKey::CanonicalizeHostname);
    "CanonicalizeMaxDots" => Integer, Ignored;
    "CanonicalizePermittedCNAMEs" => PermittedCnames,
        Refused(NONE, "ctl does not follow CNAMEs, and would connect under another name");
    "CertificateFile" => Word, Honoured(SettingKey::CertificateFile);
    "ChannelTimeout" => Anything, Named(NONE, "ctl has its own time limits");
    "CheckHostIP" => YES_NO, Refused(NO, "ctl checks the host key of the name, not also that of the address");
    "Ciphers" => Algorithms(AlgorithmKind::Ciphers), Honoured(SettingKey::Ciphers);
    "ClearAllForwardings" => YES_NO, Ignored;
    "Compression" => Choice(COMPRESSION), Ignored;
    "ConnectTimeout" => Time, Honoured(SettingKey::ConnectTimeout);
    "ConnectionAttempts" => Integer, Named(&["1"], "--retries says how often ctl tries");
    "ControlMaster" => Choice(MASTER), Ignored;
    "ControlPath" => Word, Ignored;
    "ControlPersist" => Tested(super::check::control_persist, "yes, no or a time"), Ignored;
    "DynamicForward" => Forward(Dynamic), Named(&[], FORWARDING);
    "EnableEscapeCommandline" => YES_NO, Ignored;
    "EnableSSHKeysign" => YES_NO, Ignored;
    "EscapeChar" => Tested(super::check::escape_char, "one character, ^ and a letter, or none"), Ignored;
    "ExitOnForwardFailure" => YES_NO, Ignored;
    "FingerprintHash" => Tested(super::check::fingerprint_hash, "md5, sha1, sha256, sha384 or sha512"), Ignored;
    "ForkAfterAuthentication" => YES_NO, Ignored;
    "ForwardAgent" => ForwardAgent, Named(NO, "ctl never forwards the agent");
    "ForwardX11" => YES_NO, Ignored;
    "ForwardX11Timeout" => Time, Ignored;
    "ForwardX11Trusted" => YES_NO, Ignored;
    "GSSAPIAuthentication" => YES_NO, Named(NO, GSSAPI);
    "GSSAPIClientIdentity" => Word, Ignored;
    "GSSAPIDelegateCredentials" => YES_NO, Ignored;
    "GSSAPIKexAlgorithms" => Algorithms(AlgorithmKind::Gssapi), Ignored;
    "GSSAPIKeyExchange" => YES_NO, Named(NO, GSSAPI);
    "GSSAPIRenewalForcesRekey" => YES_NO, Ignored;
    "GSSAPIServerIdentity" => Word, Ignored;
    "GSSAPITrustDNS" => YES_NO, Ignored;
    "GatewayPorts" => YES_NO, Ignored;
    "GlobalKnownHostsFile" => Words, Honoured(SettingKey::GlobalKnownHostsFile);
    "HashKnownHosts" => YES_NO, Honoured(SettingKey::HashKnownHosts);
    "HostKeyAlgorithms" => Algorithms(AlgorithmKind::Keys), Honoured(SettingKey::HostKeyAlgorithms);
    "HostKeyAlias" => Word, Honoured(SettingKey::HostKeyAlias);
    "HostName" => Word, Honoured(SettingKey::HostName);
    "HostbasedAcceptedAlgorithms" / "hostbasedkeytypes" => Algorithms(AlgorithmKind::Keys), Ignored;
    "HostbasedAuthentication" => YES_NO, Named(NO, "ctl cannot authenticate with the key of this machine");
    "IPQoS" => Qos, Ignored;
    "IdentitiesOnly" => YES_NO, Honoured(SettingKey::IdentitiesOnly);
    "IdentityAgent" => Agent, Honoured(SettingKey::IdentityAgent);
    "IdentityFile" / "identityfile2" => Word, Honoured(SettingKey::IdentityFile);
    "IgnoreUnknown" => Word, Honoured(SettingKey::IgnoreUnknown);
    "KbdInteractiveAuthentication" / "challengeresponseauthentication" / "skeyauthentication" / "tisauthentication" => YES_NO,
        Honoured(SettingKey::KbdInteractiveAuthentication);
    "KbdInteractiveDevices" => Word, Named(&[], "ctl lets the node choose how it asks");
    "KexAlgorithms" => Algorithms(AlgorithmKind::Kex), Honoured(SettingKey::KexAlgorithms);
    "KnownHostsCommand" => Command, Refused(NONE, "ctl does not ask a command for host keys");
    "LocalCommand" => Command, Honoured(SettingKey::LocalCommand);
    "LocalForward" => Forward(Local), Named(&[], FORWARDING);
    "LogLevel" => Tested(super::check::log_level, "a log level from QUIET to DEBUG3"), Ignored;
    "LogVerbose" => Words, Ignored;
    "MACs" => Algorithms(AlgorithmKind::Macs), Honoured(SettingKey::Macs);
    "NoHostAuthenticationForLocalhost" => YES_NO, Named(NO, "ctl also checks the host key of this machine");
    "NumberOfPasswordPrompts" => Integer, Honoured(SettingKey::NumberOfPasswordPrompts);
    "ObscureKeystrokeTiming" => Anything, Ignored;
    "PKCS11Provider" / "smartcarddevice" => Word,
        Named(NONE, "ctl does not load PKCS#11 libraries; add the key to an agent with ssh-add -s");
    "PasswordAuthentication" => YES_NO, Honoured(SettingKey::PasswordAuthentication);
    "PermitLocalCommand" => YES_NO, Honoured(SettingKey::PermitLocalCommand);
    "PermitRemoteOpen" => PermitRemoteOpen, Ignored;
    "Port" => ValueSyntax::Port, Honoured(SettingKey::Port);
    "PreferredAuthentications" => Word, Honoured(SettingKey::PreferredAuthentications);
    "ProxyCommand" => Command, Honoured(SettingKey::ProxyCommand);
    "ProxyJump" => Jump, Honoured(SettingKey::ProxyJump);
    "ProxyUseFdpass" => YES_NO, Refused(NO, "ctl cannot take over a connection that ProxyCommand passes on");
    "PubkeyAcceptedAlgorithms" / "pubkeyacceptedkeytypes" => Algorithms(AlgorithmKind::Keys),
        Honoured(SettingKey::PubkeyAcceptedAlgorithms);
    "PubkeyAuthentication" / "dsaauthentication" => Choice(PUBKEY), Honoured(SettingKey::PubkeyAuthentication);
    "RefuseConnection" => Word, Refused(&[], "it forbids connecting to the host");
    "RekeyLimit" => RekeyLimit, Named(&["default", "default none", "0"], "ctl renews keys when its SSH library does");
    "RemoteCommand" => Command, Named(NONE, "ctl runs its own commands");
    "RemoteForward" => Forward(Remote), Named(&[], FORWARDING);
    "RequestTTY" => Choice(TTY), Ignored;
    "RequiredRSASize" => Integer, Honoured(SettingKey::RequiredRsaSize);
    "RevokedHostKeys" => Word, Honoured(SettingKey::RevokedHostKeys);
    "SecurityKeyProvider" => Word,
        Named(&["internal", "none"], "ctl does not load libraries for security keys; use an agent");
    "SendEnv" => EachTested(super::check::environment_name, "the name of an environment variable"), Ignored;
    "ServerAliveCountMax" => Integer, Honoured(SettingKey::ServerAliveCountMax);
    "ServerAliveInterval" / "protocolkeepalives" / "setuptimeout" => Time, Honoured(SettingKey::ServerAliveInterval);
    "SessionType" => Choice(SESSION), Ignored;
    "SetEnv" => EachTested(super::check::environment_setting, "NAME=value"),
        Named(&[], "ctl sets no environment variables on nodes");
    "StdinNull" => YES_NO, Ignored;
    "StreamLocalBindMask" => Tested(super::check::bind_mask, "an octal number up to 0777"), Ignored;
    "StreamLocalBindUnlink" => YES_NO, Ignored;
    "StrictHostKeyChecking" => Choice(STRICT), Honoured(SettingKey::StrictHostKeyChecking);
    "SyslogFacility" => Tested(super::check::facility, "a syslog facility such as USER or LOCAL0"), Ignored;
    "TCPKeepAlive" / "keepalive" => YES_NO, Ignored;
    "Tag" => Word, Honoured(SettingKey::Tag);
    "Tunnel" => Choice(TUNNEL), Named(NO, "ctl opens no tunnels");
    "TunnelDevice" => Tested(super::check::tunnel_device, "any, N, or N:M"), Ignored;
    "UpdateHostKeys" => Choice(YES_NO_ASK), Ignored;
    "User" => Word, Honoured(SettingKey::User);
    "UserKnownHostsFile" => Words, Honoured(SettingKey::UserKnownHostsFile);
    "VerifyHostKeyDNS" => Choice(YES_NO_ASK), Named(NO, "ctl does not look for host keys in the DNS, only in known_hosts");
    "VersionAddendum" => Anything, Ignored;
    "VisualHostKey" => YES_NO, Ignored;
    "WarnWeakCrypto" => Anything, Ignored;
    "XAuthLocation" => Word, Ignored;

    "AFSTokenPassing" => Anything, Named(NO, OBSOLETE);
    "Cipher" => Anything, Named(&[], OBSOLETE);
    "CompressionLevel" => Anything, Ignored;
    "FallBackToRsh" => Anything, Named(NO, OBSOLETE);
    "GlobalKnownHostsFile2" => Anything, Named(&[], OBSOLETE);
    "KerberosAuthentication" => Anything, Named(NO, OBSOLETE);
    "KerberosTgtPassing" => Anything, Named(NO, OBSOLETE);
    "Protocol" => Anything, Named(&["2", "2,1"], OBSOLETE);
    "RSAAuthentication" => Anything, Ignored;
    "RhostsAuthentication" => Anything, Named(NO, OBSOLETE);
    "RhostsRSAAuthentication" => Anything, Named(NO, OBSOLETE);
    "UseBlacklistedKeys" => Anything, Ignored;
    "UsePrivilegedPort" => Anything, Named(NO, OBSOLETE);
    "UseRoaming" => Anything, Ignored;
    "UseRsh" => Anything, Named(NO, OBSOLETE);
    "UserKnownHostsFile2" => Anything, Named(&[], OBSOLETE);
};

/// Why hostnames that are to be made canonical are refused.
pub(crate) const CANONICALIZE_REFUSED: &str =
    "ctl does not make host names canonical, and would connect under another name";
/// Why commands that are to run here are named.
pub(crate) const LOCAL_COMMAND_NAMED: &str = "ctl runs no local command after it has connected";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_stand_once() {
        let mut seen = BTreeSet::new();
        for keyword in KEYWORDS {
            for name in keyword.aliases.iter().map(|name| (*name).to_owned()).chain([keyword.name.to_ascii_lowercase()])
            {
                assert!(seen.insert(name.clone()), "{name}");
            }
        }
        assert!(find("host").is_some() && find("keepalive").is_some() && find("made-up").is_none());
    }

    #[test]
    fn every_honoured_key_has_one_keyword() {
        let mut keys = [0; SettingKey::COUNT];
        for keyword in KEYWORDS {
            if let Honoured(key) = keyword.treatment {
                keys[key as usize] += 1;
            }
        }
        assert_eq!(keys, [1; SettingKey::COUNT]);
    }

    #[test]
    fn reasons_are_given() {
        for keyword in KEYWORDS {
            if let Named(_, why) | Refused(_, why) = keyword.treatment {
                assert!(why.len() > 10, "{}", keyword.name);
            }
        }
    }
}
