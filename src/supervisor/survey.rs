//! What lies about on a node: core files, sockets, configuration files, packages. Read with one command.
//!
//! Here live [`Places`], which says what is looked for, and [`survey`]. It uses `remote` and `transport`. What always
//! holds: nothing on the node is changed; the command is one line of `sh`, which every login shell hands on alike; what
//! it prints is bounded, and a line that is not understood is passed over. Start reading at [`survey`].

use std::collections::{BTreeMap, BTreeSet};

use super::SupervisorError;
use super::command::Shell;
use crate::transport::Session;

/// Core files that are named; of more only the number is told.
pub const CORE_FILES: usize = 20;

/// For `sh -c`, behind it the places: `s:` before a socket, `c:` before a configuration file. It has no single quote, no
/// `!` and no line end, so that csh, too, takes it as one word. Contrail's processes leave their core files in
/// /var/crashes (`contrail-controller` R3.2 `src/config/utils/contrail-status.py`). In /proc/net/unix a socket that
/// somebody listens on has the flag 00010000 (proc_net(5); SO_ACCEPTCON of linux/net.h).
const SCRIPT: &str = concat!(
    "n=0; for f in /var/crashes/core.*; do test -e \"$f\" || continue; n=$((n+1)); ",
    "test $n -gt 20 || printf \"core %s\\n\" \"$f\"; done; echo \"cores $n\"; ",
    "for p do case $p in s:*) p=${p#s:}; test -S \"$p\" && printf \"socket %s\\n\" \"$p\";; ",
    "c:*) p=${p#c:}; test -e \"$p\" && printf \"config %s\\n\" \"$p\";; esac; done; ",
    "if test -r /proc/net/unix; then echo listening; ",
    "while read -r a b c flags d e f path; do test \"$flags\" = 00010000 || continue; ",
    "case $path in /*) printf \"listens %s\\n\" \"$path\";; esac; done </proc/net/unix; fi; ",
    "if command -v dpkg-query >/dev/null 2>&1; ",
    "then dpkg-query -W -f \"package \\${Package} \\${Version}\\n\" \"contrail-*\" 2>/dev/null; ",
    "elif command -v rpm >/dev/null 2>&1; ",
    "then rpm -qa --qf \"package %{NAME} %{VERSION}-%{RELEASE}\\n\" \"contrail-*\" 2>/dev/null; fi | head -n 60; ",
    "echo ctl-end"
);

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Paths of sockets.
    pub sockets: BTreeSet<String>,
    /// Paths of configuration files.
    pub config_files: BTreeSet<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Core files, at most [`CORE_FILES`].
    pub core_files: Vec<String>,
    /// How many core files there are.
    pub core_count: usize,
    /// Sockets that are there.
    pub sockets: BTreeSet<String>,
    /// Configuration files that are there.
    pub config_files: BTreeSet<String>,
    /// Versions of packages by name.
    pub packages: BTreeMap<String, String>,
    /// Sockets that somebody listens on, as they were bound; none where the node does not tell.
    listening: Option<BTreeSet<String>>,
}

impl Survey {
    /// Whether somebody listens on a socket; none where the node does not tell.
    ///
    /// supervisord binds its socket under another name, with its pid behind, and gives it the right one then
    /// (supervisor 3.0 to 4.2.5, `supervisor/http.py`, `supervisor_af_unix_http_server`).
    #[must_use]
    pub fn listens(&self, path: &str) -> Option<bool> {
        let path = canonical(path);
        let is_it = |bound: &String| {
            let rest = canonical(bound).strip_prefix(path);
            rest.is_some_and(|rest| {
                let pid = rest.strip_prefix('.');
                rest.is_empty()
                    || pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
            })
        };
        self.listening.as_ref().map(|all| all.iter().any(is_it))
    }
}

/// /var/run is /run on all but the oldest systems.
fn canonical(path: &str) -> &str {
    path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path)
}

/// Looks around, through sudo where asked.
///
/// # Errors
/// [`SupervisorError`] of a command that could not be run; [`SupervisorError::Protocol`] if it did not come to its end.
pub async fn survey<S: Session>(shell: &Shell<S>, places: &Places) -> Result<Survey, SupervisorError> {
    let quoted =
        |(mark, path): (&str, &String)| shlex::try_quote(&format!("{mark}{path}")).map(|word| word.into_owned()).ok();
    let sockets = places.sockets.iter().map(|path| ("s:", path));
    let files = places.config_files.iter().map(|path| ("c:", path));
    let words: Vec<String> = sockets.chain(files).filter_map(quoted).collect();
    let output = shell.execute(|sudo| format!("{sudo}sh -c '{SCRIPT}' ctl-survey {}", words.join(" "))).await?;
    read(&output.stdout).ok_or_else(|| {
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        SupervisorError::Protocol(format!(
            "the node could not be searched: {}",
            super::supervisorctl::clip(said.trim())
        ))
    })
}

/// What the command printed; none if it did not come to its end.
fn read(output: &str) -> Option<Survey> {
    let mut survey = Survey::default();
    let mut is_whole = false;
    for line in output.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "core" if survey.core_files.len() < CORE_FILES => survey.core_files.push(rest.to_owned()),
            "cores" => survey.core_count = rest.trim().parse().unwrap_or_default(),
            "socket" => {
                survey.sockets.insert(rest.to_owned());
            }
            "config" => {
                survey.config_files.insert(rest.to_owned());
            }
            "listening" => survey.listening = Some(BTreeSet::new()),
            "listens" => {
                if let Some(listening) = &mut survey.listening {
                    listening.insert(rest.to_owned());
                }
            }
            "package" => {
                // One that was removed has no version.
                if let Some((name, version)) = rest.split_once(' ').filter(|(_, version)| !version.trim().is_empty()) {
                    survey.packages.insert(name.to_owned(), version.trim().to_owned());
                }
            }
            "ctl-end" => is_whole = true,
            _ => {}
        }
    }
    is_whole.then_some(survey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_word_for_every_shell() {
        assert!(!SCRIPT.contains(['\'', '!', '\n']), "{SCRIPT}");
    }

    #[test]
    fn what_is_printed_is_read() {
        let text = "hello from profile\ncore /var/crashes/core.a b.1\ncores 3\nsocket /tmp/a.sock\nconfig /etc/a.conf\n\
                    listening\nlistens /run/a.sock.123\nlistens /tmp/b.sock\npackage contrail-a 3.2.1-4\n\
                    package contrail-gone \nctl-end\n";
        let survey = read(text).expect("whole");
        assert_eq!(
            (survey.core_files.as_slice(), survey.core_count),
            (["/var/crashes/core.a b.1".to_owned()].as_slice(), 3)
        );
        assert_eq!(survey.packages.len(), 1);
        let table = [
            ("/var/run/a.sock", true),
            ("/run/a.sock", true),
            ("/tmp/b.sock", true),
            ("/tmp/a.sock", false),
            ("/run/a.soc", false),
        ];
        for (path, listens) in table {
            assert_eq!(survey.listens(path), Some(listens), "{path}");
        }
        assert_eq!(read("cores 0\nctl-end\n").expect("whole").listens("/tmp/a.sock"), None);
        assert_eq!(read("cores 0\nlisten"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_printed_panics(text in "\\PC*|(core|cores|socket|listens|package|ctl-end)( \\PC{0,9})?\n") {
            drop(read(&text));
        }
    }
}
