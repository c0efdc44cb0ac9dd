//! What has to be the same after every step: counters, mappings, contents, reach.

use std::collections::BTreeSet;

use nt_host::Protection;
use sanproxy_abi::Error;

use super::{
    oracle::{accounts::Amount, registration::Registration},
    world::{Agreement, World, same},
};
use crate::wire;

impl World {
    /// Compares everything that can be seen.
    pub fn compare(&mut self) -> Agreement {
        if self.host.is_dead() {
            return Err(format!("the system has stopped: {}", self.host.report()));
        }
        self.compare_requests()?;
        self.compare_mappings()?;
        self.compare_own_memory()?;
        for own in &self.oracle.registrations {
            self.compare_contents(own)?;
        }
        self.compare_former()?;
        self.compare_listing()?;
        self.compare_counters()?;
        self.compare_pages()
    }

    fn compare_mappings(&self) -> Agreement {
        for running in &self.processes {
            let actual: BTreeSet<_> = running.process.mappings().into_iter().collect();
            let is_owner = |own: &&Registration| {
                let file = self.oracle.files.get(&own.file);
                own.mapped
                    && !own.is_own()
                    && file.and_then(|file| file.owner) == Some(running.number)
            };
            let owned = self.oracle.registrations.iter().filter(is_owner);
            let pieces = owned.flat_map(|own| &own.pieces);
            let pieces = pieces.map(|piece| (piece.user, piece.length));
            let files = self.oracle.files.values();
            let own = files.filter(|file| file.owner == Some(running.number));
            let pages = own
                .filter_map(|file| file.page)
                .map(|(user, _)| (user, 4096));
            let expected = pieces.chain(pages).collect();
            let what = format!("mappings of process {}", running.number);
            same(&what, &actual, &expected)?;
        }
        Ok(())
    }

    /// Processes see their own memory as they left it or the NIC did, and what the driver has secured of it.
    fn compare_own_memory(&self) -> Agreement {
        for running in &self.processes {
            let of = |process: usize| process == running.number;
            for own in self.oracle.allocations.iter().filter(|own| of(own.process)) {
                let mut bytes = vec![0xEE; own.pages.borrow().len()];
                let readable = own.protection != Protection::None;
                let read = running.process.read(own.address, &mut bytes).is_ok();
                same("whether a process reads its memory", &read, &readable)?;
                if readable && bytes != *own.pages.borrow() {
                    let (process, address) = (running.number, own.address);
                    return Err(format!(
                        "process {process} sees other bytes at {address:#x}"
                    ));
                }
            }
            for own in self.oracle.allocations.iter().filter(|own| of(own.process)) {
                // What succeeded would change something, so only what must not is tried.
                if !self.oracle.may_change(own, Some(Protection::Read)) {
                    let taken = running
                        .process
                        .protect(own.address, Protection::Read)
                        .is_ok();
                    same("whether secured access is taken away", &taken, &false)?;
                }
            }
            let mut actual = running.process.secured();
            let secured = self.oracle.secured.iter();
            let secured = secured.filter(|secured| of(secured.process));
            let mut expected: Vec<_> = secured.map(|secured| secured.range).collect();
            actual.sort_unstable();
            expected.sort_unstable();
            let what = format!("what process {} has secured", running.number);
            same(&what, &actual, &expected)?;
        }
        Ok(())
    }

    /// The NIC sees the registration's contents, and so does the process that has it mapped.
    fn compare_contents(&self, own: &Registration) -> Agreement {
        let owner = self.oracle.files.get(&own.file).and_then(|file| file.owner);
        let process = self
            .processes
            .iter()
            .find(|running| Some(running.number) == owner && own.mapped && !own.is_own());
        let contents = own.contents();
        let mut rest = contents.as_slice();
        for piece in &own.pieces {
            let (expected, others) = rest.split_at(usize::try_from(piece.length).unwrap_or(0));
            rest = others;
            if !own.is_writable() {
                let written = self.nic.write(piece.device, &expected[..1]).is_ok();
                self.nic.domain().take_faults();
                same(
                    "whether the NIC writes what it may only read",
                    &written,
                    &false,
                )?;
            }
            let mut bytes = vec![0xEE; expected.len()];
            self.nic
                .read(piece.device, &mut bytes)
                .map_err(|fault| format!("the NIC cannot read {piece:x?}: {fault:?}"))?;
            differ("the NIC", own, &bytes, expected)?;
            if let Some(running) = process {
                bytes.fill(0xEE);
                running
                    .process
                    .read(piece.user, &mut bytes)
                    .map_err(|status| format!("the owner cannot read {piece:x?}: {status:?}"))?;
                differ("the owner", own, &bytes, expected)?;
            }
        }
        Ok(())
    }

    /// What has been released is out of the NIC's reach, or, in the reserve, empty.
    fn compare_former(&self) -> Agreement {
        for former in &self.oracle.former {
            for piece in &former.pieces {
                if self.is_live(piece.device, piece.device + piece.length - 1) {
                    continue;
                }
                let mut bytes = vec![0; usize::try_from(piece.length).unwrap_or(0)];
                let reached = self.nic.read(piece.device, &mut bytes).is_ok();
                // The judge is not to hold this attempt against the driver.
                self.nic.domain().take_faults();
                if reached {
                    if !former.reserved {
                        return Err(format!("the NIC reaches {piece:x?}, which is released"));
                    }
                    if !former.scribbled && bytes.iter().any(|byte| *byte != 0) {
                        return Err(format!("what was in {piece:x?} is still there"));
                    }
                }
            }
        }
        Ok(())
    }

    fn compare_counters(&mut self) -> Agreement {
        if self.oracle.gate().is_err() {
            return Ok(());
        }
        for handle in &self.handles {
            let seen = wire::statistics(&handle.file);
            let own = Amount::new(seen.file_registrations.0, seen.file_bytes.0);
            let expected = self.oracle.usage(Some(handle.opened));
            same("usage of the file", &own, &expected)?;
        }
        let Some(handle) = self.handles.first() else {
            return Ok(());
        };
        let seen = wire::statistics(&handle.file);
        let all = Amount::new(seen.live_registrations.0, seen.live_bytes.0);
        same("usage of the device", &all, &self.oracle.usage(None))?;
        let history = (seen.made.0, seen.released.0);
        let expected = (self.oracle.made, self.oracle.released);
        same("made and released", &history, &expected)?;
        let timed: u64 = seen.latencies.iter().map(|count| count.0).sum();
        same("registrations in the histogram", &timed, &self.oracle.made)?;
        for error in Error::ALL {
            let expected = self.oracle.failures.get(error).copied().unwrap_or(0);
            let what = format!("failures by {error:?}");
            same(&what, &wire::failures(&seen, *error), &expected)?;
        }
        same(
            "peak count",
            &seen.peak_registrations.0,
            &self.oracle.peak_count,
        )?;
        let [low, high] = self.oracle.peak_bytes;
        if !(low..=high).contains(&seen.peak_bytes.0) {
            let peak = seen.peak_bytes.0;
            return Err(format!("peak bytes: is {peak}, has to be {low} to {high}"));
        }
        self.oracle.peak_bytes = [seen.peak_bytes.0; 2];
        Ok(())
    }
}

fn differ(who: &str, own: &Registration, actual: &[u8], expected: &[u8]) -> Agreement {
    let first = actual
        .iter()
        .zip(expected)
        .position(|(one, two)| one != two);
    first.map_or(Ok(()), |at| {
        Err(format!(
            "{who} sees {:#04x} at byte {at} of a piece of {:#x}, has to be {:#04x}",
            actual[at], own.handle, expected[at]
        ))
    })
}
