//! The driver for 64-bit Arm: the checks of its image that need no machine to run it on.
//!
//! Cites security.md: C08, C10, C50, C56; san.md: R80.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use driver_package::{authenticode, imports::imports};
use object::{
    LittleEndian, Object, ObjectSection, SectionFlags,
    pe::{
        IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
        IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
        IMAGE_FILE_MACHINE_ARM64, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE,
        IMAGE_SUBSYSTEM_NATIVE,
    },
    read::pe::PeFile64,
};
use sanproxy_tests::image::{self, TestImage};

#[test]
fn image_is_a_kernel_image_for_arm64_with_every_protection() {
    let file = image::read(TestImage::SanproxyArm64);
    let image = PeFile64::parse(file.as_slice()).expect("an image");
    let headers = image.nt_headers();
    assert_eq!(
        headers.file_header.machine.get(LittleEndian),
        IMAGE_FILE_MACHINE_ARM64
    );
    let optional = &headers.optional_header;
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

#[test]
fn sections_are_page_aligned_and_never_writable_and_executable() {
    let file = image::read(TestImage::SanproxyArm64);
    let image = PeFile64::parse(file.as_slice()).expect("an image");
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
fn image_imports_what_the_x64_image_imports() {
    let of = |image| imports(&image::read(image)).expect("an import table");
    assert_eq!(of(TestImage::SanproxyArm64), of(TestImage::Sanproxy));
}

/// Instructions that move to or from a system register, or work on caches and translations, but for those below.
fn system_instructions(file: &[u8]) -> Vec<String> {
    /// The upper ten bits of all of them.
    const SYSTEM: u32 = 0xD500_0000;
    const MASK: u32 = 0xFFC0_0000;
    let image = PeFile64::parse(file).expect("an image");
    let mut found = Vec::new();
    for section in image.sections() {
        let SectionFlags::Coff { characteristics } = section.flags() else {
            panic!("not COFF")
        };
        if characteristics & IMAGE_SCN_MEM_EXECUTE == 0 {
            continue;
        }
        let code = section.data().expect("the section's bytes");
        for (index, word) in code.chunks_exact(4).enumerate() {
            let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
            if word & MASK == SYSTEM && !is_harmless(word) {
                found.push(format!(
                    "{word:#010x}, the {index}th of {:?}",
                    section.name()
                ));
            }
        }
    }
    found
}

/// Hints and barriers, and reading the virtual counter, which user programs may do as well.
fn is_harmless(word: u32) -> bool {
    let hint_or_barrier = word & 0xFFFF_F000 == 0xD503_2000 || word & 0xFFFF_F000 == 0xD503_3000;
    let reads_counter = word & 0xFFFF_FFE0 == 0xD53B_E040;
    hint_or_barrier || reads_counter
}

#[test]
fn image_has_no_privileged_instruction() {
    let found = system_instructions(&image::read(TestImage::SanproxyArm64));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn instruction_that_masks_interrupts_would_be_found() {
    // msr daifset, #2; and what the image may have: dmb ish, mrs x0, cntvct_el0.
    assert!(!is_harmless(0xD503_42DF));
    assert!(is_harmless(0xD503_3BBF));
    assert!(is_harmless(0xD53B_E040));
}

#[test]
fn image_can_be_signed_and_has_a_version_resource() {
    let file = image::read(TestImage::SanproxyArm64);
    assert_eq!(authenticode::is_signed(&file), Some(false));
    let image = PeFile64::parse(file.as_slice()).expect("an image");
    let sections = image.section_table();
    let resources = image
        .data_directories()
        .resource_directory(image.data(), &sections)
        .expect("a readable directory");
    assert!(resources.is_some());
}
