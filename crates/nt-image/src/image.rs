//! A driver image in memory.

use std::sync::Arc;

use crate::error::LoadError;
use crate::exports;
use crate::headers::{Directory, Headers, PAGE, Protection, Section};
use crate::imports::{self, ImportName};
use crate::mapping::Mapping;
use crate::registry::{self, Known};
use crate::relocations;
use crate::routine::Import;

/// Something about an image that loads but that a code-integrity check objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The verifier rule, e.g. `V140`.
    pub rule: &'static str,
    /// What was found.
    pub message: String,
}

/// A driver image, mapped. Several copies of one file can be mapped at once.
///
/// Dropping it unmaps it: by then no thread may run its code or come back to it.
#[derive(Debug)]
pub struct Image {
    mapping: Mapping,
    known: Arc<Known>,
    headers: Headers,
    imports: Vec<ImportName>,
    findings: Vec<Finding>,
}

impl Image {
    /// Maps `file` as the system loader does: sections with their protections, none of them both
    /// writable and executable; relocations to the real base; imports bound to what `resolve`
    /// gives for (module, routine), routines through stubs.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; or all imports that `resolve` has nothing for.
    pub fn load(
        name: &str,
        file: &[u8],
        resolve: &mut dyn FnMut(&str, &str) -> Option<Import>,
    ) -> Result<Self, LoadError> {
        let headers = Headers::parse(file)?;
        let mut view = headers.lay_out(file);
        let functions = registry::functions(view.read(), &headers)?;
        let exports = exports::collect(view.read(), &headers);
        let unmappable = |error: std::io::Error| LoadError::Unmappable(error.kind());
        let mapping = Mapping::reserve(headers.size).map_err(unmappable)?;
        let base = mapping.base().addr() as u64;
        relocations::apply(&mut view, &headers, base)?;
        let imports = imports::bind(&mut view, &headers, resolve)?;
        let writable = Protection {
            read: true,
            write: true,
            ..Protection::default()
        };
        mapping
            .protect(0..headers.size, writable)
            .map_err(unmappable)?;
        // SAFETY: the whole image has just become writable, and nobody else knows of it.
        unsafe { mapping.write(&view.0) };
        protect(&mapping, &headers).map_err(unmappable)?;
        let known = Known {
            name: name.to_owned(),
            base,
            view,
            exports,
            functions,
        };
        let known = Arc::new(known);
        registry::add(Arc::clone(&known));
        let findings = examine(&headers);
        Ok(Self {
            mapping,
            known,
            headers,
            imports,
            findings,
        })
    }

    /// Address of the entry point (`DriverEntry`).
    #[must_use]
    pub fn entry(&self) -> *const () {
        self.mapping
            .base()
            .wrapping_add(self.headers.entry)
            .cast_const()
            .cast()
    }

    /// Address of the image's first byte.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.known.base
    }

    /// Size of the image in memory (`SizeOfImage`).
    #[must_use]
    pub fn size(&self) -> usize {
        self.headers.size
    }

    /// Whether `address` is inside the image.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        self.known.contains(address)
    }

    /// The sections, in the order of their addresses.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.headers.sections
    }

    /// Everything that the image imports.
    #[must_use]
    pub fn imports(&self) -> &[ImportName] {
        &self.imports
    }

    /// Address of the exported function or variable `name`.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<*const ()> {
        let (rva, _) = self
            .known
            .exports
            .iter()
            .find(|(_, export)| export == name)?;
        Some(self.mapping.base().wrapping_add(*rva).cast_const().cast())
    }

    /// `DllCharacteristics` of the optional header.
    #[must_use]
    pub fn dll_characteristics(&self) -> u16 {
        self.headers.dll_characteristics
    }

    /// `name+0xRVA` for an address in the image, with the exported function if it is in one; just
    /// the number for an address elsewhere.
    #[must_use]
    pub fn symbolize(&self, address: u64) -> String {
        if self.contains(address) {
            self.known.symbol(address)
        } else {
            format!("{address:#x}")
        }
    }

    /// What a code-integrity check objects to: rules V140, V141 and V142.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Takes the discardable sections (`INIT`, `.reloc`) away, as the system does when
    /// `DriverEntry` has returned: touching them is a fault from now on.
    ///
    /// # Errors
    ///
    /// The system's error if the pages cannot be protected.
    pub fn discard_initialization(&self) -> std::io::Result<()> {
        if self.headers.section_alignment < PAGE {
            return Ok(());
        }
        let discardable = self
            .sections()
            .iter()
            .filter(|section| section.protection.discardable);
        for section in discardable {
            self.mapping
                .protect(section.range.clone(), Protection::default())?;
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        registry::remove(&self.known);
    }
}

/// Gives headers and sections their final protections.
fn protect(mapping: &Mapping, headers: &Headers) -> std::io::Result<()> {
    let read_only = Protection {
        read: true,
        ..Protection::default()
    };
    if headers.section_alignment >= PAGE {
        mapping.protect(0..headers.size, Protection::default())?;
        mapping.protect(0..headers.header_bytes, read_only)?;
        return headers
            .sections
            .iter()
            .try_for_each(|section| mapping.protect(section.range.clone(), section.protection));
    }
    // Sections share pages: each page gets what its sections need together, execute before write.
    for page in (0..headers.size).step_by(PAGE) {
        let mut protection = read_only;
        let shares = |it: &&Section| it.range.start < page + PAGE && it.range.end > page;
        for section in headers.sections.iter().filter(shares) {
            protection.write |= section.protection.write;
            protection.execute |= section.protection.execute;
        }
        mapping.protect(page..page + 1, protection)?;
    }
    Ok(())
}

fn examine(headers: &Headers) -> Vec<Finding> {
    let mut findings = Vec::new();
    for section in &headers.sections {
        let name = &section.name;
        if section.protection.write && section.protection.execute {
            let message = format!("section {name} is writable and executable");
            findings.push(Finding {
                rule: "V140",
                message,
            });
        }
        if !section.range.start.is_multiple_of(PAGE) {
            let message = format!("section {name} is not page aligned");
            findings.push(Finding {
                rule: "V141",
                message,
            });
        }
    }
    for (directory, what) in [
        (Directory::Import, "import table"),
        (Directory::ImportAddressTable, "import address table"),
    ] {
        let section = headers
            .directory(directory)
            .and_then(|(rva, _)| headers.section_at(rva as usize));
        if let Some(section) = section.filter(|section| section.protection.execute) {
            let message = format!("{what} is in the executable section {}", section.name);
            findings.push(Finding {
                rule: "V142",
                message,
            });
        }
    }
    findings
}
