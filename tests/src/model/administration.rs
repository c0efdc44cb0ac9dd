//! What administrators ask, what providers see without asking, and what a crash leaves.

use sanproxy_abi::{
    AddressKind, ControlCode, DeviceState, Error, RegisterFlags, SECURED_RANGE,
    wire::{
        ByteCount, Count, EnumerateInput, EnumerateOutput, EnumeratedRegistration, Header,
        MapStatusPageOutput, Serial, SetQuotaInput, StatusPage,
    },
};
use zerocopy::FromBytes;

use super::{
    lives::status,
    operation::{Pick, Quotas},
    oracle::{Phase, accounts::Amount},
    world::{Agreement, Handle, World, same},
};
use crate::wire;

/// What is compared of a registration that is listed: owner, length, address, kind, flags, pieces, and what the address is.
type Listed = (u64, u64, u64, [u32; 4]);

impl World {
    /// Gives a process an administrator's token, or another.
    pub fn set_administrator(&mut self, pick: Pick, token: bool) -> Agreement {
        let Some(place) = self.place(pick) else {
            return Ok(());
        };
        let running = &mut self.processes[place];
        running.process.set_administrator(token);
        running.administrator = token;
        let step = format!("process {} is an administrator's: {token}", running.number);
        self.tell(step);
        Ok(())
    }

    /// Whether a process's token is an administrator's: only they see and set what is everybody's, and fill dumps.
    pub fn is_administrator(&self, process: usize) -> bool {
        let mut all = self.processes.iter();
        all.any(|running| running.number == process && running.administrator)
    }

    fn administrators_gate(&self, process: usize) -> Result<(), Error> {
        self.oracle.gate()?;
        if self.is_administrator(process) {
            Ok(())
        } else {
            Err(Error::NotAdministrator)
        }
    }

    /// Sets the quotas: the device's hold at once, a file's for those that are opened from then on.
    pub fn set_quotas(&mut self, pick: Pick, quotas: &Quotas) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, process) = (handle.number, handle.process);
        let file = Amount::new(quotas.file.1, quotas.file.0 * 4096);
        let device = Amount::new(quotas.device.1, quotas.device.0 * 4096);
        let mut input = SetQuotaInput {
            header: Header::of::<SetQuotaInput>(),
            bytes_per_file: ByteCount(file.bytes),
            count_per_file: Count(file.count),
            bytes_per_device: ByteCount(device.bytes),
            count_per_device: Count(device.count),
        };
        if quotas.flaw {
            input.bytes_per_file.0 = u64::MAX;
        }
        if let Some(call) = quotas.unwritten {
            let faults = self.host.faults();
            faults.fail_routine("ZwSetValueKey", u64::from(call));
        }
        let reply = wire::ask::<_, Header>(&handle.file, ControlCode::SetQuota, &input);
        self.host.faults().clear();
        self.tell(format!("handle {number}: set {quotas:?}"));
        let expected = if quotas.flaw {
            Err(Error::QuotaRange)
        } else {
            self.administrators_gate(process)
        };
        let expected = match quotas.unwritten {
            Some(_) if expected.is_ok() => Err(Error::RegistryFailed),
            _ => expected,
        };
        if expected.is_ok() {
            (self.oracle.per_file, self.oracle.per_device) = (file, device);
        }
        self.agree("set quotas", reply.map(drop), expected)
    }

    /// Maps the status page; it stays where it is.
    pub fn map_page(&mut self, pick: Pick) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file, process) = (handle.number, handle.opened, handle.process);
        let header = Header::of::<Header>();
        let reply =
            wire::ask::<_, MapStatusPageOutput>(&handle.file, ControlCode::MapStatusPage, &header);
        self.tell(format!("handle {number}: map the status page"));
        let open = self.oracle.files.get(&file);
        let (owner, page) = open.map_or((None, None), |open| (open.owner, open.page));
        let expected = self.oracle.gate().and_then(|()| {
            if owner == Some(process) {
                Ok(())
            } else {
                Err(Error::WrongProcess)
            }
        });
        let told = reply.map(|told| (told.user_address.0, told.device_address.0, told.length.0));
        self.agree("map the status page", told.map(drop), expected)?;
        if let Ok((user, device, length)) = told {
            same("length of the status page", &length, &4096)?;
            same(
                "place of the status page",
                &(user, device),
                &page.unwrap_or((user, device)),
            )?;
            if let Some(open) = self.oracle.files.get_mut(&file) {
                open.page = Some((user, device));
            }
        }
        Ok(())
    }

    /// Every process that sees the status page sees the numbers that there are.
    pub fn compare_pages(&mut self) -> Agreement {
        let mut uncertain = self.oracle.page_is_late;
        for running in &self.processes {
            let of = |owner: Option<usize>| owner == Some(running.number);
            let files = self.oracle.files.values().filter(|file| of(file.owner));
            for (user, _) in files.filter_map(|file| file.page) {
                let mut bytes = [0; size_of::<StatusPage>()];
                running
                    .process
                    .read(user, &mut bytes)
                    .map_err(|status| format!("the status page cannot be read: {status:?}"))?;
                let page = StatusPage::read_from_bytes(&bytes)
                    .map_err(|_| "the status page is too short".to_string())?;
                let usage = self.oracle.usage(None);
                let failures: u64 = self.oracle.failures.values().sum();
                let seen = [
                    page.sequence.0 % 2,
                    u64::from(page.state.0),
                    page.generation.0,
                    page.live_registrations.0,
                    page.made.0,
                    page.released.0,
                    page.failures.0,
                ];
                let expected = [
                    0,
                    u64::from(DeviceState::Started.value()),
                    self.oracle.generation,
                    usage.count,
                    self.oracle.made,
                    self.oracle.released,
                    failures,
                ];
                same("status page", &seen, &expected)?;
                let [low, high] = self.oracle.peak_bytes;
                let late =
                    page.live_bytes.0 != usage.bytes || !(low..=high).contains(&page.peak_bytes.0);
                if late && !self.oracle.page_is_late {
                    return Err(format!("status page: {page:?}, has to be {usage:?}, {low}"));
                }
                uncertain &= late;
                let events = page.events.map(|count| count.0);
                if !self.oracle.perhaps {
                    same("events on the status page", &events, &self.oracle.events)?;
                }
            }
        }
        self.oracle.page_is_late = uncertain;
        Ok(())
    }

    /// What has to be listed, in the order in which it was made.
    fn listed(&self) -> Vec<(u64, Listed)> {
        let owner = |file: usize| {
            self.oracle
                .files
                .get(&file)
                .map_or(0, |file| file.process_id)
        };
        let registered = self.oracle.registrations.iter().map(|own| {
            let device = own.pieces.first().map_or(0, |piece| piece.device);
            let numbers = [
                own.kind.value(),
                own.flags,
                u32::try_from(own.pieces.len()).unwrap_or(u32::MAX),
                AddressKind::Logical.value(),
            ];
            (own.number, (owner(own.file), own.length(), device, numbers))
        });
        let secured = self.oracle.secured.iter().map(|secured| {
            let numbers = [SECURED_RANGE, 0, 0, AddressKind::None.value()];
            (
                secured.number,
                (owner(secured.file), secured.length, 0, numbers),
            )
        });
        let mut all: Vec<_> = registered.chain(secured).collect();
        all.sort_unstable();
        all
    }

    /// The administrator sees what there is, each with a number that stays the same and is new.
    pub fn compare_listing(&mut self) -> Agreement {
        if self.oracle.phase != Phase::Started {
            return Ok(());
        }
        let mut handles = self.handles.iter();
        let Some(handle) = handles.find(|handle| self.is_administrator(handle.process)) else {
            return Ok(());
        };
        let told = ask_listing(handle, 0).map_err(|status| format!("no listing: {status:?}"))?;
        let expected = self.listed();
        let count = expected.len();
        same("total of the listing", &told.total.0, &(count as u64))?;
        same("length of the listing", &(told.returned.0 as usize), &count)?;
        let mut last = 0;
        for ((number, expected), told) in expected.into_iter().zip(&told.registrations) {
            same("what is listed", &listed(told), &expected)?;
            let serial = told.serial.0;
            let newest = self.oracle.serials.values().copied().max().unwrap_or(0);
            let known = self.oracle.serials.get(&number).copied();
            let sound = known.map_or(serial > newest, |known| known == serial);
            if !sound || serial <= last {
                return Err(format!(
                    "registration {number} is listed as {serial}, was {known:?}"
                ));
            }
            self.oracle.serials.insert(number, serial);
            last = serial;
        }
        same("last of the listing", &told.last.0, &last)
    }

    /// Asks for the registrations after one, or after all.
    pub fn enumerate(&mut self, pick: Pick, after: Pick) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, process) = (handle.number, handle.process);
        let all: Vec<u64> = self.listed().iter().map(|(number, _)| *number).collect();
        let place = usize::from(after) % (all.len() + 1);
        let serial = all
            .get(place)
            .and_then(|number| self.oracle.serials.get(number));
        if place < all.len() && serial.is_none() {
            return Ok(());
        }
        let serial = serial.copied().unwrap_or(u64::MAX);
        let told = ask_listing(handle, serial).map(|told| told.returned.0 as usize);
        self.tell(format!("handle {number}: enumerate after {serial}"));
        let left = all.len().saturating_sub(place + 1);
        let expected = self.administrators_gate(process).map(|()| left);
        self.agree("enumerate", told, expected)
    }

    /// The system crashes: the dump has what was to be in it, and nothing else.
    pub fn crash(&mut self) -> Agreement {
        self.tell("crash");
        let dump = status(self.host.crash(0xE2))?;
        self.crashed = true;
        let report = self.host.report();
        if !report.is_clean() {
            return Err(report.to_string());
        }
        let all = self.oracle.registrations.iter();
        let marked = all.filter(|own| own.flags & RegisterFlags::DUMP.bits() != 0);
        let marked: Vec<Vec<u8>> = marked.map(|own| own.contents()).collect();
        let pages = |all: Vec<&[u8]>| {
            let mut pages: Vec<Vec<u8>> = all
                .into_iter()
                .flat_map(|bytes| bytes.chunks(4096))
                .map(<[u8]>::to_vec)
                .collect();
            pages.sort_unstable();
            pages
        };
        let actual = pages(
            dump.ranges
                .iter()
                .map(|range| range.bytes.as_slice())
                .collect(),
        );
        let expected = pages(marked.iter().map(Vec::as_slice).collect());
        same("pages in the dump", &actual.len(), &expected.len())?;
        if actual == expected {
            Ok(())
        } else {
            Err("the dump has other bytes".to_string())
        }
    }
}

fn ask_listing(handle: &Handle, after: u64) -> Result<EnumerateOutput, sanproxy_abi::Status> {
    let input = EnumerateInput {
        header: Header::of::<EnumerateInput>(),
        after: Serial(after),
    };
    wire::ask(&handle.file, ControlCode::Enumerate, &input)
}

fn listed(told: &EnumeratedRegistration) -> Listed {
    let numbers = [
        told.kind.0,
        told.flags.0,
        told.pieces.0,
        told.address_kind.0,
    ];
    (
        told.process.0,
        told.length.0,
        told.device_address.0,
        numbers,
    )
}
