//! The verbs of supervisorctl other than start and stop: configuration, logs, its own exit.

use super::{Ctl, Ended};
use crate::actions::Verb;
use crate::logs;
use crate::rpc;
use crate::rpcfault::code;
use crate::streams::Io;
use crate::supervisord::{Access, After, Supervisord};

impl Ctl<'_> {
    pub(super) fn reread(&mut self) -> Result<(), Ended> {
        let sup = self.unchecked()?;
        match sup.reread() {
            Err(fault) => {
                self.line(&format!("ERROR: {}", fault.text));
                self.status = 1;
            }
            Ok([added, changed, removed]) => {
                let mut lines: Vec<_> = [(added, "available"), (changed, "changed"), (removed, "disappeared")]
                    .into_iter()
                    .flat_map(|(names, what)| names.into_iter().map(move |n| format!("{n}: {what}")))
                    .collect();
                lines.sort();
                if lines.is_empty() {
                    lines.push("No config updates to processes".to_owned());
                }
                lines.iter().for_each(|l| self.line(l));
            }
        }
        Ok(())
    }

    pub(super) async fn update(&mut self, names: &[String]) -> Result<(), Ended> {
        let sup = self.unchecked()?;
        let [added, changed, removed] = match sup.reread() {
            Ok(lists) => lists,
            Err(fault) => return Err(self.fault(&fault)),
        };
        self.context.acts();
        let all = names.is_empty() || names.iter().any(|n| n == "all") || self.old();
        if !all {
            for name in names {
                let known = added.contains(name) || sup.look(|i| i.groups.contains_key(name));
                if !known {
                    self.line(&format!("ERROR: no such group: {name}"));
                    self.status = 1;
                }
            }
        }
        let chosen = |name: &String| all || names.contains(name);
        for name in removed.iter().filter(|n| chosen(n)) {
            stop_group(&sup, name).await;
            self.line(&format!("{name}: stopped"));
            if sup.remove_group(name).is_ok() {
                self.line(&format!("{name}: removed process group"));
            }
        }
        for name in changed.iter().filter(|n| chosen(n)) {
            stop_group(&sup, name).await;
            self.line(&format!("{name}: stopped"));
            if let Err(fault) = sup.remove_group(name).and_then(|()| sup.add_group(name)) {
                return Err(self.fault(&fault));
            }
            self.line(&format!("{name}: updated process group"));
        }
        for name in added.iter().filter(|n| chosen(n)) {
            if let Err(fault) = sup.add_group(name) {
                return Err(self.fault(&fault));
            }
            self.line(&format!("{name}: added process group"));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, names: &[String]) -> Result<(), Ended> {
        let sup = self.unchecked()?;
        self.context.acts();
        for name in names {
            match sup.add_group(name) {
                Ok(()) => self.line(&format!("{name}: added process group")),
                Err(fault) if fault.code == code::ALREADY_ADDED => {
                    self.line("ERROR: process group already active");
                }
                Err(_) => {
                    self.line(&format!("ERROR: no such process/group: {name}"));
                    self.status = 1;
                }
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, names: &[String]) -> Result<(), Ended> {
        let sup = self.unchecked()?;
        self.context.acts();
        for name in names {
            match sup.remove_group(name) {
                Ok(()) => self.line(&format!("{name}: removed process group")),
                Err(fault) => {
                    let why = if fault.code == code::STILL_RUNNING {
                        "process/group still running"
                    } else {
                        "no such process/group"
                    };
                    self.line(&format!("ERROR: {why}: {name}"));
                    self.status = 1;
                }
            }
        }
        Ok(())
    }

    pub(super) fn tail(&mut self, names: &[String]) -> Result<(), Ended> {
        let Some(sup) = self.upcheck()? else {
            return Ok(());
        };
        let mut names = names.to_vec();
        let mut length = 1600;
        if names.first().is_some_and(|n| n.starts_with('-')) {
            let modifier = names.remove(0);
            match modifier[1..].parse::<i64>() {
                Ok(bytes) => length = bytes,
                Err(_) => {
                    self.line(&format!("Error: bad argument {modifier}"));
                    self.status = 1;
                    return Ok(());
                }
            }
        }
        let Some(name) = names.first() else {
            self.line("Error: too few arguments");
            self.status = 1;
            return Ok(());
        };
        // Before 4.0.4, any channel word makes it read stderr: `do_tail` compares `stdout` by identity.
        let stderr = names.get(1).is_some_and(|channel| channel == "stderr" || !self.is_4());
        match rpc::log(&sup, name, stderr) {
            Ok(log) => {
                let text = logs::read_file(&log, -length, 0).unwrap_or_default();
                self.line(&String::from_utf8_lossy(text));
            }
            Err(_) => {
                self.line(&format!("{name}: ERROR (no such process name)"));
                self.status = 1;
            }
        }
        Ok(())
    }

    pub(super) fn maintail(&mut self, names: &[String]) -> Result<(), Ended> {
        let Some(sup) = self.upcheck()? else {
            return Ok(());
        };
        let length = names.first().and_then(|name| name.strip_prefix('-')?.parse::<i64>().ok()).unwrap_or(1600);
        let log = rpc::own_log(&sup);
        let text = logs::read_file(log.as_bytes(), -length, 0).unwrap_or_default();
        self.line(&String::from_utf8_lossy(text));
        Ok(())
    }

    /// `tail -f`: prints while the log grows, until nobody reads.
    pub(super) async fn follow(&mut self, io: &Io, names: &[String]) -> i32 {
        let sup = self.upcheck();
        io.out(&self.out).await;
        let (Ok(Some(sup)), Some(name)) = (&sup, names.get(1)) else {
            return sup.err().unwrap_or(0);
        };
        io.out("==> Press Ctrl-C to exit <==\n").await;
        let stderr = names.get(2).is_some_and(|c| c == "stderr");
        let mut seen = 0;
        let mut first = true;
        while let Ok(log) = rpc::log(sup, name, stderr) {
            if first {
                seen = log.len().saturating_sub(1024);
                first = false;
            }
            let text = match log.get(seen..) {
                Some(new) => String::from_utf8_lossy(new).into_owned(),
                None => "==> File truncated <==\n".to_owned() + &String::from_utf8_lossy(&log),
            };
            if !text.is_empty() && !io.out(&text).await {
                break;
            }
            seen = log.len();
            let pause = std::time::Duration::from_millis(100);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = io.closed() => break,
                () = self.context.node.shared.until_closing() => break,
            }
        }
        0
    }

    pub(super) fn end(&mut self, verb: &str) -> Result<(), Ended> {
        match self.connect() {
            Ok(sup) => {
                self.admitted(&sup)?;
                self.context.acts();
                let (after, text) = if verb == "reload" {
                    (After::Reload, "Restarted supervisord")
                } else {
                    (After::Halt, "Shut down")
                };
                sup.end(after);
                self.line(text);
            }
            Err(access) => {
                let why = if access == Access::Missing { "no such file" } else { "refused connection" };
                self.line(&format!("ERROR: {} {why} (already shut down?)", self.url));
                self.status = 1;
            }
        }
        Ok(())
    }
}

async fn stop_group(sup: &Supervisord, name: &str) {
    if let Ok((done, pending)) = sup.begin_many(Some(name), Verb::Stop, true) {
        sup.finish_many(done, pending).await;
    }
}
