//! Directed graph of files (or features) that name each other, with the place of each edge, and its circles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Edges from a node to the nodes it names, each with the first place that does so.
#[derive(Default)]
pub struct Graph(BTreeMap<String, BTreeMap<String, String>>);

/// A set of nodes that reach each other (a strongly connected component).
pub struct Circle {
    /// A shortest circle in the set: the first node is also the last.
    pub way: Vec<String>,
    /// The place of each edge of this circle.
    pub places: Vec<String>,
    /// Number of nodes in the set.
    pub nodes: usize,
}

impl Graph {
    pub fn add(&mut self, from: &str, to: &str, place: String) {
        self.0.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert(place);
    }

    fn next<'g>(&'g self, node: &str) -> impl Iterator<Item = &'g str> {
        self.0.get(node).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Every node that can be reached from `start`, with the node before it on a shortest path.
    fn reach<'g>(&'g self, start: &'g str) -> BTreeMap<&'g str, &'g str> {
        let mut reached = BTreeMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(node) = open.pop_front() {
            for next in self.next(node) {
                if !reached.contains_key(next) {
                    reached.insert(next, node);
                    open.push_back(next);
                }
            }
        }
        reached
    }

    /// Finds one circle for each set of nodes that reach each other.
    pub fn circles(&self) -> Vec<Circle> {
        let reached: BTreeMap<&str, BTreeMap<&str, &str>> = self.0.keys().map(|node| (node.as_str(), self.reach(node))).collect();
        let mut done = BTreeSet::new();
        let mut found = Vec::new();
        for node in reached.keys() {
            if done.contains(node) || !reached[node].contains_key(node) {
                continue;
            }
            let nodes: Vec<&str> =
                reached[node].keys().copied().filter(|other| reached.get(other).is_some_and(|r| r.contains_key(node))).collect();
            done.extend(nodes.iter().copied());
            let ways = nodes.iter().map(|start| way_round(start, &reached[start]));
            let way = ways.min_by_key(Vec::len).unwrap_or_default();
            let places = way.windows(2).map(|step| self.0[&step[0]][&step[1]].clone()).collect();
            found.push(Circle { way, places, nodes: nodes.len() });
        }
        found
    }

    /// The graph as text for Graphviz: `dot -Tsvg`.
    pub fn dot(&self) -> String {
        let edges = self.0.iter().flat_map(|(from, edges)| edges.keys().map(move |to| format!("  \"{from}\" -> \"{to}\";\n")));
        format!("digraph imports {{\n{}}}", edges.collect::<String>())
    }
}

/// A shortest path from a node back to itself.
fn way_round(start: &str, reached: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut way = vec![start.to_owned()];
    let mut node = start;
    while let Some(before) = reached.get(node) {
        way.push((*before).to_owned());
        node = before;
        if node == start {
            break;
        }
    }
    way.reverse();
    way
}
