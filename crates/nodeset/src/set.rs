//! The node set itself.
//!
//! What lives here: [`NodeSet`] with its operations, and [`UnionBatch`], which gathers many operands and
//! joins them at once. What it may use: every other module of this crate but `parse`, which has
//! [`NodeSet::parse`]. Invariants: no pattern without names, so equal sets are equal
//! values. Where to start reading: [`NodeSet`], then [`NodeSet::apply`].

use super::{
    fold,
    meter::{CostMeter, Unmetered},
    pattern::{PatternPieces, split},
    range::{IndexSet, OrdinalSpan},
    space::{SetOperation, TupleSpace},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// A set of node names.
///
/// Names are kept by pattern (`node%s`), with the numbers of each pattern as ranges, so that
/// `node[0-999999]` is small and fast. `Display` folds: it writes what `nodeset -f` writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSet {
    /// Patterns in the order in which they are printed.
    patterns: BTreeMap<Box<str>, TupleSpace>,
}

impl NodeSet {
    /// The set of these names, each taken literally: no operators, brackets, groups or globs. Empty
    /// names are left out. Takes a million names in a fraction of a second, in any order.
    pub fn from_names<I, S>(names: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut batch = UnionBatch::default();
        for name in names {
            batch.add_name(name.as_ref());
        }
        // `Unmetered` never stops, so there is no error.
        let Ok(set) = batch.finish(&mut Unmetered);
        set
    }

    /// Puts in one name, taken literally; an empty one is left out. To put in many use
    /// [`NodeSet::from_names`], which is much faster.
    pub fn insert_name(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        let (mut pattern, mut indexes) = (String::new(), Vec::new());
        split(name, &mut pattern, &mut indexes);
        match self.patterns.get_mut(pattern.as_str()) {
            Some(space) => space.insert(&indexes),
            None => {
                let Ok(point) = TupleSpace::of_points(&indexes, indexes.len(), &mut Unmetered);
                self.patterns.extend(point.map(|point| (pattern.into(), point)));
            }
        }
    }

    /// Whether this name, taken literally, is in the set.
    pub fn contains(&self, name: &str) -> bool {
        let (mut pattern, mut indexes) = (String::new(), Vec::new());
        split(name, &mut pattern, &mut indexes);
        let space = self.patterns.get(pattern.as_str());
        space.is_some_and(|space| space.contains(&indexes))
    }

    /// How many names are in the set, at most `u64::MAX`. Sets that were parsed never hold more.
    pub fn len(&self) -> u64 {
        u64::try_from(self.count()).unwrap_or(u64::MAX)
    }

    /// Whether the set has no names.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The names that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.with(SetOperation::Union, other)
    }

    /// The names that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.with(SetOperation::Intersection, other)
    }

    /// The names of this set that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.with(SetOperation::Difference, other)
    }

    /// The names that are in exactly one of the two sets.
    #[must_use]
    pub fn symmetric_difference(&self, other: &Self) -> Self {
        self.with(SetOperation::SymmetricDifference, other)
    }

    /// The names, in the order of `nodeset -e`: by pattern, then box by box as the set folds, the last
    /// number changing fastest, and numbers by length and value.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.patterns.iter().flat_map(|(pattern, space)| names_of(pattern, fold::boxes(space)))
    }

    /// The names in no particular order, without the cost of folding.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.patterns.iter().flat_map(|(pattern, space)| {
            let mut boxes = Vec::new();
            // The boxes of the diagram will do: folding only matters for the order.
            space.each_box(&mut |sides| boxes.push(sides.to_vec()));
            names_of(pattern, boxes)
        })
    }

    /// How many names are in the set, at most `u128::MAX`.
    pub(crate) fn count(&self) -> u128 {
        self.patterns.values().map(TupleSpace::count).fold(0, u128::saturating_add)
    }

    /// Roughly how much work it is to copy the set.
    pub(crate) fn weight(&self) -> u64 {
        self.patterns.values().map(TupleSpace::weight).sum::<u64>().saturating_mul(16)
    }

    fn with(&self, op: SetOperation, other: &Self) -> Self {
        let mut result = self.clone();
        let Ok(()) = result.apply(op, other, &mut Unmetered);
        result
    }

    /// Makes this set the result of the operation on it and `other`.
    ///
    /// # Errors
    /// What the meter says; the set is then left in between.
    pub(crate) fn apply<M: CostMeter>(&mut self, op: SetOperation, other: &Self, meter: &mut M) -> Result<(), M::Stop> {
        meter.work(other.patterns.len() as u64)?;
        if op == SetOperation::Intersection {
            meter.work(self.patterns.len() as u64)?;
            // The loop below visits only the other set's patterns, so the rest must go first.
            self.patterns.retain(|pattern, _| other.patterns.contains_key(pattern));
        }
        for (pattern, theirs) in &other.patterns {
            match self.patterns.get_mut(pattern) {
                Some(ours) => match ours.combine(op, theirs, meter)? {
                    Some(result) => *ours = result,
                    None => {
                        // A pattern without names would break the equality of equal sets.
                        self.patterns.remove(pattern);
                    }
                },
                None if op.keeps(false, true) => {
                    self.patterns.insert(pattern.clone(), theirs.clone());
                }
                None => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (pattern, space) in &self.patterns {
            let pieces = PatternPieces::of(pattern);
            for sides in fold::boxes(space) {
                if !std::mem::take(&mut first) {
                    f.write_str(",")?;
                }
                pieces.write_folded(&sides, f)?;
            }
        }
        Ok(())
    }
}

/// The names of these boxes, box by box, the last axis changing fastest.
fn names_of(pattern: &str, boxes: Vec<Vec<Arc<IndexSet>>>) -> impl Iterator<Item = String> + use<> {
    let mut names = NodeNames { pieces: PatternPieces::of(pattern), boxes: boxes.into_iter(), current: None };
    // The iterator starts on a box, not before it.
    names.next_box();
    names
}

/// See [`names_of`].
struct NodeNames {
    pieces: PatternPieces,
    boxes: std::vec::IntoIter<Vec<Arc<IndexSet>>>,
    /// The sides of the current box, with the next name's place on each; `None` behind the last box.
    current: Option<Vec<(Arc<IndexSet>, IndexPlace)>>,
}

/// One number of an [`IndexSet`].
#[derive(Clone, Copy)]
struct IndexPlace {
    span: usize,
    ordinal: u64,
}

impl NodeNames {
    fn next_box(&mut self) {
        self.current = self.boxes.next().map(|sides| {
            let first = |side: &Arc<IndexSet>| side.spans().first().map_or(0, |span| span.start);
            let with_place = |side: Arc<IndexSet>| {
                let ordinal = first(&side);
                (side, IndexPlace { span: 0, ordinal })
            };
            sides.into_iter().map(with_place).collect()
        });
    }
}

impl Iterator for NodeNames {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let current = self.current.as_mut()?;
        let name = self.pieces.name(current.iter().map(|(_, place)| place.ordinal));
        // Like an odometer: `all` stops at the first axis that did not wrap.
        let wrapped = current.iter_mut().rev().all(|(side, place)| place.advance(side));
        if wrapped {
            self.next_box();
        }
        Some(name)
    }
}

impl IndexPlace {
    /// Advances to the next number, or back to the first behind the last; says whether it went back.
    fn advance(&mut self, side: &IndexSet) -> bool {
        let spans = side.spans();
        self.ordinal += 1;
        if self.ordinal < spans[self.span].end {
            return false;
        }
        self.span = (self.span + 1) % spans.len();
        self.ordinal = spans[self.span].start;
        self.span == 0
    }
}

/// Names and boxes gathered to be joined at once, which takes far less than one union for each.
#[derive(Default)]
pub(crate) struct UnionBatch {
    patterns: Vec<UnionPart>,
    places: HashMap<Box<str>, usize>,
    last: usize,
    pattern: String,
    indexes: Vec<u64>,
}

/// What a [`UnionBatch`] has gathered for one pattern.
struct UnionPart {
    pattern: Box<str>,
    axes: usize,
    /// Several axes: the numbers of single names, one name after the other.
    points: Vec<u64>,
    /// Several axes: everything else.
    boxes: Vec<TupleSpace>,
    /// One axis: everything.
    spans: Vec<OrdinalSpan>,
}

impl UnionBatch {
    /// Adds one name, taken literally; an empty one is left out.
    pub(crate) fn add_name(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        // Reuse both buffers: a million names need no million allocations.
        let mut pattern = std::mem::take(&mut self.pattern);
        let mut indexes = std::mem::take(&mut self.indexes);
        split(name, &mut pattern, &mut indexes);
        let gathered = self.gathered(&pattern, indexes.len());
        match indexes[..] {
            [ordinal] => gathered.spans.push(OrdinalSpan::one(ordinal)),
            // Without numbers there is nothing to add: the part itself stands for the name.
            _ => gathered.points.extend_from_slice(&indexes),
        }
        pattern.clear();
        indexes.clear();
        (self.pattern, self.indexes) = (pattern, indexes);
    }

    /// Adds all names of a pattern with one number from each side.
    ///
    /// # Errors
    /// What the meter says.
    pub(crate) fn add_box<M: CostMeter>(
        &mut self,
        pattern: &str,
        sides: Vec<IndexSet>,
        meter: &mut M,
    ) -> Result<(), M::Stop> {
        let gathered = self.gathered(pattern, sides.len());
        if let [side] = &sides[..] {
            gathered.spans.extend_from_slice(side.spans());
        } else {
            let sides: Vec<_> = sides.into_iter().map(Arc::new).collect();
            gathered.boxes.extend(TupleSpace::of_box(&sides, meter)?);
        }
        Ok(())
    }

    /// Adds all names of a set.
    pub(crate) fn add_set(&mut self, set: &NodeSet) {
        for (pattern, space) in &set.patterns {
            match space {
                TupleSpace::Unit => {
                    // The part itself stands for the name.
                    self.gathered(pattern, 0);
                }
                TupleSpace::Line(line) => self.gathered(pattern, 1).spans.extend_from_slice(line.spans()),
                TupleSpace::Branch(_) => self.gathered(pattern, space.axes()).boxes.push(space.clone()),
            }
        }
    }

    fn gathered(&mut self, pattern: &str, axes: usize) -> &mut UnionPart {
        // Names mostly come sorted, so the last pattern often recurs: this saves the hash.
        let is_last = self.patterns.get(self.last).is_some_and(|last| *last.pattern == *pattern);
        if !is_last {
            self.last = match self.places.get(pattern) {
                Some(place) => *place,
                None => {
                    self.places.insert(pattern.into(), self.patterns.len());
                    self.patterns.push(UnionPart {
                        pattern: pattern.into(),
                        axes,
                        points: Vec::new(),
                        boxes: Vec::new(),
                        spans: Vec::new(),
                    });
                    self.patterns.len() - 1
                }
            };
        }
        &mut self.patterns[self.last]
    }

    /// The union of all that was added.
    ///
    /// # Errors
    /// What the meter says.
    pub(crate) fn finish<M: CostMeter>(self, meter: &mut M) -> Result<NodeSet, M::Stop> {
        let mut patterns = Vec::with_capacity(self.patterns.len());
        for gathered in self.patterns {
            let pattern = gathered.pattern.clone();
            patterns.extend(gathered.join(meter)?.map(|space| (pattern, space)));
        }
        Ok(NodeSet { patterns: patterns.into_iter().collect() })
    }
}

impl UnionPart {
    fn join<M: CostMeter>(self, meter: &mut M) -> Result<Option<TupleSpace>, M::Stop> {
        match self.axes {
            0 => Ok(Some(TupleSpace::Unit)),
            1 => {
                let line = IndexSet::from_spans(self.spans);
                Ok((!line.is_empty()).then(|| TupleSpace::Line(Arc::new(line))))
            }
            axes => {
                let mut spaces = self.boxes;
                spaces.extend(TupleSpace::of_points(&self.points, axes, meter)?);
                TupleSpace::union_of(spaces, meter)
            }
        }
    }
}
