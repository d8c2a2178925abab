//! An ordered map of which old states stay as they are: a B+ tree whose nodes are shared by all states that have them.
//!
//! A change copies the nodes on the way from the root to one leaf, unless no other state has them: then it changes them
//! where they are. The last entry may be taken out of a leaf and nothing is put right beside it but that neighbours which
//! have become small are joined.

use super::entry::Entry;
use super::sorted::{CAPACITY, Sorted};
use std::slice;
use std::sync::Arc;

/// Entries in the order of their keys. A clone is a state that stays as it is.
#[derive(Clone)]
pub(super) struct Tree {
    root: Node,
    len: usize,
}

#[derive(Clone)]
enum Node {
    Leaf(Arc<Sorted<Entry>>),
    Branch(Arc<Branch>),
}

#[derive(Clone)]
struct Branch {
    /// For every child but the first a key that is not above any of its keys, and above all of the child before.
    bounds: Sorted<Arc<[u8]>>,
    children: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { root: Node::Leaf(Arc::new(Sorted::new(Vec::new()))), len: 0 }
    }
}

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Branch(branch) => node = branch.children.get(branch.way_to(key))?,
                Node::Leaf(leaf) => return leaf.items().get(leaf.search(key).ok()?),
            }
        }
    }

    /// Puts an entry in; answers the one that it takes the place of.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let (previous, split) = self.root.insert(entry);
        if let Some((bound, right)) = split {
            let left = std::mem::replace(&mut self.root, right.clone());
            let branch = Branch { bounds: Sorted::new(vec![bound]), children: vec![left, right] };
            self.root = Node::Branch(Arc::new(branch));
        }
        self.len += usize::from(previous.is_none());
        previous
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        // Nothing is copied for a key that isn't there.
        self.get(key)?;
        let removed = self.root.remove(key)?;
        self.len = self.len.saturating_sub(1);
        while let Node::Branch(branch) = &self.root {
            match branch.children.as_slice() {
                [only] => self.root = only.clone(),
                _ => break,
            }
        }
        Some(removed)
    }

    /// All entries.
    pub(super) fn iter(&self) -> Entries<'_> {
        self.iter_from(b"")
    }

    /// The entries whose keys are not below this one.
    pub(super) fn iter_from(&self, key: &[u8]) -> Entries<'_> {
        let mut entries = Entries { ways: Vec::new(), leaf: [].iter() };
        let mut node = &self.root;
        loop {
            match node {
                Node::Branch(branch) => {
                    let mut children = branch.children.get(branch.way_to(key)..).unwrap_or_default().iter();
                    let next = children.next();
                    entries.ways.push(children);
                    match next {
                        Some(child) => node = child,
                        None => return entries,
                    }
                }
                Node::Leaf(leaf) => {
                    let (Ok(first) | Err(first)) = leaf.search(key);
                    entries.leaf = leaf.items().get(first..).unwrap_or_default().iter();
                    return entries;
                }
            }
        }
    }
}

/// A bound, and what is right of it.
type Split = Option<(Arc<[u8]>, Node)>;

impl Node {
    fn insert(&mut self, entry: Entry) -> (Option<Entry>, Split) {
        match self {
            Node::Leaf(leaf) => {
                let leaf = Arc::make_mut(leaf);
                match leaf.search(entry.key()) {
                    Ok(at) => (leaf.replace(at, entry), None),
                    Err(at) => (None, insert_into_leaf(leaf, at, entry)),
                }
            }
            Node::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                let at = branch.way_to(entry.key());
                let Some(child) = branch.children.get_mut(at) else { return (None, None) };
                let (previous, split) = child.insert(entry);
                (previous, split.and_then(|(bound, right)| branch.insert_child(at, bound, right)))
            }
        }
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        match self {
            Node::Leaf(leaf) => {
                let at = leaf.search(key).ok()?;
                Arc::make_mut(leaf).remove(at)
            }
            Node::Branch(branch) => {
                let at = branch.way_to(key);
                let branch = Arc::make_mut(branch);
                let removed = branch.children.get_mut(at)?.remove(key);
                branch.tidy(at);
                removed
            }
        }
    }

    /// How many items it has.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Branch(branch) => branch.children.len(),
        }
    }
}

/// Entries that come in order leave full leaves behind them, others half-full ones.
fn insert_into_leaf(leaf: &mut Sorted<Entry>, at: usize, entry: Entry) -> Split {
    if leaf.len() < CAPACITY {
        leaf.insert(at, entry);
        return None;
    }
    let bound = |right: &Sorted<Entry>| right.items().first().map_or_else(|| Arc::from([]), |first| first.key().into());
    let mut right = leaf.split_off(if at == CAPACITY { CAPACITY } else { CAPACITY / 2 });
    match at.checked_sub(leaf.len()) {
        Some(at) => right.insert(at, entry),
        None => leaf.insert(at, entry),
    }
    Some((bound(&right), Node::Leaf(Arc::new(right))))
}

impl Branch {
    /// The child that has the key if any has.
    fn way_to(&self, key: &[u8]) -> usize {
        match self.bounds.search(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    /// Puts in what was split off the child at `at`.
    fn insert_child(&mut self, at: usize, bound: Arc<[u8]>, right: Node) -> Split {
        if self.children.len() < CAPACITY {
            self.bounds.insert(at, bound);
            self.children.insert(at + 1, right);
            return None;
        }
        let middle = if at + 1 == CAPACITY { CAPACITY - 1 } else { CAPACITY / 2 };
        // The bound before the first child of the right half goes up.
        let mut bounds = self.bounds.split_off(middle - 1);
        let up = bounds.remove(0)?;
        let mut half = Branch { bounds, children: self.children.split_off(middle) };
        match at.checked_sub(middle) {
            Some(at) => half.insert_child(at, bound, right),
            None => self.insert_child(at, bound, right),
        };
        Some((up, Node::Branch(Arc::new(half))))
    }

    /// Removes a child that is empty, or joins one that is small with its neighbour.
    fn tidy(&mut self, at: usize) {
        let width = |at: usize| self.children.get(at).map_or(CAPACITY, Node::width);
        if width(at) == 0 && self.children.len() > 1 {
            self.children.remove(at);
            self.bounds.remove(at.saturating_sub(1));
            return;
        }
        if width(at) < CAPACITY / 4 {
            let left = if at > 0 && width(at - 1) + width(at) <= CAPACITY / 2 { at - 1 } else { at };
            if left + 1 < self.children.len() && width(left) + width(left + 1) <= CAPACITY / 2 {
                self.join(left);
            }
        }
    }

    /// Makes one child of two neighbours.
    fn join(&mut self, left: usize) {
        let right = self.children.remove(left + 1);
        let bound = self.bounds.remove(left);
        match (self.children.get_mut(left), right, bound) {
            (Some(Node::Leaf(left)), Node::Leaf(right), _) => {
                Arc::make_mut(left).append(right.items().iter().cloned());
            }
            (Some(Node::Branch(left)), Node::Branch(right), Some(bound)) => {
                let left = Arc::make_mut(left);
                left.bounds.append(std::iter::once(bound).chain(right.bounds.items().iter().cloned()));
                left.children.extend(right.children.iter().cloned());
            }
            // All children of a branch are of one kind.
            _ => {}
        }
    }
}

/// Entries in the order of their keys.
#[derive(Clone)]
pub(super) struct Entries<'a> {
    /// What is left of each branch on the way down.
    ways: Vec<slice::Iter<'a, Node>>,
    leaf: slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            match self.ways.last_mut()?.next() {
                None => drop(self.ways.pop()),
                Some(Node::Branch(branch)) => self.ways.push(branch.children.iter()),
                Some(Node::Leaf(leaf)) => self.leaf = leaf.items().iter(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
