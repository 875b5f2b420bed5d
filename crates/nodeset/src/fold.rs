//! Folding: writing a set of several axes as few boxes, `a[1-4,6-9]b[1-9],a5b[1-6,8-9]`.
//!
//! What lives here: [`boxes`], which gives the boxes of a set in the order in which they are printed.
//! What it may use: `range`, `space`. Invariants: the boxes are disjoint and together are the
//! set; the same set gives the same boxes.
//!
//! The boxes are those of ClusterShell 1.9, in its order. It takes all names as single points sorted
//! by their numbers *as texts*, merges neighbours that differ on one axis only, sorts the boxes (more
//! names first, see [`FoldBox::by_size`]) and merges neighbours again until nothing changes; then it does the
//! same comparing every box with every later one. We reach the same result without its costs: points
//! that share all but the last number start as one box ([`merge_points`]), and the partners of a box
//! are looked up rather than searched for ([`merge_any`]). Only a set of more than [`MAX_ROWS`] rows,
//! which would take ClusterShell hours, is started from the boxes of its decision diagram instead.
//!
//! Where to start reading: [`boxes`], then [`GrowingBox`].

use super::{
    range::{IndexSet, NumberMap, PaddedNumber, TextKey, scramble},
    space::{SpaceBranch, TupleSpace},
};
use std::{
    cmp::{Ordering, Reverse},
    rc::Rc,
    sync::Arc,
};

/// More rows (points without their last number) than this are not walked over one by one.
const MAX_ROWS: u64 = 1 << 21;

/// Boxes looked at by all passes together before folding is left as good as it is.
const MAX_LOOKS: usize = 1 << 27;

/// The boxes of a set, in the order in which they are printed.
pub(crate) fn boxes(space: &TupleSpace) -> Vec<Vec<Arc<IndexSet>>> {
    let mut plain = Vec::new();
    // A single box needs no folding, and too many rows must not be walked one by one.
    if space.boxes() == 1 || space.rows() > MAX_ROWS {
        space.each_box(&mut |sides| plain.push(sides.to_vec()));
    }
    if plain.len() == 1 {
        return plain;
    }
    let start = if plain.is_empty() {
        merge_points(space)
    } else {
        let cells = plain.iter().map(|sides| FoldBox::new(sides.iter().map(BoxSide::shared).collect()));
        FoldPass { kept: Vec::new(), grown: cells.collect() }
    };
    let folded = merge_all(start).into_iter();
    folded.map(|cell| cell.sides.iter().map(|side| Arc::clone(&side.set)).collect()).collect()
}

/// One side of a box, with the values that are needed often.
#[derive(Debug)]
struct BoxSide {
    set: Arc<IndexSet>,
    count: u64,
    /// Adds up when disjoint sides are joined; see [`IndexSet::print`].
    print: u64,
    first: TextKey,
    last: TextKey,
}

/// A box: one side for each axis.
#[derive(Clone, Debug)]
struct FoldBox {
    sides: Vec<Rc<BoxSide>>,
    /// How many names, at most `u128::MAX`.
    names: u128,
}

/// What a pass over the boxes leaves.
#[derive(Default)]
struct FoldPass {
    /// The boxes as they were, in their order.
    kept: Vec<FoldBox>,
    /// The boxes that have taken in others.
    grown: Vec<FoldBox>,
}

impl BoxSide {
    fn new(set: Arc<IndexSet>) -> Self {
        let key =
            |ordinal: Option<u64>| ordinal.map_or((0, 0), |ordinal| PaddedNumber::from_ordinal(ordinal).text_key());
        Self {
            count: set.count(),
            print: set.print(),
            first: key(set.spans().first().map(|span| span.start)),
            // Spans are never empty, so `end - 1` is in the span.
            last: key(set.spans().last().map(|span| span.end - 1)),
            set,
        }
    }

    fn shared(set: &Arc<IndexSet>) -> Rc<Self> {
        Rc::new(Self::new(Arc::clone(set)))
    }

    fn one(ordinal: u64) -> Rc<Self> {
        Rc::new(Self::new(Arc::new(IndexSet::one(ordinal))))
    }
}

impl PartialEq for BoxSide {
    fn eq(&self, other: &Self) -> bool {
        // The same side is shared by many boxes, and a different print settles most other comparisons: sets are
        // compared only when they are almost certainly equal.
        std::ptr::eq(self, other) || (self.print == other.print && self.count == other.count && self.set == other.set)
    }
}

impl FoldBox {
    fn new(sides: Vec<Rc<BoxSide>>) -> Self {
        // Saturates: 16 axes of up to 10^19 numbers exceed a `u128`.
        let names = sides.iter().map(|side| u128::from(side.count)).fold(1, u128::saturating_mul);
        Self { sides, names }
    }

    /// ClusterShell's order of boxes: more names first; then axis by axis more numbers first, then the
    /// lower first number, then the lower last one, these two compared as texts.
    fn by_size(&self, other: &Self) -> Ordering {
        let sides = |cell: &Self, axis: usize| {
            let side = &cell.sides[axis];
            (Reverse(side.count), side.first, side.last)
        };
        let axis_by_axis = (0..self.sides.len()).map(|axis| sides(self, axis).cmp(&sides(other, axis)));
        other.names.cmp(&self.names).then_with(|| axis_by_axis.fold(Ordering::Equal, Ordering::then))
    }
}

impl FoldPass {
    /// How many boxes there are.
    fn len(&self) -> usize {
        self.kept.len() + self.grown.len()
    }

    fn push(&mut self, done: GrowingBox) {
        if done.grown {
            self.grown.push(done.into_cell());
        } else {
            self.kept.push(done.cell);
        }
    }

    /// All boxes, sorted; only those that have grown need sorting.
    fn sorted(mut self) -> Vec<FoldBox> {
        self.grown.sort_unstable_by(FoldBox::by_size);
        let mut sorted = Vec::with_capacity(self.len());
        // `kept` has stayed in order, so a merge needs about one comparison for each box.
        let mut kept = self.kept.into_iter().peekable();
        for grown in self.grown {
            while let Some(before) = kept.next_if(|kept| kept.by_size(&grown).is_lt()) {
                sorted.push(before);
            }
            sorted.push(grown);
        }
        sorted.extend(kept);
        sorted
    }
}

/// A box that takes in others, which must be disjoint from it.
///
/// The numbers taken in on one axis are put together only when somebody must know them: a box that
/// takes in a million others one after the other would otherwise be rebuilt a million times.
struct GrowingBox {
    cell: FoldBox,
    open: Option<OpenAxis>,
    /// Whether it has taken in any.
    grown: bool,
}

/// The axis on which a box has grown last, and the parts of its side there.
struct OpenAxis {
    axis: usize,
    parts: Vec<Rc<BoxSide>>,
    count: u64,
    print: u64,
}

impl GrowingBox {
    fn new(cell: FoldBox) -> Self {
        Self { cell, open: None, grown: false }
    }

    /// The count and print of the side on this axis.
    fn measure(&self, axis: usize) -> (u64, u64) {
        match &self.open {
            // The parts are not joined yet; they are disjoint, so their counts and prints add up.
            Some(open) if open.axis == axis => (open.count, open.print),
            Some(_) | None => (self.cell.sides[axis].count, self.cell.sides[axis].print),
        }
    }

    /// Takes `next` in if it is the same on all axes but one, and says whether it did.
    fn absorb(&mut self, next: &[Rc<BoxSide>]) -> bool {
        let mut differing =
            (0..next.len()).filter(|axis| self.measure(*axis) != (next[*axis].count, next[*axis].print));
        let (Some(axis), None) = (differing.next(), differing.next()) else {
            return false;
        };
        // The sides compared below must be complete.
        if self.open.as_ref().is_some_and(|open| open.axis != axis) {
            self.settle();
        }
        // Equal prints may be a coincidence: compare the sides themselves.
        if (0..next.len()).any(|other| other != axis && self.cell.sides[other] != next[other]) {
            return false;
        }
        let side = &self.cell.sides[axis];
        let open = self.open.get_or_insert_with(|| OpenAxis {
            axis,
            parts: vec![Rc::clone(side)],
            count: side.count,
            print: side.print,
        });
        open.parts.push(Rc::clone(&next[axis]));
        open.count += next[axis].count;
        open.print = open.print.wrapping_add(next[axis].print);
        self.grown = true;
        true
    }

    /// Joins the boxes that it has received.
    fn settle(&mut self) {
        if let Some(open) = self.open.take() {
            // One sort for all parts, instead of one union for each.
            let spans = open.parts.iter().flat_map(|part| part.set.spans()).copied().collect();
            self.cell.sides[open.axis] = Rc::new(BoxSide::new(Arc::new(IndexSet::from_spans(spans))));
        }
    }

    fn into_cell(mut self) -> FoldBox {
        self.settle();
        FoldBox::new(self.cell.sides)
    }
}

/// The first pass: merges neighbours among all points, sorted by their numbers as texts.
fn merge_points(space: &TupleSpace) -> FoldPass {
    let mut merger = PointMerger::default();
    merger.visit(space, &mut Vec::new());
    if let Some(last) = merger.current {
        merger.done.push(last);
    }
    merger.done
}

/// What [`merge_points`] keeps while it walks over the rows.
#[derive(Default)]
struct PointMerger {
    done: FoldPass,
    current: Option<GrowingBox>,
    /// By the address of the set.
    rows: NumberMap<usize, FoldRow>,
    /// By ordinal.
    sides: NumberMap<u64, Rc<BoxSide>>,
}

/// The last numbers of points that agree on all others.
struct FoldRow {
    /// All of them.
    all: Rc<BoxSide>,
    /// The first when sorted as texts.
    first: Rc<BoxSide>,
    /// The others, once they were asked for.
    others: Option<Rc<BoxSide>>,
}

impl PointMerger {
    fn visit(&mut self, space: &TupleSpace, front: &mut Vec<Rc<BoxSide>>) {
        match space {
            TupleSpace::Unit => {}
            TupleSpace::Line(line) => self.row(line, front),
            TupleSpace::Branch(branch) => {
                for (ordinal, behind) in in_text_order(branch) {
                    // The same number comes under many branches: share its side.
                    let side = self.sides.entry(ordinal).or_insert_with(|| BoxSide::one(ordinal));
                    front.push(Rc::clone(side));
                    self.visit(behind, front);
                    front.pop();
                }
            }
        }
    }

    /// Adds a row. Its first point may still go to the current box, if that has the same last number
    /// and differs on one axis; the others then begin a new box, as does the whole row if not.
    fn row(&mut self, line: &Arc<IndexSet>, front: &[Rc<BoxSide>]) {
        // Equal rows share one set, so its address finds them; `space` keeps it alive during the walk.
        let row = self.rows.entry(Arc::as_ptr(line).addr()).or_insert_with(|| {
            let all = BoxSide::shared(line);
            let first = if all.count == 1 { Rc::clone(&all) } else { BoxSide::one(line.first_as_text()) };
            FoldRow { all, first, others: None }
        });
        let sides_with = |last: &Rc<BoxSide>| front.iter().chain([last]).cloned().collect::<Vec<_>>();
        let took_first = self.current.as_mut().is_some_and(|current| {
            current.cell.sides.last() == Some(&row.first) && current.absorb(&sides_with(&row.first))
        });
        let rest = if !took_first {
            &row.all
        } else if row.all.count == 1 {
            return;
        } else {
            row.others.get_or_insert_with(|| {
                let others = row.all.set.combine(&row.first.set, |all, first| all && !first);
                BoxSide::shared(&Arc::new(others))
            })
        };
        let mut next = GrowingBox::new(FoldBox::new(sides_with(rest)));
        // A row of several points has merged them already, so its place in the order has changed.
        next.grown = rest.count > 1;
        if let Some(done) = self.current.replace(next) {
            self.done.push(done);
        }
    }
}

/// The numbers of a branch, sorted as texts, with the subtree behind each.
fn in_text_order(branch: &SpaceBranch) -> Vec<(u64, &TupleSpace)> {
    let mut numbers: Vec<_> = branch.numbers().collect();
    // Computing a key costs more than comparing two.
    numbers.sort_by_cached_key(|(ordinal, _)| PaddedNumber::from_ordinal(*ordinal).text_key());
    numbers
}

/// The passes after the first, until nothing changes.
fn merge_all(mut pass: FoldPass) -> Vec<FoldBox> {
    let mut looks = 0;
    let mut thorough = false;
    loop {
        let cells = pass.sorted();
        let before = cells.len();
        // Bounds the time for sets that shrink by a few boxes in each pass.
        looks += before;
        pass = if thorough { merge_any(cells) } else { merge_neighbours(cells) };
        if pass.len() == before || looks > MAX_LOOKS {
            // ClusterShell compares neighbours until nothing changes, then all pairs. Past the limit, one pass over all
            // pairs is the last.
            if thorough {
                return pass.sorted();
            }
            thorough = true;
        }
    }
}

/// Merges each box with those right behind it.
fn merge_neighbours(cells: Vec<FoldBox>) -> FoldPass {
    let mut pass = FoldPass::default();
    let mut cells = cells.into_iter().map(GrowingBox::new);
    let Some(mut current) = cells.next() else {
        return pass;
    };
    for next in cells {
        if !current.absorb(&next.cell.sides) {
            pass.push(std::mem::replace(&mut current, next));
            // Only adjacent boxes merge here, so this one is complete.
        }
    }
    pass.push(current);
    pass
}

/// Merges each box with any behind it, in one go from the left.
fn merge_any(cells: Vec<FoldBox>) -> FoldPass {
    let axes = cells.first().map_or(0, |cell| cell.sides.len());
    let mut partners: Vec<_> = (0..axes).map(|axis| PartnerIndex::new(&cells, axis)).collect();
    let mut taken = vec![false; cells.len()];
    let mut pass = FoldPass::default();
    for place in 0..cells.len() {
        if taken[place] {
            continue;
        }
        let mut current = GrowingBox::new(cells[place].clone());
        let mut from = place + 1;
        loop {
            let key = key_of((0..axes).map(|axis| current.measure(axis).1));
            let nearest = partners.iter_mut().enumerate().filter_map(|(axis, partners)| {
                if current.grown {
                    // Its key has changed with its growth; the index still has the old one.
                    let without = key.wrapping_sub(key_part(axis, current.measure(axis).1));
                    partners.next(without, from, &taken)
                } else {
                    // The box itself is in the index, which saves a search.
                    partners.next_of_same(place, &taken)
                }
            });
            let Some(partner) = nearest.min() else { break };
            // Equal keys may be a coincidence; then the other box stays free.
            taken[partner] = current.absorb(&cells[partner].sides);
            from = partner + 1;
            // A coincidence: `next_of_same` would find the same box again without end.
            if !current.grown {
                break;
            }
        }
        pass.push(current);
    }
    pass
}

/// A number equal for equal boxes, given the prints of their sides; the sum of its parts.
fn key_of(prints: impl Iterator<Item = u64>) -> u64 {
    prints.enumerate().fold(0, |key, (axis, print)| key.wrapping_add(key_part(axis, print)))
}

/// What the side on one axis adds to the key of a box.
fn key_part(axis: usize, print: u64) -> u64 {
    // The axis goes into the hash, so that equal sides on two axes do not cancel out.
    scramble(print ^ scramble(axis as u64))
}

/// Finds boxes that agree on all axes but one.
struct PartnerIndex {
    /// The key of a box without the part of this axis, and its place; sorted.
    entries: Vec<(u64, usize)>,
    /// For each place its entry.
    entry_of: Vec<usize>,
    /// For each entry one at or behind it with nothing free between the two.
    skip: Vec<usize>,
}

impl PartnerIndex {
    fn new(cells: &[FoldBox], axis: usize) -> Self {
        let without_axis = |cell: &FoldBox| {
            let key = key_of(cell.sides.iter().map(|side| side.print));
            key.wrapping_sub(key_part(axis, cell.sides[axis].print))
        };
        let mut entries: Vec<_> = cells.iter().map(without_axis).zip(0..).collect();
        // Boxes with equal keys become adjacent, in the order of their places.
        entries.sort_unstable();
        let mut entry_of = vec![0; entries.len()];
        for (entry, (_, place)) in entries.iter().enumerate() {
            entry_of[*place] = entry;
        }
        let skip = (0..entries.len()).collect();
        Self { entries, entry_of, skip }
    }

    /// The nearest place, from `from` on, of a box with this key that is not taken.
    fn next(&mut self, key: u64, from: usize, taken: &[bool]) -> Option<usize> {
        let begin = self.entries.partition_point(|entry| *entry < (key, from));
        self.next_at(begin, key, taken)
    }

    /// The nearest place behind `place` of a box with the same key that is not taken.
    fn next_of_same(&mut self, place: usize, taken: &[bool]) -> Option<usize> {
        let entry = self.entry_of[place];
        self.next_at(entry + 1, self.entries[entry].0, taken)
    }

    fn next_at(&mut self, begin: usize, key: u64, taken: &[bool]) -> Option<usize> {
        let mut at = begin;
        let found = loop {
            match self.entries.get(at) {
                Some((other, place)) if *other == key => {
                    if !taken[*place] {
                        break Some(*place);
                    }
                    at = self.skip[at].max(at + 1);
                }
                Some(_) | None => break None,
            }
        };
        // Shorten the path, as union-find does: later searches pass the taken entries in one step.
        let mut walked = begin;
        while walked < at {
            let next = self.skip[walked].max(walked + 1);
            self.skip[walked] = at;
            walked = next;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::NodeSet;

    /// What `nodeset -f` of ClusterShell 1.9.1 answers.
    #[test]
    fn several_axes_fold_as_in_clustershell() {
        let table = [
            ("a[9-11]b[1-2]!a10b1", "a[9,11]b[1-2],a10b2"),
            ("a[1-100]b[1-100]!a5b7", "a[1-4,6-100]b[1-100],a5b[1-6,8-100]"),
            ("a[1-3]b[1-3]^a[2-4]b[2-4]", "a[2-3]b[1,4],a1b[1-3],a4b[2-4]"),
            ("a1b1,a2b1,a2b2,a10b2,a10b3,a3b3,a3b1", "a10b[2-3],a2b[1-2],a3b[1,3],a1b1"),
            (
                "r[0-2]-[1-2]x[8-11],r[1-3]-[2-3]x[9-12]",
                "r[1-2]-2x[8-12],r[1-2]-1x[8-11],r[1-2]-3x[9-12],r0-[1-2]x[8-11],r3-[2-3]x[9-12]",
            ),
            ("a[01-03]b[1-2],a1b[1-3],a[2-3]b3", "a[01-03]b[1-2],a1b[1-3],a[2-3]b3"),
            ("10.0.[0-1].[1-3]!10.0.1.2", "10.0.0.[1-3],10.0.1.[1,3]"),
        ];
        for (text, folded) in table {
            assert_eq!(NodeSet::parse(text).map(|set| set.to_string()), Ok(folded.to_owned()), "{text}");
        }
    }

    #[test]
    fn names_come_in_the_order_of_the_boxes() {
        let names = |text| NodeSet::parse(text).map(|set| set.iter().collect::<Vec<_>>().join(" "));
        assert_eq!(names("a[9-11]b[1-2]!a10b1").as_deref(), Ok("a9b1 a9b2 a11b1 a11b2 a10b2"));
        assert_eq!(names("n[9-10,009],m,2").as_deref(), Ok("2 m n9 n10 n009"));
    }

    #[test]
    fn sets_too_large_to_walk_over_fold_all_the_same() {
        let text = "x[1-3000000]y[1-3000000]!x7y9";
        let folded = NodeSet::parse(text).map(|set| set.to_string());
        assert_eq!(folded.as_deref(), Ok("x[1-6,8-3000000]y[1-3000000],x7y[1-8,10-3000000]"));
        assert_eq!(folded.and_then(|folded| NodeSet::parse(&folded)), NodeSet::parse(text));
    }
}
