#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::rpc::kv::KeyValue;
use std::collections::BTreeMap;

fn entry(key: &[u8], number: i64) -> Entry {
    Entry::new(&KeyValue { mod_revision: number, ..KeyValue::default() }, key, &number.to_be_bytes())
}

/// xorshift, so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Every bound is between its neighbours, leaves are equally deep, and only a root may be empty.
fn assert_sound(tree: &Tree) {
    fn depth(node: &Node, above: Option<&[u8]>, below: Option<&[u8]>) -> usize {
        let fits = |key: &[u8]| above.is_none_or(|bound| key >= bound) && below.is_none_or(|bound| key < bound);
        match node {
            Node::Leaf(leaf) => {
                assert!(leaf.items().iter().all(|entry| fits(entry.key())));
                assert!(leaf.items().is_sorted_by(|a, b| a.key() < b.key()));
                0
            }
            Node::Branch(branch) => {
                assert_eq!(branch.bounds.len() + 1, branch.children.len());
                assert!(branch.children.len() <= CAPACITY);
                let bounds: Vec<_> = branch.bounds.items().iter().map(|bound| Some(&**bound)).collect();
                let depths: Vec<_> = branch
                    .children
                    .iter()
                    .enumerate()
                    .map(|(at, child)| {
                        assert!(child.width() > 0);
                        let left = if at == 0 { above } else { bounds[at - 1] };
                        depth(child, left, bounds.get(at).copied().unwrap_or(below))
                    })
                    .collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                depths[0] + 1
            }
        }
    }
    depth(&tree.root, None, None);
}

fn assert_same(tree: &Tree, wanted: &BTreeMap<Vec<u8>, i64>) {
    assert_sound(tree);
    assert_eq!(tree.len(), wanted.len());
    let entries: Vec<_> = tree.iter().map(|entry| (entry.key().to_vec(), entry.mod_revision())).collect();
    assert_eq!(entries, wanted.iter().map(|(key, number)| (key.clone(), *number)).collect::<Vec<_>>());
}

#[test]
fn it_holds_what_a_map_holds_whatever_is_done_to_it_and_old_states_stay_as_they_were() {
    for (seed, keys) in [(1, 20), (2, 300), (3, 3_000), (4, 100_000)] {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + seed);
        let (mut tree, mut map) = (Tree::default(), BTreeMap::new());
        let mut old = Vec::new();
        for step in 0..30_000 {
            // Grows for a while, then shrinks.
            let grows = (step / 10_000) % 2 == 0;
            let key = format!("{:x}", random.below(keys)).into_bytes();
            if random.below(4) == 0 || !grows {
                assert_eq!(tree.remove(&key).map(|entry| entry.mod_revision()), map.remove(&key));
            } else {
                let previous = tree.insert(entry(&key, step)).map(|entry| entry.mod_revision());
                assert_eq!(previous, map.insert(key, step));
            }
            let key = format!("{:x}", random.below(keys)).into_bytes();
            assert_eq!(tree.get(&key).map(Entry::mod_revision), map.get(&key).copied());
            if step % 5_000 == 0 {
                old.push((tree.clone(), map.clone()));
            }
        }
        assert_same(&tree, &map);
        old.iter().for_each(|(tree, map)| assert_same(tree, map));
    }
}

#[test]
fn entries_that_come_in_order_fill_the_leaves_and_go_again_in_order() {
    let mut tree = Tree::default();
    for number in 0..20_000_i64 {
        tree.insert(entry(&number.to_be_bytes(), number));
    }
    assert_sound(&tree);
    fn leaves(node: &Node) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Branch(branch) => branch.children.iter().map(leaves).sum(),
        }
    }
    assert_eq!(leaves(&tree.root), 20_000_usize.div_ceil(CAPACITY));
    for number in 0..20_000_i64 {
        assert_eq!(tree.remove(&number.to_be_bytes()).unwrap().mod_revision(), number);
    }
    assert_eq!((tree.len(), tree.iter().count()), (0, 0));
    assert_sound(&tree);
}

#[test]
fn an_iteration_begins_at_the_key_or_at_the_next_one() {
    let mut tree = Tree::default();
    (0..1_000_i64).for_each(|number| drop(tree.insert(entry(format!("{:03}", number * 2 % 1_000).as_bytes(), number))));
    for number in 0..1_000_usize {
        let first = tree.iter_from(format!("{number:03}").as_bytes()).next().map(|entry| entry.key().to_vec());
        let wanted = number.next_multiple_of(2);
        assert_eq!(first, (wanted < 1_000).then(|| format!("{wanted:03}").into_bytes()));
    }
}
