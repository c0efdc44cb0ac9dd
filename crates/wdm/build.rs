//! Tells the crate which driver model it is built for.

fn main() -> Result<(), wdk_build::ConfigError> {
    // Built for anything else, the crate is empty.
    if std::env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return Ok(());
    }
    wdk_build::configure_wdk_library_build()
}
