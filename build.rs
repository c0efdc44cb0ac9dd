//! Configures the build of the driver image and gives it its version resource.

use std::{env, error::Error, fs, path::PathBuf};

use version_resource::{ENGLISH, VersionResource};

fn main() -> Result<(), Box<dyn Error>> {
    // Built for anything else, the crate is empty.
    if env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return Ok(());
    }
    let part = |name: &str| {
        env::var(format!("CARGO_PKG_VERSION_{name}"))?
            .parse::<u16>()
            .map_err(Box::<dyn Error>::from)
    };
    let version = [part("MAJOR")?, part("MINOR")?, part("PATCH")?, 0];
    let text = version.map(|number| number.to_string()).join(".");
    let resource = VersionResource {
        version,
        language: ENGLISH,
        strings: vec![
            ("CompanyName", "sanproxy"),
            ("FileDescription", "SAN proxy driver"),
            ("FileVersion", &text),
            ("InternalName", "sanproxy"),
            ("LegalCopyright", "MIT OR Apache-2.0"),
            ("OriginalFilename", "sanproxy.sys"),
            ("ProductName", "sanproxy"),
            ("ProductVersion", &text),
        ],
    };
    let path = PathBuf::from(env::var("OUT_DIR")?).join("version.res");
    fs::write(&path, resource.to_res())?;
    println!("cargo::rustc-cdylib-link-arg={}", path.display());
    Ok(wdk_build::configure_wdk_binary_build()?)
}
