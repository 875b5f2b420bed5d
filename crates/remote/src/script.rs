//! Encodes scripts for a node's shell as one line each.
//!
//! The login shell gets one line, which bash, dash, csh and fish parse the same way; the scripts themselves are sent
//! over standard input.

/// Argument of `/bin/sh -c`: reads a script from standard input, and runs it in the same shell. No process is started
/// for that: the function `l` splits the next line at its first character, and joins the parts with line ends in `$s`.
/// The script can read further scripts with it. A shell starts with a line end as the third character of `$IFS`.
pub const READ_AND_RUN: &str = r#"'n=${IFS#??}; [ ${#n} = 1 ] || n=$(printf "\nx") n=${n%x}; j() { IFS=$n; s="$*"; unset IFS; }; l() { IFS= read -r s || exit 1; IFS=${s%"${s#?}"}; set -f; j $s; set +f; }; l; eval "$s"'"#;

/// The same, but first prints a mark.
#[must_use]
pub fn read_and_run(mark: &str) -> String {
    READ_AND_RUN.replacen('\'', &format!("'echo {mark}; "), 1)
}

/// A script as one line: without comments, with \x1f before each of its lines. Indentation stays.
#[must_use]
pub fn one_line(script: &str) -> String {
    // `read` takes one line, so 0x1F stands for the line ends until the node restores them. The first one shows the
    // node what separates them.
    let lines = script.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
    lines.flat_map(|line| ["\u{1f}", line]).collect()
}

/// A script as one word for `sh -c`, in single quotes. Each of its lines must end a command (`;`), or go on in the next
/// one, so that a space can stand for the line end. No single quote, and a space behind each exclamation mark, which is
/// then none to csh.
#[must_use]
pub fn quoted(script: &str) -> String {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    format!("'{}'", lines.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_line() {
        assert_eq!(one_line("# why\na\n\n  b # c\n"), "\u{1f}a\u{1f}  b # c");
    }

    #[test]
    fn every_login_shell_parses_the_line_the_same_way() {
        for words in [READ_AND_RUN.to_owned(), read_and_run("ctl-run-0123")] {
            let inside = words.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            assert!(inside.is_some_and(|inside| !inside.contains(['\'', '!', '\n'])), "{words}");
        }
    }

    /// Also where the environment has another `IFS`.
    #[test]
    fn a_script_runs_as_it_was_written() {
        let script = "x='a * b'\nif [ \"$1\" = A ]; then\n  l; printf '<%s>' \"$x\" \"$s\"\nfi\ncat";
        let input = format!("{}\n{}\nleft", one_line(script), one_line("c \\ \"$d\"\n\n  e"));
        for (shell, separators) in [("dash", " \t\n"), ("dash", ":"), ("bash", ":"), ("sh", "")] {
            let mut node = std::process::Command::new("sh");
            node.args(["-c", &format!("exec {shell} -c {READ_AND_RUN} name A")]).env("IFS", separators);
            node.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut node = node.spawn().expect("a shell");
            std::io::Write::write_all(&mut node.stdin.take().expect("a pipe"), input.as_bytes()).expect("a reader");
            let said = node.wait_with_output().expect("its output").stdout;
            assert_eq!(String::from_utf8_lossy(&said), "<a * b><\nc \\ \"$d\"\n  e>left", "{shell}");
        }
    }
}
