//! What the images are made of: no panic path, no primitive that a rootkit could use, nothing that the loader rejects.
//!
//! Cites security.md: C08, C10, C21, C50, C53-C57; verifier-rules.md: V025, V140-V142.

use std::collections::BTreeSet;

use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpKind, Register};
use object::{
    LittleEndian, Object, ObjectSection, SectionFlags,
    pe::{
        IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
        IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
        IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE, IMAGE_SUBSYSTEM_NATIVE,
    },
    read::pe::PeFile64,
};
use sanproxy_tests::image::{self, TestImage};

/// The routines that `docs/imports.txt` allows, one a line; `#` starts a comment.
fn allowed() -> BTreeSet<String> {
    include_str!("../docs/imports.txt")
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::split_whitespace)
        .map(str::to_string)
        .collect()
}

fn imports(file: &[u8]) -> BTreeSet<(String, String)> {
    let image = PeFile64::parse(file).expect("a PE image");
    image
        .imports()
        .expect("an import table")
        .iter()
        .map(|import| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            (text(import.library()), text(import.name()))
        })
        .collect()
}

#[test]
fn sanproxy_imports_only_what_the_list_allows() {
    let imported: BTreeSet<String> = imports(&image::read(TestImage::Sanproxy))
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    let allowed = allowed();
    let surplus: Vec<_> = imported.difference(&allowed).collect();
    let unused: Vec<_> = allowed.difference(&imported).collect();
    assert!(surplus.is_empty(), "not in docs/imports.txt: {surplus:?}");
    assert!(
        unused.is_empty(),
        "in docs/imports.txt, but no longer imported: {unused:?}"
    );
}

#[test]
fn sanproxy_has_no_panic_path() {
    let imported = imports(&image::read(TestImage::Sanproxy));
    assert!(
        !imported.iter().any(|(_, name)| name == "KeBugCheckEx"),
        "a panic can be reached"
    );
}

#[test]
fn panicking_driver_imports_the_bug_check() {
    // The proof that the test above can fail: a driver whose entry can panic.
    let imported = imports(&image::read(TestImage::Panicking));
    assert!(
        imported.iter().any(|(_, name)| name == "KeBugCheckEx"),
        "{imported:?}"
    );
}

#[test]
fn sanproxy_imports_from_the_kernel_and_its_random_number_generator_alone() {
    let modules: BTreeSet<String> = imports(&image::read(TestImage::Sanproxy))
        .into_iter()
        .map(|(module, _)| module)
        .collect();
    let expected = ["cng.sys", "ntoskrnl.exe"].map(str::to_string);
    assert_eq!(modules, BTreeSet::from(expected));
}

#[test]
fn sanproxy_sections_are_page_aligned_and_never_writable_and_executable() {
    let file = image::read(TestImage::Sanproxy);
    let image = PeFile64::parse(file.as_slice()).expect("a PE image");
    let optional = &image.nt_headers().optional_header;
    assert_eq!(optional.section_alignment.get(LittleEndian) % 4096, 0);
    for section in image.sections() {
        let SectionFlags::Coff { characteristics } = section.flags() else {
            panic!("not COFF")
        };
        let both = IMAGE_SCN_MEM_WRITE | IMAGE_SCN_MEM_EXECUTE;
        assert_ne!(characteristics & both, both, "{:?}", section.name());
        assert_eq!(section.address() % 4096, 0, "{:?}", section.name());
    }
}

#[test]
fn sanproxy_import_table_is_in_no_executable_section() {
    let file = image::read(TestImage::Sanproxy);
    let image = PeFile64::parse(file.as_slice()).expect("a PE image");
    let base = image.relative_address_base();
    for index in [
        object::pe::IMAGE_DIRECTORY_ENTRY_IMPORT,
        object::pe::IMAGE_DIRECTORY_ENTRY_IAT,
    ] {
        let directory = image.data_directory(index).expect("the directory");
        let address = base + u64::from(directory.virtual_address.get(LittleEndian));
        for section in image.sections() {
            let SectionFlags::Coff { characteristics } = section.flags() else {
                panic!("not COFF")
            };
            let inside = (section.address()..section.address() + section.size()).contains(&address);
            assert!(
                !(inside && characteristics & IMAGE_SCN_MEM_EXECUTE != 0),
                "{:?}",
                section.name()
            );
        }
    }
}

#[test]
fn sanproxy_asks_the_loader_for_every_protection() {
    let file = image::read(TestImage::Sanproxy);
    let image = PeFile64::parse(file.as_slice()).expect("a PE image");
    let optional = &image.nt_headers().optional_header;
    let wanted = IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE
        | IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY
        | IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA
        | IMAGE_DLLCHARACTERISTICS_NX_COMPAT;
    assert_eq!(
        optional.dll_characteristics.get(LittleEndian) & wanted,
        wanted
    );
    assert_eq!(optional.subsystem.get(LittleEndian), IMAGE_SUBSYSTEM_NATIVE);
}

/// Instructions that reach past what a driver like this may do (C10), by address.
fn privileged_instructions(file: &[u8]) -> Vec<String> {
    let image = PeFile64::parse(file).expect("a PE image");
    let mut found = Vec::new();
    for section in image.sections() {
        let SectionFlags::Coff { characteristics } = section.flags() else {
            panic!("not COFF")
        };
        if characteristics & IMAGE_SCN_MEM_EXECUTE == 0 {
            continue;
        }
        let code = section.data().expect("the section's bytes");
        let decoder = Decoder::with_ip(64, code, section.address(), DecoderOptions::NONE);
        found.extend(
            decoder
                .into_iter()
                .filter(is_privileged)
                .map(|i| format!("{:?} at {:#x}", i.code(), i.ip())),
        );
    }
    found
}

fn is_privileged(instruction: &iced_x86::Instruction) -> bool {
    let system_register = |index| {
        instruction.op_kind(index) == OpKind::Register
            && (Register::is_cr(instruction.op_register(index))
                || Register::is_dr(instruction.op_register(index)))
    };
    let by_name = matches!(
        instruction.mnemonic(),
        Mnemonic::Rdmsr
            | Mnemonic::Wrmsr
            | Mnemonic::In
            | Mnemonic::Out
            | Mnemonic::Insb
            | Mnemonic::Insw
            | Mnemonic::Insd
            | Mnemonic::Outsb
            | Mnemonic::Outsw
            | Mnemonic::Outsd
            | Mnemonic::Lgdt
            | Mnemonic::Lidt
            | Mnemonic::Cli
            | Mnemonic::Sti
            | Mnemonic::Hlt
            | Mnemonic::Invlpg
            | Mnemonic::Wbinvd
            | Mnemonic::Vmcall
    );
    instruction.code() != Code::INVALID
        && (by_name || (0..instruction.op_count()).any(system_register))
}

#[test]
fn sanproxy_has_no_privileged_instruction() {
    let found = privileged_instructions(&image::read(TestImage::Sanproxy));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn privileged_instruction_is_found_in_a_driver_that_has_one() {
    let found = privileged_instructions(&image::read(TestImage::Panicking));
    assert!(found.iter().any(|text| text.contains("Cli")), "{found:?}");
}

#[test]
fn minimal_driver_built_with_the_kit_imports_nothing_but_the_kernel() {
    let imported = imports(&image::read(TestImage::Minimal));
    assert!(
        imported.iter().all(|(module, _)| module == "ntoskrnl.exe"),
        "{imported:?}"
    );
    assert!(
        !imported.iter().any(|(_, name)| name == "KeBugCheckEx"),
        "{imported:?}"
    );
}
