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

#[test]
fn requests_of_the_book_in_c_are_carried_out() -> Outcome {
    let session = Session::with_driver()?;
    let finished = session.run(&program("contract-c.exe"), &[])?;
    // Wine locks and secures no memory of programs: these four are refused there, and no other.
    let refused: Vec<_> = finished
        .errors
        .lines()
        .filter_map(|line| line.get(8..18))
        .collect();
    assert_eq!(
        refused,
        ["0x8a5ae044", "0x8a5ae04c", "0x8a5ae020", "0x8a5ae024"],
        "{finished:?}"
    );
    for said in [
        "driver 0.1.0",
        "65536 bytes at 0x",
        "byte 4096 of a registration",
        "1048576 bytes in ",
        "connected",
        "6 bytes came",
        "has 65536 bytes",
    ] {
        assert!(finished.output.contains(said), "{said}: {finished:?}");
    }
    Ok(())
}
