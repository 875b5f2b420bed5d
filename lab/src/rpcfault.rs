//! The faults of supervisord's XML-RPC interface: numbers and texts.
//!
//! Invariants: the text is `NAME: extra`, or the bare name, as supervisord writes it.

/// Fault numbers of supervisord's XML-RPC interface.
pub(crate) mod code {
    pub(crate) const UNKNOWN_METHOD: i32 = 1;
    pub(crate) const INCORRECT_PARAMETERS: i32 = 2;
    pub(crate) const BAD_ARGUMENTS: i32 = 3;
    pub(crate) const SIGNATURE_UNSUPPORTED: i32 = 4;
    pub(crate) const SHUTDOWN_STATE: i32 = 6;
    pub(crate) const BAD_NAME: i32 = 10;
    pub(crate) const BAD_SIGNAL: i32 = 11;
    pub(crate) const NO_FILE: i32 = 20;
    pub(crate) const NOT_EXECUTABLE: i32 = 21;
    pub(crate) const FAILED: i32 = 30;
    pub(crate) const ABNORMAL_TERMINATION: i32 = 40;
    pub(crate) const SPAWN_ERROR: i32 = 50;
    pub(crate) const ALREADY_STARTED: i32 = 60;
    pub(crate) const NOT_RUNNING: i32 = 70;
    pub(crate) const SUCCESS: i32 = 80;
    pub(crate) const ALREADY_ADDED: i32 = 90;
    pub(crate) const STILL_RUNNING: i32 = 91;
    pub(crate) const CANT_REREAD: i32 = 92;
    /// Not a number of supervisord's: it died before it could answer.
    pub(crate) const GONE: i32 = -1;
    /// Not a number of supervisord's: its Python raised, and HTTP 500 is the answer.
    pub(crate) const RAISED: i32 = -2;
}

/// A fault as supervisord returns it: `code`, and `NAME: extra` or the bare name as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcFault {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl RpcFault {
    pub(crate) fn new(code: i32, extra: &str) -> Self {
        let name = Self::name(code);
        Self { code, text: format!("{name}: {extra}") }
    }

    pub(crate) fn bare(code: i32) -> Self {
        Self { code, text: Self::name(code).to_owned() }
    }

    fn name(code: i32) -> &'static str {
        match code {
            code::UNKNOWN_METHOD => "UNKNOWN_METHOD",
            code::INCORRECT_PARAMETERS => "INCORRECT_PARAMETERS",
            code::BAD_ARGUMENTS => "BAD_ARGUMENTS",
            code::SIGNATURE_UNSUPPORTED => "SIGNATURE_UNSUPPORTED",
            code::SHUTDOWN_STATE => "SHUTDOWN_STATE",
            code::BAD_NAME => "BAD_NAME",
            code::BAD_SIGNAL => "BAD_SIGNAL",
            code::NO_FILE => "NO_FILE",
            code::NOT_EXECUTABLE => "NOT_EXECUTABLE",
            code::FAILED => "FAILED",
            code::ABNORMAL_TERMINATION => "ABNORMAL_TERMINATION",
            code::SPAWN_ERROR => "SPAWN_ERROR",
            code::ALREADY_STARTED => "ALREADY_STARTED",
            code::NOT_RUNNING => "NOT_RUNNING",
            code::SUCCESS => "SUCCESS",
            code::ALREADY_ADDED => "ALREADY_ADDED",
            code::STILL_RUNNING => "STILL_RUNNING",
            code::CANT_REREAD => "CANT_REREAD",
            _ => "UNKNOWN",
        }
    }
}
