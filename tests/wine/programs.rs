//! The programs that come with the driver, run as a user runs them.

use std::path::{Path, PathBuf};

use sanproxy_provider::Provider;

use crate::{Outcome, session::Session};

/// What `cargo xtask programs` builds.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/windows")
        .join(name)
}

/// Runs an example; it ends well, says what it does, and leaves nothing registered.
fn example(name: &str) -> Outcome {
    let session = Session::with_driver()?;
    let watcher = Provider::open(session.client()?)?;
    let before = watcher.statistics()?;
    let finished = session.run(&program(name), &[])?;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        finished.output.contains("registered 65536 bytes"),
        "{finished:?}"
    );
    let after = watcher.statistics()?;
    assert_eq!(after.made, before.made.saturating_add(1));
    assert_eq!(after.live_bytes, before.live_bytes);
    Ok(())
}

#[test]
fn example_in_c_does_what_a_provider_does() -> Outcome {
    example("provider-c.exe")
}

#[test]
fn example_in_rust_does_what_a_provider_does() -> Outcome {
    example("provider-rust.exe")
}
