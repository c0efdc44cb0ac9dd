//! Requests that send, receive, connect and wait.

use sanproxy_abi::{EXCHANGE_MESSAGE_OFFSET, Error, ExchangeRequest, exchange::message_length};
use wdm::{control::Control, direct::Transfer, irp::Completed};

use crate::{
    file::File,
    messages::{self, Sending},
};

/// Waits for events, in whatever state the device is.
pub(super) fn wait(file: &File, control: Control) -> Completed {
    let completed = file.mailbox().wait(file.device(), control);
    // Opened so late that the end of the device was not announced to it.
    if file.device().is_gone() {
        file.mailbox().close(Error::Removed);
    }
    completed
}

/// Sends one message and receives one.
pub(super) fn exchange(file: &File, control: Control, request: ExchangeRequest) -> Completed {
    let letter = messages::write(file, request.length, |bytes| {
        // The input was as long when it was checked, and nobody else can change it.
        let _ = control.copy_input_from(EXCHANGE_MESSAGE_OFFSET, bytes);
    });
    let letter = match letter {
        Ok(letter) => letter,
        Err(error) => return control.complete(Err(file.device().fail(error))),
    };
    let sending = Sending {
        exchange: true,
        may_wait: request.may_wait,
    };
    match control.map_output() {
        Ok(direct) => messages::send(file, direct, letter, sending),
        Err(control) => {
            drop(letter);
            control.complete(Err(file.device().fail(Error::NoMemory)))
        }
    }
}

/// Sends the message in a write request, or receives one with a read request.
pub(super) fn transfer(file: &File, transfer: Transfer) -> Completed {
    let fail = |error| file.device().fail(error);
    let length = match message_length(transfer.length()) {
        Ok(length) => length,
        Err(error) => return transfer.fail(fail(error)),
    };
    let is_write = transfer.is_write();
    let direct = match transfer.map() {
        Ok(direct) => direct,
        Err(transfer) => return transfer.fail(fail(Error::NoMemory)),
    };
    if !is_write {
        return messages::receive(file, direct);
    }
    let sending = Sending {
        exchange: false,
        may_wait: true,
    };
    // One copy: the caller may change its buffer at any time.
    match messages::write(file, length, |bytes| direct.copy_out(bytes)) {
        Ok(letter) => messages::send(file, direct, letter, sending),
        Err(error) => direct.complete(Err(fail(error))),
    }
}
