//! The YAML library: the limits and options of its parser, and its locations as byte ranges.

use std::ops::Range;

use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{NonFiniteFloatPolicy, Options};

/// Maximum nesting of mappings and lists. The format needs five.
pub(super) const MAX_DEPTH: usize = 24;
/// Maximum number of scalars, mappings and lists, including those repeated by anchors.
pub(super) const MAX_NODES: usize = 1_000_000;
/// Maximum repetition by anchors, as the parser counts it: a scalar is one, a mapping or list two.
pub(super) const MAX_REPEATED: usize = 250_000;

/// The options of the parser: bounded, and without a guess at types.
pub(super) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

/// The byte range of a location of the YAML library.
pub(super) fn bytes(text: &str, location: &serde_saphyr::Location) -> Range<usize> {
    let span = location.span();
    let to_usize = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    if let (Some(offset), Some(len)) = (span.byte_offset(), span.byte_len()) {
        let start = to_usize(offset);
        return start..start.saturating_add(to_usize(len));
    }
    if span == serde_saphyr::Span::UNKNOWN {
        return 0..0;
    }
    // Errors of the scanner have only character offsets.
    let mut indices = text.char_indices().map(|(index, _)| index).chain([text.len()]);
    let start = indices.nth(to_usize(span.offset())).unwrap_or(text.len());
    let end = match to_usize(span.len()) {
        0 => start,
        len => indices.nth(len - 1).unwrap_or(text.len()),
    };
    start..end
}
