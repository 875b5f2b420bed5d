//! The commands of a simulated node, and the privileges that they run with.
//!
//! Invariants: an unknown command prints `not found` and exits with 127, as in a shell; nothing of the real machine is
//! touched.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bounded::{self, Jobs};
use crate::copies;
use crate::fault::Fault;
use crate::guard;
use crate::init;
use crate::node::NodeInner;
use crate::node_scan;
use crate::questions;
use crate::rescue;
use crate::shell;
use crate::spec::UserPolicy;
use crate::streams::Io;
use crate::supervisorctl;

/// The exit code that stands for a death by signal. No command exits with it.
pub(crate) const KILLED: i32 = i32::MIN;

/// The user and environment of a command.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) node: Arc<NodeInner>,
    /// The user who logged in.
    pub(crate) user: String,
    /// Whether it now runs as root.
    pub(crate) root: bool,
    /// Whether there is a terminal.
    pub(crate) pty: bool,
    /// Set once the command has changed something.
    pub(crate) acted: Arc<AtomicBool>,
    /// Set in a guard's shell, where the functions of its script are defined: the settings that `ask` can supply, by
    /// number.
    pub(crate) rescue: Option<Arc<BTreeMap<u64, String>>>,
    /// Registers background jobs, for a limited command that must end with everything it started.
    pub(crate) jobs: Option<Jobs>,
    /// Variables that the client has set for the command.
    pub(crate) environment: Arc<HashMap<String, String>>,
}

impl Context {
    pub(crate) fn effective_user(&self) -> &str {
        if self.root { "root" } else { &self.user }
    }

    pub(crate) fn home(&self) -> String {
        match self.effective_user() {
            "root" => "/root".to_owned(),
            user => format!("/home/{user}"),
        }
    }

    /// Whether the command may open supervisord sockets.
    pub(crate) fn may_connect(&self) -> bool {
        may_connect(&self.node, self.root)
    }

    /// Records that the command is about to change something.
    pub(crate) fn acts(&self) {
        self.acted.store(true, Ordering::Relaxed);
    }
}

/// Whether a user may open the sockets of the node's supervisords.
pub(crate) fn may_connect(node: &NodeInner, root: bool) -> bool {
    (root || node.shared.spec.policy == UserPolicy::SocketGroup) && !node.shared.has(&Fault::PermissionDenied)
}

/// Runs one command with its arguments.
pub(crate) fn run<'a>(
    context: &'a Context,
    io: &'a Io,
    argv: &'a [String],
) -> Pin<Box<dyn Future<Output = i32> + Send + 'a>> {
    Box::pin(async move {
        let Some((command, args)) = argv.split_first() else {
            return 0;
        };
        let name = base_name(command);
        if name != command.as_str() && !known_path(context, command) {
            io.err(&format!("sh: 1: {command}: not found\n")).await;
            return 127;
        }
        match name {
            // Signals do not reach simulated commands.
            "true" | ":" | "trap" => 0,
            "false" => 1,
            "echo" => {
                let (newline, args) = match args.first().map(String::as_str) {
                    Some("-n") => ("", &args[1..]),
                    _ => ("\n", args),
                };
                io.out(&(args.join(" ") + newline)).await;
                0
            }
            "printf" => printf(io, args).await,
            "test" => test(context, io, args).await,
            "[" => match args.split_last() {
                Some((last, args)) if last == "]" => test(context, io, args).await,
                _ => {
                    io.err("sh: 1: [: missing ]\n").await;
                    2
                }
            },
            "cat" => cat(context, io, args).await,
            "command" | "which" | "type" => {
                let args = match args.first().map(String::as_str) {
                    Some("-v" | "-V") => &args[1..],
                    _ => args,
                };
                lookup(context, io, args).await
            }
            "id" => {
                let text = match (args.first().map(String::as_str), context.root) {
                    (Some("-u" | "-g"), true) => "0".to_owned(),
                    (Some("-u" | "-g"), false) => "1000".to_owned(),
                    (Some("-un" | "-gn"), _) => context.effective_user().to_owned(),
                    (_, true) => "uid=0(root) gid=0(root) groups=0(root)".to_owned(),
                    (_, false) => format!("uid=1000({0}) gid=1000({0}) groups=1000({0})", context.user),
                };
                io.out(&(text + "\n")).await;
                0
            }
            "whoami" => {
                io.out(&format!("{}\n", context.effective_user())).await;
                0
            }
            "hostname" => {
                io.out(&format!("{}\n", context.node.shared.spec.name)).await;
                0
            }
            "uname" if args.iter().any(|a| a == "-n") => {
                io.out(&format!("{}\n", context.node.shared.spec.name)).await;
                0
            }
            "seq" => seq(io, args).await,
            "uname" => {
                io.out("Linux\n").await;
                0
            }
            "pwd" => {
                io.out(&format!("{}\n", context.home())).await;
                0
            }
            "date" => {
                io.out(&format!("{:.0}\n", context.node.shared.clock.epoch_now())).await;
                0
            }
            "sleep" => {
                let seconds = args.first().and_then(|a| a.parse::<f64>().ok()).unwrap_or(0.0);
                let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                tokio::time::sleep(time.min(Duration::from_secs(86_400))).await;
                0
            }
            "sh" | "bash" | "dash" => sh(context, io, args).await,
            "nohup" | "exec" => run(context, io, args).await,
            "env" => {
                let skip = args.iter().take_while(|a| a.contains('=')).count();
                run(context, io, &args[skip..]).await
            }
            "setsid" => {
                let skip = args.iter().take_while(|a| a.starts_with('-')).count();
                run(context, io, &args[skip..]).await
            }
            "timeout" => match args {
                [limit, rest @ ..] => {
                    let seconds = limit.trim_end_matches('s').parse::<f64>().unwrap_or(60.0);
                    let limit = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                    let run = run(context, io, rest);
                    tokio::time::timeout(limit, run).await.unwrap_or(124)
                }
                [] => 125,
            },
            "sudo" => sudo(context, io, args).await,
            "supervisorctl" if !context.node.shared.has(&Fault::NoSupervisorctl) => {
                supervisorctl::run(context, io, args).await
            }
            "ask" | "up" | "grp" | "init" if context.rescue.is_some() => rescue::run(context, io, name, args).await,
            "undo" if context.rescue.is_some() => rescue::undo(context, io, args).await,
            "service" => init::service(context, io, args).await,
            "systemctl" => init::systemctl(context, io, args).await,
            _ if command.starts_with("/etc/init.d/") => {
                let mut words = vec![name.to_owned()];
                words.extend_from_slice(args);
                init::service(context, io, &words).await
            }
            _ => {
                io.err(&format!("sh: 1: {command}: not found\n")).await;
                127
            }
        }
    })
}

/// `sh` with one of the program's own scripts, which are known by their `$0`, with any other script, or with a script
/// on standard input.
async fn sh(context: &Context, io: &Io, args: &[String]) -> i32 {
    match args {
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-guard" => guard::run(context, io, words).await,
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-staged" => guard::staged(context, io, words).await,
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-exec" => bounded::run(context, io, words).await,
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-put" => copies::put(context, io, words).await,
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-get" => copies::get(context, io, words).await,
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-scan" => node_scan::run(context, io, words).await,
        [flag, _, name, words @ ..] if flag == "-c" && name == "ctl-find" => node_scan::find(context, io, words).await,
        [flag, _, name] if flag == "-c" && name == "ctl-ports" => node_scan::ports(context, io).await,
        [flag, _, name, mark, body] if flag == "-c" && name == "ctl-ask" => {
            questions::ask(context, io, mark, body).await
        }
        [flag, _, name, mark, body] if flag == "-c" && name == "ctl-act" => {
            questions::act(context, io, mark, body).await
        }
        [flag, script, ..] if flag.starts_with('-') && flag.ends_with('c') => shell::run(context, io, script).await,
        [] => from_input(context, io).await,
        [flag, ..] if flag == "-s" => from_input(context, io).await,
        _ => {
            io.err("sh: 0: cannot open script: not simulated by the lab\n").await;
            2
        }
    }
}

fn base_name(command: &str) -> &str {
    match command.rsplit_once('/') {
        Some((_, name)) => name,
        None => command,
    }
}

/// Whether a command given with its path exists there.
fn known_path(context: &Context, path: &str) -> bool {
    let name = base_name(path);
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    matches!(dir, "/bin" | "/usr/bin" | "/sbin" | "/usr/sbin")
        || (dir == "/etc/init.d" && init::exists(&context.node, name))
}

const COMMANDS: [&str; 30] = [
    "true",
    "trap",
    "false",
    "echo",
    "printf",
    "test",
    "[",
    "cat",
    "command",
    "which",
    "id",
    "whoami",
    "hostname",
    "uname",
    "pwd",
    "date",
    "sleep",
    "seq",
    "sh",
    "bash",
    "dash",
    "nohup",
    "env",
    "setsid",
    "timeout",
    "sudo",
    "supervisorctl",
    "service",
    "systemctl",
    "exit",
];

async fn lookup(context: &Context, io: &Io, args: &[String]) -> i32 {
    let mut code = 0;
    for name in args {
        let here = COMMANDS.contains(&name.as_str())
            && !(name == "supervisorctl" && context.node.shared.has(&Fault::NoSupervisorctl))
            && (name != "systemctl" || init::has_systemctl(&context.node));
        if !here {
            code = 127;
            continue;
        }
        let text = match name.as_str() {
            "service" => "/usr/sbin/service\n".to_owned(),
            "exit" | "command" | "true" | "false" | "echo" | "printf" | "test" | "[" | "pwd" => {
                format!("{name}\n")
            }
            _ => format!("/usr/bin/{name}\n"),
        };
        io.out(&text).await;
    }
    code
}

/// `seq [FIRST [STEP]] LAST`, in whole numbers. Stops when nobody reads its output.
async fn seq(io: &Io, args: &[String]) -> i32 {
    let numbers: Result<Vec<i64>, _> = args.iter().map(|a| a.parse()).collect();
    let (mut next, step, last) = match numbers.as_deref() {
        Ok([last]) => (1, 1, *last),
        Ok([first, last]) => (*first, 1, *last),
        Ok([first, step, last]) if *step != 0 => (*first, *step, *last),
        _ => {
            io.err("seq: invalid argument\n").await;
            return 1;
        }
    };
    let mut text = String::new();
    while (step > 0 && next <= last) || (step < 0 && next >= last) {
        text.push_str(&format!("{next}\n"));
        if text.len() > 4096 {
            if !io.out(&text).await {
                return 141;
            }
            text.clear();
        }
        next = match next.checked_add(step) {
            Some(next) => next,
            None => break,
        };
    }
    io.out(&text).await;
    0
}

async fn printf(io: &Io, args: &[String]) -> i32 {
    let Some((format, args)) = args.split_first() else {
        io.err("sh: 1: printf: usage: printf format [arg ...]\n").await;
        return 2;
    };
    let format = format.replace("\\n", "\n").replace("\\t", "\t");
    let holes = format.matches("%s").count() + format.matches("%d").count();
    let mut text = String::new();
    let mut rest = args;
    loop {
        let mut line = format.clone();
        for _ in 0..holes {
            let (arg, after) = match rest.split_first() {
                Some((arg, after)) => (arg.as_str(), after),
                None => ("", rest),
            };
            rest = after;
            let hole = [line.find("%s"), line.find("%d")].into_iter().flatten().min();
            if let Some(at) = hole {
                line.replace_range(at..at + 2, arg);
            }
        }
        text.push_str(&line);
        if rest.is_empty() || holes == 0 {
            break;
        }
    }
    io.out(&text).await;
    0
}

async fn test(context: &Context, io: &Io, args: &[String]) -> i32 {
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let holds = match words.as_slice() {
        ["!", rest @ ..] => {
            let rest: Vec<_> = rest.iter().map(|s| (*s).to_owned()).collect();
            let code = Box::pin(test(context, io, &rest)).await;
            return if code > 1 { code } else { 1 - code };
        }
        [] => false,
        [text] => !text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        [flag, path] if flag.starts_with('-') => match context.node.file_test(flag, path, context) {
            Some(holds) => holds,
            None => {
                io.err(&format!("sh: 1: test: {flag}: unexpected operator\n")).await;
                return 2;
            }
        },
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, op @ ("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge"), b] => {
            let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>()) else {
                io.err("sh: 1: test: Illegal number\n").await;
                return 2;
            };
            match *op {
                "-eq" => a == b,
                "-ne" => a != b,
                "-lt" => a < b,
                "-le" => a <= b,
                "-gt" => a > b,
                _ => a >= b,
            }
        }
        _ => {
            io.err("sh: 1: test: unexpected operator\n").await;
            return 2;
        }
    };
    i32::from(!holds)
}

async fn cat(context: &Context, io: &Io, args: &[String]) -> i32 {
    let mut code = 0;
    if args.is_empty() || args == ["-"] {
        while let Some(bytes) = io.read().await {
            if !io.out(&String::from_utf8_lossy(&bytes)).await {
                break;
            }
        }
    }
    for path in args.iter().filter(|a| *a != "-") {
        match context.node.read_file(path) {
            Some(text) => {
                io.out(&text).await;
            }
            None => {
                io.err(&format!("cat: {path}: No such file or directory\n")).await;
                code = 1;
            }
        }
    }
    code
}

/// Runs a script from stdin, after stdin has ended.
async fn from_input(context: &Context, io: &Io) -> i32 {
    let mut script = Vec::new();
    while let Some(bytes) = io.read().await {
        script.extend_from_slice(&bytes);
    }
    let script = String::from_utf8_lossy(&script).into_owned();
    shell::run(context, &io.no_input(), &script).await
}

/// `sudo`, with the options that clients use: `-n`, `-S`, `-p PROMPT`, `-u USER`, `-k`, `-K`, `-v`, `-H`, `-E`, `--`.
async fn sudo(context: &Context, io: &Io, args: &[String]) -> i32 {
    let (mut batch, mut stdin, mut validate, mut target) = (false, false, false, "root");
    let mut prompt = format!("[sudo] password for {}: ", context.user);
    let mut at = 0;
    while let Some(arg) = args.get(at).filter(|a| a.starts_with('-')) {
        at += 1;
        let value = args.get(at);
        match arg.as_str() {
            "--" => break,
            "-p" => {
                prompt = value.cloned().unwrap_or_default();
                at += 1;
            }
            "-u" => {
                target = value.map_or("root", String::as_str);
                at += 1;
            }
            flags => {
                batch |= flags.contains('n');
                stdin |= flags.contains('S');
                validate |= flags.contains('v');
            }
        }
    }
    if !context.root {
        match &context.node.shared.spec.policy {
            UserPolicy::Root | UserPolicy::SudoNoPassword => {}
            UserPolicy::RequireTty if context.pty => {}
            UserPolicy::RequireTty => {
                io.err("sudo: sorry, you must have a tty to run sudo\n").await;
                return 1;
            }
            UserPolicy::NoSudo | UserPolicy::SocketGroup => {
                let text = if batch {
                    "sudo: a password is required\n".to_owned()
                } else {
                    format!("{} is not in the sudoers file.  This incident will be reported.\n", context.user)
                };
                io.err(&text).await;
                return 1;
            }
            UserPolicy::SudoPassword(password) => {
                if let Some(code) = ask(context, io, password, &prompt, batch, stdin).await {
                    return code;
                }
            }
        }
    }
    if validate || at >= args.len() {
        return i32::from(!validate);
    }
    let inner = Context { root: target == "root", ..context.clone() };
    run(&inner, io, &args[at..]).await
}

/// Prompts for sudo's password. Returns the exit code if sudo ends here.
async fn ask(context: &Context, io: &Io, password: &str, prompt: &str, batch: bool, stdin: bool) -> Option<i32> {
    if batch {
        io.err("sudo: a password is required\n").await;
        return Some(1);
    }
    if !stdin && !context.pty {
        io.err("sudo: no tty present and no askpass program specified\n").await;
        return Some(1);
    }
    for attempt in 1..=3 {
        io.err(prompt).await;
        let Some(line) = io.read_line().await else {
            io.err("\nsudo: no password was provided\n").await;
            return Some(1);
        };
        if line == password {
            return None;
        }
        let text = if attempt < 3 { "Sorry, try again.\n" } else { "sudo: 3 incorrect password attempts\n" };
        io.err(text).await;
    }
    Some(1)
}
