//! What the loader makes of a file, good or bad.
#![expect(unsafe_code, reason = "runs machine code")]
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: addresses, small numbers, and failing is what it is for"
)]

#[expect(dead_code, reason = "the tests of exceptions use the rest")]
mod driver;

use driver::{build, file, load, resolve};
use nt_image::{Image, LoadError};
use proptest::collection::vec;
use proptest::prelude::*;

fn load_changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Image, LoadError> {
    let mut file = file().to_vec();
    change(&mut file);
    Image::load("changed.sys", &file, &mut |_, name| resolve(name))
}

/// Offset of the PE signature.
fn nt_headers(file: &[u8]) -> usize {
    usize::from(file[0x3c]) + usize::from(file[0x3d]) * 256
}

/// Permissions of the mapping that holds `address`, as the system has them.
fn permissions(address: u64) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the system lists mappings");
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        (number(start)?..number(end)?)
            .contains(&address)
            .then(|| rest[..4].to_owned())
    })
}

#[test]
fn entry_point_gets_its_arguments() {
    let driver = load();
    // SAFETY: the entry point takes two integers.
    let result = unsafe { nt_image::call(driver.0.entry(), &[40, 2]) };
    assert!(matches!(result, Ok(42)), "{result:?}");
}

#[test]
fn imported_variable_is_read_through_its_slot() {
    assert!(matches!(load().run("build_number", &[]), Ok(26100)));
}

#[test]
fn copies_of_one_file_are_independent_and_relocated() {
    let (first, second) = (load(), load());
    assert!(matches!(first.run("count", &[]), Ok(42)));
    assert!(matches!(first.run("count", &[]), Ok(43)));
    assert!(matches!(second.run("count", &[]), Ok(42)));
    assert_ne!(first.0.base(), second.0.base());
}

#[test]
fn sections_have_their_own_protections() {
    let driver = load();
    let base = driver.0.base();
    assert_eq!(permissions(base).as_deref(), Some("r--p"));
    for section in driver.0.sections() {
        let expected = match (section.protection.write, section.protection.execute) {
            (false, false) => "r--p",
            (true, _) => "rw-p",
            (false, true) => "r-xp",
        };
        let found = permissions(base + section.range.start as u64);
        assert_eq!(found.as_deref(), Some(expected), "{}", section.name);
    }
    assert!(driver.0.sections().len() >= 3);
    assert_eq!(driver.0.findings(), []);
}

#[test]
fn dropped_image_is_unmapped() {
    let driver = load();
    let name = driver.0.symbolize(driver.0.base() + 8);
    assert_eq!(name, "test.sys+0x8");
    let size = driver.0.size();
    assert!(size > 0x3000);
    drop(driver);
    // Another test may have mapped something there since: then it is not this image.
    let mut before = load();
    for _ in 0..100 {
        before = load();
    }
    assert!(permissions(before.0.base()).is_some());
    let count = std::fs::read_to_string("/proc/self/maps").map(|maps| maps.lines().count());
    assert!(
        count.is_ok_and(|count| count < 400),
        "mappings are left behind"
    );
}

#[test]
fn discarded_section_is_inaccessible() {
    let driver = load();
    let discardable = driver
        .0
        .sections()
        .iter()
        .find(|it| it.protection.discardable);
    let address = driver.0.base() + discardable.expect(".reloc is").range.start as u64;
    assert_eq!(permissions(address).as_deref(), Some("r--p"));
    driver
        .0
        .discard_initialization()
        .expect("pages can be protected");
    assert_eq!(permissions(address).as_deref(), Some("---p"));
}

#[test]
fn all_missing_imports_are_in_one_error() {
    let result = Image::load("test.sys", file(), &mut |_, name| {
        resolve(name).filter(|_| name != "Note" && name != "NtBuildNumber")
    });
    let Err(LoadError::MissingImports(mut missing)) = result else {
        panic!("{result:?}")
    };
    missing.sort();
    let expected = ["Note", "NtBuildNumber"].map(|it| ("ntoskrnl.exe".to_owned(), it.to_owned()));
    assert_eq!(missing, expected);
}

#[test]
fn file_without_signature_is_not_pe() {
    let result = load_changed(|file| file[0] = b'X');
    assert!(matches!(result, Err(LoadError::NotPe)), "{result:?}");
}

#[test]
fn image_for_arm64_is_the_wrong_machine() {
    let result = load_changed(|file| {
        let machine = nt_headers(file) + 4;
        file[machine..machine + 2].copy_from_slice(&0xaa64_u16.to_le_bytes());
    });
    assert!(
        matches!(result, Err(LoadError::WrongMachine(0xaa64))),
        "{result:?}"
    );
}

#[test]
fn file_that_ends_early_is_truncated() {
    let result = load_changed(|file| file.truncate(file.len() - 1));
    assert!(
        matches!(result, Err(LoadError::Truncated("a section"))),
        "{result:?}"
    );
}

#[test]
fn writable_code_is_found_and_not_mapped_so() {
    let changed = load_changed(|file| {
        // The first section's characteristics, behind the 24 + 240 bytes of headers.
        let bits = nt_headers(file) + 264 + 39;
        file[bits] |= 0x80;
    });
    let image = changed.expect("it loads");
    let rules: Vec<_> = image
        .findings()
        .iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, ["V140"]);
    let code = image.base() + image.sections()[0].range.start as u64;
    assert_eq!(permissions(code).as_deref(), Some("r-xp"));
}

#[test]
fn executable_import_table_is_found() {
    let changed = load_changed(|file| {
        // The second section, `.rdata`.
        let bits = nt_headers(file) + 264 + 40 + 39;
        file[bits] |= 0x20;
    });
    let image = changed.expect("it loads");
    let rules: Vec<_> = image
        .findings()
        .iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, ["V142", "V142"]);
}

#[test]
fn sections_that_share_pages_are_found_and_never_writable_and_executable() {
    let file = build("unaligned-image", &["/ALIGN:512"]);
    let image = Image::load("unaligned.sys", &file, &mut |_, name| resolve(name));
    let image = image.expect("it loads");
    assert!(
        image
            .findings()
            .iter()
            .any(|finding| finding.rule == "V141")
    );
    for page in (0..image.size() as u64).step_by(4096) {
        let found = permissions(image.base() + page);
        assert!(found.is_some_and(|it| &it[..3] != "rwx"), "page {page:#x}");
    }
}

proptest! {
    #[test]
    fn mutated_file_loads_or_fails(changes in vec((any::<u16>(), any::<u8>()), 1..40)) {
        let result = load_changed(|file| {
            for (place, value) in changes {
                let place = usize::from(place) % file.len();
                file[place] = value;
            }
        });
        if let Ok(image) = result {
            prop_assert!(image.contains(image.base()));
        }
    }

    #[test]
    fn mutated_headers_load_or_fail(changes in vec((0..0x300_usize, any::<u8>()), 1..8)) {
        let result = load_changed(|file| {
            for (place, value) in changes {
                file[place] = value;
            }
        });
        if let Ok(image) = result {
            prop_assert!(image.contains(image.base()));
        }
    }

    #[test]
    fn truncated_file_fails(length in 0..7000_usize) {
        let result = load_changed(|file| file.truncate(length));
        prop_assert!(result.is_err());
    }
}
