//! Device objects, the stacks they form, the interfaces they offer, and the bus below them.

pub(crate) mod check;
pub(crate) mod interface;
pub(crate) mod link;
pub(crate) mod node;
pub(crate) mod object;
pub(crate) mod pnp;
pub(crate) mod root_bus;
pub(crate) mod stack;

pub use node::Device;
