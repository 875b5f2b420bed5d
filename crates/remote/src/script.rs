//! Encodes scripts for a node's shell as one line each.
//!
//! The login shell gets one line, which bash, dash, csh and fish parse the same way; the scripts themselves are sent
//! over standard input.

/// Argument of `/bin/sh -c`: reads a script from standard input, and runs it in the same shell.
pub const READ_AND_RUN: &str = r#"'IFS= read -r s; eval "$(printf %s "$s" | tr "\037" "\n")"'"#;

/// The same, but first prints a mark.
#[must_use]
pub fn read_and_run(mark: &str) -> String {
    READ_AND_RUN.replacen('\'', &format!("'echo {mark}; "), 1)
}

/// A script as one line: without comments, with \x1f for each newline. Indentation stays.
#[must_use]
pub fn one_line(script: &str) -> String {
    // `read` takes one line, so 0x1F stands for the line ends until `tr` restores them on the node.
    let lines = script.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\u{1f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_line() {
        assert_eq!(one_line("# why\na\n\n  b # c\n"), "a\u{1f}  b # c");
    }

    #[test]
    fn every_login_shell_parses_the_line_the_same_way() {
        for words in [READ_AND_RUN.to_owned(), read_and_run("ctl-run-0123")] {
            let inside = words.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            assert!(inside.is_some_and(|inside| !inside.contains(['\'', '!', '\n'])), "{words}");
        }
    }
}
