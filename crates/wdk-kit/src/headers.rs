//! MinGW's kernel headers, brought from Windows 7 to today where a driver for DMA needs it.

use std::path::Path;

use crate::{KitError, Sources, read, write};

/// A definition in `wdm.h` that has grown since: from `start` to the end of `end`, replaced by `by`.
struct Replacement {
    start: &'static str,
    end: &'static str,
    by: &'static str,
}

const REPLACEMENTS: [Replacement; 4] = [
    Replacement {
        start: "typedef struct _DEVICE_DESCRIPTION {",
        end: "} DEVICE_DESCRIPTION, *PDEVICE_DESCRIPTION;",
        by: "#include \"device_description.h\"",
    },
    Replacement {
        start: "typedef struct _DMA_OPERATIONS {",
        end: "} DMA_OPERATIONS, *PDMA_OPERATIONS;",
        by: "#include \"dma_operations.h\"",
    },
    // Both are aligned to 16 bytes in Windows; for DEVICE_OBJECT that makes 336 bytes of 328.
    Replacement {
        start: "typedef struct _DEVICE_OBJECT {",
        end: "typedef struct _DEVICE_OBJECT {",
        by: "typedef struct DECLSPEC_ALIGN(MEMORY_ALLOCATION_ALIGNMENT) _DEVICE_OBJECT {",
    },
    Replacement {
        start: "typedef struct _IRP {",
        end: "typedef struct _IRP {",
        by: "typedef struct DECLSPEC_ALIGN(MEMORY_ALLOCATION_ALIGNMENT) _IRP {",
    },
];

const OWN: [(&str, &str); 3] = [
    (
        "device_description.h",
        include_str!("../include/device_description.h"),
    ),
    (
        "dma_operations.h",
        include_str!("../include/dma_operations.h"),
    ),
    ("supplement.h", include_str!("../include/supplement.h")),
];

pub(crate) fn lay_out(sources: &Sources, folder: &Path) -> Result<(), KitError> {
    let ddk = sources.include.join("ddk");
    let path = ddk.join("wdm.h");
    let mut text = String::from_utf8_lossy(&read(&path)?).into_owned();
    for replacement in &REPLACEMENTS {
        text = replaced(&text, replacement, &path)?;
    }
    write(&folder.join("wdm.h"), text.as_bytes())?;
    for (name, text) in OWN {
        write(&folder.join(name), text.as_bytes())?;
    }
    let search_path = format!("{}\n{}\n", ddk.display(), sources.include.display());
    write(&folder.join("search-path.txt"), search_path.as_bytes())
}

fn replaced(text: &str, replacement: &Replacement, path: &Path) -> Result<String, KitError> {
    let unknown = |expected: &str, found| KitError::UnknownHeader {
        path: path.to_path_buf(),
        expected: expected.to_string(),
        found,
    };
    let count = text.matches(replacement.start).count();
    let Some((before, from_start)) = text.split_once(replacement.start).filter(|_| count == 1)
    else {
        return Err(unknown(replacement.start, count));
    };
    let rest = if replacement.start == replacement.end {
        from_start
    } else {
        let (_, rest) = from_start
            .split_once(replacement.end)
            .ok_or_else(|| unknown(replacement.end, 0))?;
        rest
    };
    Ok(format!("{before}{}{rest}", replacement.by))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: Replacement = Replacement {
        start: "struct A {",
        end: "} A;",
        by: "#include \"a.h\"",
    };

    #[test]
    fn definition_is_replaced_and_the_rest_kept() {
        let text = replaced("x struct A { int b; } A; y", &BODY, Path::new("wdm.h"));
        assert_eq!(text.unwrap(), "x #include \"a.h\" y");
    }

    #[test]
    fn definition_that_is_missing_is_named() {
        let error = replaced("x", &BODY, Path::new("wdm.h"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("wdm.h: expected exactly one `struct A {`, found 0"),
            "{error}"
        );
    }

    #[test]
    fn definition_that_stands_twice_is_refused() {
        let text = "struct A { } A; struct A { } A;";
        assert!(matches!(
            replaced(text, &BODY, Path::new("wdm.h")),
            Err(KitError::UnknownHeader { found: 2, .. })
        ));
    }
}
