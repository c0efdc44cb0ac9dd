//! DMA adapters. The device sees addresses of its own, below its address width; the memory behind them lies above 4 GiB, as
//! on a machine whose low memory is not to be had. So a physical address is never by chance a device address.
//!
//! What the table does not offer is null: channels, map registers, and vectors of buffers.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    blocks::{self, Purpose},
    log,
    mdl::Mdl,
    ranges::{Place, Ranges},
    system::{self, Status},
};

const FOUR_GIB: u64 = 1 << 32;
/// Device addresses begin here.
const FIRST_LOGICAL: u64 = 0x80_0000;
const MAP_REGISTERS: u32 = 512;
/// What `DMA_OPERATIONS` has 8 bytes each for, after its size.
const MEMBERS: usize = 39;

/// `DMA_OPERATIONS`.
#[repr(C)]
struct Operations {
    size: u32,
    members: [usize; MEMBERS],
}

const _: () = assert!(size_of::<Operations>() == 320);

/// The beginning of `DEVICE_DESCRIPTION`, and the member of version 3.
#[repr(C)]
pub(crate) struct Description {
    version: u32,
    master: u8,
    scatter_gather: u8,
    demand_mode: u8,
    auto_initialize: u8,
    dma_32_bit: u8,
    ignore_count: u8,
    reserved: u8,
    dma_64_bit: u8,
    between: [u32; 7],
    address_width: u32,
}

const _: () = assert!(std::mem::offset_of!(Description, address_width) == 40);

/// A `DMA_ADAPTER`, and what only this module sees.
#[repr(C)]
pub(crate) struct Adapter {
    version: u16,
    size: u16,
    operations: *const Operations,
    table: Operations,
    state: Mutex<State>,
}

struct State {
    logical: Ranges,
    /// By device address.
    buffers: BTreeMap<u64, Buffer>,
}

/// A common buffer.
struct Buffer {
    address: usize,
    length: u32,
    cached: u8,
    /// Whether the memory is the driver's.
    borrowed: bool,
}

/// A `SCATTER_GATHER_LIST` with one element.
#[repr(C)]
pub(crate) struct List {
    count: u32,
    reserved: usize,
    address: u64,
    length: u32,
    element_reserved: usize,
}

const _: () = assert!(size_of::<List>() == 40);

type ListControl = unsafe extern "system" fn(*mut c_void, *mut c_void, *mut List, *mut c_void);

impl Adapter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, length: u32, place: Place, cached: u8) -> Option<(usize, u64)> {
        let above = Place {
            lowest: FOUR_GIB,
            ..Place::ANY
        };
        let mut state = self.state();
        let logical = state.logical.take(u64::from(length), place)?;
        let Some(block) = blocks::allocate(u64::from(length), above, Purpose::CommonBuffer) else {
            state.logical.give_back(logical);
            return None;
        };
        let buffer = Buffer {
            address: block.address,
            length,
            cached,
            borrowed: false,
        };
        state.buffers.insert(logical, buffer);
        Some((block.address, logical))
    }
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn IoGetDmaAdapter(
    _device: *mut c_void,
    description: &Description,
    map_registers: &mut u32,
) -> *mut Adapter {
    let (size, width) = match description.version {
        1 | 2 if description.dma_64_bit != 0 => (104, 64),
        1 => (104, 32),
        2 => (128, 32),
        3 => (320, description.address_width),
        _ => return ptr::null_mut(),
    };
    if description.master == 0 || !(24..=64).contains(&width) {
        return ptr::null_mut();
    }
    let last = 1_u64
        .checked_shl(width)
        .map_or(u64::MAX >> 1, |end| end.wrapping_sub(1));
    let adapter = Box::into_raw(Box::new(Adapter {
        version: 1,
        size: 16,
        operations: ptr::null(),
        table: table(size),
        state: Mutex::new(State {
            logical: Ranges::new(FIRST_LOGICAL, last),
            buffers: BTreeMap::new(),
        }),
    }));
    // SAFETY: just made, and nobody else's yet.
    let made = unsafe { &mut *adapter };
    made.operations = &raw const made.table;
    *map_registers = MAP_REGISTERS;
    adapter
}

/// The table, as long as the version makes it.
fn table(size: u32) -> Operations {
    let mut members = [0; MEMBERS];
    let offered = [
        (8, put_adapter as *const () as usize),
        (16, allocate as *const () as usize),
        (24, free as *const () as usize),
        (72, alignment as *const () as usize),
        (88, get_list as *const () as usize),
        (96, put_list as *const () as usize),
        (152, allocate_ex as *const () as usize),
        (272, allocate_with_bounds as *const () as usize),
        (312, create_from_mdl as *const () as usize),
    ];
    for (member, (at, routine)) in offered
        .iter()
        .filter_map(|entry| members_at(entry.0).map(|index| (index, entry)))
    {
        debug_assert!(*at >= 8);
        if let Some(slot) = members.get_mut(member)
            && *at < size as usize
        {
            *slot = *routine;
        }
    }
    Operations { size, members }
}

/// The member at an offset of the table.
const fn members_at(offset: usize) -> Option<usize> {
    match offset.checked_sub(8) {
        Some(after_size) => after_size.checked_div(8),
        None => None,
    }
}

unsafe extern "system" fn put_adapter(adapter: *mut Adapter) {
    // SAFETY: from `IoGetDmaAdapter`, and put back once.
    let adapter = unsafe { Box::from_raw(adapter) };
    let left = adapter.state().buffers.len();
    if left > 0 {
        log::misuse("PutDmaAdapter", &format!("{left} common buffers are left"));
    }
}

extern "system" fn allocate(
    adapter: &Adapter,
    length: u32,
    logical: &mut u64,
    cached: u8,
) -> *mut c_void {
    give(adapter.allocate(length, Place::ANY, cached), logical)
}

extern "system" fn allocate_ex(
    adapter: &Adapter,
    highest: Option<&u64>,
    length: u32,
    logical: &mut u64,
    cached: u8,
    _node: u32,
) -> *mut c_void {
    let place = Place::up_to(highest.copied().unwrap_or(u64::MAX));
    give(adapter.allocate(length, place, cached), logical)
}

extern "system" fn allocate_with_bounds(
    adapter: &Adapter,
    lowest: Option<&u64>,
    highest: Option<&u64>,
    length: u32,
    _flags: u32,
    cache: Option<&i32>,
    _node: u32,
    logical: &mut u64,
) -> *mut c_void {
    let place = Place {
        lowest: lowest.copied().unwrap_or(0),
        highest: highest.copied().unwrap_or(u64::MAX),
        boundary: 0,
    };
    let cached = u8::from(cache.is_none_or(|&kind| kind == 1));
    give(adapter.allocate(length, place, cached), logical)
}

fn give(buffer: Option<(usize, u64)>, logical: &mut u64) -> *mut c_void {
    buffer.map_or(ptr::null_mut(), |(address, device_address)| {
        *logical = device_address;
        ptr::with_exposed_provenance_mut(address)
    })
}

extern "system" fn free(
    adapter: &Adapter,
    length: u32,
    logical: u64,
    address: *mut c_void,
    cached: u8,
) {
    let mut state = adapter.state();
    let Some(buffer) = state.buffers.remove(&logical) else {
        log::misuse("FreeCommonBuffer", "no common buffer has that address");
        return;
    };
    state.logical.give_back(logical);
    drop(state);
    let same = buffer.length == length && buffer.address == address.addr();
    if !same || (buffer.cached != cached && !buffer.borrowed) {
        log::misuse("FreeCommonBuffer", "not the arguments of the allocation");
    }
    if !buffer.borrowed && blocks::free(buffer.address, Purpose::CommonBuffer).is_none() {
        log::misuse("FreeCommonBuffer", "the memory is gone");
    }
}

extern "system" fn alignment(_adapter: &Adapter) -> u32 {
    1
}

/// `DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION`, as far as it limits addresses.
#[repr(C)]
pub(crate) struct Configuration {
    kind: i32,
    minimum: u64,
    maximum: u64,
    reserved: [u64; 2],
}

unsafe extern "system" fn create_from_mdl(
    adapter: &Adapter,
    mdl: &Mdl,
    configuration: *const Configuration,
    count: u32,
    logical: &mut u64,
) -> Status {
    let mut place = Place::ANY;
    if count > 0 {
        // SAFETY: the caller says that there is one.
        let limits = unsafe { &*configuration };
        if limits.kind != 0 || count > 1 {
            return system::NOT_SUPPORTED;
        }
        place.lowest = limits.minimum;
        place.highest = limits.maximum;
    }
    let address = mdl.address();
    let mut state = adapter.state();
    let Some(at) = state.logical.take(u64::from(mdl.bytes()), place) else {
        return system::INSUFFICIENT_RESOURCES;
    };
    let buffer = Buffer {
        address,
        length: mdl.bytes(),
        cached: 1,
        borrowed: true,
    };
    state.buffers.insert(at, buffer);
    *logical = at;
    system::SUCCESS
}

unsafe extern "system" fn get_list(
    adapter: &Adapter,
    device: *mut c_void,
    _mdl: &Mdl,
    _address: *mut c_void,
    length: u32,
    control: ListControl,
    context: *mut c_void,
    _write: u8,
) -> Status {
    let Some(address) = adapter.state().logical.take(u64::from(length), Place::ANY) else {
        return system::INSUFFICIENT_RESOURCES;
    };
    let list = Box::into_raw(Box::new(List {
        count: 1,
        reserved: 0,
        address,
        length,
        element_reserved: 0,
    }));
    // SAFETY: the caller's routine, called with its context.
    unsafe { control(device, ptr::null_mut(), list, context) };
    system::SUCCESS
}

unsafe extern "system" fn put_list(adapter: &Adapter, list: *mut List, _write: u8) {
    // SAFETY: from `get_list`, and put back once.
    let list = unsafe { Box::from_raw(list) };
    if adapter.state().logical.give_back(list.address).is_none() {
        log::misuse("PutScatterGatherList", "put back twice");
    }
}
