//! The export table: names for addresses.

use crate::headers::{Directory, Headers};
use crate::view::Reader;

/// Exported functions as (RVA, name), sorted by RVA; a malformed table gives fewer.
pub(crate) fn collect(view: Reader<'_>, headers: &Headers) -> Vec<(usize, String)> {
    let mut exports = Vec::new();
    if let Some((start, _)) = headers.directory(Directory::Export) {
        // The names only decorate reports: what cannot be read is left out.
        let _ = collect_names(view, start as usize, &mut exports);
    }
    exports.sort();
    exports
}

fn collect_names(view: Reader<'_>, start: usize, exports: &mut Vec<(usize, String)>) -> Option<()> {
    let count = view.u32(start + 24)?.min(1 << 16) as usize;
    let functions = view.u32(start + 28)? as usize;
    let names = view.u32(start + 32)? as usize;
    let ordinals = view.u32(start + 36)? as usize;
    for index in 0..count {
        let name = view.name(view.u32(names + index * 4)? as usize)?;
        let ordinal = usize::from(view.u16(ordinals + index * 2)?);
        let rva = view.u32(functions + ordinal * 4)? as usize;
        exports.push((rva, name.to_owned()));
    }
    Some(())
}
