//! What services have written: their logs, read through a backend.
//!
//! Here live [`reader::LogReader`], a log as lines; [`position`], how far it was read where it is read by offset;
//! [`tail_follower`], a command that follows it; and [`line_buffer`], bytes made into lines. The files use `error`, `event`,
//! `remote` and `transport`, and no backend: a backend uses them. Start at [`reader::LogReader`];
//! docs/decisions/0007-logs.md has the reasons.

pub mod line_buffer;
pub mod position;
pub mod reader;
pub mod source;
pub mod tail_follower;
