//! The form of `ssh -G`: one `keyword value` a line.

use std::fmt::{Display, Write};
use std::path::PathBuf;

use super::resolved::{ConfigProxy, DEFAULT_IDENTITIES, ResolvedHost};

/// Collects lines. Writing to a String cannot fail.
struct PrintedLines(String);

impl PrintedLines {
    fn add(&mut self, keyword: &str, value: impl Display) {
        // The macro returns a result only because other writers can fail.
        let _written: std::fmt::Result = writeln!(self.0, "{keyword} {value}");
    }

    fn flag(&mut self, keyword: &str, value: bool) {
        self.add(keyword, if value { "yes" } else { "no" });
    }

    fn optional(&mut self, keyword: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(keyword, value);
        }
    }

    fn files(&mut self, keyword: &str, files: &[PathBuf]) {
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        // As dump_cfg_strarray_oneline (readconf.c): no files at all are printed as `none`.
        self.add(keyword, if files.is_empty() { "none".to_owned() } else { files.join(" ") });
    }
}

impl ResolvedHost {
    /// The settings as `ssh -G` of OpenSSH 9.2 prints them, in its order, without those that are not honoured.
    pub fn to_ssh_g(&self) -> String {
        let mut lines = PrintedLines(String::with_capacity(4096));
        lines.add("host", &self.host);
        lines.add("user", &self.user.value);
        lines.add("hostname", &self.host_name.value);
        lines.add("port", self.port.value);
        lines.add("addressfamily", self.address_family.value.as_str());
        lines.flag("batchmode", self.batch_mode.value);
        lines.flag("hashknownhosts", self.hash_known_hosts.value);
        lines.flag("identitiesonly", self.identities_only.value);
        lines.flag("kbdinteractiveauthentication", self.kbd_interactive_authentication.value);
        lines.flag("passwordauthentication", self.password_authentication.value);
        lines.add("pubkeyauthentication", self.pubkey_authentication.value.as_str());
        lines.add("stricthostkeychecking", self.strict_host_key_checking.value.as_str());
        lines.add("numberofpasswordprompts", self.number_of_password_prompts.value);
        lines.add("serveralivecountmax", self.server_alive_count_max.value);
        lines.add("serveraliveinterval", self.server_alive_interval.value.as_secs());
        lines.add("requiredrsasize", self.required_rsa_size.value);
        let text =
            |setting: &Option<super::ResolvedSetting<std::sync::Arc<str>>>| setting.as_ref().map(|it| it.value.clone());
        lines.optional("bindaddress", text(&self.bind_address));
        lines.add("ciphers", self.ciphers.value.as_str());
        lines.add("hostkeyalgorithms", self.host_key_algorithms.value.as_str());
        lines.optional("hostkeyalias", text(&self.host_key_alias));
        lines.optional("identityagent", self.identity_agent_text.as_ref());
        lines.optional("ignoreunknown", text(&self.ignore_unknown));
        lines.optional("tag", text(&self.tag));
        lines.optional("preferredauthentications", text(&self.preferred_authentications));
        lines.add("kexalgorithms", self.kex_algorithms.value.as_str());
        lines.add("macs", self.macs.value.as_str());
        if let ConfigProxy::Command(command) = &self.proxy.value {
            lines.add("proxycommand", command);
        }
        lines.optional("revokedhostkeys", text(&self.revoked_host_keys));
        lines.add("pubkeyacceptedalgorithms", self.pubkey_accepted_algorithms.value.as_str());
        for file in &self.identity_files {
            lines.add("identityfile", &file.value);
        }
        // The default files are printed with their `~`, as fill_default_options adds them.
        if self.identity_files.is_empty() {
            for file in DEFAULT_IDENTITIES {
                lines.add("identityfile", file);
            }
        }
        for file in &self.certificate_files {
            lines.add("certificatefile", &file.value);
        }
        lines.files("globalknownhostsfile", &self.global_known_hosts_text);
        lines.files("userknownhostsfile", &self.user_known_hosts_files.value);
        match self.connect_timeout.value {
            Some(time) => lines.add("connecttimeout", time.as_secs()),
            // A time that is not set is -1 in `ssh`, and `ssh -G` prints it as `none`.
            None => lines.add("connecttimeout", "none"),
        }
        // dump_client_config (readconf.c) treats ProxyJump as a special case, after all plain values.
        if let ConfigProxy::Jump(jump) = &self.proxy.value {
            lines.add("proxyjump", jump.as_str());
        }
        lines.0
    }
}
