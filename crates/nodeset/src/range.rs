//! The numbers on one axis of a node set.
//!
//! What lives here: [`PaddedNumber`], one number as written, and [`IndexSet`], a set of them. What it may
//! use: nothing of ours. Invariants: a number is its digits, so `1`, `01` and `001` differ; an
//! `IndexSet` keeps sorted spans that neither overlap nor touch, so equal sets are equal values.
//!
//! The trick that makes this simple: all digit strings of up to 19 digits, shortest first and then by
//! value, are counted through. `0`…`9` are 0…9, `00`…`99` are 10…109, `000` is 110. The place in that
//! list is the *ordinal*, it fits a `u64`, and its order is ClusterShell's. Where to start reading:
//! [`PaddedNumber::ordinal`], then [`IndexSet::combine`] and [`IndexSet::runs`].

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

/// The most digits a number may have; a longer run of digits in a name is plain text.
pub(crate) const MAX_DIGITS: usize = 19;

/// Powers of ten, 10^0 to 10^19.
const POWERS: [u64; MAX_DIGITS + 1] = {
    let mut powers = [1; MAX_DIGITS + 1];
    let mut width = 1;
    while width <= MAX_DIGITS {
        powers[width] = powers[width - 1] * 10;
        width += 1;
    }
    powers
};

/// The ordinal of the first string of each width (`BASES[2]` is that of `00`), and the end of all.
const BASES: [u64; MAX_DIGITS + 2] = {
    let mut bases = [0; MAX_DIGITS + 2];
    let mut width = 1;
    while width <= MAX_DIGITS {
        bases[width + 1] = bases[width] + POWERS[width];
        width += 1;
    }
    bases
};

/// One number as written, with its number of digits, leading zeros included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaddedNumber {
    width: usize,
    value: u64,
}

/// Orders numbers as texts (`1`, `10`, `2`), as ClusterShell does when it folds several axes.
pub(crate) type TextKey = (u64, usize);

impl PaddedNumber {
    /// Reads 1 to 19 ASCII digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_DIGITS {
            return None;
        }
        // 19 digits fit a `u64`, so nothing below overflows.
        let mut value = 0;
        for byte in text.bytes() {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u64::from(byte - b'0');
        }
        Some(Self { width: text.len(), value })
    }

    /// `value` without leading zeros, or with `width` digits; `None` when it does not fit.
    pub(crate) fn new(value: u64, width: Option<usize>) -> Option<Self> {
        let width = width.unwrap_or_else(|| natural_width(value));
        (width <= MAX_DIGITS && value < POWERS[width]).then_some(Self { width, value })
    }

    /// The number with this ordinal.
    pub(crate) fn from_ordinal(ordinal: u64) -> Self {
        let width = width_of(ordinal);
        Self { width, value: ordinal - BASES[width] }
    }

    /// The place of this number among all, shorter ones first, then by value.
    pub(crate) fn ordinal(self) -> u64 {
        BASES[self.width] + self.value
    }

    /// How many digits.
    pub(crate) fn width(self) -> usize {
        self.width
    }

    /// What the digits amount to.
    pub(crate) fn value(self) -> u64 {
        self.value
    }

    /// Whether it begins with a zero that could be left out.
    pub(crate) fn padded(self) -> bool {
        self.width > 1 && self.value < POWERS[self.width - 1]
    }

    /// These digits with `next` written right behind; `None` past 19 digits.
    pub(crate) fn concat(self, next: Self) -> Option<Self> {
        let width = self.width + next.width;
        (width <= MAX_DIGITS).then(|| Self { width, value: self.value * POWERS[next.width] + next.value })
    }

    /// A key that sorts as the text does.
    pub(crate) fn text_key(self) -> TextKey {
        // As if padded with zeros on the right, which is how texts compare; of `1` and `10` the shorter comes first.
        (self.value * POWERS[MAX_DIGITS - self.width], self.width)
    }

    /// Appends the digits to `text`.
    pub(crate) fn push_to(self, text: &mut String) {
        let mut buffer = [b'0'; MAX_DIGITS];
        let mut rest = self.value;
        for byte in buffer[..self.width].iter_mut().rev() {
            // A remainder of 10 always fits: the fallback is never used.
            *byte = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        text.extend(buffer[..self.width].iter().copied().map(char::from));
    }
}

impl fmt::Display for PaddedNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$}", self.value, width = self.width)
    }
}

/// How many digits `value` has when written without leading zeros (20 for the largest).
pub(crate) fn natural_width(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The width of the number with this ordinal.
fn width_of(ordinal: u64) -> usize {
    // At most 18 steps, and one or two for the numbers of most names.
    let mut width = 1;
    while width < MAX_DIGITS && ordinal >= BASES[width + 1] {
        width += 1;
    }
    width
}

/// A number scrambled so that sums of such numbers hardly ever coincide (the finaliser of splitmix64).
pub(crate) fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A hash map for keys that are one number each: much faster than the usual hasher.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// See [`NumberMap`].
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = scramble(self.0 ^ number);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// Ordinals from `start` up to but not including `end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrdinalSpan {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl OrdinalSpan {
    /// The span of one ordinal.
    pub(crate) fn one(ordinal: u64) -> Self {
        Self { start: ordinal, end: ordinal + 1 }
    }

    /// The spans, one for each width, of the numbers `low` to `high` written without padding.
    pub(crate) fn unpadded(low: u64, high: u64) -> impl Iterator<Item = Self> {
        let widths = natural_width(low)..=natural_width(high).min(MAX_DIGITS);
        widths.map(move |width| {
            let least = if width == 1 { 0 } else { POWERS[width - 1] };
            Self { start: BASES[width] + low.max(least), end: BASES[width] + high.min(POWERS[width] - 1) + 1 }
        })
    }

    /// How many ordinals.
    pub(crate) fn count(self) -> u64 {
        self.end - self.start
    }

    /// This span cut where the width of the numbers changes.
    fn by_width(self) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            (start < self.end).then(|| {
                let end = BASES[width_of(start) + 1].min(self.end);
                let piece = Self { start, end };
                start = end;
                piece
            })
        })
    }
}

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct IndexSet {
    spans: Vec<OrdinalSpan>,
}

impl IndexSet {
    /// The set of one ordinal.
    pub(crate) fn one(ordinal: u64) -> Self {
        Self { spans: vec![OrdinalSpan::one(ordinal)] }
    }

    /// The set of all ordinals in these spans, which may come in any order and overlap.
    pub(crate) fn from_spans(mut spans: Vec<OrdinalSpan>) -> Self {
        // Most callers add spans in order: the check is cheaper than the sort.
        if !spans.is_sorted() {
            spans.sort_unstable();
        }
        spans.dedup_by(|next, kept| {
            // Spans that touch are joined as well, so that a set has one form.
            let touching = next.start <= kept.end;
            if touching {
                kept.end = kept.end.max(next.end);
            }
            touching
        });
        spans.shrink_to_fit();
        Self { spans }
    }

    /// The sorted spans, which do not touch.
    pub(crate) fn spans(&self) -> &[OrdinalSpan] {
        &self.spans
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many numbers. All there are fit a `u64`.
    pub(crate) fn count(&self) -> u64 {
        self.spans.iter().map(|span| span.count()).sum()
    }

    /// Whether the number with this ordinal is in it.
    pub(crate) fn contains(&self, ordinal: u64) -> bool {
        let after = self.spans.partition_point(|span| span.start <= ordinal);
        after > 0 && ordinal < self.spans[after - 1].end
    }

    /// Puts one ordinal in.
    pub(crate) fn insert(&mut self, ordinal: u64) {
        let at = self.spans.partition_point(|span| span.start <= ordinal);
        let joins_left = at > 0 && self.spans[at - 1].end >= ordinal;
        let joins_right = self.spans.get(at).is_some_and(|span| span.start == ordinal + 1);
        // It is in the set already.
        if joins_left && self.spans[at - 1].end > ordinal {
            return;
        }
        match (joins_left, joins_right) {
            (true, true) => {
                self.spans[at - 1].end = self.spans[at].end;
                self.spans.remove(at);
            }
            (true, false) => self.spans[at - 1].end = ordinal + 1,
            (false, true) => self.spans[at].start = ordinal,
            (false, false) => self.spans.insert(at, OrdinalSpan::one(ordinal)),
        }
    }

    /// The numbers for which `keep(in self, in other)` holds; `keep(false, false)` must not.
    // A sweep over the edges of both: one step for each, whatever the spans hold.
    pub(crate) fn combine(&self, other: &Self, keep: impl Fn(bool, bool) -> bool) -> Self {
        let mut spans = Vec::with_capacity(self.spans.len().max(other.spans.len()));
        let (mut left, mut right) = (SpanEdges::new(&self.spans), SpanEdges::new(&other.spans));
        let mut opened = None;
        loop {
            let at = left.next_edge().min(right.next_edge());
            // No ordinal is that large: 19 digits end at about 1.1 · 10^19.
            if at == u64::MAX {
                return Self { spans };
            }
            left.pass(at);
            right.pass(at);
            match (opened, keep(left.inside, right.inside)) {
                (None, true) => opened = Some(at),
                (Some(start), false) => {
                    spans.push(OrdinalSpan { start, end: at });
                    opened = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }

    /// The ranges a folded set shows, as ClusterShell cuts them: consecutive numbers of one width,
    /// and on past 9, 99, … as long as nothing is padded.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (PaddedNumber, PaddedNumber)> {
        let mut pieces = self
            .spans
            .iter()
            .flat_map(|span| span.by_width())
            .map(|piece| (PaddedNumber::from_ordinal(piece.start), PaddedNumber::from_ordinal(piece.end - 1)))
            .peekable();
        std::iter::from_fn(move || {
            let (first, mut last) = pieces.next()?;
            while let Some((_, next_last)) = pieces.next_if(|(next, _)| {
                !first.padded() && !next.padded() && next.width == last.width + 1 && next.value == last.value + 1
            }) {
                last = next_last;
            }
            Some((first, last))
        })
    }

    /// The number that comes first when they are sorted as texts; 0 for an empty set.
    pub(crate) fn first_as_text(&self) -> u64 {
        self.spans
            .iter()
            .flat_map(|span| span.by_width())
            // Within one width the order of texts is that of values, so only the first of a piece can be the least.
            .map(|piece| piece.start)
            .min_by_key(|start| PaddedNumber::from_ordinal(*start).text_key())
            .unwrap_or_default()
    }

    /// A number equal for equal sets and adding up (wrapping) for disjoint ones: each span gives the
    /// difference of its scrambled ends, and where two spans touch those cancel out.
    pub(crate) fn print(&self) -> u64 {
        self.spans
            .iter()
            .fold(0, |sum: u64, span| sum.wrapping_add(scramble(span.end)).wrapping_sub(scramble(span.start)))
    }
}

impl fmt::Display for IndexSet {
    /// `1-3,5,007-009`, without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.runs().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

/// Walks over the ends of spans from left to right.
struct SpanEdges<'a> {
    spans: &'a [OrdinalSpan],
    inside: bool,
}

impl<'a> SpanEdges<'a> {
    fn new(spans: &'a [OrdinalSpan]) -> Self {
        Self { spans, inside: false }
    }

    /// The next place where something changes, `u64::MAX` when there is none.
    fn next_edge(&self) -> u64 {
        self.spans.first().map_or(u64::MAX, |span| if self.inside { span.end } else { span.start })
    }

    /// Steps over the edge at `at`, if the next one is there.
    fn pass(&mut self, at: u64) {
        if self.next_edge() == at {
            if self.inside {
                self.spans = &self.spans[1..];
            }
            self.inside = !self.inside;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> IndexSet {
        let spans = texts.iter().map(|text| OrdinalSpan::one(PaddedNumber::parse(text).unwrap().ordinal()));
        IndexSet::from_spans(spans.collect())
    }

    #[test]
    fn ordinals_count_digit_strings_through() {
        let table = [("0", 0), ("9", 9), ("00", 10), ("99", 109), ("000", 110), ("0000000000000000000", BASES[19])];
        for (text, ordinal) in table {
            let digits = PaddedNumber::parse(text).unwrap();
            assert_eq!(digits.ordinal(), ordinal, "{text}");
            assert_eq!(PaddedNumber::from_ordinal(ordinal).to_string(), text);
            let mut pushed = String::new();
            digits.push_to(&mut pushed);
            assert_eq!(pushed, text);
        }
        let largest = PaddedNumber::parse("9999999999999999999").unwrap();
        assert_eq!(PaddedNumber::from_ordinal(largest.ordinal()), largest);
        assert_eq!(PaddedNumber::parse("10000000000000000000"), None);
        assert_eq!(PaddedNumber::parse("1x"), None);
    }

    #[test]
    fn runs_are_those_of_clustershell() {
        let table: [(&[&str], &str); 7] = [
            (&["8", "9", "10", "11"], "8-11"),
            (&["8", "9", "08", "09", "10"], "8-9,08-10"),
            (&["9", "10", "009"], "9-10,009"),
            (&["09", "10", "99", "100"], "09-10,99-100"),
            (&["098", "099", "100", "999", "1000"], "098-100,999-1000"),
            (&["0", "00", "000"], "0,00,000"),
            (&["1", "3", "4"], "1,3-4"),
        ];
        for (texts, folded) in table {
            assert_eq!(set(texts).to_string(), folded, "{texts:?}");
        }
    }

    #[test]
    fn unpadded_spans_follow_the_widths() {
        let spans: Vec<_> = OrdinalSpan::unpadded(8, 1200).collect();
        assert_eq!(spans.len(), 4);
        assert_eq!(spans.iter().map(|span| span.count()).sum::<u64>(), 1193);
        assert_eq!(IndexSet::from_spans(spans).to_string(), "8-1200");
    }

    #[test]
    fn inserting_keeps_spans_apart() {
        let mut grown = IndexSet::default();
        for ordinal in [5, 3, 4, 9, 5, 8, 1] {
            grown.insert(ordinal);
        }
        assert_eq!(grown.to_string(), "1,3-5,8-9");
        assert_eq!(grown, set(&["1", "3", "4", "5", "8", "9"]));
        assert!(grown.contains(4) && !grown.contains(6) && !grown.contains(0));
    }

    #[test]
    fn prints_add_up() {
        let (low, high) = (set(&["1", "2", "7"]), set(&["3", "4", "8"]));
        let both = low.combine(&high, |a, b| a || b);
        assert_eq!(both.print(), low.print().wrapping_add(high.print()));
        assert_eq!(both.to_string(), "1-4,7-8");
    }
}
