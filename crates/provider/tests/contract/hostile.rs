//! The library with a driver that breaks the contract: nothing of it is believed (C61).

use std::rc::Rc;

use crate::model::Driver;
use proptest::prelude::*;
use sanproxy_abi::wire::{
    ByteCount, CapabilitiesOutput, Choice, Count, DeviceAddress, EnumerateOutput, Flags, Handle,
    Header, InterfaceOutput, LookupOutput, MapStatusPageOutput, Message, PieceIndex,
    QueryRegistrationOutput, RegisterOutput, Reserved, SecureOutput, Serial, StatisticsOutput,
    UserAddress,
};
use sanproxy_provider::{Access, ControlCode, Error, HostMemoryOptions, Provider, RegisterOptions};

fn open() -> (Rc<Driver>, Provider<Rc<Driver>>) {
    let driver = Rc::new(Driver::default());
    let provider = Provider::open(Rc::clone(&driver)).unwrap();
    (driver, provider)
}

/// What is wrong with a reply, by the name of its field.
fn field<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::ReplyContent { field, .. }) => field,
        Err(error) => unreachable!("another error: {error}"),
        Ok(_) => "none",
    }
}

/// The field that the library finds wrong in a spoilt reply to a mapped registration.
fn register_field(change: impl Fn(&mut RegisterOutput) + 'static) -> &'static str {
    let (driver, provider) = open();
    driver.spoil_reply(ControlCode::Register, change);
    let options = RegisterOptions::common_buffer(65_536)
        .low_memory()
        .map()
        .alignment(65_536);
    let found = field(provider.register(&options));
    // Whatever is wrong, nothing stays behind, unless not even the handle could be believed.
    assert!(driver.live() == 0 || found == "handle" || found.starts_with("header"));
    found
}

#[test]
fn register_reply_as_it_should_be_is_believed() {
    assert_eq!(register_field(|_| ()), "none");
}

#[test]
fn register_reply_with_one_field_wrong_is_not_believed() {
    assert_eq!(register_field(|r| r.handle = Handle(0)), "handle");
    assert_eq!(register_field(|r| r.length = ByteCount(61_440)), "length");
    assert_eq!(register_field(|r| r.length = ByteCount(u64::MAX)), "length");
    assert_eq!(
        register_field(|r| r.device_address.0 += 4096),
        "device_address"
    );
    assert_eq!(
        register_field(|r| r.device_address = DeviceAddress(1 << 32)),
        "device_address"
    );
    assert_eq!(
        register_field(|r| r.device_address = DeviceAddress(0xFFFF_FFFF_FFFF_0000)),
        "device_address"
    );
    assert_eq!(
        register_field(|r| r.user_address = UserAddress(0)),
        "user_address"
    );
    assert_eq!(register_field(|r| r.user_address.0 += 1), "user_address");
    assert_eq!(
        register_field(|r| r.user_address = UserAddress(0xFFFF_8000_0000_0000)),
        "user_address"
    );
    assert_eq!(
        register_field(|r| r.user_address = UserAddress((1 << 47) - 4096)),
        "user_address"
    );
    assert_eq!(register_field(|r| r.pieces = PieceIndex(0)), "pieces");
    assert_eq!(register_field(|r| r.pieces = PieceIndex(2)), "pieces");
    assert_eq!(register_field(|r| r.method = Choice(0)), "method");
    assert_eq!(register_field(|r| r.method = Choice(6)), "method");
    assert_eq!(register_field(|r| r.method = Choice(99)), "method");
    assert_eq!(register_field(|r| r.cache = Choice(3)), "cache");
    assert_eq!(
        register_field(|r| r.address_kind = Choice(3)),
        "address_kind"
    );
    assert_eq!(
        register_field(|r| r.address_kind = Choice(0)),
        "device_address"
    );
    assert_eq!(register_field(|r| r.rung = 1), "rung");
}

#[test]
fn reply_header_with_one_field_wrong_is_not_believed() {
    let header = "header or a reserved field";
    assert_eq!(register_field(|r| r.header.size += 1), header);
    assert_eq!(register_field(|r| r.header.version = 2), header);
    assert_eq!(register_field(|r| r.header.reserved = 1), header);
}

#[test]
fn mapping_that_was_not_asked_for_is_not_believed() {
    let (driver, provider) = open();
    driver.spoil_reply(ControlCode::Register, |r: &mut RegisterOutput| {
        r.user_address.0 = 4096;
    });
    let result = provider.register(&RegisterOptions::common_buffer(4096));
    assert_eq!(field(result), "user_address");
    assert_eq!(driver.live(), 0);
}

fn pieces_field(change: impl Fn(&mut QueryRegistrationOutput) + 'static) -> &'static str {
    let (driver, provider) = open();
    driver.pieces.set(33);
    driver.spoil_reply(ControlCode::QueryRegistration, change);
    let options = RegisterOptions::common_buffer(33 * 4096).allow_pieces();
    let found = field(provider.register(&options));
    assert_eq!(driver.live(), 0);
    found
}

#[test]
fn pieces_with_one_field_wrong_are_not_believed() {
    assert_eq!(pieces_field(|_| ()), "none");
    assert_eq!(pieces_field(|r| r.total = PieceIndex(0)), "total");
    assert_eq!(pieces_field(|r| r.total = PieceIndex(u32::MAX)), "total");
    assert_eq!(pieces_field(|r| r.total.0 += r.returned.0 / 32), "total");
    assert_eq!(pieces_field(|r| r.returned.0 = 33), "returned");
    assert_eq!(
        pieces_field(|r| r.returned.0 -= 1),
        "pieces beyond the last"
    );
    assert_eq!(pieces_field(|r| r.kind = Choice(2)), "kind");
    assert_eq!(pieces_field(|r| r.flags = Flags(0)), "flags");
    assert_eq!(pieces_field(|r| r.length.0 += 4096), "length");
    assert_eq!(pieces_field(|r| r.pieces[0].length.0 = 0), "piece length");
    assert_eq!(
        pieces_field(|r| r.pieces[0].length.0 = 4097),
        "piece length"
    );
    assert_eq!(
        pieces_field(|r| r.pieces[0].length.0 = 8192),
        "sum of the pieces"
    );
    assert_eq!(
        pieces_field(|r| r.pieces[0].device_address.0 += 4096),
        "device_address"
    );
    assert_eq!(
        pieces_field(|r| r.pieces[0].user_address.0 = 4096),
        "piece user_address"
    );
}

#[test]
fn interface_of_another_major_version_is_refused() {
    let driver = Rc::new(Driver::default());
    driver.spoil_reply(ControlCode::QueryInterface, |r: &mut InterfaceOutput| {
        r.interface_major = 2;
    });
    let error = Provider::open(Rc::clone(&driver)).err().unwrap();
    assert_eq!(error, Error::Version { major: 2, minor: 0 });
}

fn capabilities_field(change: impl Fn(&mut CapabilitiesOutput) + 'static) -> &'static str {
    let (driver, provider) = open();
    driver.spoil_reply(ControlCode::QueryCapabilities, change);
    field(provider.capabilities())
}

#[test]
fn capabilities_with_one_field_wrong_are_not_believed() {
    assert_eq!(capabilities_field(|_| ()), "none");
    assert_eq!(capabilities_field(|r| r.kinds.0 |= 1), "kinds");
    assert_eq!(capabilities_field(|r| r.dma_version = 4), "dma_version");
    assert_eq!(
        capabilities_field(|r| r.dma_version = 0),
        "dma_operations_size"
    );
    assert_eq!(
        capabilities_field(|r| r.dma_operations_size = 0),
        "dma_operations_size"
    );
    assert_eq!(
        capabilities_field(|r| r.address_width = 65),
        "address_width"
    );
    assert_eq!(
        capabilities_field(|r| r.common_buffer_method.0 = 99),
        "common_buffer_method"
    );
    assert_eq!(capabilities_field(|r| r.page_size = 0), "page_size");
    assert_eq!(
        capabilities_field(|r| r.longest_registration.0 = 0),
        "longest_registration"
    );
    let header = "header or a reserved field";
    assert_eq!(capabilities_field(|r| r.reserved = Reserved(1)), header);
}

#[test]
fn statistics_with_a_count_for_no_cause_are_not_believed() {
    let (driver, provider) = open();
    driver.spoil_reply(ControlCode::Statistics, |r: &mut StatisticsOutput| {
        r.failures[47] = Count(1);
    });
    assert_eq!(field(provider.statistics()), "failures without a cause");
}

#[test]
fn lookup_that_finds_nothing_and_says_success_is_not_believed() {
    let (driver, provider) = open();
    let memory = provider
        .register(&RegisterOptions::common_buffer(4096))
        .unwrap();
    driver.spoil_reply(ControlCode::Lookup, |r: &mut LookupOutput| {
        r.handle = Handle(0);
    });
    assert_eq!(field(provider.lookup(memory.device_address())), "handle");
}

#[test]
fn reply_of_any_other_length_is_not_believed() {
    for told in [0, 1, 63, 65, 800, usize::MAX] {
        let (driver, provider) = open();
        *driver.spoil.borrow_mut() = Some(Box::new(move |_, _, _| told));
        let error = provider
            .register(&RegisterOptions::common_buffer(4096))
            .err();
        let request = ControlCode::Register;
        assert_eq!(
            error,
            Some(Error::ReplyLength {
                request,
                returned: told,
                expected: 64
            })
        );
    }
}

#[test]
fn request_that_the_contract_forbids_but_the_driver_grants_is_not_believed() {
    struct Generous;
    impl sanproxy_provider::Channel for Generous {
        fn control(
            &self,
            code: u32,
            _: &[u8],
            output: &mut [u8],
        ) -> Result<usize, sanproxy_abi::Status> {
            output.fill(0);
            if code == ControlCode::QueryInterface.value() {
                output[..10].copy_from_slice(&[32, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
            } else if code == ControlCode::Register.value() {
                output[..9].copy_from_slice(&[64, 0, 0, 0, 1, 0, 0, 0, 7]);
            } else {
                Header::of::<Header>().write_to(output).unwrap();
            }
            Ok(output.len())
        }
        fn read_memory(
            &self,
            address: u64,
            _: &mut [u8],
        ) -> Result<(), sanproxy_provider::MemoryFault> {
            Err(sanproxy_provider::MemoryFault { address })
        }
        fn write_memory(
            &self,
            address: u64,
            _: &[u8],
        ) -> Result<(), sanproxy_provider::MemoryFault> {
            Err(sanproxy_provider::MemoryFault { address })
        }
    }
    use zerocopy::IntoBytes;
    let provider = Provider::open(Generous).unwrap();
    assert_eq!(
        field(provider.register(&RegisterOptions::common_buffer(0))),
        "status"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_in_a_reply_are_survived(
        seed in prop::collection::vec(any::<u8>(), 1..900), from in 0_usize..80, told: Option<u16>,
        mapped: bool, many: bool,
    ) {
        let (driver, provider) = open();
        driver.pieces.set(3);
        *driver.spoil.borrow_mut() = Some(Box::new(move |_, output, length| {
            for (byte, noise) in output.iter_mut().skip(from).zip(seed.iter().cycle()) {
                *byte = *noise;
            }
            told.map_or(length, usize::from)
        }));
        let mut options = RegisterOptions::common_buffer(3 * 4096);
        if mapped { options = options.map(); }
        if many { options = options.allow_pieces(); }
        let _ = provider.capabilities();
        let _ = provider.statistics();
        let _ = provider.lookup(4096);
        if let Ok(memory) = provider.register(&options) {
            prop_assert_eq!(memory.length(), 3 * 4096);
            let sum: u64 = memory.pieces().iter().map(|piece| piece.length).sum();
            prop_assert_eq!(sum, memory.length());
            prop_assert_eq!(memory.user_address().is_some(), mapped);
        }
    }

    #[test]
    fn header_of_a_reply_is_sound_or_refused(bytes: [u8; 8]) {
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert_eq!((header.size, header.version, header.reserved), (8, 1, 0));
        }
    }
}

#[test]
fn secure_reply_without_a_handle_is_not_believed() {
    let (driver, provider) = open();
    driver.spoil_reply(ControlCode::Secure, |r: &mut SecureOutput| {
        r.handle = Handle(0);
    });
    let secured = provider.secure(0x1000, 1, Access::Read);
    assert_eq!(field(secured), "handle");
}

#[test]
fn host_memory_of_more_ranges_or_less_than_the_minimum_is_not_believed() {
    let (driver, provider) = open();
    let wanted = HostMemoryOptions::new(8 << 12, 4 << 12).most_ranges(2);
    driver.spoil_reply(ControlCode::RegisterHostMemory, |r: &mut RegisterOutput| {
        r.length = ByteCount(3 << 12);
    });
    assert_eq!(field(provider.register_host_memory(&wanted)), "length");
    driver.spoil_reply(ControlCode::RegisterHostMemory, |r: &mut RegisterOutput| {
        r.pieces = PieceIndex(3);
    });
    assert_eq!(field(provider.register_host_memory(&wanted)), "pieces");
    assert_eq!(driver.live(), 0, "what is not believed is released");
}

#[test]
fn enumeration_that_goes_round_is_not_believed() {
    let (driver, provider) = open();
    let _memory = provider
        .register(&RegisterOptions::contiguous(4096))
        .unwrap();
    driver.spoil_reply(ControlCode::Enumerate, |r: &mut EnumerateOutput| {
        r.registrations[0].serial = Serial(0);
    });
    assert_eq!(field(provider.enumerate()), "serial");
    driver.spoil_reply(ControlCode::Enumerate, |r: &mut EnumerateOutput| {
        r.returned = PieceIndex(17);
    });
    assert_eq!(field(provider.enumerate()), "returned");
}

#[test]
fn status_page_at_no_page_is_not_believed() {
    let (driver, provider) = open();
    driver.spoil_reply(ControlCode::MapStatusPage, |r: &mut MapStatusPageOutput| {
        r.user_address = UserAddress(4097);
    });
    assert_eq!(field(provider.status_page()), "user_address");
}
