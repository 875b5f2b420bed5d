//! The numbers of names with several axes, as a decision diagram.
//!
//! What lives here: [`TupleSpace`], a set of tuples of ordinals, with its operations. What it may use:
//! `range`, `meter`. Invariants: on every level each child differs from its siblings, is not
//! empty, and children stand in the order in which their first number comes; so a set has one form and
//! equal sets are equal values. Where to start reading: [`SpaceBranch`], then [`TupleSpace::combine`].
//!
//! A branch cuts its axis into segments and holds for each its tuples on the axes behind. A box such as
//! `rack[1-1000]-node[1-1000]` is one segment with one child, whatever its size, and an operation
//! costs no more than the segments of both sides: no pair of boxes is ever compared.

use super::{
    meter::{CostMeter, Unmetered},
    range::{IndexSet, NumberMap, OrdinalSpan, scramble},
};
use std::{collections::hash_map::Entry, sync::Arc};

/// What a set operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOperation {
    /// In one or both.
    Union,
    /// In both.
    Intersection,
    /// In the left one only.
    Difference,
    /// In exactly one.
    SymmetricDifference,
}

impl SetOperation {
    /// Whether a name stays that is in the left set, or in the right one.
    pub(crate) fn keeps(self, left: bool, right: bool) -> bool {
        match self {
            Self::Union => left || right,
            Self::Intersection => left && right,
            Self::Difference => left && !right,
            Self::SymmetricDifference => left != right,
        }
    }
}

/// A set of tuples with one ordinal for each axis of a pattern; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TupleSpace {
    /// No axis: the name itself.
    Unit,
    /// The last axis.
    Line(Arc<IndexSet>),
    /// An axis with others behind it.
    Branch(Arc<SpaceBranch>),
}

/// An axis with others behind it.
#[derive(Debug)]
pub(crate) struct SpaceBranch {
    /// Sorted, apart; two that touch lead to different children.
    segments: Vec<SpaceSegment>,
    /// What may be on the axes behind, each once.
    children: Vec<TupleSpace>,
    /// How many tuples, at most `u128::MAX`.
    count: u128,
    /// How many boxes the segments and children spell out, at most `u64::MAX`.
    boxes: u64,
    /// How many tuples there are without their last number, at most `u64::MAX`.
    rows: u64,
    /// Equal for equal branches.
    print: u64,
}

/// Numbers of one axis which lead to the same child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SpaceSegment {
    span: OrdinalSpan,
    child: u32,
}

impl PartialEq for SpaceBranch {
    // Different prints settle it without a walk over the segments.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.print == other.print
                && self.count == other.count
                && self.segments == other.segments
                && self.children == other.children)
    }
}

impl Eq for SpaceBranch {}

impl SpaceBranch {
    /// The numbers that lead to each child, with the child.
    pub(crate) fn blocks(&self) -> Vec<(Arc<IndexSet>, &TupleSpace)> {
        let mut spans = vec![Vec::new(); self.children.len()];
        for segment in &self.segments {
            spans[segment.child as usize].push(segment.span);
        }
        spans.into_iter().map(|spans| Arc::new(IndexSet::from_spans(spans))).zip(&self.children).collect()
    }

    /// Every number with its child, ascending.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (u64, &TupleSpace)> {
        self.segments.iter().flat_map(|segment| {
            let child = &self.children[segment.child as usize];
            (segment.span.start..segment.span.end).map(move |ordinal| (ordinal, child))
        })
    }
}

impl TupleSpace {
    /// All tuples with one number from each side; `None` if a side is empty.
    ///
    /// # Errors
    /// What the meter says.
    pub(crate) fn of_box<M: CostMeter>(sides: &[Arc<IndexSet>], meter: &mut M) -> Result<Option<Self>, M::Stop> {
        let Some((last, front)) = sides.split_last() else {
            return Ok(Some(Self::Unit));
        };
        // A product with an empty side is empty.
        if sides.iter().any(|side| side.is_empty()) {
            return Ok(None);
        }
        // From the last axis to the first, since a branch needs its children.
        let mut space = Self::Line(Arc::clone(last));
        for side in front.iter().rev() {
            let mut branch = BranchBuilder::default();
            let child = branch.child(space);
            for span in side.spans() {
                branch.push(*span, child);
            }
            match branch.finish(meter)? {
                Some(built) => space = built,
                None => return Ok(None),
            }
        }
        Ok(Some(space))
    }

    /// The tuples in `points`, which holds `axes` ordinals for each; `None` if there are none.
    ///
    /// # Errors
    /// What the meter says.
    pub(crate) fn of_points<M: CostMeter>(points: &[u64], axes: usize, meter: &mut M) -> Result<Option<Self>, M::Stop> {
        match axes {
            // The name itself; `chunks_exact` below would panic at 0.
            0 => return Ok(Some(Self::Unit)),
            2 => return Self::of_pairs(points, meter),
            _ => {}
        }
        let mut tuples: Vec<&[u64]> = points.chunks_exact(axes).collect();
        if !tuples.is_sorted() {
            tuples.sort_unstable();
        }
        Self::of_sorted(&tuples, meter)
    }

    /// The commonest case of [`Self::of_points`], where tuples can be sorted in place.
    fn of_pairs<M: CostMeter>(points: &[u64], meter: &mut M) -> Result<Option<Self>, M::Stop> {
        let mut pairs: Vec<[u64; 2]> = points.as_chunks().0.to_vec();
        if !pairs.is_sorted() {
            pairs.sort_unstable();
        }
        Self::of_sorted(&pairs, meter)
    }

    /// The tuples given in order; all must have the same length.
    fn of_sorted<M: CostMeter, T: AsRef<[u64]>>(tuples: &[T], meter: &mut M) -> Result<Option<Self>, M::Stop> {
        Self::of_sorted_from(tuples, 0, meter)
    }

    /// As [`Self::of_sorted`], for the axes from `axis` on; the tuples agree on those before.
    fn of_sorted_from<M: CostMeter, T: AsRef<[u64]>>(
        tuples: &[T],
        axis: usize,
        meter: &mut M,
    ) -> Result<Option<Self>, M::Stop> {
        let Some(axes) = tuples.first().map(|tuple| tuple.as_ref().len()) else {
            return Ok(None);
        };
        let at = |tuple: &T| tuple.as_ref()[axis];
        if axis + 1 == axes {
            let spans = tuples.iter().map(|tuple| OrdinalSpan::one(at(tuple))).collect();
            return Ok(Some(Self::Line(Arc::new(IndexSet::from_spans(spans)))));
        }
        let mut branch = BranchBuilder::default();
        // The tuples are sorted, so equal numbers are adjacent.
        for group in tuples.chunk_by(|left, right| at(left) == at(right)) {
            if let Some(space) = Self::of_sorted_from(group, axis + 1, meter)? {
                let child = branch.child(space);
                branch.push(OrdinalSpan::one(at(&group[0])), child);
            }
        }
        branch.finish(meter)
    }

    /// How many tuples, at most `u128::MAX`.
    pub(crate) fn count(&self) -> u128 {
        match self {
            Self::Unit => 1,
            Self::Line(line) => u128::from(line.count()),
            Self::Branch(branch) => branch.count,
        }
    }

    /// How many boxes it spells out, at most `u64::MAX`.
    pub(crate) fn boxes(&self) -> u64 {
        match self {
            Self::Unit | Self::Line(_) => 1,
            Self::Branch(branch) => branch.boxes,
        }
    }

    /// How many tuples there are without their last number, at most `u64::MAX`.
    pub(crate) fn rows(&self) -> u64 {
        match self {
            Self::Unit | Self::Line(_) => 1,
            Self::Branch(branch) => branch.rows,
        }
    }

    /// How many axes.
    pub(crate) fn axes(&self) -> usize {
        match self {
            Self::Unit => 0,
            Self::Line(_) => 1,
            // All children have the same axes, so one of them is enough.
            Self::Branch(branch) => 1 + branch.children.first().map_or(0, Self::axes),
        }
    }

    /// Roughly how much work it is to walk over it once, without the shared parts.
    pub(crate) fn weight(&self) -> u64 {
        let length = match self {
            Self::Unit => 1,
            Self::Line(line) => line.spans().len(),
            Self::Branch(branch) => branch.segments.len(),
        };
        length as u64
    }

    /// Equal for equal sets.
    fn print(&self) -> u64 {
        match self {
            Self::Unit => 0,
            Self::Line(line) => line.print(),
            Self::Branch(branch) => branch.print,
        }
    }

    /// Whether the tuple is in it.
    pub(crate) fn contains(&self, tuple: &[u64]) -> bool {
        match (self, tuple) {
            (Self::Unit, []) => true,
            (Self::Line(line), [ordinal]) => line.contains(*ordinal),
            (Self::Branch(branch), [ordinal, behind @ ..]) => {
                let after = branch.segments.partition_point(|segment| segment.span.start <= *ordinal);
                after > 0 && {
                    let SpaceSegment { span, child } = branch.segments[after - 1];
                    *ordinal < span.end && branch.children[child as usize].contains(behind)
                }
            }
            (Self::Unit | Self::Line(_) | Self::Branch(_), _) => false,
        }
    }

    /// Puts one tuple in.
    pub(crate) fn insert(&mut self, tuple: &[u64]) {
        if let (Self::Line(line), [ordinal]) = (&mut *self, tuple) {
            // Copies the line only if another set shares it.
            Arc::make_mut(line).insert(*ordinal);
        } else if !self.contains(tuple) {
            let Ok(point) = Self::of_points(tuple, tuple.len(), &mut Unmetered);
            if let Some(point) = point {
                let Ok(joined) = self.combine(SetOperation::Union, &point, &mut Unmetered);
                *self = joined.unwrap_or(point);
            }
        }
    }

    /// The operation on two sets with the same number of axes; `None` if nothing is left.
    ///
    /// # Errors
    /// What the meter says.
    pub(crate) fn combine<M: CostMeter>(
        &self,
        op: SetOperation,
        other: &Self,
        meter: &mut M,
    ) -> Result<Option<Self>, M::Stop> {
        match (self, other) {
            (Self::Line(left), Self::Line(right)) => {
                meter.work(LINE_WORK * (self.weight() + other.weight()))?;
                let line = left.combine(right, |left, right| op.keeps(left, right));
                Ok((!line.is_empty()).then(|| Self::Line(Arc::new(line))))
            }
            (Self::Branch(left), Self::Branch(right)) => {
                // Equal operands: the result is all of it or nothing, whatever the operation.
                if Arc::ptr_eq(left, right) {
                    return Ok(op.keeps(true, true).then(|| self.clone()));
                }
                combine_branches(op, left, right, meter)
            }
            // Only `Unit` with `Unit`: a pattern has one number of axes.
            (Self::Unit | Self::Line(_) | Self::Branch(_), _) => Ok(op.keeps(true, true).then(|| self.clone())),
        }
    }

    /// The union of many sets with the same number of axes, joined two by two so that each takes part
    /// in few unions; `None` if there are none.
    ///
    /// # Errors
    /// What the meter says.
    pub(crate) fn union_of<M: CostMeter>(mut spaces: Vec<Self>, meter: &mut M) -> Result<Option<Self>, M::Stop> {
        // Joining in pairs takes a logarithmic number of rounds; one after the other would walk over the growing result
        // each time.
        while spaces.len() > 1 {
            let mut joined = Vec::with_capacity(spaces.len().div_ceil(2));
            for pair in spaces.chunks(2) {
                joined.extend(match pair {
                    [left, right] => left.combine(SetOperation::Union, right, meter)?,
                    _ => pair.first().cloned(),
                });
            }
            spaces = joined;
        }
        Ok(spaces.pop())
    }

    /// The disjoint boxes this set spells out: the sides of each are handed to `found`.
    pub(crate) fn each_box(&self, found: &mut impl FnMut(&[Arc<IndexSet>])) {
        self.each_box_behind(&mut Vec::new(), found);
    }

    fn each_box_behind(&self, sides: &mut Vec<Arc<IndexSet>>, found: &mut impl FnMut(&[Arc<IndexSet>])) {
        match self {
            Self::Unit => found(sides),
            Self::Line(line) => {
                sides.push(Arc::clone(line));
                found(sides);
                sides.pop();
            }
            Self::Branch(branch) => {
                for (side, child) in branch.blocks() {
                    sides.push(side);
                    child.each_box_behind(sides, found);
                    sides.pop();
                }
            }
        }
    }
}

/// Work for each span where two lines are compared.
const LINE_WORK: u64 = 4;

/// Work for each piece of an axis where two branches are compared.
const PIECE_WORK: u64 = 96;

/// [`TupleSpace::combine`] for branches: cuts the axis at the ends of all segments and combines the
/// children, once for every pair of them.
fn combine_branches<M: CostMeter>(
    op: SetOperation,
    left: &SpaceBranch,
    right: &SpaceBranch,
    meter: &mut M,
) -> Result<Option<TupleSpace>, M::Stop> {
    let mut branch = BranchBuilder::default();
    let mut known: NumberMap<u64, Option<u32>> = NumberMap::default();
    let (mut lefts, mut rights) = (SegmentWalk::new(left), SegmentWalk::new(right));
    while let Some(start) = lefts.start().into_iter().chain(rights.start()).min() {
        meter.work(PIECE_WORK)?;
        // Between two changes both children stay the same, so one combination serves all numbers.
        let end = lefts.change_after(start).min(rights.change_after(start));
        let pair = (lefts.child_at(start), rights.child_at(start));
        // 0 stands for no child.
        let numbered = |child: Option<u32>| child.map_or(0, |child| u64::from(child) + 1);
        let child = match known.entry(numbered(pair.0) << 32 | numbered(pair.1)) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let of = |branch: &SpaceBranch, child: Option<u32>| {
                    child.map(|child| branch.children[child as usize].clone())
                };
                let space = match (of(left, pair.0), of(right, pair.1)) {
                    (Some(left), Some(right)) => left.combine(op, &right, meter)?,
                    (Some(left), None) => op.keeps(true, false).then_some(left),
                    (None, Some(right)) => op.keeps(false, true).then_some(right),
                    (None, None) => None,
                };
                *entry.insert(space.map(|space| branch.child(space)))
            }
        };
        if let Some(child) = child {
            branch.push(OrdinalSpan { start, end }, child);
        }
        lefts.advance(end);
        rights.advance(end);
    }
    branch.finish(meter)
}

/// Walks over the segments of a branch from left to right.
struct SegmentWalk<'a> {
    segments: &'a [SpaceSegment],
    /// How much of the first segment is behind us.
    passed: u64,
}

impl<'a> SegmentWalk<'a> {
    fn new(branch: &'a SpaceBranch) -> Self {
        Self { segments: &branch.segments, passed: 0 }
    }

    /// The first number not yet passed.
    fn start(&self) -> Option<u64> {
        self.segments.first().map(|segment| segment.span.start.max(self.passed))
    }

    /// Where, after `at`, a segment begins or ends next.
    fn change_after(&self, at: u64) -> u64 {
        self.segments
            .first()
            .map_or(u64::MAX, |segment| if segment.span.start > at { segment.span.start } else { segment.span.end })
    }

    /// The child at `at`, which must not lie before those that were passed.
    fn child_at(&self, at: u64) -> Option<u32> {
        let segment = self.segments.first()?;
        (segment.span.start <= at).then_some(segment.child)
    }

    /// Passes everything before `end`.
    fn advance(&mut self, end: u64) {
        self.passed = end;
        if self.segments.first().is_some_and(|segment| segment.span.end <= end) {
            self.segments = &self.segments[1..];
        }
    }
}

/// Puts a branch together from left to right, keeping it in its one form.
#[derive(Default)]
struct BranchBuilder {
    segments: Vec<SpaceSegment>,
    children: Vec<TupleSpace>,
    /// The children by print, or by the next number that was free.
    by_print: NumberMap<u64, u32>,
}

impl BranchBuilder {
    /// The number of this child, which is pushed next if it is a new one.
    fn child(&mut self, space: TupleSpace) -> u32 {
        // Different children may have the same print: look on at the next number, as in open addressing.
        let mut print = space.print();
        while let Some(known) = self.by_print.get(&print) {
            if self.children[*known as usize] == space {
                return *known;
            }
            print = print.wrapping_add(1);
        }
        // There are no more children than numbers, and no more of those in memory than fit 32 bits.
        let child = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        self.by_print.insert(print, child);
        self.children.push(space);
        child
    }

    /// Adds numbers behind all those added before.
    fn push(&mut self, span: OrdinalSpan, child: u32) {
        match self.segments.last_mut() {
            // Adjacent numbers with the same child are one segment, so that a set has one form.
            Some(last) if last.child == child && last.span.end == span.start => last.span.end = span.end,
            Some(_) | None => self.segments.push(SpaceSegment { span, child }),
        }
    }

    /// The branch, or `None` if nothing was pushed.
    fn finish<M: CostMeter>(self, meter: &mut M) -> Result<Option<TupleSpace>, M::Stop> {
        if self.segments.is_empty() {
            return Ok(None);
        }
        let (mut count, mut rows, mut print) = (0_u128, 0_u64, 1);
        // Once for each child: many segments may share one.
        let behind: Vec<_> = self.children.iter().map(|child| (child.count(), child.rows(), child.print())).collect();
        for SpaceSegment { span, child } in &self.segments {
            let (child_count, child_rows, child_print) = behind[*child as usize];
            count = count.saturating_add(u128::from(span.count()).saturating_mul(child_count));
            rows = rows.saturating_add(span.count().saturating_mul(child_rows));
            // The order of the parts counts: a sum would not notice two segments that swap their children.
            for part in [span.start, span.end, child_print] {
                print = scramble(print ^ part);
            }
        }
        let boxes = self.children.iter().map(TupleSpace::boxes).fold(0, u64::saturating_add);
        meter.shape(boxes, count)?;
        Ok(Some(TupleSpace::Branch(Arc::new(SpaceBranch {
            segments: self.segments,
            children: self.children,
            count,
            boxes,
            rows,
            print,
        }))))
    }
}
