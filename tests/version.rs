//! The image says which driver and which version it is, so that one bad build can be blocked and later ones not.
//!
//! Cites security.md: C56. The resource is read by its documented layout, not by the code that wrote it.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use object::{
    LittleEndian,
    read::pe::{PeFile64, ResourceDirectoryEntryData},
};
use sanproxy_tests::image::{self, TestImage};

/// The bytes of the one version resource of an image.
fn version_resource(file: &[u8]) -> Vec<u8> {
    let image = PeFile64::parse(file).expect("an image");
    let sections = image.section_table();
    let directory = image
        .data_directories()
        .resource_directory(image.data(), &sections)
        .expect("a readable directory")
        .expect("a resource directory");
    let mut table = directory.root().expect("a root");
    // Type, name, language.
    for wanted in [Some(16), Some(1), None] {
        let entry = table
            .entries
            .iter()
            .find(|entry| wanted.is_none() || entry.name_or_id().id() == wanted)
            .expect("the entry");
        match entry.data(directory).expect("readable data") {
            ResourceDirectoryEntryData::Table(next) => table = next,
            ResourceDirectoryEntryData::Data(data) => {
                let address = data.offset_to_data.get(LittleEndian);
                let size = usize::try_from(data.size.get(LittleEndian)).expect("a size");
                let bytes = sections
                    .pe_data_at(image.data(), address)
                    .expect("the data");
                return bytes[..size].to_vec();
            }
        }
    }
    unreachable!("the third level has data")
}

fn word(bytes: &[u8], offset: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[offset], bytes[offset + 1]]))
}

/// The text of `name` in the string table: it follows the name's zero at the next multiple of four bytes.
fn string(resource: &[u8], name: &str) -> String {
    let key: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let start = resource
        .windows(key.len())
        .position(|window| window == key)
        .expect("the string");
    let characters = word(resource, start - 4);
    let value = (start + key.len()).next_multiple_of(4);
    let units: Vec<u16> = resource[value..value + 2 * (characters - 1)]
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).expect("a text")
}

#[test]
fn image_names_its_file_and_product() {
    let resource = version_resource(&image::read(TestImage::Sanproxy));
    assert_eq!(word(&resource, 0), resource.len());
    assert_eq!(string(&resource, "OriginalFilename"), "sanproxy.sys");
    assert_eq!(string(&resource, "ProductName"), "sanproxy");
    assert_eq!(
        string(&resource, "FileVersion"),
        format!("{}.0", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn fixed_part_has_the_version_of_the_package_and_says_driver() {
    let resource = version_resource(&image::read(TestImage::Sanproxy));
    // After three words and "VS_VERSION_INFO" with its zero: 6 + 32 bytes, then the next multiple of four.
    let fixed = &resource[40..92];
    assert_eq!(fixed[..4], 0xFEEF_04BD_u32.to_le_bytes());
    let numbers: Vec<usize> = [10, 8, 14, 12].map(|offset| word(fixed, offset)).to_vec();
    let expected: Vec<usize> = env!("CARGO_PKG_VERSION")
        .split('.')
        .chain(["0"])
        .map(|part| part.parse().expect("a number"))
        .collect();
    assert_eq!(numbers, expected);
    assert_eq!(fixed[36], 3, "VFT_DRV");
}
