//! The introspect HTTP port of a Contrail program. It has one page, NodeStatus.
//!
//! Start at [`Introspect`]. Invariants: the port of a program is open only if the program is RUNNING and a port was set
//! for it; the page has the form of release 3.2, and its first entry has no process_status, so a reader must skip it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::catalogue;
use crate::fault::{Fault, names};
use crate::node::NodeInner;
use crate::process::{Process, State};
use crate::supervisord::Supervisord;
use crate::util::lock;

/// The reply of a program on its introspect port while it is RUNNING.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Introspect {
    /// Nobody listens on the port.
    #[default]
    Refused,
    /// NodeStatus says Functional, as soon as the program is RUNNING.
    Functional,
    /// NodeStatus says Non-Functional, with this description.
    NonFunctional(String),
    /// NodeStatus says Non-Functional for this long after each start, then Functional.
    FunctionalAfter(Duration),
    /// The port accepts and never answers.
    Silent,
    /// HTTP status 500.
    ServerError,
    /// Bytes that are not HTTP.
    Garbage,
    /// HTTP status 200 with a body that is not XML.
    GarbageXml,
}

/// The description reported by a program that is not ready yet.
const NOT_YET: &str = "Database:Global connection down";

/// The introspect port of one program, named as in a [`Fault`].
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) program: String,
    pub(crate) port: u16,
    pub(crate) state: Introspect,
}

/// The introspect ports of a node's programs. If two settings name a program, the last one counts.
pub(crate) struct Settings(Mutex<Vec<Setting>>);

impl Settings {
    pub(crate) fn new(all: Vec<Setting>) -> Self {
        Self(Mutex::new(all))
    }

    pub(crate) fn set(&self, setting: Setting) {
        let mut all = lock(&self.0);
        all.retain(|s| s.program != setting.program);
        all.push(setting);
    }

    /// The programs that listen on another port than the default, with that port, according to their configuration
    /// files.
    pub(crate) fn unusual(&self) -> Vec<(String, u16)> {
        let all = lock(&self.0);
        let unusual = all.iter().filter(|s| catalogue::introspect(&s.program) != Some(s.port));
        unusual.map(|s| (s.program.clone(), s.port)).collect()
    }

    /// Port and reply of a process; nothing if no port was set for it.
    fn of(&self, node: &NodeInner, process: &Process) -> Option<(u16, Introspect)> {
        let (group, name) = (&process.config.group, &process.config.name);
        if let Some(set) = lock(&self.0).iter().rev().find(|s| names(&s.program, group, name)) {
            return Some((set.port, set.state.clone()));
        }
        let state = if node.shared.spec.introspects { Introspect::Functional } else { Introspect::Refused };
        Some((catalogue::introspect(group)?, state))
    }
}

/// The result of a connect to a TCP port of the node.
pub(crate) struct Page {
    program: String,
    answer: IntrospectAnswer,
}

enum IntrospectAnswer {
    /// NodeStatus, with a description if it is Non-Functional.
    Status(Option<String>),
    Silence,
    ServerError,
    Garbage,
    GarbageXml,
}

/// The program that listens on that port now, if any.
pub(crate) fn listener(node: &NodeInner, port: u16) -> Option<Page> {
    listeners(node).into_iter().find_map(|(own, page)| (own == port).then_some(page))
}

/// The ports that programs listen on now.
pub(crate) fn open_ports(node: &NodeInner) -> Vec<u16> {
    listeners(node).into_iter().map(|(port, _)| port).collect()
}

fn listeners(node: &NodeInner) -> Vec<(u16, Page)> {
    let of = |sup: &Arc<Supervisord>| {
        sup.look(|inner| {
            let running = inner.all().filter(|p| p.state == State::Running);
            let page = |p: &Process| {
                let (port, state) = node.introspect.of(node, p)?;
                Some((port, Page { program: p.config.group.clone(), answer: answer(node, p, state)? }))
            };
            running.filter_map(page).collect::<Vec<_>>()
        })
    };
    node.instances.iter().flat_map(of).collect()
}

/// The reply of a process, set by a fault or by a test. `None` if its port is closed.
fn answer(node: &NodeInner, process: &Process, state: Introspect) -> Option<IntrospectAnswer> {
    let (group, name) = (&process.config.group, &process.config.name);
    let faults = node.shared.faults();
    let has = |is: fn(&Fault) -> Option<&String>| faults.iter().filter_map(is).any(|n| names(n, group, name));
    if has(|f| if let Fault::IntrospectClosed(n) = f { Some(n) } else { None }) {
        return None;
    }
    if has(|f| if let Fault::IntrospectHang(n) = f { Some(n) } else { None }) {
        return Some(IntrospectAnswer::Silence);
    }
    if let Some(description) = faults.non_functional(group, name) {
        return Some(IntrospectAnswer::Status(Some(description.to_owned())));
    }
    Some(match state {
        Introspect::Refused => return None,
        Introspect::Functional => IntrospectAnswer::Status(None),
        Introspect::NonFunctional(description) => IntrospectAnswer::Status(Some(description)),
        Introspect::FunctionalAfter(time) => {
            let since = node.shared.clock.epoch_now() - process.start;
            IntrospectAnswer::Status((since < time.as_secs_f64()).then(|| NOT_YET.to_owned()))
        }
        Introspect::Silent => IntrospectAnswer::Silence,
        Introspect::ServerError => IntrospectAnswer::ServerError,
        Introspect::Garbage => IntrospectAnswer::Garbage,
        Introspect::GarbageXml => IntrospectAnswer::GarbageXml,
    })
}

fn body(node: &NodeInner, module: &str, wrong: Option<&str>) -> String {
    let (state, up, description) = match wrong {
        None => ("Functional", "Up", "<description type=\"string\" identifier=\"5\"/>".to_owned()),
        Some(text) => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            ("Non-Functional", "Down", format!("<description type=\"string\" identifier=\"5\">{text}</description>"))
        }
    };
    let name = &node.shared.spec.name;
    format!(
        "<?xml-stylesheet type=\"text/xsl\" href=\"/universal_parse.xsl\"?>\
         <__NodeStatusUVE_list type=\"slist\">\
         <NodeStatusUVE type=\"sandesh\"><data type=\"struct\" identifier=\"1\"><NodeStatus>\
         <name type=\"string\" identifier=\"1\" key=\"ObjectNode\">{name}</name>\
         </NodeStatus></data></NodeStatusUVE>\
         <NodeStatusUVE type=\"sandesh\"><data type=\"struct\" identifier=\"1\"><NodeStatus>\
         <name type=\"string\" identifier=\"1\" key=\"ObjectNode\">{name}</name>\
         <process_status type=\"list\" identifier=\"4\" aggtype=\"union\"><list type=\"struct\" size=\"1\">\
         <ProcessStatus><module_id type=\"string\" identifier=\"1\">{module}</module_id>\
         <instance_id type=\"string\" identifier=\"2\">0</instance_id>\
         <state type=\"string\" identifier=\"3\">{state}</state>\
         <connection_infos type=\"list\" identifier=\"4\"><list type=\"struct\" size=\"1\"><ConnectionInfo>\
         <type type=\"string\" identifier=\"1\">Database</type>\
         <name type=\"string\" identifier=\"2\">{name}:Global</name>\
         <server_addrs type=\"list\" identifier=\"3\"><list type=\"string\" size=\"1\">\
         <element>127.0.0.1:9042</element></list></server_addrs>\
         <status type=\"string\" identifier=\"4\">{up}</status>\
         <description type=\"string\" identifier=\"5\"/></ConnectionInfo></list></connection_infos>\
         {description}</ProcessStatus></list></process_status></NodeStatus></data></NodeStatusUVE>\
         <SandeshUVECacheResp type=\"sandesh\"><returned type=\"u32\" identifier=\"1\">2</returned>\
         <more type=\"bool\" identifier=\"0\">false</more></SandeshUVECacheResp></__NodeStatusUVE_list>"
    )
}

/// Answers one request and closes.
pub(crate) async fn serve<S>(mut stream: S, node: Arc<NodeInner>, page: Page)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") && request.len() < 65_536 {
        match stream.read_buf(&mut request).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
    }
    let known = String::from_utf8_lossy(&request).contains("Snh_SandeshUVECacheReq?x=NodeStatus");
    let http = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let reply = match &page.answer {
        IntrospectAnswer::Silence => return node.shared.until_closing().await,
        IntrospectAnswer::ServerError => http("500 Internal Server Error", "<html>500</html>"),
        IntrospectAnswer::Garbage => "\u{1}\u{2}no HTTP here\r\n".repeat(3),
        IntrospectAnswer::GarbageXml => http("200 OK", "<<& \u{1}no XML </NodeStatus"),
        IntrospectAnswer::Status(wrong) if known => http("200 OK", &body(&node, &page.program, wrong.as_deref())),
        IntrospectAnswer::Status(_) => http("404 Not Found", "<html>not simulated</html>"),
    };
    // The peer may have disconnected already.
    let _gone = stream.write_all(reply.as_bytes()).await.is_err() || stream.shutdown().await.is_err();
}
