//! What a device holds from its start to its stop.

use sanproxy_abi::{Kind, Kinds};
use wdm::{
    device::Objects,
    dma::{Adapter, Description},
    node,
    pool::Shared,
    status::Status,
};

use super::Settings;
use crate::memory::Reserve;

/// A started device's adapter and reserve, and the parameters it was started with.
pub(crate) struct Hardware {
    pub(crate) settings: Settings,
    pub(crate) highest_node: u32,
    // Dropped in this order: the reserve is memory of the adapter.
    pub(crate) reserve: Option<Shared<Reserve>>,
    pub(crate) adapter: Option<Shared<Adapter>>,
}

impl Hardware {
    /// Gets an adapter, if there is one, and fills the reserve as far as there is memory.
    pub(crate) fn start(objects: &Shared<Objects>, settings: Settings) -> Result<Self, Status> {
        let description = Description {
            address_width: settings.address_width,
            maximum_length: settings.maximum_length,
        };
        let adapter = match Adapter::get(objects, description) {
            Some(adapter) => Some(Shared::new(adapter)?),
            None => None,
        };
        let reserve = adapter
            .as_ref()
            .and_then(|adapter| Reserve::fill(adapter, settings.reserve_bytes));
        let reserve = match reserve {
            Some(reserve) => Some(Shared::new(reserve)?),
            None => None,
        };
        Ok(Self {
            settings,
            highest_node: node::highest(),
            reserve,
            adapter,
        })
    }

    /// The kinds of memory that it can give.
    pub(crate) const fn kinds(&self) -> Kinds {
        let kinds = Kinds::NONE
            .with(Kind::Contiguous)
            .with(Kind::HostMemoryBuffer);
        if self.adapter.is_some() {
            kinds.with(Kind::CommonBuffer).with(Kind::UserBuffer)
        } else {
            kinds
        }
    }
}
