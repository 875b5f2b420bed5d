//! The results of a client's node scan: core files, sockets, configuration files, packages.
//!
//! Start at [`run`], which answers the scan script; its arguments are the paths to search. [`ports`] answers the script
//! that lists open ports, and [`find`] the one that finds supervisords. Invariants: the results agree with `test`, and with a connect to a socket or a port.

use crate::catalogue::Address;
use crate::commands::Context;
use crate::fault::Fault;
use crate::introspect;
use crate::node::NodeInner;
use crate::spec::{Release, Role};
use crate::streams::Io;
use crate::supervisord::Supervisord;

/// Answers the script named `ctl-scan`, including the exit code. Its first argument says whether to list packages.
pub(crate) async fn run(context: &Context, io: &Io, words: &[String]) -> i32 {
    let node = &context.node;
    if node.shared.has(&Fault::SearchHangs) {
        node.shared.until_closing().await;
        return 143;
    }
    let mut text = String::new();
    let cores = core_files(node);
    for core in &cores {
        text.push_str(&format!("core {core}\n"));
    }
    text.push_str(&format!("cores {}\n", cores.len()));
    for word in words {
        let (flag, mark, path) = match word.split_once(':') {
            Some(("s", path)) => ("-S", "socket", path),
            Some(("c", path)) => ("-e", "config", path),
            _ => continue,
        };
        if node.file_test(flag, path, context) == Some(true) {
            text.push_str(&format!("{mark} {path}\n"));
        }
    }
    for (program, port) in node.introspect.unusual() {
        text.push_str(&format!("port /etc/contrail/{program}.conf:http_server_port={port}\n"));
    }
    text.push_str("listening\n");
    for (path, pid) in node.listening() {
        // supervisord binds the socket under this name before it renames it.
        text.push_str(&format!("listens {path}.{pid}\n"));
    }
    let version =
        node.shared.faults().version().unwrap_or_else(|| release_version(node.shared.spec.release).to_owned());
    if words.first().is_some_and(|word| word == "packages") {
        for role in &node.shared.spec.roles {
            text.push_str(&format!("package {} {version} install ok installed\n", package(*role)));
        }
    }
    text.push_str("ctl-end\n");
    io.out(&text).await;
    0
}

/// Answers the script named `ctl-ports`: lists the TCP ports of localhost that have a listener.
pub(crate) async fn ports(context: &Context, io: &Io) -> i32 {
    let open = introspect::open_ports(&context.node);
    let lines: String = open.into_iter().map(|port| format!("tcp 0100007F:{port:04X}\n")).collect();
    io.out(&(lines + "ctl-end\n")).await;
    0
}

/// Answers the script named `ctl-find`: lists the supervisords that run, their configurations and their sockets.
pub(crate) async fn find(context: &Context, io: &Io, words: &[String]) -> i32 {
    let node = &context.node;
    if node.shared.has(&Fault::SearchHangs) {
        node.shared.until_closing().await;
        return 143;
    }
    let mut text = format!("node {}\n", node.shared.spec.name);
    let missing = node.shared.has(&Fault::SupervisorMissing);
    for sup in node.instances.iter().filter(|_| !missing) {
        let pid = sup.look(|inner| inner.pid);
        if pid != 0 {
            text.push_str(&format!("process {pid}\nunit {}\n", sup.config.service));
            text.push_str(&config(context, sup));
        }
    }
    text.push_str("known\n");
    for word in words {
        match word.split_once(':') {
            Some(("s", path)) if node.file_test("-S", path, context) == Some(true) => {
                let mark = if node.file_test("-w", path, context) == Some(true) { "socket" } else { "forbidden" };
                text.push_str(&format!("{mark} {path}\n"));
            }
            Some(("c", path)) => {
                let known = node.instances.iter().filter(|_| !missing).find(|sup| sup.config.config == path);
                text.push_str(&known.map(|sup| config(context, sup)).unwrap_or_default());
            }
            _ => {}
        }
    }
    for (path, pid) in node.listening() {
        text.push_str(&format!("listens 1{pid} {path}.{pid}\n"));
    }
    text.push_str("ctl-end\n");
    io.out(&text).await;
    0
}

/// The part of a supervisord's configuration that says where it listens.
fn config(context: &Context, sup: &Supervisord) -> String {
    let mut text = format!("config {}\n", sup.config.config);
    text.push_str(&match &sup.config.address {
        Address::Unix(path) => format!("section unix_http_server\nfile {path}\n"),
        Address::Tcp(port) => format!("section inet_http_server\nport localhost:{port}\n"),
    });
    if let Some((user, _)) = &context.node.shared.spec.rpc_auth {
        text.push_str(&format!("username {user}\npassword\n"));
    }
    text
}

fn core_files(node: &NodeInner) -> Vec<String> {
    let faults = node.shared.faults();
    faults.cores().map(|program| format!("/var/crashes/core.{program}.4711.1763884800")).collect()
}

fn package(role: Role) -> &'static str {
    match role {
        Role::Analytics => "contrail-analytics",
        Role::Config => "contrail-config",
        Role::Control => "contrail-control",
        Role::Compute => "contrail-vrouter-agent",
        Role::WebUi => "contrail-web-controller",
        Role::Database => "contrail-openstack-database",
    }
}

fn release_version(release: Release) -> &'static str {
    match release {
        Release::R1_05 => "1.05-245",
        Release::R2_20 => "2.20-64",
        Release::R3_0 => "3.0.2.0-51",
        Release::R3_2 => "3.2.1.0-27",
    }
}
