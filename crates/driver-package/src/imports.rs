//! What two images import, compared: the image of the Linux kit against the image of the WDK.

use std::collections::BTreeSet;

use object::{Object, read::pe::PeFile64};

/// Module and name.
pub type Import = (String, String);

/// All that an image imports; `None` if `file` is no 64-bit image.
#[must_use]
pub fn imports(file: &[u8]) -> Option<BTreeSet<Import>> {
    let image = PeFile64::parse(file).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(
        image
            .imports()
            .ok()?
            .iter()
            .map(|import| {
                (
                    text(import.library()).to_ascii_lowercase(),
                    text(import.name()),
                )
            })
            .collect(),
    )
}
