//! Every wrapper of the library's DMA module, called by a driver that does nothing else, with every version of the
//! interface, with and without an IOMMU, and with too little of everything.
//!
//! Cites dma.md sections 1-5; verifier-rules.md: V143-V182.

mod adapters;
mod common;
mod domains;
mod driver;
mod information;
mod lists;
mod offers;
mod packets;
mod shortages;
mod stage;
mod system;
mod table;
mod waiting;
