//! Requests that wait in the driver, for a limited time.

use std::thread;
use std::time::Duration;

use sanproxy_provider::{Error, Provider, Status};

use crate::failure::Failure;
use crate::system::System;

/// How often a thread is looked at that waits in the driver.
const LOOK: Duration = Duration::from_millis(5);

/// Asks the driver something that may wait; `None` if it waited until the time was over.
pub(super) fn within<S: System, T: Send>(
    system: &S,
    provider: &Provider<S::Channel>,
    limit: Duration,
    ask: impl FnOnce(&Provider<S::Channel>) -> Result<T, Error> + Send,
) -> Result<Option<T>, Failure> {
    let end = system.elapsed().saturating_add(limit);
    let result = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(provider));
        while !asking.is_finished() && system.elapsed() < end && !system.is_interrupted() {
            system.sleep(LOOK);
        }
        // It may not have come to the driver yet, where it can be cancelled.
        while !asking.is_finished() {
            provider.cancel();
            thread::sleep(LOOK);
        }
        asking.join()
    });
    let Ok(result) = result else {
        return Err(Failure::wrong("the request ended in a panic"));
    };
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.status() == Some(Status::CANCELLED) => {
            if system.is_interrupted() {
                return Err(Failure::interrupted("the request is cancelled"));
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
