//! What an expression looks like: operators, operands, and ranges in brackets.
//!
//! What lives here: [`Scanner`], which cuts a text into [`NotationTerm`]s, and [`Operand`] with its
//! [`NumberList`]s. What it may use: `range`, `pattern`, `error`, and `meter` for the sets a list
//! stands for. Invariants: no meaning is given to names here, and nothing is written out: a
//! list of a thousand million numbers is a few words. Where to start reading: [`Scanner::next_term`].

use super::{
    error::ParseError,
    meter::CostMeter,
    pattern::{MAX_AXES, split},
    range::{IndexSet, MAX_DIGITS, OrdinalSpan, PaddedNumber},
    space::SetOperation,
};
use std::ops::Range;

/// An operand with the operation that joins it to what stands before.
#[derive(Debug)]
pub(crate) struct NotationTerm<'a> {
    pub(crate) op: SetOperation,
    /// Where the operator stands, if one does.
    pub(crate) op_at: Option<usize>,
    pub(crate) operand: Operand<'a>,
}

/// A name, perhaps with ranges; perhaps a group or a glob.
#[derive(Debug)]
pub(crate) struct Operand<'a> {
    /// As it was written.
    pub(crate) text: &'a str,
    /// Where it begins.
    pub(crate) start: usize,
    /// Text and ranges in turn; empty if there are no ranges.
    pub(crate) parts: Vec<OperandPart<'a>>,
}

/// A part of an operand.
#[derive(Debug)]
pub(crate) enum OperandPart<'a> {
    /// Taken as it is.
    Text(&'a str),
    /// One number out of several.
    Numbers(NumberList),
}

/// What stands in brackets, with the digits right before and behind them.
#[derive(Debug)]
pub(crate) struct NumberList {
    items: Vec<NumberRange>,
    before: Option<PaddedNumber>,
    after: Option<PaddedNumber>,
}

/// `7`, `1-40` or `0-8/2`.
#[derive(Clone, Debug)]
struct NumberRange {
    low: PaddedNumber,
    high: PaddedNumber,
    step: u64,
}

/// Work for each number of a list that has to be written out.
const NUMBER_WORK: u64 = 32;

/// Cuts a text into terms.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    started: bool,
}

/// The operation an operator stands for.
fn operation(sign: char) -> Option<SetOperation> {
    match sign {
        ',' => Some(SetOperation::Union),
        '!' => Some(SetOperation::Difference),
        '&' => Some(SetOperation::Intersection),
        '^' => Some(SetOperation::SymmetricDifference),
        _ => None,
    }
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, started: false }
    }

    /// The next operand with its operation; `None` at the end.
    ///
    /// # Errors
    /// A missing operand, and all that can be wrong with brackets.
    pub(crate) fn next_term(&mut self) -> Result<Option<NotationTerm<'a>>, ParseError> {
        self.skip_blanks();
        let Some(sign) = self.peek() else {
            return Ok(None);
        };
        let (op, op_at) = match operation(sign) {
            Some(_) if !self.started => {
                let message = format!("nothing before operator `{sign}`");
                return Err(ParseError::new(self.at..self.at + 1, message));
            }
            Some(op) => {
                let op_at = self.at;
                self.at += 1;
                self.skip_blanks();
                if self.peek().is_none_or(|next| operation(next).is_some()) {
                    let message = format!("nothing after operator `{sign}`");
                    return Err(ParseError::new(op_at..op_at + 1, message));
                }
                (op, Some(op_at))
            }
            // Without an operator, the blank before the operand counts as a `,`.
            None => (SetOperation::Union, None),
        };
        self.started = true;
        let operand = self.operand()?;
        Ok(Some(NotationTerm { op, op_at, operand }))
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        // Count bytes, since a blank may have several.
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Reads an operand; there is at least one character of it.
    fn operand(&mut self) -> Result<Operand<'a>, ParseError> {
        let start = self.at;
        let mut parts = Vec::new();
        loop {
            let text_start = self.at;
            let stops = |char: char| matches!(char, '[' | ']') || operation(char).is_some() || char.is_whitespace();
            let rest = &self.text[self.at..];
            self.at += rest.find(stops).unwrap_or(rest.len());
            let text = &self.text[text_start..self.at];
            match self.peek() {
                Some('[') => {
                    // Digits before the bracket belong to each number of the range: `a1[2-3]` is `a[12-13]`, as in
                    // ClusterShell.
                    let name = text.trim_end_matches(|char: char| char.is_ascii_digit());
                    // Two lists side by side would form one run of digits, and so one number.
                    if name.is_empty() && !parts.is_empty() {
                        return Err(ParseError::new(self.at..self.at + 1, "second `[` right after `]`")
                            .with_hint("put text between two ranges, or write one range with all numbers"));
                    }
                    let digits = text_start + name.len()..self.at;
                    parts.extend((!name.is_empty()).then_some(OperandPart::Text(name)));
                    parts.push(OperandPart::Numbers(self.number_list(digits)?));
                }
                Some(']') => {
                    return Err(ParseError::new(self.at..self.at + 1, "`]` without `[` before it"));
                }
                Some(_) | None => {
                    // Without brackets there are no parts: the text says it all.
                    if !parts.is_empty() && !text.is_empty() {
                        parts.push(OperandPart::Text(text));
                    }
                    let text = &self.text[start..self.at];
                    return Ok(Operand { text, start, parts });
                }
            }
        }
    }

    /// Reads from `[` to the last digit glued to `]`; `before` is where the digits before `[` stand.
    fn number_list(&mut self, before: Range<usize>) -> Result<NumberList, ParseError> {
        let open = self.at;
        let inside = &self.text[open + 1..];
        // A `[` before the next `]` means that the first one is not closed.
        let Some(length) = inside.find([']', '[']).filter(|at| inside[*at..].starts_with(']')) else {
            return Err(ParseError::new(open..open + 1, "`[` without `]`"));
        };
        let close = open + 1 + length;
        let behind = &self.text[close + 1..];
        let glued = behind.bytes().take_while(u8::is_ascii_digit).count();
        let after = close + 1..close + 1 + glued;
        self.at = after.end;

        let mut list = NumberList {
            items: Vec::new(),
            before: self.glued_digits(before.clone())?,
            after: self.glued_digits(after.clone())?,
        };
        let mut start = open + 1;
        for text in inside[..length].split(',') {
            let item = LocatedText { text, start }.trim();
            let range = NumberRange::parse(item, open..close + 1)?;
            list.check(&range, item)?;
            if item.text.contains('/') && list.after.is_some() {
                return Err(ParseError::new(after, "digits directly after a range with a step")
                    .with_hint("write the numbers with these digits inside the brackets"));
            }
            list.items.push(range);
            // Behind the comma.
            start += text.len() + 1;
        }
        Ok(list)
    }

    fn glued_digits(&self, place: Range<usize>) -> Result<Option<PaddedNumber>, ParseError> {
        let text = &self.text[place.clone()];
        // No digits at all: also `None`, but no error.
        match PaddedNumber::parse(text) {
            None if !text.is_empty() => Err(too_long(place)),
            digits => Ok(digits),
        }
    }
}

/// A number that does not fit.
fn too_long(span: Range<usize>) -> ParseError {
    ParseError::new(span, format!("number has more than {MAX_DIGITS} digits"))
}

/// A part of the text that knows where it stands.
#[derive(Clone, Copy, Debug)]
struct LocatedText<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> LocatedText<'a> {
    fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    fn trim(self) -> Self {
        let text = self.text.trim_start();
        Self { start: self.start + self.text.len() - text.len(), text: text.trim_end() }
    }

    fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (left, right) = self.text.split_once(separator)?;
        let at = |text: &'a str, start| Self { text, start }.trim();
        let behind = self.start + left.len() + separator.len_utf8();
        Some((at(left, self.start), at(right, behind)))
    }

    fn number(self) -> Result<PaddedNumber, ParseError> {
        // Rejects signs and digits of other scripts, too.
        if self.text.is_empty() || !self.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseError::new(self.span(), format!("`{}` is not a number", self.text)));
        }
        PaddedNumber::parse(self.text).ok_or_else(|| too_long(self.span()))
    }
}

impl NumberRange {
    /// Reads what stands between two commas; `brackets` is what to point at when that is nothing.
    fn parse(item: LocatedText<'_>, brackets: Range<usize>) -> Result<Self, ParseError> {
        if item.text.is_empty() {
            return Err(ParseError::new(brackets, "empty range"));
        }
        let (bounds, step) = match item.split_once('/') {
            Some((bounds, step)) => (bounds, Some(step)),
            None => (item, None),
        };
        let (low, high) = match bounds.split_once('-') {
            Some((low, high)) => (low, Some(high)),
            None => (bounds, None),
        };
        if let Some(high) = high {
            if low.text.is_empty() {
                return Err(ParseError::new(item.span(), format!("range `{}` has no start", item.text))
                    .with_hint("node numbers cannot be negative"));
            }
            if high.text.is_empty() {
                return Err(ParseError::new(item.span(), format!("range `{}` has no end", item.text)));
            }
        }
        let low = low.number()?;
        let range = Self {
            low,
            high: high.map_or(Ok(low), LocatedText::number)?,
            step: step.map_or(Ok(1), |step| Ok(step.number()?.value()))?,
        };
        if let Some(step) = step {
            if range.step == 0 {
                return Err(ParseError::new(step.span(), "the step is 0").with_hint("the smallest step is 1"));
            }
            // ClusterShell accepts a step of 1 after a single number.
            if high.is_none() && range.step > 1 {
                return Err(ParseError::new(item.span(), "step after a single number")
                    .with_hint(format!("a step needs a range, as in `0-8/{}`", range.step)));
            }
        }
        let Self { low, high, .. } = range;
        // The padding could mean either width.
        if low.width() != high.width() && (low.padded() || high.padded()) {
            let width = low.width().max(high.width());
            let hint = format!("use the same number of digits: {:0width$}-{:0width$}", low.value(), high.value());
            let message = format!("the ends of `{}` differ in length, and one begins with 0", item.text);
            return Err(ParseError::new(item.span(), message).with_hint(hint));
        }
        if low.value() > high.value() {
            return Err(ParseError::new(item.span(), format!("range `{}` runs backwards", item.text))
                .with_hint(format!("write {high}-{low}")));
        }
        Ok(range)
    }

    /// How many numbers, at most 10^19.
    fn count(&self) -> u64 {
        ((self.high.value() - self.low.value()) / self.step).saturating_add(1)
    }

    /// Whether all its numbers have the same number of digits.
    fn even(&self) -> bool {
        self.low.width() == self.high.width()
    }

    /// The numbers, ascending.
    fn numbers(&self) -> impl Iterator<Item = PaddedNumber> {
        // Ends of different length are never padded here, so each number has its natural width.
        let width = self.even().then(|| self.low.width());
        let (low, step) = (self.low.value(), self.step);
        // The last number is at most `high`, so nothing overflows.
        (0..self.count()).filter_map(move |place| PaddedNumber::new(low + place * step, width))
    }
}

impl NumberList {
    /// Whether the digits around the brackets can be glued to a range in them.
    fn check(&self, range: &NumberRange, item: LocatedText<'_>) -> Result<(), ParseError> {
        let around = [self.before, self.after].into_iter().flatten().map(PaddedNumber::width);
        if around.sum::<usize>() + range.high.width() > MAX_DIGITS {
            return Err(too_long(item.span()));
        }
        match self.before {
            // It could mean each number behind these digits, or all numbers from one end to the other.
            Some(before) if !range.even() => {
                let NumberRange { low, high, step } = range;
                let message =
                    format!("digits directly before the range `{}`, whose numbers differ in length", item.text);
                let step = if *step > 1 { format!("/{step}") } else { String::new() };
                let after = self.after.map(|after| after.to_string()).unwrap_or_default();
                let inside = format!("[{before}{low}-{before}{high}{step}]{after}");
                Err(ParseError::new(item.span(), message)
                    .with_hint(format!("write all digits inside the brackets, as in {inside}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How many numbers, each time it is written counted.
    pub(crate) fn count(&self) -> u128 {
        self.items.iter().map(|item| u128::from(item.count())).sum()
    }

    /// The numbers in the order written, with the digits around.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = PaddedNumber> {
        self.items.iter().flat_map(NumberRange::numbers).filter_map(|number| self.glue(number))
    }

    /// The numbers as a set, with the digits around.
    ///
    /// # Errors
    /// What the meter says.
    fn to_set<M: CostMeter>(&self, meter: &mut M) -> Result<IndexSet, M::Stop> {
        let mut spans = Vec::new();
        for item in &self.items {
            let ends = (self.glue(item.low), self.glue(item.high));
            // With a step, or with digits behind, the numbers are not consecutive: each becomes a span of its own, and
            // the meter bounds their number.
            if item.step > 1 || self.after.is_some() {
                meter.work(item.count().saturating_mul(NUMBER_WORK))?;
                let numbers = item.numbers().filter_map(|number| self.glue(number));
                spans.extend(numbers.map(|number| OrdinalSpan::one(number.ordinal())));
                // Numbers of one width have consecutive ordinals, whatever digits stand before them.
            } else if let ((Some(low), Some(high)), true) = (ends, item.even()) {
                let (start, end) = (low.ordinal(), high.ordinal() + 1);
                spans.push(OrdinalSpan { start, end });
            } else {
                // Ends of different length have no padding and no digits before them, which `check` ensures.
                spans.extend(OrdinalSpan::unpadded(item.low.value(), item.high.value()));
            }
        }
        Ok(IndexSet::from_spans(spans))
    }

    /// A number of the list between the digits around; never `None`, since [`Self::check`] has seen to it.
    fn glue(&self, number: PaddedNumber) -> Option<PaddedNumber> {
        let number = match self.before {
            Some(before) => before.concat(number)?,
            None => number,
        };
        match self.after {
            Some(after) => number.concat(after),
            None => Some(number),
        }
    }
}

/// Why an operand is no set of names.
#[derive(Debug)]
pub(crate) enum NotASet<S> {
    /// It has ranges further right than numbers are distinguished.
    Axes,
    /// The meter stopped it.
    Stopped(S),
}

impl<S> From<S> for NotASet<S> {
    fn from(stop: S) -> Self {
        Self::Stopped(stop)
    }
}

impl Operand<'_> {
    /// The bytes it takes up in the text.
    pub(crate) fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// Whether it is a group.
    pub(crate) fn is_group(&self) -> bool {
        self.text.starts_with('@')
    }

    /// Whether it is a glob.
    pub(crate) fn is_glob(&self) -> bool {
        self.text.contains(['*', '?'])
    }

    /// An operand with ranges as a pattern and one set for each axis.
    ///
    /// # Errors
    /// [`NotASet`].
    pub(crate) fn pattern<M: CostMeter>(&self, meter: &mut M) -> Result<(String, Vec<IndexSet>), NotASet<M::Stop>> {
        let (mut pattern, mut indexes, mut sides) = (String::new(), Vec::new(), Vec::new());
        for part in &self.parts {
            match part {
                OperandPart::Text(text) => {
                    split(text, &mut pattern, &mut indexes);
                    // Only the numbers that this text has added.
                    sides.extend(indexes[sides.len()..].iter().map(|ordinal| IndexSet::one(*ordinal)));
                }
                OperandPart::Numbers(list) => {
                    // As text, a range would have to be written out.
                    if sides.len() == MAX_AXES {
                        return Err(NotASet::Axes);
                    }
                    pattern.push_str("%s");
                    // A placeholder: `split` counts the axes by the length of `indexes`.
                    indexes.push(0);
                    sides.push(list.to_set(meter)?);
                }
            }
        }
        Ok((pattern, sides))
    }
}
