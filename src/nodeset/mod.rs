//! Node sets: which machines an expression such as `rack[1-2]-node[01-40]!rack1-node07` means, and
//! how to write a set of names short again.
//!
//! What lives here: the notation of ClusterShell 1.9 (ranges in brackets on any number of axes, zero
//! padding as part of a name, the operators `,` `!` `&` `^` read strictly from left to right, `@group`
//! and globs), the algebra on sets, and folding. What it may use: nothing of ours, no I/O, no clock;
//! groups and globs come in through [`GroupResolver`].
//!
//! What always holds:
//! - A name is its digits: `node1`, `node01` and `node001` are three names.
//! - Equal sets are equal values, however they were written or put together.
//! - A folded set reads back as the same set, if its names came from an expression. (Names put in by
//!   [`NodeSet::from_names`] may hold operators or brackets, which no notation here can quote.)
//! - Ranges stay symbolic: `node[0-999999]` costs a handful of numbers.
//! - Nothing typed can make the parser panic, or take memory or time out of proportion to its length:
//!   past fixed limits it answers with a [`ParseError`].
//!
//! Where this departs from ClusterShell on purpose: names hold no blanks, so blanks part names (a blank
//! is a `,`); digits glued before a range that changes length (`node1[9-10]`, there 92 nodes) are an
//! error; so are negative numbers, unknown groups and globs that match nothing.
//!
//! Where to start reading: `set` for the type and its operations; `parse` for what an expression means
//! and `notation` for what it looks like. Below these, `pattern` takes a name apart, `range` holds the
//! numbers of one axis, `space` those of several, `fold` writes them short, `meter` sets the limits.

mod error;
mod fold;
mod meter;
mod notation;
mod parse;
mod pattern;
mod range;
mod set;
mod space;

pub use error::ParseError;
pub use parse::{GroupResolver, expand_in_order};
pub use set::NodeSet;

#[cfg(test)]
mod props;
