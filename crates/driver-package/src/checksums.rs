//! A list of checksums, as `sha256sum --check` reads it.

use crate::authenticode::{Hash, flat_hash};

/// One line a file, in the order given.
#[must_use]
pub fn list<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut list = String::new();
    for (name, bytes) in files {
        list.extend([&hexadecimal(&flat_hash(bytes)), "  ", name, "\n"]);
    }
    list
}

/// A hash as it is written.
#[must_use]
pub fn hexadecimal(hash: &Hash) -> String {
    hash.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_a_line_for_each_file() {
        let text = list([("a", b"".as_slice()), ("b", b"abc".as_slice())]);
        assert_eq!(
            text,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
        );
    }
}
