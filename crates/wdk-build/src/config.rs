//! What a build script is told about the driver and the kit, and what it tells Cargo in turn.

use std::{env, fmt, path::PathBuf};

use crate::{ConfigError, metadata};

/// The driver model that a package names in `[package.metadata.wdk.driver-model]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverConfig {
    /// Windows Driver Model.
    Wdm,
    /// Kernel-Mode Driver Framework; named so that build scripts compile, never made here.
    Kmdf(KmdfConfig),
    /// User-Mode Driver Framework; named so that build scripts compile, never made here.
    Umdf(UmdfConfig),
}

/// Versions of a KMDF driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KmdfConfig {
    /// Major version.
    pub kmdf_version_major: u8,
    /// Minor version that is built for.
    pub target_kmdf_version_minor: u8,
    /// Lowest minor version that the driver runs on.
    pub minimum_kmdf_version_minor: Option<u8>,
}

/// Versions of a UMDF driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UmdfConfig {
    /// Major version.
    pub umdf_version_major: u8,
    /// Minor version that is built for.
    pub target_umdf_version_minor: u8,
    /// Lowest minor version that the driver runs on.
    pub minimum_umdf_version_minor: Option<u8>,
}

/// Architectures that drivers are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuArchitecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

/// Groups of headers that bindings are generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiSubset {
    /// The kernel's own interface.
    Base,
    /// Driver frameworks; WDM has none.
    Wdf,
    /// General purpose I/O.
    Gpio,
    /// Human interface devices.
    Hid,
    /// Parallel ports.
    ParallelPorts,
    /// Simple peripheral buses.
    Spb,
    /// Storage.
    Storage,
    /// Universal Serial Bus.
    Usb,
}

/// What is built: the driver model, the architecture, and the kit that stands for the WDK.
#[derive(Debug, Clone)]
pub struct Config {
    /// The driver model.
    pub driver_config: DriverConfig,
    cpu_architecture: CpuArchitecture,
    kit: PathBuf,
}

impl Config {
    /// Reads the configuration from Cargo's environment and the manifests of the build.
    ///
    /// # Errors
    ///
    /// No kit, no driver model, or one or a target that the kit does not support.
    pub fn from_env_auto() -> Result<Self, ConfigError> {
        let driver_config = metadata::driver_model(&find_top_level_cargo_manifest())?;
        println!("cargo::rerun-if-env-changed=WDK_KIT_ROOT");
        let kit = PathBuf::from(env::var_os("WDK_KIT_ROOT").ok_or(ConfigError::NoKit)?);
        let architecture = cargo_variable("CARGO_CFG_TARGET_ARCH");
        let cpu_architecture = match architecture.as_str() {
            "x86_64" => CpuArchitecture::Amd64,
            "aarch64" => CpuArchitecture::Arm64,
            _ => return Err(ConfigError::UnsupportedArchitecture(architecture)),
        };
        Ok(Self {
            driver_config,
            cpu_architecture,
            kit,
        })
    }

    /// Folders with headers, the kit's own (which replace some of MinGW's) first.
    ///
    /// # Errors
    ///
    /// The kit lacks its headers.
    pub fn include_paths(&self) -> Result<impl Iterator<Item = PathBuf>, ConfigError> {
        let own = self.part("include")?;
        let list = self.part("include/search-path.txt")?;
        let text = std::fs::read_to_string(&list)
            .map_err(|source| crate::IoError::with_path(&list, source))?;
        println!("cargo::rerun-if-changed={}", own.display());
        let others: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
        Ok(std::iter::once(own).chain(others))
    }

    /// Macros that the headers expect, with their values.
    ///
    /// MinGW's kernel headers know x86-64 and not 64-bit Arm, where they would lay out some structures as on 32-bit
    /// machines. All that a driver without a framework shares with the kernel is laid out alike on both 64-bit
    /// architectures, so the headers are always read as for x86-64. What is the processor's own (`CONTEXT`, `KPCR`) is
    /// then wrong on Arm: a driver that needs it needs the WDK.
    pub fn preprocessor_definitions(&self) -> impl Iterator<Item = (String, Option<String>)> {
        [
            ("_WIN64", None),
            ("_AMD64_", None),
            ("AMD64", None),
            ("_KERNEL_MODE", None),
            // MinGW's headers show what was new in a version of Windows only on request.
            ("_WIN32_WINNT", Some("0x0A00")),
            ("NTDDI_VERSION", Some("0x0A000006")),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.map(str::to_string)))
    }

    /// The headers of a group.
    ///
    /// # Errors
    ///
    /// Never for WDM; the genuine crate can fail here.
    pub fn headers(&self, subset: ApiSubset) -> Result<impl Iterator<Item = String>, ConfigError> {
        let headers: &[&str] = match subset {
            ApiSubset::Base => &["ntifs.h", "ntddk.h", "ntstrsafe.h", "supplement.h"],
            ApiSubset::Wdf
            | ApiSubset::Gpio
            | ApiSubset::Hid
            | ApiSubset::ParallelPorts
            | ApiSubset::Spb
            | ApiSubset::Storage
            | ApiSubset::Usb => &[],
        };
        Ok(headers.iter().map(ToString::to_string))
    }

    /// A header that includes all headers of the groups, for `bindgen`.
    ///
    /// # Errors
    ///
    /// As [`Config::headers`].
    pub fn bindgen_header_contents(
        &self,
        subsets: impl IntoIterator<Item = ApiSubset> + fmt::Debug,
    ) -> Result<String, ConfigError> {
        let mut text = String::new();
        for subset in subsets {
            for header in self.headers(subset)? {
                text.push_str(&format!("#include \"{header}\"\n"));
            }
        }
        Ok(text)
    }

    /// Rust source that links the import libraries of a group.
    #[must_use]
    pub fn bindgen_library_link_raw_lines(&self, subset: ApiSubset) -> Option<String> {
        if subset != ApiSubset::Base {
            return None;
        }
        let lines = ["BufferOverflowFastFailK", "ntoskrnl", "hal", "wmilib"].map(|name| {
            format!(
                "#[cfg(not(any(test, feature = \"suppress-wdk-linking\")))]\n\
                 #[link(name = \"{name}\", kind = \"static\", modifiers = \"-bundle\")]\n\
                 unsafe extern \"C\" {{}}\n"
            )
        });
        Some(lines.concat())
    }

    /// The name of the framework's function table; WDM has none.
    #[must_use]
    pub fn compute_wdffunctions_symbol_name(&self) -> Option<String> {
        None
    }

    /// Emits the `cfg` settings of the driver model.
    ///
    /// # Errors
    ///
    /// Never for WDM; the genuine crate can fail here.
    pub fn configure_library_build(&self) -> Result<(), ConfigError> {
        Self::emit_check_cfg_settings();
        println!("cargo::rustc-cfg=driver_model__driver_type=\"WDM\"");
        Ok(())
    }

    /// Emits the linker's arguments and search path for a driver, and the `cfg` settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::StaticCrtNotEnabled`], or a kit without import libraries.
    pub fn configure_binary_build(&self) -> Result<(), ConfigError> {
        if !cargo_variable("CARGO_CFG_TARGET_FEATURE")
            .split(',')
            .any(|name| name == "crt-static")
        {
            return Err(ConfigError::StaticCrtNotEnabled);
        }
        let libraries = match self.cpu_architecture {
            CpuArchitecture::Amd64 => self.part("lib/x64")?,
            CpuArchitecture::Arm64 => self.part("lib/arm64")?,
        };
        println!("cargo::rustc-link-search={}", libraries.display());
        for argument in LINKER_ARGUMENTS {
            println!("cargo::rustc-cdylib-link-arg={argument}");
        }
        self.configure_library_build()
    }

    /// Tells Cargo which `cfg` settings may occur.
    pub fn emit_check_cfg_settings() {
        println!(
            "cargo::rustc-check-cfg=cfg(driver_model__driver_type, values(\"WDM\",\"KMDF\",\"UMDF\"))"
        );
    }

    fn part(&self, relative: &str) -> Result<PathBuf, ConfigError> {
        let path = self.kit.join(relative);
        if path.exists() {
            Ok(path)
        } else {
            Err(ConfigError::IncompleteKit(path))
        }
    }
}

/// Those of the genuine crate for WDM, but for two that concern Microsoft's linker only (`/IGNORE`), and two more which
/// that linker has on by default in a 64-bit driver build and LLVM's has not.
const LINKER_ARGUMENTS: [&str; 13] = [
    "/DRIVER",
    "/NODEFAULTLIB",
    "/SUBSYSTEM:NATIVE",
    "/KERNEL",
    "/ENTRY:DriverEntry",
    "/NXCOMPAT",
    "/DYNAMICBASE",
    "/HIGHENTROPYVA",
    "/MAP",
    "/OPT:REF,ICF",
    "/INTEGRITYCHECK",
    "/MANIFEST:NO",
    // Two builds of the same sources give the same bytes.
    "/BREPRO",
];

/// The manifest of the package or workspace that is being built: next to the lock file above `OUT_DIR`.
///
/// # Panics
///
/// Outside of a build script, or if the target directory is not below the workspace.
#[must_use]
pub fn find_top_level_cargo_manifest() -> PathBuf {
    let out_dir = PathBuf::from(cargo_variable("OUT_DIR"));
    out_dir
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists())
        .unwrap_or_else(|| {
            panic!(
                "no Cargo.lock above {}: keep the target directory below the workspace",
                out_dir.display()
            )
        })
        .join("Cargo.toml")
}

/// Configures the build of a library that uses the WDK.
///
/// # Errors
///
/// As [`Config::from_env_auto`], but a build without a driver model is fine: the library is then built alone.
pub fn configure_wdk_library_build() -> Result<(), ConfigError> {
    configure_wdk_library_build_and_then(|_| Ok(()))
}

/// Configures the build of a library that uses the WDK, then calls `then` with the configuration.
///
/// # Errors
///
/// As [`configure_wdk_library_build`], and whatever `then` returns.
pub fn configure_wdk_library_build_and_then<F, E>(mut then: F) -> Result<(), E>
where
    F: FnMut(Config) -> Result<(), E>,
    E: From<ConfigError>,
{
    match Config::from_env_auto() {
        Ok(config) => {
            config.configure_library_build()?;
            then(config)
        }
        Err(ConfigError::NoDriverModel) => {
            Config::emit_check_cfg_settings();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Configures the build of a driver.
///
/// # Errors
///
/// As [`Config::from_env_auto`] and [`Config::configure_binary_build`].
pub fn configure_wdk_binary_build() -> Result<(), ConfigError> {
    Config::from_env_auto()?.configure_binary_build()
}

fn cargo_variable(name: &str) -> String {
    env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: this runs in a Cargo build script only"))
}
