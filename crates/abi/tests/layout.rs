//! The tables of the contract: no gaps, no addresses, codes as the system wants them.

use sanproxy_abi::wire::STRUCTS;
use sanproxy_abi::{CODES, ControlCode, INTERFACE_CLASS};

#[test]
fn struct_fields_follow_each_other_without_a_gap() {
    for layout in STRUCTS {
        let end = layout.fields.iter().fold(0, |end, field| {
            assert_eq!(field.offset, end, "{}.{}", layout.name, field.name);
            end + field.size
        });
        assert_eq!(end, layout.size, "{}", layout.name);
    }
}

#[test]
fn struct_and_field_have_documentation() {
    for layout in STRUCTS {
        assert!(!layout.documentation.is_empty(), "{}", layout.name);
        assert!(
            layout
                .fields
                .iter()
                .all(|field| !field.documentation.is_empty())
        );
    }
}

#[test]
fn input_holds_no_address_to_act_on() {
    const KINDS: [&str; 11] = [
        "Header",
        "Handle",
        "ByteCount",
        "AddressBound",
        "Flags",
        "Choice",
        "PieceIndex",
        "EndpointId",
        "Reserved",
        "Count",
        "Serial",
    ];
    for code in CODES.iter().filter(|code| code.input.name != "Header") {
        for field in code.input.fields {
            // A node is a choice, and a looked-up address is compared, never used.
            let known = KINDS.contains(&field.meaning) || field.meaning == "NodeNumber";
            let looked_up = code.input.name == "LookupInput" && field.meaning == "DeviceAddress";
            // The system probes a range before anything is done with it.
            let probed = field.meaning == "UserRange";
            assert!(
                known || looked_up || probed,
                "{}.{}: {}",
                code.input.name,
                field.name,
                field.meaning
            );
        }
    }
}

#[test]
fn output_holds_an_address_only_in_the_fields_that_promise_one() {
    let outputs = CODES.iter().filter_map(|code| code.output);
    let outputs = outputs.flat_map(|output| output.fields);
    let pieces = STRUCTS
        .iter()
        .filter(|layout| layout.name == "Piece")
        .flat_map(|p| p.fields);
    for field in outputs.chain(pieces) {
        match field.meaning {
            "DeviceAddress" => assert_eq!(field.name, "device_address"),
            "UserAddress" => assert_eq!(field.name, "user_address"),
            _ => {}
        }
    }
}

#[test]
fn code_is_built_as_the_system_builds_it() {
    for code in CODES {
        let value = code.code.value();
        assert_eq!(value >> 16, 0x8A5A);
        assert_eq!((value >> 14) & 3, 3, "read and write access");
        assert_eq!((value >> 2) & 0xFFF, code.function);
        let direct = code.code == ControlCode::Exchange;
        assert_eq!(
            value & 3,
            if direct { 2 } else { 0 },
            "buffered but for one"
        );
    }
}

#[test]
fn struct_of_every_code_is_in_the_list_and_begins_with_a_header() {
    for layout in CODES
        .iter()
        .flat_map(|code| [Some(code.input), code.output])
    {
        let Some(layout) = layout else { continue };
        assert!(STRUCTS.contains(&layout), "{}", layout.name);
        let first = layout.fields.first().map(|field| field.meaning);
        assert!(
            first == Some("Header") || layout.name == "Header",
            "{}",
            layout.name
        );
    }
}

#[test]
fn interface_class_is_a_random_guid() {
    assert_eq!(INTERFACE_CLASS.data3 >> 12, 4, "version 4");
    assert_eq!(
        INTERFACE_CLASS.data4[0] >> 6,
        0b10,
        "the standard's variant"
    );
}
