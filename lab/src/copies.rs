//! Copies of files, as `ctl cp` makes them: `ctl-put` takes a file, `ctl-get` gives one.
//!
//! A client sends `exec /bin/sh -c SCRIPT ctl-put LIMIT MARK SIZE MODE into|any RANDOM`, then a line of script, which the
//! lab does not interpret, lines with the target and the file's name encoded for `printf %b` and with the SHA-256, and the
//! content once the answer was `send`; or `ctl-get MARK SIZE` and lines with the script, the source and the SHA-256. Invariants: a file
//! of a simulated node is text, has no permissions of its own, and is replaced as a whole.

use sha2::{Digest, Sha256};

use crate::bounded::unescaped;
use crate::commands::Context;
use crate::streams::Io;

/// The permissions that every file has.
const MODE: &str = "644";

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path as the node keeps it: one that does not begin at the root begins at the user's home.
fn absolute(context: &Context, path: &str) -> String {
    match path.strip_prefix("./") {
        Some(rest) => format!("{}/{rest}", context.home()),
        None => path.to_owned(),
    }
}

/// So many lines of stdin; fewer if it ends early.
async fn lines<const COUNT: usize>(io: &Io) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < COUNT
        && let Some(line) = io.read_whole_line().await
    {
        lines.push(line);
    }
    lines
}

async fn begin(io: &Io, mark: &str) {
    io.err(&format!("{mark}-2\n")).await;
    io.out(&format!("{mark}\n")).await;
}

async fn fail(io: &Io, message: &str) -> i32 {
    io.err(&format!("{message}\n")).await;
    1
}

/// Takes a file. `words` are the arguments after `ctl-put`.
pub(crate) async fn put(context: &Context, io: &Io, words: &[String]) -> i32 {
    let [_limit, mark, size, _mode, into, _random] = words else {
        return fail(io, "ctl-put: wrong number of arguments").await;
    };
    let [_script, target, name, hash] = &lines::<4>(io).await[..] else { return 1 };
    begin(io, mark).await;
    let mut target = absolute(context, &unescaped(target));
    if context.node.is_dir(&target) {
        target = format!("{}/{}", target.trim_end_matches('/'), unescaped(name));
    } else if into == "into" {
        return fail(io, &format!("{target}: No such directory")).await;
    }
    if context.node.is_dir(&target) {
        return fail(io, &format!("{target}: Is a directory")).await;
    }
    let folder = target.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !context.node.is_dir(folder) {
        return fail(io, &format!("{folder}: No such directory")).await;
    }
    if context.node.read_file(&target).is_some_and(|text| sha256(&text) == *hash) {
        io.out("same\n").await;
        return 0;
    }
    io.out("send\n").await;
    let Some(content) = io.read_exactly(size.parse().unwrap_or_default()).await else {
        return fail(io, &format!("{target}: the content did not arrive completely")).await;
    };
    context.acts();
    context.node.write_file(target, String::from_utf8_lossy(&content).into_owned());
    io.out("changed\n").await;
    0
}

/// Gives a file. `words` are the arguments after `ctl-get`.
pub(crate) async fn get(context: &Context, io: &Io, words: &[String]) -> i32 {
    let [mark, _size] = words else { return fail(io, "ctl-get: wrong number of arguments").await };
    let [_script, source, hash] = &lines::<3>(io).await[..] else { return 1 };
    begin(io, mark).await;
    let source = absolute(context, &unescaped(source));
    if context.node.is_dir(&source) {
        return fail(io, &format!("{source}: Is a directory")).await;
    }
    let Some(text) = context.node.read_file(&source) else {
        return fail(io, &format!("{source}: No such file")).await;
    };
    let is_known = sha256(&text) == *hash;
    io.out(&format!("{} {MODE} {}\n", if is_known { "same" } else { "file" }, text.len())).await;
    if !is_known {
        io.out(&text).await;
    }
    0
}
