//! A provider: one open file on the device.

use std::sync::Arc;

use sanproxy_abi::wire::{
    ByteCount, DeviceAddress, Handle, Header, LookupInput, LookupOutput, MoveInput,
};
use sanproxy_abi::{Access, ControlCode, PAGE_SIZE, Status};

use crate::registration::check_range;
use crate::reply::{Check, ask};
use crate::{
    Capabilities, Channel, Error, HostMemoryOptions, Interface, ListedRegistration, Piece, Quotas,
    RegisterOptions, Registration, SecuredRange, Statistics, StatusPage, UserBufferOptions,
    UserBuffers,
};

/// Where a device address lies: in a registration, or in the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The registration.
    pub handle: Handle,
    /// The offset in it.
    pub offset: u64,
    /// Where this process finds the byte, if it is mapped.
    pub user_address: Option<u64>,
}

impl Location {
    /// Whether it is in the status page, and not in a registration.
    #[must_use]
    pub const fn is_status_page(&self) -> bool {
        self.handle.0 == 0
    }
}

/// One open file on the device.
pub struct Provider<C: Channel> {
    channel: Arc<C>,
    interface: Interface,
}

impl<C: Channel> Provider<C> {
    /// Takes an open channel and makes sure that both sides speak the same interface.
    ///
    /// # Errors
    ///
    /// [`Error::Version`] if they do not; [`Error::Refused`] if the driver answers nothing.
    pub fn open(channel: C) -> Result<Self, Error> {
        let header = Header::of::<Header>();
        let reply: sanproxy_abi::wire::InterfaceOutput =
            ask(&channel, ControlCode::QueryInterface, &header)?;
        let interface = Interface::try_from(reply)?;
        Ok(Self {
            channel: Arc::new(channel),
            interface,
        })
    }

    /// The versions of the interface and of the driver.
    #[must_use]
    pub const fn interface(&self) -> Interface {
        self.interface
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &C {
        &self.channel
    }

    /// What the device offers, and its limits.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        let header = Header::of::<Header>();
        let reply: sanproxy_abi::wire::CapabilitiesOutput =
            ask(&self.channel, ControlCode::QueryCapabilities, &header)?;
        Capabilities::try_from(reply)
    }

    /// Registers memory that the device can reach; it is released on drop.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn register(&self, options: &RegisterOptions) -> Result<Registration<C>, Error> {
        Registration::new(Arc::clone(&self.channel), options)
    }

    /// Secures memory of this process until the result is dropped. Only the process that opened
    /// the device can.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], e.g. if the range is not memory of one allocation with that access.
    pub fn secure(
        &self,
        start: u64,
        length: u64,
        access: Access,
    ) -> Result<SecuredRange<C>, Error> {
        SecuredRange::new(&self.channel, start, length, access)
    }

    /// Makes memory of this process reachable for the device, where it lies: it is locked, and is
    /// unlocked when the registration is dropped. The same memory may be registered more than once.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn register_user_buffer(
        &self,
        options: &UserBufferOptions,
    ) -> Result<Registration<C>, Error> {
        Registration::of_user_buffer(Arc::clone(&self.channel), options)
    }

    /// What a [`RegistrationCache`](crate::RegistrationCache) registers memory of this process with.
    #[must_use]
    pub fn user_buffers(&self) -> UserBuffers<C> {
        UserBuffers::new(Arc::clone(&self.channel))
    }

    /// Registers a host memory buffer: several ranges up to a total. It is released on drop.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn register_host_memory(
        &self,
        options: &HostMemoryOptions,
    ) -> Result<Registration<C>, Error> {
        Registration::host_memory(Arc::clone(&self.channel), options)
    }

    /// Maps the device's status page into this process: counters that can be read without asking.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn status_page(&self) -> Result<StatusPage<C>, Error> {
        StatusPage::map(Arc::clone(&self.channel))
    }

    /// Lists the registrations of all files of the device, in the order in which they were made. For
    /// administrators.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn enumerate(&self) -> Result<Vec<ListedRegistration>, Error> {
        crate::administration::enumerate(&self.channel)
    }

    /// The pieces of a registration that [`Provider::enumerate`] has listed, in order; where its process
    /// finds them is not told. For administrators.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], e.g. if it was released meanwhile, or is a secured range; or an error that
    /// names what is wrong with the reply.
    pub fn enumerate_pieces(&self, serial: u64) -> Result<Vec<Piece>, Error> {
        crate::administration::enumerate_pieces(&self.channel, serial)
    }

    /// Sets the quotas, for now and after a restart of the device. For administrators.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if one is out of its range, or they could not be written.
    pub fn set_quotas(&self, quotas: &Quotas) -> Result<(), Error> {
        crate::administration::set_quotas(&self.channel, quotas)
    }

    /// Which of this file's registrations holds a device address; `None` if none does.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn lookup(&self, device_address: u64) -> Result<Option<Location>, Error> {
        let input = LookupInput {
            header: Header::of::<LookupInput>(),
            device_address: DeviceAddress(device_address),
        };
        let reply: LookupOutput = match ask(&self.channel, ControlCode::Lookup, &input) {
            Err(Error::Refused {
                status: Status::NOT_FOUND,
                ..
            }) => return Ok(None),
            other => other?,
        };
        let (check, user) = (Check(ControlCode::Lookup), reply.user_address.0);
        // Nothing but the mapped status page is known without a handle.
        let sound = reply.handle.0 != 0 || (user != 0 && reply.offset.0 < PAGE_SIZE);
        check.that(sound, "handle", 0_u64)?;
        Ok(Some(Location {
            handle: reply.handle,
            offset: reply.offset.0,
            user_address: (user != 0).then_some(user),
        }))
    }

    /// Copies inside the kernel from one registration to another, or within one: the ranges may
    /// overlap. The driver mediates, so neither has to be mapped.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if a range reaches beyond its registration; [`Error::Refused`] if
    /// the driver thinks so.
    pub fn copy(
        &self,
        (source, source_offset): (&Registration<C>, u64),
        (destination, destination_offset): (&Registration<C>, u64),
        length: u64,
    ) -> Result<(), Error> {
        check_range(source_offset, length, source.length())?;
        check_range(destination_offset, length, destination.length())?;
        if length == 0 {
            return Ok(());
        }
        let input = MoveInput {
            header: Header::of::<MoveInput>(),
            source: source.handle(),
            source_offset: ByteCount(source_offset),
            destination: destination.handle(),
            destination_offset: ByteCount(destination_offset),
            length: ByteCount(length),
        };
        let _: Header = ask(&self.channel, ControlCode::Move, &input)?;
        Ok(())
    }

    /// Counters of the device and of this file.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let header = Header::of::<Header>();
        let reply: sanproxy_abi::wire::StatisticsOutput =
            ask(&self.channel, ControlCode::Statistics, &header)?;
        Statistics::try_from(reply)
    }
}
