//! sudo's error messages, and advice for each.
//!
//! Pure. The messages are those of sudo 1.8 and 1.9 (`plugins/sudoers`, and `src` for a missing password and a broken
//! installation) and of sudo-rs, untranslated: its translation is turned off.

use ctl_event::{Failure, FailureKind, Stage};

/// Maximum length of a node's message.
const TOLD: usize = 300;

/// Why sudo did not run a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SudoError {
    /// sudo requires a password, and there is none.
    #[error("sudo requires a password")]
    PasswordWanted,
    /// sudo rejected the password.
    #[error("sudo did not accept the password")]
    WrongPassword,
    /// sudo requires a terminal (`requiretty`).
    #[error("sudo requires a terminal (`requiretty` in sudoers), which commands do not have")]
    Terminal,
    /// The user is not in sudoers.
    #[error("the user is not in sudoers")]
    NotSudoer,
    /// sudoers does not allow this command.
    #[error("sudo does not allow the user this command")]
    NotAllowed,
    /// The node has no sudo, or none for this user.
    #[error("sudo is missing on the node, or the user may not run it")]
    Missing,
    /// sudo asks for something other than the password.
    #[error("sudo asks for something other than the password: `{0}`")]
    Question(String),
    /// sudo neither ran the command nor asked for the password in time.
    #[error("sudo neither ran the command nor asked for the password in time{0}")]
    Silent(String),
    /// sudo does not work, or the account is unusable.
    #[error("sudo does not work on the node: {0}")]
    Broken(String),
}

impl SudoError {
    /// Advice for the user.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PasswordWanted => {
                "give the password with -K, or allow the user to run commands without one (NOPASSWD in the node's sudoers)"
            }
            Self::WrongPassword => {
                "run it again and type the user's password on this node; it is sent only once per run, so that no account is locked"
            }
            Self::Terminal => "add `Defaults:USER !requiretty` to the node's sudoers, or log in as root (-u root)",
            Self::NotSudoer => "add the user to the node's sudoers, or log in as root (-u root)",
            Self::NotAllowed => {
                "allow the user the command in the node's sudoers, or log in as root (-u root); a guard with -K, exec, cp and init need /bin/sh"
            }
            Self::Missing => "install sudo on the node, or log in as root (-u root)",
            Self::Question(_) | Self::Silent(_) => {
                "ctl answers only a password prompt: allow the user the command without a prompt (NOPASSWD in sudoers), or log in as root"
            }
            Self::Broken(_) => "run `sudo -v` on the node to see what is wrong",
        }
    }

    /// The failure for a result.
    #[must_use]
    pub fn failure(&self, stage: Stage) -> Failure {
        Failure::new(stage, FailureKind::Sudo, self.to_string()).with_hint(self.hint())
    }

    /// Parses one line.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        let lower = line.trim().to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if says(&["you must have a tty to run sudo"]) {
            return Some(Self::Terminal);
        }
        if says(&["is not in the sudoers file", "is not allowed to run sudo", "may not run sudo"]) {
            return Some(Self::NotSudoer);
        }
        if says(&["is not allowed to execute"]) {
            return Some(Self::NotAllowed);
        }
        if lower == "sorry, try again." {
            return Some(Self::PasswordWanted);
        }
        // env starts sudo, and reports if it cannot find it.
        if lower.starts_with("env:") && says(&["sudo"]) && says(&["no such file", "permission denied"]) {
            return Some(Self::Missing);
        }
        // Every other message starts with the program's name; without it the line comes from the command or a shell.
        if !lower.starts_with("sudo:") && !lower.starts_with("sudo-rs:") {
            return None;
        }
        if says(&[
            "password is required",
            "no tty present",
            "terminal is required",
            "no askpass program",
            "no password was provided",
            "unable to read password",
            "incorrect password attempt",
            "interactive authentication is required",
            "authentication failed",
        ]) {
            return Some(Self::PasswordWanted);
        }
        // sudo-rs rejects a command with these words.
        if says(&["i'm afraid i can't do that"]) {
            return Some(Self::NotAllowed);
        }
        says(&[
            "account validation failure",
            "account expired",
            "account or password is expired",
            "pam authentication error",
            "pam account management error",
            "must be owned by uid 0",
            "must be setuid root",
            "effective uid is not 0",
            "no valid sudoers sources",
            "unable to initialize policy plugin",
            "unknown user",
            "do not exist in the passwd database",
        ])
        .then(|| Self::Broken(clip(line.trim())))
    }

    /// Parses the output before the command: the first line with a known message.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        text.lines().find_map(Self::of_line)
    }
}

/// The start of a node's message, cut between characters.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_name() {
        let cases = [
            ("sudo: a password is required", Some(SudoError::PasswordWanted)),
            ("sudo: no tty present and no askpass program specified", Some(SudoError::PasswordWanted)),
            ("Sorry, try again.", Some(SudoError::PasswordWanted)),
            ("sudo: 1 incorrect password attempt", Some(SudoError::PasswordWanted)),
            ("sudo: sorry, you must have a tty to run sudo", Some(SudoError::Terminal)),
            ("eve is not in the sudoers file.  This incident will be reported.", Some(SudoError::NotSudoer)),
            ("Sorry, user eve may not run sudo on a6s01.", Some(SudoError::NotSudoer)),
            ("Sorry, user eve is not allowed to execute '/bin/sh' as root on a6s01.", Some(SudoError::NotAllowed)),
            ("sudo: I'm sorry eve. I'm afraid I can't do that", Some(SudoError::NotAllowed)),
            ("env: 'sudo': No such file or directory", Some(SudoError::Missing)),
            ("env: 'sudo': Permission denied", Some(SudoError::Missing)),
            ("env: can't execute 'sudo': No such file or directory", Some(SudoError::Missing)),
            (
                "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
                Some(SudoError::Broken(
                    "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set".to_owned(),
                )),
            ),
            ("sudo: unable to resolve host a6s01: Name or service not known", None),
            ("sudo: supervisorctl: command not found", None),
            ("contrail-collector RUNNING pid 7, uptime 0:01:00", None),
        ];
        for (line, expected) in cases {
            assert_eq!(SudoError::of_line(line), expected, "{line}");
        }
    }
}
