//! A short queue whose nodes are allocated before, and freed after, the lock over it is held.

use crate::{
    list::{List, Node},
    pool::Owned,
};

/// First in, first out. Each step goes through the whole queue, so its owner keeps it short.
pub struct Fifo<T> {
    nodes: List<T>,
    length: u32,
}

impl<T> Fifo<T> {
    /// A queue without nodes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            nodes: List::new(),
            length: 0,
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// Puts a node at the end.
    pub fn push(&mut self, node: Owned<Node<T>>) {
        self.nodes.append(node);
        self.length = self.length.saturating_add(1);
    }

    /// The value that has waited longest.
    #[must_use]
    pub fn front(&self) -> Option<&T> {
        self.nodes.iter().next()
    }

    /// Takes out the node that has waited longest.
    pub fn pop(&mut self) -> Option<Owned<Node<T>>> {
        self.remove(|_| true)
    }

    /// Takes out the node that has waited longest of those whose value passes the test.
    pub fn remove(&mut self, test: impl FnMut(&T) -> bool) -> Option<Owned<Node<T>>> {
        let node = self.nodes.remove(test)?;
        self.length = self.length.saturating_sub(1);
        Some(node)
    }
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self::new()
    }
}
