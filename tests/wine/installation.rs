//! Installing and uninstalling.

use std::{
    thread,
    time::{Duration, Instant},
};

use sanproxy_provider::{Kind, Provider};

use crate::{
    Outcome,
    probe::Probe,
    session::{IDENTIFIER, SERVICE, Session},
};

const RUNNING: &str = "4";
const DOES_NOT_EXIST: &str = "1060";
const NO_MORE_ITEMS: &str = "259";

/// The last word of an answer that has to be a refusal.
fn error_of(probe: &Probe, command: &str) -> String {
    match probe.ask(command) {
        Ok(answer) => format!("no error but `{answer}`"),
        Err(refusal) => refusal
            .words()
            .last()
            .copied()
            .unwrap_or_default()
            .to_string(),
    }
}

/// Removes device and service, and waits until the service is gone.
pub(crate) fn uninstall(session: &mut Session) -> Outcome {
    let probe = session.probe()?;
    assert_eq!(probe.ask(&format!("uninstall {IDENTIFIER}"))?, "1");
    probe.ask(&format!("delete {SERVICE}"))?;
    session.set_installed(false);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10)
        && probe.ask(&format!("service {SERVICE}")).is_ok()
    {
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn installed_driver_runs_for_one_device_that_programs_find() -> Outcome {
    let session = Session::with_driver()?;
    let probe = session.probe()?;
    assert_eq!(probe.ask(&format!("service {SERVICE}"))?, RUNNING);
    assert_eq!(probe.ask(&format!("devices {IDENTIFIER}"))?, "1");
    let path = probe.ask("open")?;
    let path = path.to_ascii_lowercase();
    assert!(
        path.ends_with("{e13f37e5-b50b-4c9c-922d-68e03b47719d}"),
        "{path}"
    );
    Ok(())
}

#[test]
fn started_device_offers_what_its_adapter_can_do() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let capabilities = provider.capabilities()?;
    assert!(capabilities.kinds.contains(Kind::CommonBuffer));
    assert!(capabilities.kinds.contains(Kind::Contiguous));
    assert_eq!(capabilities.dma_version, Some(3));
    assert_eq!(capabilities.dma_operations_size, 320);
    assert_eq!(capabilities.address_width, Some(32));
    Ok(())
}

#[test]
fn uninstalled_driver_leaves_neither_device_nor_service_nor_memory() -> Outcome {
    let mut session = Session::with_driver()?;
    uninstall(&mut session)?;
    let probe = session.probe()?;
    assert_eq!(probe.ask(&format!("devices {IDENTIFIER}"))?, "0");
    assert_eq!(
        error_of(&probe, &format!("service {SERVICE}")),
        DOES_NOT_EXIST
    );
    assert_eq!(error_of(&probe, "open"), NO_MORE_ITEMS);
    // The companion notes misuse of memory and DMA too, so this says that there was none in any test before.
    let log = session.log();
    let lines: Vec<&str> = log.lines().collect();
    let clean = "unloaded: 0 blocks, 0 lists, 0 mappings, 0 pool blocks left";
    assert!(lines.iter().all(|line| *line == clean), "{lines:?}");
    assert!(!lines.is_empty(), "the driver was not unloaded");
    Ok(())
}

#[test]
fn driver_installed_again_after_uninstalling_works() -> Outcome {
    let mut session = Session::with_driver()?;
    uninstall(&mut session)?;
    session.install()?;
    let provider = Provider::open(session.client()?)?;
    assert_eq!(provider.statistics()?.made, 0);
    Ok(())
}
