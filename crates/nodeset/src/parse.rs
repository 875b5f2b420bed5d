//! What an expression means: text to sets.
//!
//! What lives here: [`evaluate`], which works an expression out, [`expand_in_order`], which writes
//! patterns out as they stand. What it may use: every other module of this crate.
//! Invariants: any text gives a set or an error that points into the text; nothing panics, and a
//! meter watches all that can grow. Where to start reading: [`evaluate`].
//!
//! Operands joined by the same `,` or `!` are gathered and applied at once, so that a million names
//! are one union and not a million.

use super::{
    error::ParseError,
    meter::{CostMeter, Exhausted, ExpressionBudget},
    notation::{NotASet, Operand, OperandPart, Scanner},
    resolver::{GroupResolver, NoInventory},
    set::{NodeSet, UnionBatch},
    space::SetOperation,
};
use std::ops::Range;

/// The most group names, or globs, that ranges in one operand may stand for.
const MAX_LOOKUPS: u128 = 10_000;

/// How many group names a hint lists.
const LISTED_GROUPS: usize = 10;

impl NodeSet {
    /// Reads an expression that needs no inventory: names, ranges and operators. A blank text is the
    /// empty set.
    ///
    /// # Errors
    /// [`ParseError`], with the place in `text`, for anything that is not an expression, for groups
    /// and globs, and for sets past the limits of the crate's documentation.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        evaluate::<NoInventory>(text, None)
    }

    /// Reads an expression whose groups and globs are looked up in `resolver`. Plain names and ranges
    /// are not: whether those exist is for the caller to say.
    ///
    /// # Errors
    /// As [`NodeSet::parse`], but groups and globs are errors only when `resolver` does not know the
    /// group, or the glob matches none of its nodes.
    pub fn parse_with(text: &str, resolver: &impl GroupResolver) -> Result<Self, ParseError> {
        evaluate(text, Some(resolver))
    }
}

/// Works out an expression, strictly from left to right.
///
/// # Errors
/// See [`NodeSet::parse`] and [`NodeSet::parse_with`].
pub(crate) fn evaluate<R: GroupResolver>(text: &str, resolver: Option<&R>) -> Result<NodeSet, ParseError> {
    let mut evaluation = Evaluation {
        resolver,
        total: NodeSet::default(),
        op: SetOperation::Union,
        batch: UnionBatch::default(),
        batch_span: 0..0,
        all_names: None,
        meter: ExpressionBudget::for_text(text.len()),
    };
    let mut scanner = Scanner::new(text);
    while let Some(term) = scanner.next_term()? {
        // `a!b!c` is `a!(b,c)`, but `a&b&c` is not `a&(b,c)`; the same holds for `^`.
        let gathers = matches!(term.op, SetOperation::Union | SetOperation::Difference) && term.op == evaluation.op;
        let span = term.operand.span();
        if gathers {
            evaluation.batch_span.end = span.end;
        } else {
            evaluation.flush()?;
            evaluation.op = term.op;
            evaluation.batch_span = span;
        }
        evaluation.add(&term.operand)?;
    }
    evaluation.flush()?;
    // The meter checks each pattern, but their sum may still be too large.
    if evaluation.total.count() > u128::from(u64::MAX) {
        return Err(too_large(Exhausted::Names, 0..text.len()));
    }
    Ok(evaluation.total)
}

/// An expression worked out as far as it has been read.
struct Evaluation<'r, R> {
    resolver: Option<&'r R>,
    /// The result, but for the operands in the batch.
    total: NodeSet,
    /// The operation that takes the batch.
    op: SetOperation,
    batch: UnionBatch,
    batch_span: Range<usize>,
    /// What globs are matched against, once one came.
    all_names: Option<Vec<String>>,
    meter: ExpressionBudget,
}

impl<'r, R: GroupResolver> Evaluation<'r, R> {
    /// Applies the batch.
    fn flush(&mut self) -> Result<(), ParseError> {
        let batch = std::mem::take(&mut self.batch);
        let applied = batch.finish(&mut self.meter).and_then(|operand| {
            // The first operand is the result so far: no union is needed.
            if self.op == SetOperation::Union && self.total.is_empty() {
                self.total = operand;
                Ok(())
            } else {
                self.total.apply(self.op, &operand, &mut self.meter)
            }
        });
        applied.map_err(|reason| too_large(reason, self.batch_span.clone()))
    }

    /// Adds an operand to the batch.
    fn add(&mut self, operand: &Operand<'_>) -> Result<(), ParseError> {
        if operand.is_group() {
            self.add_groups(operand)
        } else if operand.is_glob() {
            self.add_glob(operand)
        } else {
            self.add_plain(operand)
        }
    }

    /// Adds names, of which each can be that of a group where no node has it: `rack1`, or `rack[1-3]`.
    fn add_plain(&mut self, operand: &Operand<'_>) -> Result<(), ParseError> {
        let Some(resolver) = self.resolver else { return add_names(operand, &mut self.batch, &mut self.meter) };
        if operand.parts.is_empty() {
            return match resolver.plain_group(operand.text) {
                Some(group) => self.add_set(&group, operand),
                None => add_names(operand, &mut self.batch, &mut self.meter),
            };
        }
        let mut batch = UnionBatch::default();
        add_names(operand, &mut batch, &mut self.meter)?;
        let set = batch.finish(&mut self.meter).map_err(|reason| too_large(reason, operand.span()))?;
        // More names than could be looked up are nodes.
        let is_group = |name: String| resolver.plain_group(&name).is_some();
        if set.count() > MAX_LOOKUPS || !set.names().any(is_group) {
            return self.add_set(&set, operand);
        }
        for name in set.names() {
            match resolver.plain_group(&name) {
                Some(group) => self.add_set(&group, operand)?,
                None => self.batch.add_name(&name),
            }
        }
        Ok(())
    }

    /// Adds the nodes of `@group`, or of each group of `@rack[1-3]`.
    fn add_groups(&mut self, operand: &Operand<'_>) -> Result<(), ParseError> {
        let resolver = self.resolver(operand, "a group")?;
        for name in self.lookups(operand)? {
            let name = name.strip_prefix('@').unwrap_or(&name);
            if name.is_empty() {
                return Err(ParseError::new(operand.span(), "`@` without the name of a group"));
            }
            if name == "*" {
                self.add_set(resolver.all(), operand)?;
                continue;
            }
            let Some(group) = resolver.group(name) else {
                let error = ParseError::for_unknown_group(operand.span(), name);
                return Err(match known_groups(resolver) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                });
            };
            self.add_set(&group, operand)?;
        }
        Ok(())
    }

    /// Adds the nodes a glob matches, or those any of `node*[1-3]` matches.
    fn add_glob(&mut self, operand: &Operand<'_>) -> Result<(), ParseError> {
        let resolver = self.resolver(operand, "a glob")?;
        let masks = self.lookups(operand)?;
        // Report the cost before the names are written out and compared.
        let work = resolver.all().count().saturating_mul(masks.len() as u128 * operand.text.len() as u128);
        self.meter.work(u64::try_from(work).unwrap_or(u64::MAX)).map_err(|reason| too_large(reason, operand.span()))?;
        // Write the names out once for all globs of the expression.
        let names = self.all_names.get_or_insert_with(|| resolver.all().names().collect());
        let mut matched = false;
        for name in names.iter().filter(|name| masks.iter().any(|mask| glob_matches(mask, name))) {
            self.batch.add_name(name);
            matched = true;
        }
        if matched {
            Ok(())
        } else {
            let message = format!("`{}` matches no node of the inventory", operand.text);
            Err(ParseError::new(operand.span(), message))
        }
    }

    fn add_set(&mut self, set: &NodeSet, operand: &Operand<'_>) -> Result<(), ParseError> {
        self.meter.work(set.weight()).map_err(|reason| too_large(reason, operand.span()))?;
        self.batch.add_set(set);
        Ok(())
    }

    /// The resolver, without which `what` has no meaning.
    fn resolver(&self, operand: &Operand<'_>, what: &str) -> Result<&'r R, ParseError> {
        self.resolver.ok_or_else(|| {
            let message = format!("`{}` is {what}, which needs an inventory", operand.text);
            ParseError::for_missing_inventory(operand.span(), message)
                .with_hint("without one, only names, ranges and the operators `,` `!` `&` `^` can be used")
        })
    }

    /// The group names or globs an operand stands for: itself, or one for each of its numbers.
    fn lookups(&mut self, operand: &Operand<'_>) -> Result<Vec<String>, ParseError> {
        if operand.parts.is_empty() {
            return Ok(vec![operand.text.to_owned()]);
        }
        let mut batch = UnionBatch::default();
        // A set, so that a name written twice is looked up once.
        add_names(operand, &mut batch, &mut self.meter)?;
        let set = batch.finish(&mut self.meter).map_err(|reason| too_large(reason, operand.span()))?;
        // Check the count before the names are written out.
        if set.count() > MAX_LOOKUPS {
            let message = format!("`{}` expands to more than {MAX_LOOKUPS} groups or globs", operand.text);
            return Err(ParseError::new(operand.span(), message));
        }
        Ok(set.names().collect())
    }
}

/// Adds the names of an operand that is neither group nor glob.
fn add_names(operand: &Operand<'_>, batch: &mut UnionBatch, meter: &mut ExpressionBudget) -> Result<(), ParseError> {
    // Most operands are plain names: add them without building sets.
    if operand.parts.is_empty() {
        batch.add_name(operand.text);
        return Ok(());
    }
    let (pattern, sides) = operand.pattern(meter).map_err(|reason| match reason {
        NotASet::Axes => ParseError::new(operand.span(), "range behind more than 15 other numbers in one name"),
        NotASet::Stopped(reason) => too_large(reason, operand.span()),
    })?;
    batch.add_box(&pattern, sides, meter).map_err(|reason| too_large(reason, operand.span()))
}

/// Says what limit an expression has met.
fn too_large(reason: Exhausted, span: Range<usize>) -> ParseError {
    let message = match reason {
        Exhausted::Work => "too complex to evaluate",
        Exhausted::Boxes => "too many separate ranges",
        Exhausted::Names => "more names than can be counted",
    };
    ParseError::new(span, message).with_hint("use fewer or smaller ranges")
}

/// A hint that names the groups there are.
fn known_groups(resolver: &impl GroupResolver) -> Option<String> {
    let mut names = resolver.group_names();
    // The resolver lists them in any order.
    names.sort_unstable();
    let more = if names.len() > LISTED_GROUPS { ", …" } else { "" };
    names.truncate(LISTED_GROUPS);
    (!names.is_empty()).then(|| format!("known groups: {}{more}", names.join(", ")))
}

/// Whether `name` is what `mask` says, in which `*` is any text and `?` any character.
fn glob_matches(mask: &str, name: &str) -> bool {
    let (mut mask, mut name) = (mask.chars(), name.chars());
    // Behind the last `*`: the mask, and what of the name has not yet been given to that `*`.
    let mut retry = None;
    loop {
        let (mut mask_ahead, mut name_ahead) = (mask.clone(), name.clone());
        match (mask_ahead.next(), name_ahead.next()) {
            (Some('*'), _) => {
                retry = Some((mask_ahead.clone(), name.clone()));
                mask = mask_ahead;
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (mask, name) = (mask_ahead, name_ahead);
                continue;
            }
            (None, None) => return true,
            (Some(_) | None, _) => {}
        }
        // Only the last `*` can take more: whatever an earlier one took is enough, so the time is at most the product
        // of the two lengths.
        let Some((mask_behind, name_behind)) = &mut retry else {
            return false;
        };
        if name_behind.next().is_none() {
            return false;
        }
        (mask, name) = (mask_behind.clone(), name_behind.clone());
    }
}

/// The most names [`expand_in_order`] writes out.
const MAX_EXPANDED: u128 = 1_000_000;

/// The most bytes [`expand_in_order`] may need for them.
const MAX_EXPANDED_BYTES: u128 = 1 << 28;

/// Writes out a pattern such as `db[3,1]` or `10.0.0.[11-13]`, or a list of such patterns separated by
/// `,` or blanks: the names in the order written, repeated ones repeated. With several ranges in a
/// pattern the last changes fastest. Gives at most 1,000,000 names.
///
/// # Errors
/// [`ParseError`], with the place in `pattern`, if there is nothing to expand, if something is wrong
/// with the brackets, for groups, globs and operators other than `,`, and past the limit.
pub fn expand_in_order(pattern: &str) -> Result<Vec<String>, ParseError> {
    let mut names = Vec::new();
    let mut bytes = 0;
    let mut scanner = Scanner::new(pattern);
    while let Some(term) = scanner.next_term()? {
        let operand = term.operand;
        if let (Some(at), false) = (term.op_at, term.op == SetOperation::Union) {
            return Err(ParseError::new(at..at + 1, "operator where only names and ranges are allowed"));
        }
        if operand.is_group() || operand.is_glob() {
            let message = format!("`{}` is a group or glob; only names and ranges are allowed here", operand.text);
            return Err(ParseError::new(operand.span(), message));
        }
        // Count before writing anything out: a short pattern may stand for billions of names.
        let count = operand.parts.iter().fold(1, |count: u128, part| match part {
            OperandPart::Text(_) => count,
            OperandPart::Numbers(list) => count.saturating_mul(list.count()),
        });
        // No number is longer than its text in the pattern, so this bounds the length of the names.
        bytes += count.saturating_mul(operand.text.len() as u128);
        if count.saturating_add(names.len() as u128) > MAX_EXPANDED || bytes > MAX_EXPANDED_BYTES {
            let message = format!("more than {MAX_EXPANDED} names, or very long ones");
            return Err(ParseError::new(operand.span(), message));
        }
        names.extend(write_out(&operand));
    }
    if names.is_empty() {
        return Err(ParseError::new(0..pattern.len(), "no name in the pattern"));
    }
    Ok(names)
}

/// The names of one operand, in the order written.
fn write_out(operand: &Operand<'_>) -> Vec<String> {
    if operand.parts.is_empty() {
        return vec![operand.text.to_owned()];
    }
    let mut names = vec![String::new()];
    for part in &operand.parts {
        match part {
            OperandPart::Text(text) => names.iter_mut().for_each(|name| name.push_str(text)),
            OperandPart::Numbers(list) => {
                // Each name gets all numbers in turn, so the last range changes fastest.
                let longer = |name: String| list.numbers().map(move |number| format!("{name}{number}"));
                names = names.into_iter().flat_map(longer).collect();
            }
        }
    }
    names
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    struct TestInventory(NodeSet);

    impl GroupResolver for TestInventory {
        fn group(&self, name: &str) -> Option<NodeSet> {
            match name {
                "web" => Some(NodeSet::from_names(["n1", "n2"])),
                "rack1" | "rack2" => Some(NodeSet::from_names([name.replace("rack", "r") + "-1"])),
                _ => None,
            }
        }

        fn all(&self) -> &NodeSet {
            &self.0
        }

        fn group_names(&self) -> Vec<String> {
            ["web", "rack2", "rack1"].map(str::to_owned).into()
        }
    }

    fn inventory() -> TestInventory {
        TestInventory(NodeSet::parse("n[1-12],db1-ib0,é").unwrap())
    }

    /// What `nodeset -f` of ClusterShell 1.9.1 answers, but for the blanks between names.
    #[test]
    fn expressions_mean_what_they_mean_to_clustershell() {
        let table = [
            ("", ""),
            (" \t\n", ""),
            ("node1", "node1"),
            ("b,a", "a,b"),
            ("a1  ,a2", "a[1-2]"),
            ("a1 a2\na3", "a[1-3]"),
            ("a[1-3,5,7-9/2]", "a[1-3,5,7,9]"),
            ("a[0-8/2]", "a[0,2,4,6,8]"),
            ("a[1-3/9]", "a1"),
            ("a[5/1]", "a5"),
            ("a[ 1 - 3 , 5 ]", "a[1-3,5]"),
            ("a[9-10,009]", "a[9-10,009]"),
            ("a[1,01,001]", "a[1,01,001]"),
            ("a[0-9,00-12]", "a[0-9,00-12]"),
            ("a[8-12,08-12]", "a[8-9,08-12]"),
            ("a[01-02],a[1-2]", "a[1-2,01-02]"),
            ("rack[1-2]-node[01-40]-ib0", "rack[1-2]-node[01-40]-ib0"),
            ("a1[2-3]", "a[12-13]"),
            ("a1[0-8/2]", "a[10,12,14,16,18]"),
            ("a0[1-2]", "a[01-02]"),
            ("a[1-2]3", "a[13,23]"),
            ("a[9-10]3", "a[93,103]"),
            ("1[2-3]4", "[124,134]"),
            ("[1-3]", "[1-3]"),
            ("a%s1", "a%s1"),
            ("a@b", "a@b"),
            ("node[0-10]!node[8-10]", "node[0-7]"),
            ("node[0-10]&node[5-13]", "node[5-10]"),
            ("node[0-10] ^ node[5-13]", "node[0-4,11-13]"),
            ("a[1-4]!a2,a2&a[2-3]", "a[2-3]"),
            ("a,b&b,c", "b,c"),
            ("a!b!a,c", "c"),
            ("a&b", ""),
            ("a[1-99999999999]", "a[1-99999999999]"),
            ("a12345678901234567890123", "a12345678901234567890123"),
        ];
        for (text, folded) in table {
            assert_eq!(NodeSet::parse(text).unwrap().to_string(), folded, "{text}");
        }
    }

    #[test]
    fn errors_point_at_what_is_wrong() {
        let table = [
            (",", ",", "nothing before operator `,`"),
            ("!a", "!", "nothing before operator `!`"),
            ("a ,", ",", "nothing after operator `,`"),
            ("a,&b", ",", "nothing after operator `,`"),
            ("a[1-2", "[", "`[` without `]`"),
            ("a[1-", "[", "`[` without `]`"),
            ("a[[1]]", "[", "`[` without `]`"),
            ("a]1", "]", "`]` without `[` before it"),
            ("a[1]]", "]", "`]` without `[` before it"),
            ("a[1][2]", "[", "second `[` right after `]`"),
            ("a[1]2[3]", "[", "second `[` right after `]`"),
            ("a[]", "[]", "empty range"),
            ("a[1, ]", "[1, ]", "empty range"),
            ("a[1, 3-1]", "3-1", "range `3-1` runs backwards"),
            ("a[1-]", "1-", "range `1-` has no end"),
            ("a[-5]", "-5", "range `-5` has no start"),
            ("a[1-2-3]", "2-3", "`2-3` is not a number"),
            ("a[1,é]", "é", "`é` is not a number"),
            ("a[+1]", "+1", "`+1` is not a number"),
            ("a[1!2]", "1!2", "`1!2` is not a number"),
            ("a[1-3/0]", "0", "the step is 0"),
            ("a[1-3/]", "", "`` is not a number"),
            ("a[5/2]", "5/2", "step after a single number"),
            ("a[1-4/2]3", "3", "digits directly after a range with a step"),
            ("a[01-100]", "01-100", "the ends of `01-100` differ in length, and one begins with 0"),
            ("a[1-010]", "1-010", "the ends of `1-010` differ in length, and one begins with 0"),
            ("a1[9-10]", "9-10", "digits directly before the range `9-10`, whose numbers differ in length"),
            ("1[0-10]0", "0-10", "digits directly before the range `0-10`, whose numbers differ in length"),
            ("a1[0-3,9-10]0", "9-10", "digits directly before the range `9-10`, whose numbers differ in length"),
            ("a1[0-10/2]", "0-10/2", "digits directly before the range `0-10/2`, whose numbers differ in length"),
            ("1[0-10][0-3]", "0-10", "digits directly before the range `0-10`, whose numbers differ in length"),
            ("a[1-10000000000000000000]", "10000000000000000000", "number has more than 19 digits"),
            ("a1234567890[1234567890]", "1234567890", "number has more than 19 digits"),
            ("@web", "@web", "`@web` is a group, which needs an inventory"),
            ("a,n*", "n*", "`n*` is a glob, which needs an inventory"),
        ];
        for (text, at, message) in table {
            let error = NodeSet::parse(text).unwrap_err();
            assert_eq!((&text[error.span()], error.message()), (at, message), "{text}");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn errors_say_what_to_write_instead() {
        let table = [
            ("a[3-1]", "write 1-3"),
            ("a[01-100]", "use the same number of digits: 001-100"),
            ("a1[9-10]", "write all digits inside the brackets, as in [19-110]"),
            ("1[0-10]0", "write all digits inside the brackets, as in [10-110]0"),
            ("a1[0-10/2]", "write all digits inside the brackets, as in [10-110/2]"),
            ("a[5/2]", "a step needs a range, as in `0-8/2`"),
        ];
        for (text, hint) in table {
            assert_eq!(NodeSet::parse(text).unwrap_err().hint(), Some(hint), "{text}");
        }
    }

    #[test]
    fn what_would_grow_without_end_is_an_error() {
        let table = [
            ("x[1-1000]".repeat(10), "more names than can be counted"),
            (
                "a[1-9000000000000000000],b[1-9000000000000000000],c[1-9000000000000000000]".into(),
                "more names than can be counted",
            ),
            ("n[1-99999999999/2]".into(), "too complex to evaluate"),
            ("n[1-99999999999]0".into(), "too complex to evaluate"),
            ("a1".repeat(16) + "a[1-2]", "range behind more than 15 other numbers in one name"),
        ];
        for (text, message) in table {
            assert_eq!(NodeSet::parse(&text).unwrap_err().message(), message);
        }
        assert_eq!(NodeSet::parse(&"x[1-1000]".repeat(6)).unwrap().len(), 1_000_000_000_000_000_000);
        assert_eq!(NodeSet::parse("n[0-9999999999999999999]").unwrap().len(), 10_000_000_000_000_000_000);
    }

    #[test]
    fn groups_and_globs_come_from_the_resolver() {
        let table = [
            ("@web", "n[1-2]"),
            ("@*", "db1-ib0,n[1-12],é"),
            ("@*!@web", "db1-ib0,n[3-12],é"),
            ("@rack[1-2]", "r[1-2]-1"),
            ("n1?", "n[10-12]"),
            ("?", "é"),
            ("n*[1-2]", "n[1-2,11-12]"),
            ("*!n*", "db1-ib0,é"),
            ("x1,@web", "n[1-2],x1"),
            ("*-ib*", "db1-ib0"),
        ];
        for (text, folded) in table {
            assert_eq!(NodeSet::parse_with(text, &inventory()).unwrap().to_string(), folded, "{text}");
        }
    }

    #[test]
    fn unknown_groups_and_globs_without_a_match_are_errors() {
        let error = NodeSet::parse_with("a,@rack[2-3]", &inventory()).unwrap_err();
        assert_eq!((error.message(), error.span()), ("unknown group `@rack3`", 2..12));
        assert_eq!(error.unknown_group(), Some("rack3"));
        assert_eq!(error.hint(), Some("known groups: rack1, rack2, web"));
        assert_eq!(error.with_hint("did you mean `@rack2`?").hint(), Some("did you mean `@rack2`?"));
        let table = [
            ("n1,m*", "`m*` matches no node of the inventory"),
            ("@", "`@` without the name of a group"),
            ("@n*", "unknown group `@n*`"),
            ("@g[1-99999]", "`@g[1-99999]` expands to more than 10000 groups or globs"),
        ];
        for (text, message) in table {
            assert_eq!(NodeSet::parse_with(text, &inventory()).unwrap_err().message(), message, "{text}");
        }
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        let table = [
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "aXbbXc", true),
            ("a*b*c", "aXbbX", false),
            ("a?c", "aéc", true),
            ("**a", "bba", true),
            ("a", "A", false),
            ("*ab", "aab", true),
        ];
        for (mask, name, expected) in table {
            assert_eq!(glob_matches(mask, name), expected, "{mask} {name}");
        }
    }

    #[test]
    fn patterns_expand_in_the_order_written() {
        let table = [
            ("db[3,1]", "db3 db1"),
            ("10.0.0.[11-13]", "10.0.0.11 10.0.0.12 10.0.0.13"),
            ("r[2,1]n[09-10]x", "r2n09x r2n10x r1n09x r1n10x"),
            ("a[9-11/2,9], b", "a9 a11 a9 b"),
            ("n1[2-3]4 fe80::[1-2]", "n124 n134 fe80::1 fe80::2"),
            ("a%s[1]", "a%s1"),
        ];
        for (text, names) in table {
            assert_eq!(expand_in_order(text).unwrap().join(" "), names, "{text}");
        }
        assert_eq!(expand_in_order("n[1-1000000]").unwrap().len(), 1_000_000);
        for text in ["", " ", "a!b", "a&b", "@g", "a*", "a[1-1000001]", "a[1-1000]b[1-1000],c", "a[2-1]"] {
            assert!(expand_in_order(text).is_err(), "{text}");
        }
        let long = "x".repeat(10_000) + "[1-100000]";
        assert!(expand_in_order(&long).is_err());
    }
}
