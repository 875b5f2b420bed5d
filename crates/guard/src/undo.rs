//! The undo of a scope that the guard does if its controller is gone.
//!
//! Pure. Invariants: it runs the same command, with the same environment and the same rights, as the controller would;
//! text of the user reaches the guard as data, encoded as every command is.

use std::time::Duration;

use super::command::{NodeCommand, environment_words, word};
use ctl_remote::Sudo;
use ctl_remote::script::quoted;

/// A shell that has the command and its environment in its arguments, and becomes the command.
pub(super) const UNDO: &str =
    concat!(include_str!("exec/word.sh"), "\n", include_str!("exec/env.sh"), "\n", include_str!("exec/undo.sh"));

/// The guard's code: the command, repeated until it exits 0, for up to `time`. `None` if it is too long.
pub(super) fn code(command: NodeCommand<'_>, sudo: &Sudo, time: Duration) -> Option<String> {
    // With a password, the guard itself runs through sudo.
    let prefix = if matches!(sudo, Sudo::Plain) { "sudo -n " } else { "" };
    let word = word(command.text)?;
    let environment = environment_words(command.environment);
    let seconds = time.as_secs().max(1);
    Some(format!("undo {seconds} {prefix}/bin/sh -c {} ctl-undo - - - - {word}{environment}", quoted(UNDO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_is_one_line_of_any_text() {
        let environment = [("CTL_NODE", "a6s01".to_owned())];
        let command = NodeCommand { text: "echo \"it's\\n $CTL_NODE\"\necho !", input: "", environment: &environment };
        let code_of = |sudo| code(command, sudo, Duration::from_secs(9)).expect("a short command");
        assert!(code_of(&Sudo::Plain).starts_with("undo 9 sudo -n /bin/sh -c "), "{}", code_of(&Sudo::Plain));
        let code = code_of(&Sudo::No);
        assert!(!code.contains('\n'));
        for shell in ["dash", "bash"] {
            let script = format!("undo() {{ shift; \"$@\"; }}; {code}");
            let output = std::process::Command::new(shell).args(["-c", &script]).env("SHELL", "/bin/bash").output();
            assert_eq!(String::from_utf8_lossy(&output.expect("a shell").stdout), "it's\\n a6s01\n!\n", "{script}");
        }
        assert_eq!(super::code(NodeCommand { text: "a\0b", ..command }, &Sudo::No, Duration::ZERO), None);
    }
}
