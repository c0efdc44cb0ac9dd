//! The driver compared with a model of it, through random histories of everything that can happen to it.
//!
//! A new operation is a variant of [`operation::Operation`], a line in `chance`, which says how likely it is, and a method of [`world::World`], which
//! does it to the driver and to the [`oracle::Oracle`] and compares. [`compare`] looks at all that can be seen after every step.
//! [`search`] makes histories and shortens those that fail.
//!
//! No test plays a driver with a mistake in it: the image that ships is the one under test. So whoever sharpens the model makes
//! the mistake in the driver, sees it found, and takes it back. What only a rare history meets is looked at whenever it could be
//! wrong instead: each piece as soon as it is made, what is secured or only read after every step.

mod administration;
mod bus;
mod chance;
mod compare;
mod device;
mod host_memory;
mod lives;
pub mod operation;
pub mod oracle;
mod own_memory;
mod requests;
pub mod search;
mod traffic;
pub mod world;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use self::{operation::Operation, world::World};

/// A history in which the driver and the model differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What happened, in order.
    pub steps: Vec<String>,
    /// How they differ after the last step.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, number) in self.steps.iter().zip(1..) {
            writeln!(formatter, "{number:>4}. {step}")?;
        }
        write!(formatter, "then: {}", self.what)
    }
}

/// Plays a history to its end, unloads the driver and hears the judge; how many steps it was.
///
/// # Errors
///
/// The first difference, or what the judge has found.
pub fn play(history: &[Operation]) -> Result<usize, Difference> {
    let mut world = World::new().map_err(|what| Difference {
        steps: Vec::new(),
        what,
    })?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for operation in history {
            world.apply(operation)?;
            if world.crashed {
                return Ok(());
            }
            world.compare()?;
        }
        world.last_words()
    }));
    let steps = std::mem::take(&mut world.steps);
    let agreed = outcome.unwrap_or_else(|panic| Err(panicked(&*panic)));
    let ended = agreed.and_then(|()| if world.crashed { Ok(()) } else { end(world) });
    let count = steps.len();
    ended
        .map(|()| count)
        .map_err(|what| Difference { steps, what })
}

/// What a check said that does not return.
fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()));
    text.unwrap_or_else(|| "a check failed".to_string())
}

/// Everything is closed, the device removed, the driver unloaded.
fn end(world: World) -> Result<(), String> {
    let World {
        host,
        driver,
        device,
        processes,
        handles,
        requests,
        ..
    } = world;
    drop(handles);
    if requests.iter().any(traffic::Request::waits) {
        return Err("a request outlives its file".to_string());
    }
    drop(requests);
    for running in processes {
        let mappings = running.process.mappings();
        if !mappings.is_empty() {
            return Err(format!("still mapped at the end: {mappings:x?}"));
        }
        running.process.exit().map_err(|error| error.to_string())?;
    }
    crate::stage::accepted(device.remove()).map_err(|error| error.to_string())?;
    drop(device);
    if let Some(driver) = driver {
        driver.unload().map_err(|error| error.to_string())?;
    }
    let report = host.report();
    if report.is_clean() {
        Ok(())
    } else {
        Err(report.to_string())
    }
}
