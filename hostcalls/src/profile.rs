//! Where guests spend their time: samples of their stacks, as a tree of calls.
//!
//! The machine counts samples into a [`Profile`] and says it on the report channel, a line for each place in the tree:
//! `lunette: profile CALLER TICKS NAME`. `tools/lunette` reads it back. Both use this file.
//!
//! Promises: it never has more than [`MAX_NODES`] places, whatever guests call; what finds no place is counted where its
//! callers are, and [`Profile::cut`] says how much that was. Lines that make no sense are no part of it.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec::Vec};
use core::iter::successors;

/// How many places there may be in a profile, a place being a function and all its callers.
pub const MAX_NODES: usize = 20_000;

/// How deep it may be.
pub const MAX_DEPTH: usize = 200;

/// How long a name may be, in bytes.
pub const MAX_NAME: usize = 200;

/// A function, called by these callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// By its number; callers come before whom they call. `None`: a guest, called by nobody.
    pub caller: Option<usize>,
    /// How many callers it has, theirs included.
    pub depth: usize,
    /// How often it was itself at work, not one that it calls.
    pub own: u64,
}

/// Samples of stacks.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    nodes: Vec<Node>,
    /// Who is called from where, by name.
    called: BTreeMap<(Option<usize>, String), usize>,
    cut: u64,
}

/// How each line of a profile begins.
const LINE: &str = "lunette: profile ";
const CUT: &str = "lunette: profile cut ";

impl Profile {
    /// All places, callers first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many samples were of more different places than are kept.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// How many samples there are in all.
    pub fn ticks(&self) -> u64 {
        self.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.own))
    }

    /// Counts a stack, outermost function first, as often as `ticks`.
    pub fn count<'n>(&mut self, stack: impl IntoIterator<Item = &'n str>, ticks: u64) {
        let mut at = None;
        for name in stack {
            match self.enter(at, name) {
                Some(node) => at = Some(node),
                None => {
                    self.cut = self.cut.saturating_add(ticks);
                    break;
                }
            }
        }
        if let Some(at) = at {
            self.nodes[at].own = self.nodes[at].own.saturating_add(ticks);
        }
    }

    fn enter(&mut self, caller: Option<usize>, name: &str) -> Option<usize> {
        let key = (caller, fit(name));
        if let Some(node) = self.called.get(&key) {
            return Some(*node);
        }
        let depth = caller.map_or(0, |caller| self.nodes[caller].depth + 1);
        if self.nodes.len() >= MAX_NODES || depth >= MAX_DEPTH {
            return None;
        }
        self.nodes.push(Node { name: key.1.clone(), caller, depth, own: 0 });
        self.called.insert(key, self.nodes.len() - 1);
        Some(self.nodes.len() - 1)
    }

    /// For the report channel; no line has an end.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let nodes = self.nodes.iter().map(|node| {
            // 0 is nobody.
            let caller = node.caller.map_or(0, |caller| caller + 1);
            format!("{LINE}{caller} {} {}", node.own, node.name)
        });
        nodes.chain((self.cut > 0).then(|| format!("{CUT}{}", self.cut)))
    }

    /// Takes one of these lines, if it is one.
    pub fn read(&mut self, line: &str) {
        if let Some(cut) = line.strip_prefix(CUT) {
            self.cut = cut.trim_end().parse().unwrap_or(self.cut);
            return;
        }
        let mut parts = line.strip_prefix(LINE).unwrap_or_default().trim_end().splitn(3, ' ');
        let (Some(caller), Some(own), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let (Ok(caller), Ok(own)) = (caller.parse::<usize>(), own.parse::<u64>()) else { return };
        // Whoever calls is there already, or it is no tree.
        if caller > self.nodes.len() {
            return;
        }
        if let Some(node) = self.enter(caller.checked_sub(1), name) {
            self.nodes[node].own = self.nodes[node].own.saturating_add(own);
        }
    }

    /// A line for each stack, `a;b;c 12`, outermost function first: what all tools for flame graphs read.
    pub fn folded(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().filter(|node| node.own > 0).map(|node| {
            let mut stack: Vec<_> = successors(Some(node), |node| Some(&self.nodes[node.caller?])).collect();
            stack.reverse();
            let names: Vec<_> = stack.iter().map(|node| node.name.replace(';', ":")).collect();
            format!("{} {}", names.join(";"), node.own)
        })
    }
}

/// A name that fits on a line: without control characters, and not too long.
fn fit(name: &str) -> String {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = name[..end].trim();
    if name.is_empty() {
        return "?".to_owned();
    }
    name.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let mut profile = Profile::default();
        profile.count(["app", "main", "sort"], 3);
        profile.count(["app", "main"], 1);
        profile.count(["app", "main", "sort", "swap;two"], 2);
        profile.count(["app", "main", "sort"], 1);
        profile
    }

    #[test]
    fn stacks_are_folded() {
        let profile = profile();
        let folded: Vec<_> = profile.folded().collect();
        assert_eq!(folded, ["app;main 1", "app;main;sort 4", "app;main;sort;swap:two 2"]);
        assert_eq!(profile.ticks(), 7);
    }

    #[test]
    fn a_profile_reads_back() {
        let mut read = Profile::default();
        read.read("lunette: mark runtime 12");
        profile().lines().for_each(|line| read.read(&format!("{line}\n")));
        assert_eq!(read.nodes(), profile().nodes());
        // Several guests, and names that are none.
        let mut odd = Profile::default();
        odd.count(["b", "", "a\nb"], 1);
        odd.count(["c", &"ä".repeat(MAX_NAME)], 1);
        let mut read = Profile::default();
        odd.lines().for_each(|line| read.read(&line));
        assert_eq!(read.nodes(), odd.nodes());
        assert!(read.nodes().iter().all(|node| node.name.len() <= MAX_NAME && !node.name.contains('\n')));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let mut read = Profile::default();
        for line in [
            "lunette: profile ",
            "lunette: profile 0 1",
            "lunette: profile 1 1 an orphan",
            "lunette: profile -1 1 x",
            "lunette: profile 0 99999999999999999999999 x",
            "lunette: profile cut many",
            "lunette: farewell exit 0",
        ] {
            read.read(line);
        }
        assert!(read.nodes().is_empty() && read.cut() == 0);
        for _ in 0..2 {
            read.read(&format!("lunette: profile 0 {} x", u64::MAX));
        }
        read.read("lunette: profile 1 1 x");
        assert_eq!((read.nodes().len(), read.ticks()), (2, u64::MAX));
    }

    #[test]
    fn its_size_is_bounded_and_nothing_is_lost() {
        let mut profile = Profile::default();
        for n in 0..MAX_NODES + 100 {
            profile.count(["app", "main", &format!("f{n}")], 1);
        }
        assert_eq!(profile.nodes().len(), MAX_NODES);
        assert_eq!((profile.ticks(), profile.cut()), (MAX_NODES as u64 + 100, 102));
        let mut read = Profile::default();
        profile.lines().for_each(|line| read.read(&line));
        assert_eq!((read.nodes(), read.cut()), (profile.nodes(), 102));
        // One that had no place at all has no sample either.
        profile.count(["another"], 1);
        assert_eq!((profile.ticks(), profile.cut()), (MAX_NODES as u64 + 100, 103));
        let mut deep = Profile::default();
        deep.count(core::iter::repeat_n("down", MAX_DEPTH + 7), 5);
        assert_eq!((deep.nodes().len(), deep.ticks(), deep.cut()), (MAX_DEPTH, 5, 5));
    }
}
