//! The library with a driver that keeps the contract.

use std::rc::Rc;

use crate::model::Driver;
use sanproxy_provider::{
    Access, ControlCode, DeviceState, Error, Handle, HostMemoryOptions, Kind, Location, Method,
    Provider, Quotas, RegisterOptions, Status,
};

fn open() -> (Rc<Driver>, Provider<Rc<Driver>>) {
    let driver = Rc::new(Driver::default());
    let provider = Provider::open(Rc::clone(&driver)).unwrap();
    (driver, provider)
}

#[test]
fn open_asks_for_the_interface_version_first() {
    let (driver, provider) = open();
    assert_eq!(*driver.calls.borrow(), [ControlCode::QueryInterface]);
    assert_eq!(provider.interface().driver, [0, 1, 0]);
}

#[test]
fn capabilities_are_told() {
    let capabilities = open().1.capabilities().unwrap();
    assert!(capabilities.kinds.contains(Kind::Contiguous));
    assert!(!capabilities.kinds.contains(Kind::UserBuffer));
    assert_eq!(
        (capabilities.dma_version, capabilities.address_width),
        (Some(3), Some(32))
    );
}

#[test]
fn range_is_secured_until_it_is_dropped() {
    let (driver, provider) = open();
    let first = provider.secure(0x1000, 1, Access::Read).unwrap();
    let second = provider.secure(0x1000, 1, Access::ReadWrite).unwrap();
    assert_ne!(first.handle(), second.handle());
    drop(first);
    assert_eq!(driver.secured.borrow().len(), 1);
    second.unsecure().unwrap();
    assert!(driver.secured.borrow().is_empty());
    let wraps = provider.secure(u64::MAX, 2, Access::Read).map(drop);
    let refused = wraps.unwrap_err().to_string();
    assert!(refused.contains("wraps"), "{refused}");
}

#[test]
fn registration_is_released_when_dropped() {
    let (driver, provider) = open();
    let memory = provider
        .register(&RegisterOptions::common_buffer(5000))
        .unwrap();
    assert_eq!(
        (memory.length(), memory.pieces().len(), driver.live()),
        (8192, 1, 1)
    );
    assert_eq!(
        (memory.method(), memory.rung()),
        (Method::AllocateCommonBufferEx, 0)
    );
    drop(memory);
    assert_eq!(driver.live(), 0);
}

#[test]
fn release_of_what_the_driver_lost_is_told() {
    let (_, provider) = open();
    let memory = provider
        .register(&RegisterOptions::contiguous(4096))
        .unwrap();
    let other = provider
        .register(&RegisterOptions::contiguous(4096))
        .unwrap();
    assert!(other.release().is_ok());
    let handle = memory.handle();
    let input = sanproxy_abi::wire::ReleaseInput {
        header: sanproxy_abi::wire::Header::of::<sanproxy_abi::wire::ReleaseInput>(),
        handle,
    };
    let bytes = zerocopy::IntoBytes::as_bytes(&input);
    let channel: &dyn sanproxy_provider::Channel = provider.channel();
    assert_eq!(
        channel.control(ControlCode::Release.value(), bytes, &mut [0; 8]),
        Ok(8)
    );
    assert_eq!(
        memory.release().unwrap_err().status(),
        Some(Status::INVALID_HANDLE)
    );
}

#[test]
fn registration_left_to_the_file_is_not_released() {
    let (driver, provider) = open();
    let memory = provider
        .register(&RegisterOptions::contiguous(4096))
        .unwrap();
    assert_eq!(memory.into_handle(), Handle(1));
    assert_eq!(driver.live(), 1);
}

#[test]
fn mapped_memory_is_written_and_read_back_across_its_pieces() {
    let (driver, provider) = open();
    driver.pieces.set(40);
    let options = RegisterOptions::common_buffer(40 * 4096)
        .allow_pieces()
        .map();
    let memory = provider.register(&options).unwrap();
    assert_eq!((memory.pieces().len(), memory.rung()), (40, 1));
    let text: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    memory.write_at(4000, &text).unwrap();
    let mut back = vec![0; text.len()];
    memory.read_at(4000, &mut back).unwrap();
    assert_eq!(back, text);
    assert_eq!(memory.query().unwrap().pieces, memory.pieces());
}

#[test]
fn access_beyond_the_registration_is_refused_without_touching_memory() {
    let (_, provider) = open();
    let memory = provider
        .register(&RegisterOptions::common_buffer(4096).map())
        .unwrap();
    assert!(memory.write_at(4095, &[1]).is_ok());
    assert!(memory.write_at(4096, &[]).is_ok());
    for (offset, length) in [(4095, 2), (4096, 1), (u64::MAX, 1), (0, 4097)] {
        let bytes = vec![0; usize::try_from(length).unwrap()];
        let error = Error::OutOfBounds {
            offset,
            length,
            available: 4096,
        };
        assert_eq!(memory.write_at(offset, &bytes), Err(error));
    }
}

#[test]
fn memory_that_is_not_mapped_cannot_be_read() {
    let (_, provider) = open();
    let memory = provider
        .register(&RegisterOptions::common_buffer(4096))
        .unwrap();
    assert_eq!(memory.user_address(), None);
    assert_eq!(memory.read_at(0, &mut [0]), Err(Error::NotMapped));
}

#[test]
fn lookup_finds_the_registration_and_the_offset() {
    let (_, provider) = open();
    let memory = provider
        .register(&RegisterOptions::common_buffer(8192))
        .unwrap();
    let found = provider.lookup(memory.device_address() + 5000).unwrap();
    assert_eq!(
        found,
        Some(Location {
            handle: memory.handle(),
            offset: 5000,
            user_address: None,
        })
    );
    assert_eq!(provider.lookup(memory.device_address() + 8192), Ok(None));
}

#[test]
fn copy_moves_bytes_between_registrations_and_stays_within_them() {
    let (_, provider) = open();
    let source = provider
        .register(&RegisterOptions::common_buffer(4096).map())
        .unwrap();
    let target = provider
        .register(&RegisterOptions::contiguous(4096).map())
        .unwrap();
    source.write_at(10, b"hello").unwrap();
    provider.copy((&source, 10), (&target, 4091), 5).unwrap();
    let mut bytes = [0; 5];
    target.read_at(4091, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    assert!(matches!(
        provider.copy((&source, 10), (&target, 4092), 5),
        Err(Error::OutOfBounds {
            offset: 4092,
            length: 5,
            available: 4096
        })
    ));
}

#[test]
fn statistics_name_the_causes_of_failures() {
    let (_, provider) = open();
    assert!(
        provider
            .register(&RegisterOptions::common_buffer(0))
            .is_err()
    );
    let statistics = provider.statistics().unwrap();
    let causes: Vec<_> = statistics.failures().collect();
    assert_eq!(causes, [(sanproxy_abi::Error::Length, 1)]);
}

#[test]
fn refusal_says_status_name_and_cause_in_words() {
    let (_, provider) = open();
    let options = RegisterOptions::common_buffer(4096).boundary(5000);
    let error = provider.register(&options).err().unwrap();
    assert_eq!(error.status(), Some(Status::INVALID_PARAMETER));
    assert_eq!(
        error.to_string(),
        "Register was refused with STATUS_INVALID_PARAMETER (0xC000000D): The boundary is not 0 or \
         a power of two of at least a page and at least the length."
    );
}

#[test]
fn status_page_that_changes_while_it_is_read_is_read_again() {
    let (driver, provider) = open();
    let page = provider.status_page().unwrap();
    for torn in 0..12 {
        driver.torn.set(torn);
        let status = page.read().unwrap();
        assert_eq!((status.sequence, status.made), (8, 7), "{torn} torn looks");
        assert_eq!(status.state, DeviceState::Started);
    }
}

#[test]
fn status_page_that_never_stands_still_is_an_error() {
    let (driver, provider) = open();
    let page = provider.status_page().unwrap();
    driver.torn.set(u32::MAX);
    assert!(matches!(
        page.read(),
        Err(Error::ReplyContent {
            field: "sequence",
            ..
        })
    ));
}

#[test]
fn enumeration_lists_more_than_one_reply_holds() {
    let (_, provider) = open();
    let made: Vec<_> = (0..40)
        .map(|_| {
            provider
                .register(&RegisterOptions::contiguous(4096))
                .unwrap()
        })
        .collect();
    let listed = provider.enumerate().unwrap();
    let handles: Vec<u64> = made.iter().map(|memory| memory.handle().0).collect();
    let numbers: Vec<u64> = listed.iter().map(|one| one.serial).collect();
    assert_eq!(numbers, handles);
    assert!(
        listed
            .iter()
            .all(|one| one.kind == Some(Kind::Contiguous) && one.length == 4096)
    );
}

#[test]
fn quotas_are_told_as_they_are() {
    let (driver, provider) = open();
    let quotas = Quotas {
        bytes_per_file: 1,
        count_per_file: 2,
        bytes_per_device: 3,
        count_per_device: 4,
    };
    provider.set_quotas(&quotas).unwrap();
    let told = driver.quotas.borrow().unwrap();
    assert_eq!((told.bytes_per_file, told.count_per_file), (1, 2));
    assert_eq!((told.bytes_per_device, told.count_per_device), (3, 4));
}

#[test]
fn host_memory_is_believed_piece_by_piece() {
    let (driver, provider) = open();
    driver.pieces.set(4);
    let wanted = HostMemoryOptions::new(16 << 12, 1 << 12).most_ranges(4);
    let memory = provider.register_host_memory(&wanted).unwrap();
    assert_eq!(
        (memory.kind(), memory.length()),
        (Kind::HostMemoryBuffer, 16 << 12)
    );
    assert_eq!(memory.pieces().len(), 4);
    drop(memory);
    assert_eq!(driver.live(), 0);
}
