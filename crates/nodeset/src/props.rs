//! Laws of node sets, tried on generated ones against a plain `BTreeSet` of names.

use super::{GroupResolver, NodeSet, expand_in_order};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

type SetModel = BTreeSet<String>;

/// A part of an operand: a text without digits, or ranges with as many digits as given at least.
#[derive(Clone, Debug)]
enum ModelPart {
    Text(&'static str),
    Ranges(Vec<(u64, u64, u64, usize)>),
}

/// An operator and the operand behind it.
type ModelTerm = (char, Vec<ModelPart>);

fn ranges() -> impl Strategy<Value = ModelPart> {
    let range = (0..13_u64, 0..6_u64, 1..4_u64, prop_oneof![3 => Just(1_usize), 1 => 2..4_usize]);
    vec(range.prop_map(|(low, more, step, width)| (low, low + more, step, width)), 1..4).prop_map(ModelPart::Ranges)
}

fn operand() -> impl Strategy<Value = Vec<ModelPart>> {
    let text = prop::sample::select(vec!["a", "b", "-", "é%s"]);
    let axis = (text.clone(), ranges()).prop_map(|(text, ranges)| vec![ModelPart::Text(text), ranges]);
    prop_oneof![text.prop_map(|text| vec![ModelPart::Text(text)]), vec(axis, 1..4).prop_map(|axes| axes.concat()),]
}

fn expression() -> impl Strategy<Value = Vec<ModelTerm>> {
    let sign = prop::sample::select(vec![',', ',', ' ', '!', '&', '^']);
    vec((sign, operand()), 1..7)
}

fn write(terms: &[ModelTerm]) -> String {
    let mut text = String::new();
    for (place, (sign, parts)) in terms.iter().enumerate() {
        if place > 0 {
            text.push(*sign);
        }
        for part in parts {
            match part {
                ModelPart::Text(part) => text.push_str(part),
                ModelPart::Ranges(ranges) => {
                    let written = ranges.iter().map(|(low, high, step, width)| {
                        // `9-010` has no meaning, so ranges that change length are left unpadded.
                        let width = if high.to_string().len() > *width { 1 } else { *width };
                        format!("{low:0width$}-{high:0width$}/{step}")
                    });
                    text.push_str(&format!("[{}]", written.collect::<Vec<_>>().join(",")));
                }
            }
        }
    }
    text
}

fn model_of(parts: &[ModelPart]) -> SetModel {
    let mut names = SetModel::from([String::new()]);
    for part in parts {
        let endings: Vec<String> = match part {
            ModelPart::Text(text) => vec![(*text).to_owned()],
            ModelPart::Ranges(ranges) => ranges
                .iter()
                .flat_map(|(low, high, step, width)| {
                    let width = if high.to_string().len() > *width { 1 } else { *width };
                    let step = usize::try_from(*step).unwrap_or(1);
                    (*low..=*high).step_by(step).map(move |number| format!("{number:0width$}"))
                })
                .collect(),
        };
        names = names.iter().flat_map(|name| endings.iter().map(move |ending| format!("{name}{ending}"))).collect();
    }
    names
}

fn model(terms: &[ModelTerm]) -> SetModel {
    let mut total = SetModel::new();
    for (place, (sign, parts)) in terms.iter().enumerate() {
        let right = model_of(parts);
        total = match if place == 0 { ',' } else { *sign } {
            '!' => &total - &right,
            '&' => &total & &right,
            '^' => &total ^ &right,
            _ => &total | &right,
        };
    }
    total
}

fn names() -> impl Strategy<Value = SetModel> {
    let name = prop_oneof![
        "[ab][0-9]{0,2}",
        "[ab][0-3]-[0-3]",
        "[ab]0?[0-2]x0?[0-2]y[0-2]",
        "[0-9]{1,3}",
        "a[0-9]{18,21}",
        "[a%s]{1,3}[12]?",
    ];
    prop::collection::btree_set(name, 0..60)
}

fn in_order(set: &NodeSet) -> SetModel {
    set.iter().collect()
}

struct ModelInventory(NodeSet);

impl GroupResolver for ModelInventory {
    fn group(&self, name: &str) -> Option<NodeSet> {
        (name == "a").then(|| self.0.clone())
    }

    fn all(&self) -> &NodeSet {
        &self.0
    }

    fn group_names(&self) -> Vec<String> {
        vec!["a".to_owned()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn expressions_mean_what_the_model_says(terms in expression()) {
        let text = write(&terms);
        let (set, expected) = (NodeSet::parse(&text), model(&terms));
        let set = set.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&in_order(&set), &expected, "{}", text);
        prop_assert_eq!(set.len(), expected.len() as u64);
        prop_assert_eq!(set.iter().count(), expected.len(), "no name comes twice");
        prop_assert_eq!(&NodeSet::from_names(&expected), &set, "equal sets are equal values");
    }

    #[test]
    fn folded_sets_read_back_as_themselves(terms in expression()) {
        if let Ok(set) = NodeSet::parse(&write(&terms)) {
            let folded = set.to_string();
            prop_assert_eq!(NodeSet::parse(&folded), Ok(set.clone()), "{}", folded);
            let written = set.iter().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(NodeSet::parse(&written), Ok(set));
        }
    }

    #[test]
    fn operations_are_those_of_sets(left in names(), right in names(), asked in names()) {
        let (a, b) = (NodeSet::from_names(&left), NodeSet::from_names(&right));
        prop_assert_eq!(&in_order(&a), &left);
        let results = [
            (a.union(&b), &left | &right),
            (a.intersection(&b), &left & &right),
            (a.difference(&b), &left - &right),
            (a.symmetric_difference(&b), &left ^ &right),
        ];
        for (set, expected) in &results {
            prop_assert_eq!(&in_order(set), expected);
            prop_assert_eq!(set, &NodeSet::from_names(expected));
            prop_assert_eq!(set.is_empty(), expected.is_empty());
            for name in asked.iter().chain(&left) {
                prop_assert_eq!(set.contains(name), expected.contains(name), "{}", name);
            }
        }
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(&a.symmetric_difference(&b).symmetric_difference(&b), &a);
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
    }

    #[test]
    fn names_put_in_one_by_one_make_the_same_set(names in names()) {
        let mut set = NodeSet::default();
        for name in names.iter().rev() {
            set.insert_name(name);
            set.insert_name(name);
        }
        prop_assert_eq!(set, NodeSet::from_names(&names));
    }

    #[test]
    fn nothing_typed_makes_the_parser_panic(
        text in prop_oneof![
            any::<String>(),
            r"[ab0-9\[\],\-/!&^@*?%é \t]{0,40}",
            vec(any::<u8>(), 0..60).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ]
    ) {
        let inventory = ModelInventory(NodeSet::from_names(["a1", "a2", "b1-2", "é"]));
        let results = [
            NodeSet::parse(&text).map(|set| set.to_string().len()),
            NodeSet::parse_with(&text, &inventory).map(|set| set.iter().take(1000).count()),
            expand_in_order(&text).map(|names| names.len()),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            prop_assert!(text.get(error.span()).is_some(), "{:?} in {:?}", error, text);
        }
    }

    #[test]
    fn expanding_in_order_gives_the_names_of_the_set(parts in operand()) {
        let text = write(&[(',', parts)]);
        let expanded = expand_in_order(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Ok(NodeSet::from_names(expanded)), NodeSet::parse(&text));
    }
}
