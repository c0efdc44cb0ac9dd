//! All images now mapped: which one an address belongs to, and what is known of it.

use std::sync::{Arc, PoisonError, RwLock};

use crate::error::LoadError;
use crate::headers::{Directory, Headers};
use crate::view::{Reader, View};

static IMAGES: RwLock<Vec<Arc<Known>>> = RwLock::new(Vec::new());

/// One entry of an image's function table (`RUNTIME_FUNCTION`), as RVAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) begin: u32,
    pub(crate) end: u32,
    pub(crate) unwind: u32,
    /// Where the entry itself is.
    pub(crate) entry: u32,
}

/// What is known of a mapped image, apart from the mapping itself.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) base: u64,
    pub(crate) view: View,
    pub(crate) exports: Vec<(usize, String)>,
    pub(crate) functions: Vec<Function>,
}

impl Known {
    pub(crate) fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.view.0.len() as u64
    }

    /// The function table entry that covers `rva`.
    pub(crate) fn function_at(&self, rva: u32) -> Option<Function> {
        let after = self
            .functions
            .partition_point(|function| function.begin <= rva);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (rva < function.end).then_some(*function)
    }

    /// `image+0xRVA`, and the exported function that `address` is in, as far as that is known.
    pub(crate) fn symbol(&self, address: u64) -> String {
        let rva = address.wrapping_sub(self.base);
        let plain = format!("{}+{rva:#x}", self.name);
        let offset = usize::try_from(rva).unwrap_or(usize::MAX);
        let after = self.exports.partition_point(|&(start, _)| start <= offset);
        let Some((start, name)) = after.checked_sub(1).and_then(|it| self.exports.get(it)) else {
            return plain;
        };
        // Only if the export and the address are in one function: others have no exported name.
        let function = |at: usize| u32::try_from(at).ok().and_then(|rva| self.function_at(rva));
        match (function(*start), function(offset)) {
            (Some(of_export), Some(of_address)) if of_export == of_address => {
                format!("{plain} ({name}+{:#x})", offset - start)
            }
            _ if *start == offset => format!("{plain} ({name})"),
            _ => plain,
        }
    }
}

/// Reads the function table, sorted as the format demands.
pub(crate) fn functions(view: Reader<'_>, headers: &Headers) -> Result<Vec<Function>, LoadError> {
    let Some((start, size)) = headers.directory(Directory::Exception) else {
        return Ok(Vec::new());
    };
    let mut functions: Vec<Function> = Vec::new();
    for index in 0..size / 12 {
        let entry = start.wrapping_add(index * 12);
        let malformed = LoadError::BadFunctionTable(entry);
        let function = read_function(view, entry).ok_or(malformed.clone())?;
        // Ends may overlap: a chained part can lie within the function that it is a part of.
        let previous = functions.last().map_or(0, |previous| previous.begin);
        if function.begin >= function.end || function.begin < previous {
            return Err(malformed);
        }
        functions.push(function);
    }
    Ok(functions)
}

/// Reads the function table entry at `entry`.
pub(crate) fn read_function(view: Reader<'_>, entry: u32) -> Option<Function> {
    let at = entry as usize;
    let (begin, end, unwind) = (view.u32(at)?, view.u32(at + 4)?, view.u32(at + 8)?);
    Some(Function {
        begin,
        end,
        unwind,
        entry,
    })
}

pub(crate) fn add(image: Arc<Known>) {
    IMAGES
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .push(image);
}

pub(crate) fn remove(image: &Arc<Known>) {
    let mut images = IMAGES.write().unwrap_or_else(PoisonError::into_inner);
    images.retain(|other| !Arc::ptr_eq(other, image));
}

/// Runs `look` on the image that holds `address`.
///
/// `look` must not run driver code: it could leave without giving the lock back.
pub(crate) fn with_image<T>(address: u64, look: impl FnOnce(&Known) -> T) -> Option<T> {
    let images = IMAGES.read().unwrap_or_else(PoisonError::into_inner);
    images
        .iter()
        .find(|image| image.contains(address))
        .map(|image| look(image))
}
