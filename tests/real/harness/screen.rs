//! `ctl` on its own terminal, made by `script`: prompts and their answers.

use std::fs;
use std::path::{Path, PathBuf};

use super::command::{Finished, Running};
use super::{Cluster, eventually};

/// A run of `ctl` on a terminal, with its results in a file.
pub(crate) struct Screen {
    running: Running,
    typescript: PathBuf,
    out: PathBuf,
}

impl Cluster {
    /// Starts `ctl LINE -o json` on a terminal. The text after ` -- ` is one argument.
    pub(crate) fn at_a_terminal(&self, line: &str) -> Screen {
        self.at_a_terminal_with(line, &[])
    }

    /// The same with these variables.
    pub(crate) fn at_a_terminal_with(&self, line: &str, variables: &[(&str, &Path)]) -> Screen {
        let (typescript, out) = (self.path("typescript"), self.path("out.json"));
        for file in [&typescript, &out] {
            drop(fs::remove_file(file));
        }
        let (words, operand) = line.split_once(" -- ").unwrap_or((line, ""));
        let operand = if operand.is_empty() { String::new() } else { format!(" -- '{operand}'") };
        let line = format!("exec {} {words} -o json --out {}{operand}", env!("CARGO_BIN_EXE_ctl"), out.display());
        let mut command = self.at_home("script");
        command.env("CTL_INVENTORY", self.inventory()).env("TERM", "xterm").envs(variables.iter().copied());
        command.args(["--quiet", "--return", "--flush", "--command", &line]).arg(&typescript);
        Screen { running: Running::typing(command, ""), typescript, out }
    }
}

impl Screen {
    /// The terminal's text so far.
    pub(crate) fn text(&self) -> String {
        fs::read(&self.typescript).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits for a prompt, and types an answer that is echoed.
    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        eventually(question, || self.text().contains(question).then_some(()));
        self.running.type_text(&format!("{answer}\n"));
    }

    /// Waits for a prompt, then until echo is off, and types an answer.
    pub(crate) fn answer_unseen(&mut self, question: &str, answer: &str) {
        eventually(question, || self.text().contains(question).then_some(()));
        eventually("echo to be off", || self.running.is_typed_unseen().then_some(()));
        self.running.type_text(&format!("{answer}\n"));
    }

    /// Kills `ctl`, but not its terminal.
    pub(crate) fn kill(&self) {
        self.running.kill_child();
    }

    /// Waits for the end. The screen's text is in `stderr`, the JSON document in `stdout`.
    pub(crate) fn finish(self) -> Finished {
        let mut finished = self.running.finish();
        finished.stderr =
            fs::read(&self.typescript).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        finished.stdout = fs::read_to_string(&self.out).unwrap_or_default();
        finished
    }
}
