//! Node sets: the machines that an expression such as `rack[1-2]-node[01-40]!rack1-node07` names, and
//! the short form of any set of names.
//!
//! ```
//! use nodeset::NodeSet;
//!
//! let set = NodeSet::parse("node[01-03],node05!node02")?;
//! assert_eq!(set.to_string(), "node[01,03,05]");
//! assert_eq!(set.iter().collect::<Vec<_>>(), ["node01", "node03", "node05"]);
//! # Ok::<(), nodeset::ParseError>(())
//! ```
//!
//! Here lives the notation of ClusterShell 1.9 (ranges in brackets on any number of axes, zero padding
//! as part of a name, the operators `,` `!` `&` `^` read strictly from left to right, `@group` and
//! globs), the algebra on sets, and folding. It may use no I/O, no clock and no other crate of this
//! workspace; groups and globs come in through [`GroupResolver`].
//!
//! Invariants:
//! - A name is its digits: `node1`, `node01` and `node001` are three names.
//! - Equal sets are equal values, however they were written or put together.
//! - A folded set reads back as the same set, if its names came from an expression. (Names put in by
//!   [`NodeSet::from_names`] may hold operators or brackets, which no notation here can quote.)
//! - Ranges stay symbolic: `node[0-999999]` costs a handful of numbers.
//! - No input can make the parser panic, or take memory or time out of proportion to its length:
//!   past fixed limits it answers with a [`ParseError`].
//!
//! Where this departs from ClusterShell on purpose: names hold no spaces, so spaces separate names (a
//! space is a `,`); digits glued before a range that changes length (`node1[9-10]`, there 92 nodes) are
//! an error; so are negative numbers, unknown groups and globs that match nothing.
//!
//! Where to start reading: `set` for the type and its operations; `parse` for the meaning of an
//! expression and `notation` for its syntax. Below these, `pattern` takes a name apart, `range` holds
//! the numbers of one axis, `space` those of several, `fold` writes them short, `meter` sets the limits.

mod error;
mod fold;
mod meter;
mod notation;
mod parse;
mod pattern;
mod range;
mod resolver;
mod set;
mod space;

pub use error::ParseError;
pub use parse::expand_in_order;
pub use resolver::GroupResolver;
pub use set::NodeSet;

#[cfg(test)]
mod props;
