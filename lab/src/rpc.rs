//! supervisord's XML-RPC methods: names, parameters, faults. [`Supervisord`] does the work.
//!
//! Invariants: a method either answers at once or returns a future. Dropping that future, as happens when the client
//! disconnects, does not stop an action in progress.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dxr::Value;

use crate::actions::{Item, Named, Verb};
use crate::fault::Fault;
use crate::logs;
use crate::process::Process;
use crate::rpcfault::{RpcFault, code};
use crate::shared::{RpcCall, note};
use crate::spec::SupervisorVersion;
use crate::supervisord::{After, Supervisord};
use crate::xml;

pub(crate) type Answer = Result<Value, RpcFault>;
type Later = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The result of a call.
pub(crate) enum Reply {
    /// A reply.
    Now(Answer),
    /// The reply comes later (supervisord calls it a deferred response).
    Later(Later),
    /// The call made supervisord's Python raise: HTTP 500.
    Crash,
}

/// All methods, sorted. Versions without the signal methods are handled separately.
const METHODS: [&str; 40] = [
    "supervisor.addProcessGroup",
    "supervisor.clearAllProcessLogs",
    "supervisor.clearLog",
    "supervisor.clearProcessLog",
    "supervisor.clearProcessLogs",
    "supervisor.getAPIVersion",
    "supervisor.getAllConfigInfo",
    "supervisor.getAllProcessInfo",
    "supervisor.getIdentification",
    "supervisor.getPID",
    "supervisor.getProcessInfo",
    "supervisor.getState",
    "supervisor.getSupervisorVersion",
    "supervisor.getVersion",
    "supervisor.readLog",
    "supervisor.readMainLog",
    "supervisor.readProcessLog",
    "supervisor.readProcessStderrLog",
    "supervisor.readProcessStdoutLog",
    "supervisor.reloadConfig",
    "supervisor.removeProcessGroup",
    "supervisor.restart",
    "supervisor.sendProcessStdin",
    "supervisor.sendRemoteCommEvent",
    "supervisor.shutdown",
    "supervisor.signalAllProcesses",
    "supervisor.signalProcess",
    "supervisor.signalProcessGroup",
    "supervisor.startAllProcesses",
    "supervisor.startProcess",
    "supervisor.startProcessGroup",
    "supervisor.stopAllProcesses",
    "supervisor.stopProcess",
    "supervisor.stopProcessGroup",
    "supervisor.tailProcessLog",
    "supervisor.tailProcessStderrLog",
    "supervisor.tailProcessStdoutLog",
    "system.listMethods",
    "system.methodHelp",
    "system.multicall",
];

/// Whether a method changes something, so that [`Fault::ReplyLost`] concerns it.
pub(crate) fn is_action(method: &str) -> bool {
    let method = method.strip_prefix("supervisor.").unwrap_or(method);
    ["start", "stop", "restart", "shutdown", "add", "remove", "signal"].iter().any(|p| method.starts_with(p))
}

/// Calls a method.
pub(crate) fn call(sup: &Arc<Supervisord>, method: &str, params: Vec<Value>) -> Reply {
    sup.shared.count(|c| {
        let call = RpcCall {
            instance: sup.config.service.clone(),
            method: method.to_owned(),
            args: params.iter().map(xml::show).collect(),
        };
        note(&mut c.rpc_calls, call);
    });
    match dispatch(sup, method, &params) {
        Ok(reply) => reply,
        Err(fault) if fault.code == code::RAISED => Reply::Crash,
        Err(mut fault) => {
            fault.text.extend(sup.shared.says());
            Reply::Now(Err(fault))
        }
    }
}

fn dispatch(sup: &Arc<Supervisord>, method: &str, params: &[Value]) -> Result<Reply, RpcFault> {
    match method {
        "system.listMethods" => {
            none(params)?;
            let names = METHODS
                .iter()
                .filter(|m| !m.contains("signal") || sup.shared.spec.supervisor > SupervisorVersion::V3_0);
            return now(Value::Array(names.map(|m| string(m)).collect()));
        }
        "system.methodHelp" => {
            let name = text(params, 0)?;
            if !METHODS.contains(&name) {
                return Err(RpcFault::bare(code::SIGNATURE_UNSUPPORTED));
            }
            return now(string("documentation is not simulated"));
        }
        "system.multicall" => return multicall(sup, params),
        _ => {}
    }
    let Some(name) = method.strip_prefix("supervisor.").filter(|_| METHODS.contains(&method)) else {
        return Err(RpcFault::bare(code::UNKNOWN_METHOD));
    };
    let old = sup.shared.spec.supervisor == SupervisorVersion::V3_0;
    if old && name.starts_with("signal") {
        return Err(RpcFault::bare(code::UNKNOWN_METHOD));
    }
    if sup.mood() < 1 {
        return Err(RpcFault::bare(code::SHUTDOWN_STATE));
    }
    match name {
        "getAPIVersion" | "getVersion" => no_args(params, || string("3.0")),
        "getSupervisorVersion" => no_args(params, || string(sup.shared.spec.supervisor.text())),
        "getIdentification" => no_args(params, || string("supervisor")),
        "getState" => {
            no_args(params, || structure([("statecode", Value::Integer(1)), ("statename", string("RUNNING"))]))
        }
        "getPID" => no_args(params, || int(sup.look(|i| f64::from(i.pid)))),
        "getAllProcessInfo" => {
            let mut all: Vec<Value> = sup.look(|inner| inner.all().map(|p| info(sup, p)).collect());
            if let (Some(text), Some(Value::Struct(first))) = (sup.shared.says(), all.first()) {
                let mut other = first.clone();
                other.insert("name".to_owned(), Value::String(format!("x{text}")));
                all.push(Value::Struct(other));
            }
            no_args(params, || Value::Array(all))
        }
        "getProcessInfo" => {
            arity(params, 1, 1)?;
            let asked = text(params, 0)?;
            let Named::One(key) = sup.resolve(asked)? else {
                return Err(RpcFault::new(code::BAD_NAME, asked));
            };
            let value = sup.look(|inner| inner.process(&key).map(|p| info(sup, p)));
            now(value.ok_or_else(|| RpcFault::new(code::BAD_NAME, asked))?)
        }
        "startProcess" => one(sup, params, Verb::Start),
        "stopProcess" => one(sup, params, Verb::Stop),
        "startProcessGroup" => {
            arity(params, 1, 2)?;
            many(sup, Some(text(params, 0)?), Verb::Start, wait(params, 1))
        }
        "stopProcessGroup" => {
            arity(params, 1, 2)?;
            many(sup, Some(text(params, 0)?), Verb::Stop, wait(params, 1))
        }
        "startAllProcesses" => {
            arity(params, 0, 1)?;
            many(sup, None, Verb::Start, wait(params, 0))
        }
        "stopAllProcesses" => {
            arity(params, 0, 1)?;
            many(sup, None, Verb::Stop, wait(params, 0))
        }
        "reloadConfig" => {
            none(params)?;
            let lists = sup.reread()?.map(|names| Value::Array(names.into_iter().map(Value::String).collect()));
            now(Value::Array(vec![Value::Array(lists.into())]))
        }
        "addProcessGroup" => {
            arity(params, 1, 1)?;
            sup.add_group(text(params, 0)?)?;
            now(Value::Boolean(true))
        }
        "removeProcessGroup" => {
            arity(params, 1, 1)?;
            sup.remove_group(text(params, 0)?)?;
            now(Value::Boolean(true))
        }
        "restart" => no_args(params, || {
            sup.end(After::Reload);
            Value::Boolean(true)
        }),
        "shutdown" => no_args(params, || {
            sup.end(After::Halt);
            Value::Boolean(true)
        }),
        "readProcessStdoutLog" | "readProcessLog" | "readProcessStderrLog" => {
            arity(params, 3, 3)?;
            let log = log(sup, text(params, 0)?, name.contains("Stderr"))?;
            piece(sup, &log, number(params, 1)?, number(params, 2)?)
        }
        "readLog" | "readMainLog" => {
            arity(params, 2, 2)?;
            piece(sup, own_log(sup).as_bytes(), number(params, 0)?, number(params, 1)?)
        }
        "tailProcessStdoutLog" | "tailProcessLog" | "tailProcessStderrLog" => {
            arity(params, 3, 3)?;
            let log = log(sup, text(params, 0)?, name.contains("Stderr"))?;
            let (part, offset, overflow) = logs::tail_file(&log, number(params, 1)?, number(params, 2)?);
            now(Value::Array(vec![
                Value::String(logs::as_string(part, sup.shared.spec.supervisor)?),
                Value::Integer(i32::try_from(offset).unwrap_or(i32::MAX)),
                Value::Boolean(overflow),
            ]))
        }
        "clearProcessLogs" | "clearProcessLog" => {
            arity(params, 1, 1)?;
            let asked = text(params, 0)?;
            let Named::One(key) = sup.resolve(asked)? else {
                return Err(RpcFault::new(code::BAD_NAME, asked));
            };
            sup.edit(|inner, _, _| inner.process_mut(&key).map(|p| p.logs.rotate()));
            now(Value::Boolean(true))
        }
        "signalProcess" => {
            arity(params, 2, 2)?;
            signal(sup, text(params, 0)?, text(params, 1)?)
        }
        "getAllConfigInfo" => no_args(params, || {
            let config = |p: &Process| {
                let mut members = vec![("group", string(&p.config.group)), ("name", string(&p.config.name))];
                if sup.shared.spec.supervisor >= SupervisorVersion::V4_2_5 {
                    members.push(("startsecs", int(p.config.startsecs)));
                }
                Value::Struct(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            };
            Value::Array(sup.look(|inner| inner.all().map(config).collect()))
        }),
        // The real supervisord lists it, but no client of the lab uses it.
        _ => Err(RpcFault::new(code::FAILED, "not simulated")),
    }
}

fn now(value: Value) -> Result<Reply, RpcFault> {
    Ok(Reply::Now(Ok(value)))
}

fn no_args(params: &[Value], value: impl FnOnce() -> Value) -> Result<Reply, RpcFault> {
    none(params)?;
    now(value())
}

fn none(params: &[Value]) -> Result<(), RpcFault> {
    arity(params, 0, 0)
}

fn arity(params: &[Value], min: usize, max: usize) -> Result<(), RpcFault> {
    if (min..=max).contains(&params.len()) { Ok(()) } else { Err(RpcFault::bare(code::INCORRECT_PARAMETERS)) }
}

/// A parameter that must be a string; Python raises for another type.
fn text(params: &[Value], at: usize) -> Result<&str, RpcFault> {
    match params.get(at) {
        Some(Value::String(s)) => Ok(s),
        Some(_) => Err(RpcFault::bare(code::RAISED)),
        None => Err(RpcFault::bare(code::INCORRECT_PARAMETERS)),
    }
}

fn number(params: &[Value], at: usize) -> Result<i64, RpcFault> {
    match params.get(at) {
        Some(Value::Integer(i)) => Ok(i64::from(*i)),
        _ => Err(RpcFault::bare(code::INCORRECT_PARAMETERS)),
    }
}

fn wait(params: &[Value], at: usize) -> bool {
    match params.get(at) {
        None => true,
        Some(Value::Boolean(b)) => *b,
        Some(Value::Integer(i)) => *i != 0,
        Some(Value::String(s)) => !s.is_empty(),
        Some(_) => true,
    }
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[expect(clippy::cast_possible_truncation, reason = "capped to the XML-RPC integer as supervisord does")]
fn int(value: f64) -> Value {
    Value::Integer(value as i32)
}

fn structure<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members: BTreeMap<_, _> = members.map(|(k, v)| (k.to_owned(), v)).into();
    Value::Struct(members)
}

/// A process's description as the node reports it, including escape sequences if a fault adds them.
pub(crate) fn description(sup: &Supervisord, process: &Process) -> String {
    let plain = process.description(sup.shared.clock.epoch_now());
    if sup.shared.has(&Fault::ControlCharacters) {
        format!("\x1b[31m{plain}\x1b]0;owned\x07\r\x08\x7f\u{202e}")
    } else {
        plain + &sup.shared.says().unwrap_or_default()
    }
}

fn info(sup: &Supervisord, p: &Process) -> Value {
    let log = |channel| string(&format!("/var/log/contrail/{}-{channel}.log", p.config.group));
    structure([
        ("name", string(&p.config.name)),
        ("group", string(&p.config.group)),
        ("start", int(p.start)),
        ("stop", int(p.stop)),
        ("now", int(sup.shared.clock.epoch_now())),
        ("state", Value::Integer(p.state.code())),
        ("statename", string(p.state.name())),
        ("spawnerr", string(&p.spawnerr)),
        ("exitstatus", Value::Integer(p.exitstatus)),
        ("logfile", log("stdout")),
        ("stdout_logfile", log("stdout")),
        ("stderr_logfile", log("stderr")),
        ("pid", int(f64::from(p.pid))),
        ("description", string(&description(sup, p))),
    ])
}

fn items(list: Vec<Item>) -> Value {
    let item = |i: Item| {
        structure([
            ("name", Value::String(i.name)),
            ("group", Value::String(i.group)),
            ("status", Value::Integer(i.status)),
            ("description", Value::String(i.description)),
        ])
    };
    Value::Array(list.into_iter().map(item).collect())
}

fn one(sup: &Arc<Supervisord>, params: &[Value], verb: Verb) -> Result<Reply, RpcFault> {
    arity(params, 1, 2)?;
    let (asked, wait) = (text(params, 0)?, wait(params, 1));
    let key = match sup.resolve(asked)? {
        Named::Group(group) => return many(sup, Some(&group), verb, wait),
        Named::One(key) => key,
    };
    Ok(match sup.begin(&key, verb, asked, wait)? {
        None => Reply::Now(Ok(Value::Boolean(true))),
        Some(wait) => {
            let sup = Arc::clone(sup);
            Reply::Later(Box::pin(async move { sup.finish(wait).await.map(|()| Value::Boolean(true)) }))
        }
    })
}

fn many(sup: &Arc<Supervisord>, group: Option<&str>, verb: Verb, wait: bool) -> Result<Reply, RpcFault> {
    let (done, pending) = sup.begin_many(group, verb, wait)?;
    let sup = Arc::clone(sup);
    Ok(Reply::Later(Box::pin(async move {
        let list = sup.finish_many(done, pending).await;
        if list.iter().any(|i| i.status == code::GONE) {
            return Err(RpcFault::bare(code::GONE));
        }
        Ok(items(list))
    })))
}

fn signal(sup: &Arc<Supervisord>, asked: &str, signal: &str) -> Result<Reply, RpcFault> {
    let Named::One(key) = sup.resolve(asked)? else {
        return Err(RpcFault::new(code::FAILED, "not simulated for groups"));
    };
    let name = signal.trim_start_matches("SIG");
    if !["HUP", "INT", "TERM", "KILL", "USR1", "USR2", "QUIT"].contains(&name) && signal.parse::<u8>().is_err() {
        return Err(RpcFault::new(code::BAD_SIGNAL, signal));
    }
    let up = sup.look(|inner| inner.process(&key).is_some_and(|p| p.pid != 0));
    if up { now(Value::Boolean(true)) } else { Err(RpcFault::new(code::NOT_RUNNING, asked)) }
}

/// One of a process's logs.
pub(crate) fn log(sup: &Supervisord, asked: &str, stderr: bool) -> Result<Vec<u8>, RpcFault> {
    let bad = || RpcFault::new(code::BAD_NAME, asked);
    let Named::One(key) = sup.resolve(asked)? else {
        return Err(bad());
    };
    let mut log = sup.look(|inner| inner.process(&key).map(|p| p.logs.get(stderr).to_vec())).ok_or_else(bad)?;
    if sup.shared.has(&Fault::ControlCharacters) {
        log.extend_from_slice("\x1b[2J\x1b]8;;http://evil\x07click\x1b]8;;\x07\r\u{9b}A\n".as_bytes());
    }
    if let Some(text) = sup.shared.says() {
        log.extend_from_slice(format!("{text}\n").as_bytes());
    }
    Ok(log)
}

/// supervisord's own log: the entries about all its processes, in order.
pub(crate) fn own_log(sup: &Supervisord) -> String {
    let mut lines: Vec<String> =
        sup.look(|inner| inner.all().flat_map(|p| p.logs.noted()).map(|line| format!("{line}\n")).collect());
    // Each line begins with its time. The sort is stable, so lines with the same time keep their order.
    lines.sort_by(|one, other| one.get(..23).cmp(&other.get(..23)));
    lines.concat()
}

/// The result of `readFile`, as a reply.
fn piece(sup: &Supervisord, log: &[u8], offset: i64, length: i64) -> Result<Reply, RpcFault> {
    let part = logs::read_file(log, offset, length).ok_or_else(|| RpcFault::new(code::BAD_ARGUMENTS, "log"))?;
    now(Value::String(logs::as_string(part, sup.shared.spec.supervisor)?))
}

/// Runs the calls one after the other. Later calls wait for earlier ones, and are dropped if the client disconnects.
fn multicall(sup: &Arc<Supervisord>, params: &[Value]) -> Result<Reply, RpcFault> {
    arity(params, 1, 1)?;
    let Some(Value::Array(calls)) = params.first() else {
        return Err(RpcFault::bare(code::INCORRECT_PARAMETERS));
    };
    let mut calls = calls.clone().into_iter();
    let mut results = Vec::new();
    while let Some(call) = calls.next() {
        match inner_call(sup, &call) {
            Reply::Now(answer) => results.push(result(answer)),
            Reply::Crash => results.push(result(Err(RpcFault::new(code::FAILED, "error")))),
            Reply::Later(first) => {
                let sup = Arc::clone(sup);
                return Ok(Reply::Later(Box::pin(async move {
                    results.push(result(first.await));
                    for call in calls {
                        let answer = match inner_call(&sup, &call) {
                            Reply::Now(answer) => answer,
                            Reply::Later(later) => later.await,
                            Reply::Crash => Err(RpcFault::new(code::FAILED, "error")),
                        };
                        results.push(result(answer));
                    }
                    Ok(Value::Array(results))
                })));
            }
        }
    }
    now(Value::Array(results))
}

fn inner_call(sup: &Arc<Supervisord>, request: &Value) -> Reply {
    let wrong = |extra| Reply::Now(Err(RpcFault::new(code::INCORRECT_PARAMETERS, extra)));
    let Value::Struct(members) = request else {
        return wrong("No methodName");
    };
    let Some(Value::String(method)) = members.get("methodName") else {
        return wrong("No methodName");
    };
    if method == "system.multicall" {
        return wrong("Recursive system.multicall forbidden");
    }
    let params = match members.get("params") {
        Some(Value::Array(params)) => params.clone(),
        _ => Vec::new(),
    };
    call(sup, method, params)
}

/// A result within a multicall. Unlike other servers, supervisord does not wrap values in an array of one.
fn result(answer: Answer) -> Value {
    answer.unwrap_or_else(|fault| {
        structure([("faultCode", Value::Integer(fault.code)), ("faultString", Value::String(fault.text))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_told_from_questions() {
        assert!(is_action("supervisor.startProcess") && is_action("supervisor.stopAllProcesses"));
        assert!(!is_action("supervisor.getState") && !is_action("system.multicall"));
    }
}
