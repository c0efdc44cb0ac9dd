//! The identity of an image: its time stamps, and the identifier that it shares with its symbols.
//!
//! The linker makes them from the symbols, which name temporary files and the folder that was built in. So two builds of the
//! same sources would differ in them, and in them alone. Here they are made anew from the image itself: the same sources give
//! the same image, wherever they are built, and image and symbols still belong together.

use anyhow::{Context, Result, ensure};
use driver_package::authenticode;
use object::{LittleEndian, pe, read::pe::PeFile64};

/// The length of the identifier that an image shares with its symbols.
const IDENTIFIER: usize = 16;

/// Where in the image's file the parts of its identity are.
struct Places {
    stamps: Vec<usize>,
    identifier: usize,
}

/// Gives the image an identity that follows from its content, and its symbols the same.
pub(crate) fn settle(image: &mut [u8], symbols: &mut [u8]) -> Result<()> {
    let places =
        places(image).context("the image has no debug directory as the linker makes it")?;
    let identifier = part(image, places.identifier, IDENTIFIER)?.to_vec();
    for stamp in &places.stamps {
        part(image, *stamp, 4)?.fill(0);
    }
    part(image, places.identifier, IDENTIFIER)?.fill(0);
    let hash = authenticode::flat_hash(image);
    let (stamp, new) = (hash.get(..4), hash.get(4..4 + IDENTIFIER));
    let (stamp, new) = stamp.zip(new).context("a hash is longer than that")?;
    for place in &places.stamps {
        part(image, *place, 4)?.copy_from_slice(stamp);
    }
    part(image, places.identifier, IDENTIFIER)?.copy_from_slice(new);
    let mut found = symbols
        .windows(IDENTIFIER)
        .enumerate()
        .filter(|(_, bytes)| *bytes == identifier);
    let place = found.next().map(|(place, _)| place);
    ensure!(
        found.next().is_none(),
        "the symbols hold the image's identifier more than once"
    );
    let place = place.context("the symbols belong to another image")?;
    part(symbols, place, IDENTIFIER)?.copy_from_slice(new);
    Ok(())
}

fn places(image: &[u8]) -> Option<Places> {
    let file = PeFile64::parse(image).ok()?;
    let header = usize::try_from(file.dos_header().nt_headers_offset()).ok()?;
    let directory = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG)?;
    let sections = file.section_table();
    let (start, _) = directory.file_range(&sections).ok()?;
    let start = usize::try_from(start).ok()?;
    let size = usize::try_from(directory.size.get(LittleEndian)).ok()?;
    let entry_size = size_of::<pe::ImageDebugDirectory>();
    // The signature and the machine and section counts stand before the header's time stamp.
    let mut stamps = vec![header + 8];
    let mut identifier = None;
    for entry in (start..start + size).step_by(entry_size) {
        stamps.push(entry + 4);
        let number = |offset| {
            Some(u32::from_le_bytes(
                image.get(offset..offset + 4)?.try_into().ok()?,
            ))
        };
        if number(entry + 12)? == pe::IMAGE_DEBUG_TYPE_CODEVIEW {
            let data = usize::try_from(number(entry + 24)?).ok()?;
            identifier = (image.get(data..data + 4)? == b"RSDS").then_some(data + 4);
        }
    }
    Some(Places {
        stamps,
        identifier: identifier?,
    })
}

fn part(bytes: &mut [u8], start: usize, length: usize) -> Result<&mut [u8]> {
    bytes
        .get_mut(start..start + length)
        .context("the debug directory points outside of the image")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sanproxy_tests::image::TestImage;

    use super::*;

    /// The driver's image and symbols, as built.
    fn built() -> (Vec<u8>, Vec<u8>) {
        let image = TestImage::Sanproxy.path();
        let read = |path| fs::read(path).expect("`cargo xtask test` builds the driver first");
        (read(image.clone()), read(image.with_extension("pdb")))
    }

    #[test]
    fn image_with_another_identity_settles_to_the_same_bytes() {
        let (image, symbols) = built();
        let (mut other, mut others_symbols) = (image.clone(), symbols.clone());
        let places = places(&image).expect("a debug directory");
        let old = image[places.identifier..places.identifier + IDENTIFIER].to_vec();
        let at = symbols
            .windows(IDENTIFIER)
            .position(|bytes| bytes == old)
            .expect("the same identifier");
        for stamp in &places.stamps {
            other[*stamp] ^= 0xFF;
        }
        other[places.identifier] ^= 0xFF;
        others_symbols[at] ^= 0xFF;
        assert_ne!(other, image);
        settle(&mut other, &mut others_symbols).expect("settled");
        assert_eq!(other, image, "what is built is settled already");
        assert_eq!(others_symbols, symbols);
    }

    #[test]
    fn symbols_of_another_image_are_refused() {
        let (mut image, mut symbols) = built();
        let places = places(&image).expect("a debug directory");
        image[places.identifier] ^= 0xFF;
        assert!(settle(&mut image, &mut symbols).is_err());
    }

    #[test]
    fn file_that_is_no_image_is_refused() {
        assert!(settle(&mut [0; 512], &mut []).is_err());
    }
}
