//! A list whose nodes are allocated before, and freed after, the lock over it is held.

use crate::{pool::Owned, status::NoMemory};

/// A value on its way into a list, or just taken out of one.
pub struct Node<T> {
    next: Link<T>,
    value: T,
}

type Link<T> = Option<Owned<Node<T>>>;

impl<T> Node<T> {
    /// A node for `value`.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn new(value: T) -> Result<Owned<Self>, NoMemory> {
        Owned::new(Self { next: None, value })
    }

    /// The value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The value.
    pub const fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A singly linked list; the newest node comes first.
pub struct List<T> {
    head: Link<T>,
}

impl<T> List<T> {
    /// A list without nodes.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: None }
    }

    /// Puts a node in front.
    pub fn push(&mut self, mut node: Owned<Node<T>>) {
        node.next = self.head.take();
        self.head = Some(node);
    }

    /// Puts a node at the end, past all others: for short lists.
    pub fn append(&mut self, node: Owned<Node<T>>) {
        let mut link = &mut self.head;
        while let Some(next) = link {
            link = &mut next.next;
        }
        *link = Some(node);
    }

    /// Takes out the first node whose value passes the test. Dropping it is left to the caller, who
    /// may have a lock to give back first.
    pub fn remove(&mut self, mut test: impl FnMut(&T) -> bool) -> Option<Owned<Node<T>>> {
        let mut link = &mut self.head;
        while link.as_ref().is_some_and(|node| !test(&node.value)) {
            link = &mut link.as_mut()?.next;
        }
        let mut node = link.take()?;
        *link = node.next.take();
        Some(node)
    }

    /// The values, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        core::iter::successors(self.head.as_deref(), |node| node.next.as_deref())
            .map(|node| &node.value)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        // One by one: dropping the first node would recurse once per node, on a small stack.
        while self.remove(|_| true).is_some() {}
    }
}
