//! How bindings are generated from the kit's headers.

use std::{borrow::Borrow, fmt};

use bindgen::Builder;

use crate::{Config, ConfigError};

/// Makes a `bindgen::Builder` for the headers of a configuration.
pub trait BuilderExt {
    /// The builder that `wdk-sys` starts from: same options as the genuine crate's, so that names and types agree.
    ///
    /// # Errors
    ///
    /// The kit lacks its headers.
    fn wdk_default(config: impl Borrow<Config> + fmt::Debug) -> Result<Builder, ConfigError>;
}

impl BuilderExt for Builder {
    fn wdk_default(config: impl Borrow<Config> + fmt::Debug) -> Result<Self, ConfigError> {
        let config = config.borrow();
        let includes = config
            .include_paths()?
            .map(|path| format!("--include-directory={}", path.display()));
        let definitions = config
            .preprocessor_definitions()
            .map(|(name, value)| match value {
                Some(value) => format!("--define-macro={name}={value}"),
                None => format!("--define-macro={name}"),
            });
        let builder = Self::default()
            .use_core()
            .derive_default(true)
            .generate_cstr(true)
            // libclang knows its own headers; those of another version's `clang` do not fit it.
            .detect_include_paths(false)
            // MinGW's headers are made for this target; sizes and alignments are those of the msvc target, and those of
            // 64-bit Arm (see `Config::preprocessor_definitions`).
            .clang_arg("--target=x86_64-w64-windows-gnu")
            .clang_arg("-fno-builtin")
            .clang_args(["-fms-extensions", "-w"])
            .clang_args(includes)
            .clang_args(definitions)
            .must_use_type("NTSTATUS")
            .must_use_type("HRESULT")
            .default_enum_style(bindgen::EnumVariation::ModuleConsts)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .formatter(bindgen::Formatter::Prettyplease)
            .rust_edition(bindgen::RustEdition::Edition2024);
        // Deprecated in the WDK, and so left out there too.
        let deprecated = [
            "ExAllocatePoolWithTag",
            "ExAllocatePoolWithQuotaTag",
            "ExAllocatePoolWithTagPriority",
            "ExAllocatePool",
        ];
        // The compiler's own vector and tile types and intrinsics come along with MinGW's <intrin.h>; the kernel's interface
        // has none of them, and Rust cannot name them all.
        let compiler = ["__tile1024i.*", "__m(64|128|256|512).*", "_mm.*", "_tile.*"];
        Ok(deprecated
            .into_iter()
            .chain(compiler)
            .fold(builder, |builder, item| builder.blocklist_item(item)))
    }
}
