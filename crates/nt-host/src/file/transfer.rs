//! How the data of a request moves: the four methods of a control code, and the two flags of a device.

use std::sync::Arc;

use super::{Control, FileObject, Mode, Pending};
use crate::access::{copy_in, fill, read as peek, write as poke};
use crate::host::{Host, HostError};
use crate::irp::{self, Irp, NewIrp, send};
use crate::layout::{device, irp as irp_layout, major, stack};
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::{lock, memory};

/// What fills the part of a system buffer that holds no input: a driver that returns it leaks pool.
pub(crate) const STALE: u8 = 0xDB;

struct Sender<'a> {
    host: &'a Arc<Host>,
    process: &'a Arc<ProcessObject>,
    file: &'a Arc<FileObject>,
    top: u64,
    request: Arc<Irp>,
    buffers: [u64; 2],
    /// Memory that the caller names, instead of a buffer made for the request.
    named: Option<u64>,
    user_output: bool,
}

impl<'a> Sender<'a> {
    fn new(
        host: &'a Arc<Host>,
        process: &'a Arc<ProcessObject>,
        file: &'a Arc<FileObject>,
        function: u8,
        mode: Mode,
    ) -> Result<Self, NtStatus> {
        let top = host.devices.top(file.pdo);
        let new = NewIrp {
            major: function,
            minor: 0,
            stack_count: peek(top + device::STACK_SIZE),
            requestor_mode: u8::from(mode == Mode::User),
            status: NtStatus::SUCCESS,
            thread: Some(process.current_thread(host)?),
            file: Some(Arc::clone(file)),
        };
        let request = irp::create(host, new)?;
        super::request_issued(file);
        let buffers = [0; 2];
        Ok(Self {
            host,
            process,
            file,
            top,
            request,
            buffers,
            named: None,
            user_output: false,
        })
    }

    /// The system buffer: input first, the rest stale.
    fn system_buffer(&mut self, size: usize, input: &[u8]) -> Result<(), NtStatus> {
        if size == 0 {
            return Ok(());
        }
        let block = self.host.object("system buffer", size as u64)?;
        fill(block.address(), STALE, size);
        copy_in(block.address(), input);
        poke(
            self.request.address + irp_layout::SYSTEM_BUFFER,
            block.address(),
        );
        lock(&self.request.state).transfer.buffer = Some(block);
        Ok(())
    }

    /// Memory of the caller's own with these contents.
    fn user_buffer(
        &mut self,
        which: usize,
        length: usize,
        contents: &[u8],
    ) -> Result<u64, NtStatus> {
        if length == 0 {
            return Ok(0);
        }
        if let Some(address) = self.named {
            return Ok(address);
        }
        let address = memory::allocate_user(self.host, self.process, length)?;
        self.buffers[which] = address;
        let contents = &contents[..contents.len().min(length)];
        memory::write_user(self.process, address, contents)?;
        self.host.restless.add(self.process, address, length);
        Ok(address)
    }

    /// The caller's buffer, locked behind an MDL.
    fn direct(&mut self, length: usize, contents: &[u8], write: bool) -> Result<(), NtStatus> {
        let address = self.user_buffer(1, length, contents)?;
        self.user_output = write;
        if address == 0 {
            return Ok(());
        }
        let mdl = memory::lock_for_request(self.host, self.process, address, length, write)?;
        poke(self.request.address + irp_layout::MDL_ADDRESS, mdl);
        lock(&self.request.state).transfer.mdl = mdl;
        Ok(())
    }

    fn limit_output(&self, length: Option<u64>, copies: bool) {
        let mut state = lock(&self.request.state);
        state.transfer.output_length = length;
        state.transfer.copies_output = copies;
    }

    fn pending(self, refused: Option<NtStatus>) -> Pending {
        if let Some(status) = refused {
            // The end of its process may wait for it already.
            self.request.refuse(status);
            self.host.irps.forget(self.request.address);
            if let Some(thread) = &self.request.thread {
                thread.finished(self.request.address);
            }
            super::request_finished(self.host, self.file);
        }
        Pending {
            host: Arc::clone(self.host),
            request: self.request,
            process: Arc::clone(self.process),
            refused,
            buffers: self.buffers,
            output_in_user_memory: self.user_output,
        }
    }

    fn send(self, prepared: Result<(), NtStatus>) -> Result<Pending, HostError> {
        if let Err(status) = prepared {
            return Ok(self.pending(Some(status)));
        }
        send::send(self.host, self.top, &self.request)?;
        Ok(self.pending(None))
    }
}

/// Sends a device-control request.
pub(super) fn device_control(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    file: &Arc<FileObject>,
    control: &Control<'_>,
) -> Result<Pending, HostError> {
    let mut sender = Sender::new(host, process, file, major::DEVICE_CONTROL, control.mode)?;
    let parameters = sender.request.next() + stack::PARAMETERS;
    poke(parameters, control.output_length as u32);
    poke(parameters + 8, control.input.len() as u32);
    poke(parameters + 16, control.code);
    let prepared = prepare_control(&mut sender, parameters, control);
    sender.send(prepared)
}

fn prepare_control(
    sender: &mut Sender<'_>,
    parameters: u64,
    control: &Control<'_>,
) -> Result<(), NtStatus> {
    let wanted = control.code >> 14 & 3;
    if wanted & !sender.file.access.mask() != 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let (input, output) = (control.input, control.output_length);
    let contents = control.output_contents;
    match control.code & 3 {
        0 => {
            sender.system_buffer(input.len().max(output), input)?;
            sender.limit_output(Some(output as u64), true);
        }
        method @ (1 | 2) => {
            sender.system_buffer(input.len(), input)?;
            sender.direct(output, contents, method == 2)?;
            sender.limit_output(Some(output as u64), false);
        }
        _ => {
            let input_address = sender.user_buffer(0, input.len(), input)?;
            poke(parameters + 24, input_address);
            let output_address = sender.user_buffer(1, output, contents)?;
            poke(
                sender.request.address + irp_layout::USER_BUFFER,
                output_address,
            );
            sender.user_output = true;
        }
    }
    Ok(())
}

/// Sends a read request; `named` is where the caller wants the data.
pub(super) fn read(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    file: &Arc<FileObject>,
    length: usize,
    offset: u64,
    named: Option<u64>,
) -> Result<Pending, HostError> {
    let mut sender = Sender::new(host, process, file, major::READ, Mode::User)?;
    sender.named = named;
    set_range(&sender, length, offset);
    let flags: u32 = peek(sender.top + device::FLAGS);
    let prepared = if !file.access.read {
        Err(NtStatus::ACCESS_DENIED)
    } else if flags & device::BUFFERED_IO != 0 {
        sender.limit_output(Some(length as u64), true);
        sender.system_buffer(length, &[])
    } else if flags & device::DIRECT_IO != 0 {
        sender.limit_output(Some(length as u64), false);
        sender.direct(length, &[], true)
    } else {
        neither(&mut sender, length, &[])
    };
    sender.send(prepared)
}

/// Sends a write request.
pub(super) fn write(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    file: &Arc<FileObject>,
    bytes: &[u8],
    offset: u64,
) -> Result<Pending, HostError> {
    let mut sender = Sender::new(host, process, file, major::WRITE, Mode::User)?;
    set_range(&sender, bytes.len(), offset);
    let flags: u32 = peek(sender.top + device::FLAGS);
    sender.limit_output(Some(bytes.len() as u64), false);
    let prepared = if !file.access.write {
        Err(NtStatus::ACCESS_DENIED)
    } else if flags & device::BUFFERED_IO != 0 {
        sender.system_buffer(bytes.len(), bytes)
    } else if flags & device::DIRECT_IO != 0 {
        sender.direct(bytes.len(), bytes, false)
    } else {
        neither(&mut sender, bytes.len(), bytes)
    };
    sender.send(prepared)
}

fn set_range(sender: &Sender<'_>, length: usize, offset: u64) {
    let parameters = sender.request.next() + stack::PARAMETERS;
    poke(parameters, length as u32);
    poke(parameters + 16, offset);
}

fn neither(sender: &mut Sender<'_>, length: usize, contents: &[u8]) -> Result<(), NtStatus> {
    let address = sender.user_buffer(1, length, contents)?;
    poke(sender.request.address + irp_layout::USER_BUFFER, address);
    sender.user_output = true;
    Ok(())
}
