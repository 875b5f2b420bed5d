//! The introspect HTTP port of a Contrail program: one page, its NodeStatus.
//!
//! Always holds: a program that is not RUNNING has no open port; the page has the shape that release 3.2
//! gives it, with an entry that has no process_status first, which a reader must skip.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::catalogue;
use crate::fault::{Fault, names};
use crate::node::NodeInner;
use crate::process::State;

/// What a connect to a TCP port of the node finds.
pub(crate) struct Page {
    program: String,
    process: String,
    hangs: bool,
}

/// The program that listens on that port now, if there is one.
pub(crate) fn listener(node: &NodeInner, port: u16) -> Option<Page> {
    let faults = node.shared.faults();
    node.instances.iter().find_map(|sup| {
        sup.look(|inner| {
            inner.all().find_map(|p| {
                let (group, name) = (&p.config.group, &p.config.name);
                if catalogue::introspect(group)? != port || p.state != State::Running {
                    return None;
                }
                let closed = faults.iter().any(|f| matches!(f, Fault::IntrospectClosed(n) if names(n, group, name)));
                let hangs = faults.iter().any(|f| matches!(f, Fault::IntrospectHang(n) if names(n, group, name)));
                (!closed).then(|| Page { program: group.clone(), process: name.clone(), hangs })
            })
        })
    })
}

fn body(node: &NodeInner, page: &Page) -> String {
    let faults = node.shared.faults();
    let wrong = faults.non_functional(&page.program, &page.process);
    let (state, up, description) = match wrong {
        None => ("Functional", "Up", "<description type=\"string\" identifier=\"5\"/>".to_owned()),
        Some(text) => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            ("Non-Functional", "Down", format!("<description type=\"string\" identifier=\"5\">{text}</description>"))
        }
    };
    let name = &node.shared.spec.name;
    let module = &page.program;
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
    if page.hangs {
        node.shared.until_closing().await;
        return;
    }
    let known = String::from_utf8_lossy(&request).contains("Snh_SandeshUVECacheReq?x=NodeStatus");
    let (status, body) =
        if known { ("200 OK", body(&node, &page)) } else { ("404 Not Found", "<html>not simulated</html>".to_owned()) };
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // The peer may be gone already.
    let _gone = stream.write_all(reply.as_bytes()).await.is_err() || stream.shutdown().await.is_err();
}
