//! Commands that a client runs between marks, so that it can separate their output from other text.
//!
//! A client sends `sh -c SCRIPT ctl-ask MARK COMMAND`, or `ctl-act` if the command must run to its end without the
//! client. The lab recognizes the script by that name, and implements its effect here.

use crate::commands::Context;
use crate::fault::Fault;
use crate::shell;
use crate::streams::Io;

/// Runs a command between marks on both streams.
pub(crate) async fn ask(context: &Context, io: &Io, mark: &str, body: &str) -> i32 {
    io.out(&format!("\n{mark}\n")).await;
    io.err(&format!("\n{mark}\n")).await;
    let code = shell::run(context, io, body).await;
    io.out(&format!("\n{mark} {code}\n")).await;
    0
}

/// The same, with stderr redirected to stdout; the rest of the output is drained when nobody reads it.
pub(crate) async fn act(context: &Context, io: &Io, mark: &str, body: &str) -> i32 {
    let script = format!(
        r#"{{ printf "\n%s\n" {mark}; {body} 2>&1; printf "\n%s %s\n" {mark} $?; }} | {{ trap "" PIPE; cat; cat >/dev/null; }}"#
    );
    let code = shell::run(context, io, &script).await;
    if context.node.shared.has(&Fault::StreamsHeld) {
        io.closed().await;
    }
    code
}
