//! The version resource of a Windows image, written without a resource compiler.
//!
//! Windows and its tools know an image by its `VS_VERSIONINFO` resource: block lists name file and version, so that one bad
//! build can be blocked and later ones not. A linker takes the resource from a `.res` file; this crate writes one, on any
//! host, from a build script.
//!
//! ```
//! let resource = version_resource::VersionResource {
//!     version: [0, 1, 0, 0],
//!     language: version_resource::ENGLISH,
//!     strings: vec![("OriginalFilename", "example.sys")],
//! };
//! assert_eq!(resource.to_res().len() % 4, 0);
//! ```

#![forbid(unsafe_code)]

/// English (United States).
pub const ENGLISH: u16 = 0x0409;
/// Texts are UTF-16.
const UNICODE: u16 = 1200;
/// `RT_VERSION`.
const VERSION_TYPE: u16 = 16;
/// `VS_VERSION_INFO`: the one version resource of an image.
const VERSION_NAME: u16 = 1;
/// `MOVEABLE | PURE`, as resource compilers write it; Windows no longer reads it.
const MEMORY_FLAGS: u16 = 0x0030;

/// What the resource of a kernel driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionResource<'a> {
    /// The version of file and product.
    pub version: [u16; 4],
    /// The language of the texts.
    pub language: u16,
    /// Names and texts, such as `FileDescription`.
    pub strings: Vec<(&'a str, &'a str)>,
}

impl VersionResource<'_> {
    /// A `.res` file with this resource alone.
    #[must_use]
    pub fn to_res(&self) -> Vec<u8> {
        let data = self.version_information();
        // A file begins with an empty entry, which tells it from those of 16-bit Windows.
        let mut file = entry_header(0, 0, 0, 0, 0);
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        file.extend(entry_header(
            length,
            VERSION_TYPE,
            VERSION_NAME,
            MEMORY_FLAGS,
            self.language,
        ));
        file.extend(data);
        align(&mut file);
        file
    }

    /// `VS_VERSIONINFO`.
    fn version_information(&self) -> Vec<u8> {
        let translation = format!("{:04x}{UNICODE:04x}", self.language);
        let strings = self
            .strings
            .iter()
            .map(|(name, text)| node(name, &Value::Text(text), &[]))
            .collect::<Vec<_>>();
        let table = node(&translation, &Value::Text(""), &strings);
        let mut pair = self.language.to_le_bytes().to_vec();
        pair.extend(UNICODE.to_le_bytes());
        let children = [
            node("StringFileInfo", &Value::Text(""), &[table]),
            node(
                "VarFileInfo",
                &Value::Text(""),
                &[node("Translation", &Value::Bytes(&pair), &[])],
            ),
        ];
        node(
            "VS_VERSION_INFO",
            &Value::Bytes(&self.fixed_information()),
            &children,
        )
    }

    /// `VS_FIXEDFILEINFO` of a driver.
    fn fixed_information(&self) -> Vec<u8> {
        let [a, b, c, d] = self.version.map(u32::from);
        let (high, low) = (a << 16 | b, c << 16 | d);
        [
            0xFEEF_04BD, // signature
            0x0001_0000, // version of this structure
            high,
            low,
            high,
            low,
            0x3F,        // all flags below are meant
            0,           // no debug, no prerelease build
            0x0004_0004, // VOS_NT_WINDOWS32
            3,           // VFT_DRV
            7,           // VFT2_DRV_SYSTEM
            0,
            0,
        ]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
    }
}

/// The header of an entry of a `.res` file.
fn entry_header(length: u32, kind: u16, name: u16, memory: u16, language: u16) -> Vec<u8> {
    /// Both identifiers are numbers, so the header has always this size.
    const SIZE: u32 = 32;
    /// What follows is a number, not a name.
    const NUMBER: u16 = 0xFFFF;
    let mut header = Vec::new();
    header.extend(length.to_le_bytes());
    header.extend(SIZE.to_le_bytes());
    for word in [NUMBER, kind, NUMBER, name] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes()); // version of the data
    header.extend(memory.to_le_bytes());
    header.extend(language.to_le_bytes());
    header.extend(0_u64.to_le_bytes()); // version, characteristics
    header
}

/// What a node of the version tree holds.
enum Value<'a> {
    /// Counted in characters, with the zero at its end; an empty one is none.
    Text(&'a str),
    /// Counted in bytes.
    Bytes(&'a [u8]),
}

/// A node: lengths, kind, name, value, children, each part at a multiple of four bytes.
fn node(name: &str, value: &Value<'_>, children: &[Vec<u8>]) -> Vec<u8> {
    let (kind, bytes, length) = match value {
        Value::Text("") => (1_u16, Vec::new(), 0),
        Value::Text(text) => {
            let bytes = utf16(text);
            let characters = bytes.len() / 2;
            (1, bytes, characters)
        }
        Value::Bytes(bytes) => (0, bytes.to_vec(), bytes.len()),
    };
    // The whole length comes first and is known last.
    let mut node = vec![0, 0];
    node.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    node.extend(kind.to_le_bytes());
    node.extend(utf16(name));
    align(&mut node);
    node.extend(bytes);
    for child in children {
        align(&mut node);
        node.extend(child);
    }
    let whole = u16::try_from(node.len()).unwrap_or(u16::MAX);
    for (place, byte) in node.iter_mut().zip(whole.to_le_bytes()) {
        *place = byte;
    }
    node
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Vec<u8> {
        VersionResource {
            version: [1, 2, 3, 4],
            language: ENGLISH,
            strings: vec![("FileDescription", "a driver")],
        }
        .to_res()
    }

    #[test]
    fn file_begins_with_an_empty_entry_and_names_a_version_resource() {
        let file = resource();
        assert_eq!(file[..8], [0, 0, 0, 0, 32, 0, 0, 0]);
        assert_eq!(file[40..48], [0xFF, 0xFF, 16, 0, 0xFF, 0xFF, 1, 0]);
    }

    #[test]
    fn length_of_the_tree_is_the_length_of_the_data() {
        let file = resource();
        let data = u32::from_le_bytes(file[32..36].try_into().unwrap());
        let tree = u16::from_le_bytes(file[64..66].try_into().unwrap());
        assert_eq!(u32::from(tree), data);
    }

    #[test]
    fn version_stands_in_the_fixed_part() {
        let file = resource();
        let place = file
            .windows(4)
            .position(|window| window == 0xFEEF_04BD_u32.to_le_bytes())
            .unwrap();
        assert_eq!((place - 64) % 4, 0);
        assert_eq!(file[place + 8..place + 16], [2, 0, 1, 0, 4, 0, 3, 0]);
    }
}
