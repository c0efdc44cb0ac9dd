//! PE headers and the section table: what the file says about itself, checked.

use std::ops::Range;

use crate::error::LoadError;
use crate::view::{Reader, View};

/// Size of a page of memory.
pub(crate) const PAGE: usize = 4096;
/// Larger images are refused: no driver comes near, and a mutated header must not eat all memory.
const MAXIMUM_IMAGE: usize = 256 << 20;
const MACHINE_AMD64: u16 = 0x8664;
const MAGIC_PE32_PLUS: u16 = 0x20b;
const SECTION_HEADER: usize = 40;

/// Which entry of the data directories.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Directory {
    Export = 0,
    Import = 1,
    Exception = 3,
    Relocation = 5,
    ImportAddressTable = 12,
}

/// What an image page may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the four independent header bits"
)]
pub struct Protection {
    /// `IMAGE_SCN_MEM_READ`
    pub read: bool,
    /// `IMAGE_SCN_MEM_WRITE`
    pub write: bool,
    /// `IMAGE_SCN_MEM_EXECUTE`
    pub execute: bool,
    /// `IMAGE_SCN_MEM_DISCARDABLE`: not needed after initialization.
    pub discardable: bool,
}

/// One section of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Name in the section table.
    pub name: String,
    /// Offsets from the image base.
    pub range: Range<usize>,
    /// As the section table asks for it.
    pub protection: Protection,
}

/// The checked headers of an image file.
#[derive(Debug)]
pub(crate) struct Headers {
    pub(crate) image_base: u64,
    pub(crate) entry: usize,
    pub(crate) size: usize,
    pub(crate) header_bytes: usize,
    pub(crate) section_alignment: usize,
    pub(crate) dll_characteristics: u16,
    pub(crate) relocations_stripped: bool,
    pub(crate) sections: Vec<Section>,
    raw: Vec<Range<usize>>,
    directories: [(u32, u32); 16],
}

impl Headers {
    pub(crate) fn parse(file: &[u8]) -> Result<Self, LoadError> {
        let reader = Reader(file);
        if reader.u16(0) != Some(0x5a4d) {
            return Err(LoadError::NotPe);
        }
        let nt = reader
            .u32(0x3c)
            .ok_or(LoadError::Truncated("the DOS header"))? as usize;
        let truncated = LoadError::Truncated("the PE header");
        if reader.u32(nt).ok_or(truncated.clone())? != 0x4550 {
            return Err(LoadError::NotPe);
        }
        match reader.u16(nt + 4).ok_or(truncated)? {
            MACHINE_AMD64 => {}
            other => return Err(LoadError::WrongMachine(other)),
        }
        Self::parse_optional(reader, nt)
            .ok_or(LoadError::Truncated("the optional header"))
            .flatten()
    }

    fn parse_optional(reader: Reader<'_>, nt: usize) -> Option<Result<Self, LoadError>> {
        let section_count = usize::from(reader.u16(nt + 6)?);
        let optional_size = usize::from(reader.u16(nt + 20)?);
        let characteristics = reader.u16(nt + 22)?;
        let optional = nt + 24;
        let magic = reader.u16(optional)?;
        if magic != MAGIC_PE32_PLUS {
            return Some(Err(LoadError::NotPe32Plus(magic)));
        }
        let mut directories = [(0, 0); 16];
        let count = reader.u32(optional + 108)?.min(16) as usize;
        for (index, directory) in directories.iter_mut().enumerate().take(count) {
            let at = optional + 112 + index * 8;
            *directory = (reader.u32(at)?, reader.u32(at + 4)?);
        }
        let mut headers = Self {
            image_base: reader.u64(optional + 24)?,
            entry: reader.u32(optional + 16)? as usize,
            size: reader.u32(optional + 56)? as usize,
            header_bytes: reader.u32(optional + 60)? as usize,
            section_alignment: reader.u32(optional + 32)? as usize,
            dll_characteristics: reader.u16(optional + 70)?,
            relocations_stripped: characteristics & 1 != 0,
            sections: Vec::new(),
            raw: Vec::new(),
            directories,
        };
        let table = optional + optional_size;
        Some(
            headers
                .check(optional_size, count, characteristics, reader.0.len())
                .and_then(|()| headers.parse_sections(reader, table, section_count))
                .map(|()| headers),
        )
    }

    fn check(
        &self,
        optional_size: usize,
        directories: usize,
        characteristics: u16,
        file_size: usize,
    ) -> Result<(), LoadError> {
        let refuse = |bad: bool, field, value: usize| {
            if bad {
                Err(LoadError::BadHeader {
                    field,
                    value: value as u64,
                })
            } else {
                Ok(())
            }
        };
        refuse(
            characteristics & 2 == 0,
            "Characteristics",
            usize::from(characteristics),
        )?;
        let expected = 112 + directories * 8;
        refuse(
            optional_size < expected,
            "SizeOfOptionalHeader",
            optional_size,
        )?;
        refuse(
            self.size == 0 || self.size > MAXIMUM_IMAGE,
            "SizeOfImage",
            self.size,
        )?;
        let alignment = self.section_alignment;
        refuse(!alignment.is_power_of_two(), "SectionAlignment", alignment)?;
        let headers = self.header_bytes;
        refuse(
            headers == 0 || headers > self.size,
            "SizeOfHeaders",
            headers,
        )?;
        refuse(
            self.entry == 0 || self.entry >= self.size,
            "AddressOfEntryPoint",
            self.entry,
        )?;
        if headers > file_size {
            return Err(LoadError::Truncated("the headers"));
        }
        Ok(())
    }

    fn parse_sections(
        &mut self,
        reader: Reader<'_>,
        table: usize,
        count: usize,
    ) -> Result<(), LoadError> {
        let aligned = self.section_alignment >= PAGE;
        let mut expected = self.header_bytes.next_multiple_of(self.section_alignment);
        for index in 0..count {
            let header = reader
                .0
                .get(table + index * SECTION_HEADER..)
                .and_then(|tail| tail.get(..SECTION_HEADER))
                .ok_or(LoadError::Truncated("the section table"))?;
            let (section, raw) =
                parse_section(header).ok_or(LoadError::Truncated("the section table"))?;
            let adjacent =
                section.range.start == expected || (!aligned && section.range.start >= expected);
            if !adjacent || section.range.is_empty() || section.range.end > self.size {
                return Err(LoadError::BadSection {
                    index,
                    name: section.name,
                });
            }
            if raw.end > reader.0.len() {
                return Err(LoadError::Truncated("a section"));
            }
            expected = section.range.end.next_multiple_of(self.section_alignment);
            self.sections.push(section);
            self.raw.push(raw);
        }
        let executable = self
            .section_at(self.entry)
            .is_some_and(|it| it.protection.execute);
        if !executable {
            let value = self.entry as u64;
            return Err(LoadError::BadHeader {
                field: "AddressOfEntryPoint",
                value,
            });
        }
        Ok(())
    }

    /// Lays the file out as it will be in memory.
    pub(crate) fn lay_out(&self, file: &[u8]) -> View {
        let mut view = View(vec![0; self.size]);
        view.fill(0..self.header_bytes, file);
        for (section, raw) in self.sections.iter().zip(&self.raw) {
            view.fill(
                section.range.clone(),
                file.get(raw.clone()).unwrap_or_default(),
            );
        }
        view
    }

    pub(crate) fn section_at(&self, rva: usize) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.range.contains(&rva))
    }

    /// Offset and size of a data directory that is present.
    pub(crate) fn directory(&self, which: Directory) -> Option<(u32, u32)> {
        let (rva, size) = self.directories[which as usize];
        (rva != 0 && size != 0).then_some((rva, size))
    }
}

fn parse_section(header: &[u8]) -> Option<(Section, Range<usize>)> {
    let reader = Reader(header);
    let name = header.get(..8)?.split(|&byte| byte == 0).next()?;
    let virtual_size = reader.u32(8)? as usize;
    let start = reader.u32(12)? as usize;
    let raw_size = reader.u32(16)? as usize;
    let raw_start = reader.u32(20)? as usize;
    let bits = reader.u32(36)?;
    let size = if virtual_size == 0 {
        raw_size
    } else {
        virtual_size
    };
    let raw = if raw_start == 0 {
        0..0
    } else {
        raw_start..raw_start + raw_size
    };
    let section = Section {
        name: String::from_utf8_lossy(name).into_owned(),
        range: start..start + size,
        protection: Protection {
            read: bits & 0x4000_0000 != 0,
            write: bits & 0x8000_0000 != 0,
            execute: bits & 0x2000_0000 != 0,
            discardable: bits & 0x0200_0000 != 0,
        },
    };
    Some((section, raw))
}
