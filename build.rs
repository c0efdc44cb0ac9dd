//! Configures the build of the driver image.

fn main() -> Result<(), wdk_build::ConfigError> {
    // Built for anything else, the crate is empty.
    if std::env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return Ok(());
    }
    wdk_build::configure_wdk_binary_build()
}
