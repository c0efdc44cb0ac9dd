//! The import table: which routines an image needs, and where their addresses go.

use crate::error::LoadError;
use crate::headers::{Directory, Headers};
use crate::routine::Import;
use crate::stub::stub;
use crate::view::{Reader, View};

/// More imports than any module exports: a table that claims more is malformed.
const MAXIMUM_IMPORTS: usize = 1 << 16;
const DESCRIPTOR: usize = 20;
const BY_ORDINAL: u64 = 1 << 63;

/// A routine or variable that an image imports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImportName {
    /// File name of the exporting module, as the image spells it.
    pub module: String,
    /// Exported name, or `#` and the ordinal.
    pub routine: String,
}

/// An imported name and the slot for its address.
struct Slot {
    name: ImportName,
    rva: usize,
}

/// Fills the import address table and returns what the image imports.
pub(crate) fn bind(
    view: &mut View,
    headers: &Headers,
    resolve: &mut dyn FnMut(&str, &str) -> Option<Import>,
) -> Result<Vec<ImportName>, LoadError> {
    let slots = collect(view.read(), headers)?;
    let mut missing = Vec::new();
    for slot in &slots {
        let address = match resolve(&slot.name.module, &slot.name.routine) {
            Some(Import::Routine(routine)) => stub(routine).addr(),
            Some(Import::Data(variable)) => variable.addr().get(),
            None => {
                missing.push((slot.name.module.clone(), slot.name.routine.clone()));
                continue;
            }
        };
        view.put_u64(slot.rva, address as u64)
            .ok_or(malformed("address table", slot.rva))?;
    }
    if missing.is_empty() {
        Ok(slots.into_iter().map(|slot| slot.name).collect())
    } else {
        Err(LoadError::MissingImports(missing))
    }
}

fn malformed(what: &'static str, rva: usize) -> LoadError {
    LoadError::BadImports {
        what,
        rva: u32::try_from(rva).unwrap_or(u32::MAX),
    }
}

fn collect(view: Reader<'_>, headers: &Headers) -> Result<Vec<Slot>, LoadError> {
    let mut slots = Vec::new();
    let Some((start, _)) = headers.directory(Directory::Import) else {
        return Ok(slots);
    };
    let mut at = start as usize;
    loop {
        let field = |offset| {
            view.u32(at + offset)
                .map(|it| it as usize)
                .ok_or(malformed("descriptor", at))
        };
        let (lookup, name, addresses) = (field(0)?, field(12)?, field(16)?);
        if name == 0 || addresses == 0 {
            return Ok(slots);
        }
        let module = view.name(name).ok_or(malformed("module name", name))?;
        let lookup = if lookup == 0 { addresses } else { lookup };
        collect_module(view, module, lookup, addresses, &mut slots)?;
        at += DESCRIPTOR;
    }
}

fn collect_module(
    view: Reader<'_>,
    module: &str,
    lookup: usize,
    addresses: usize,
    slots: &mut Vec<Slot>,
) -> Result<(), LoadError> {
    for index in 0.. {
        let at = lookup + index * 8;
        let entry = view.u64(at).ok_or(malformed("lookup table", at))?;
        if entry == 0 {
            break;
        }
        if slots.len() == MAXIMUM_IMPORTS {
            return Err(malformed("too many imports", at));
        }
        let routine = if entry & BY_ORDINAL == 0 {
            let hint = usize::try_from(entry & 0x7fff_ffff).unwrap_or(usize::MAX);
            view.name(hint + 2)
                .ok_or(malformed("routine name", hint))?
                .to_owned()
        } else {
            format!("#{}", entry & 0xffff)
        };
        let name = ImportName {
            module: module.to_owned(),
            routine,
        };
        let rva = addresses + index * 8;
        view.u64(rva).ok_or(malformed("address table", rva))?;
        slots.push(Slot { name, rva });
    }
    Ok(())
}
