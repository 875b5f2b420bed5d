//! Questions that a client executes between marks, so that it knows what is an answer and what is not.
//!
//! A client sends `sh -c SCRIPT ctl-ask MARK COMMAND`, or `ctl-act` where the command is to go on to its end without
//! the client. The script is known by that name, and what it does is done here.

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

/// The same with stderr in stdout, and what nobody reads any more drained.
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
