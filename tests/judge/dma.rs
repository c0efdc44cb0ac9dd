//! DMA adapters, and what the device does with the addresses that it was given.

use nt_host::{RegistryValue, dma::DmaConfig};

use crate::stage::{Stage, builder, caught, caught_in_life, fault, work};

caught! {
    common_buffer_freed_twice_is_v146: 146, 0 => "V146";
    common_buffer_freed_with_another_length_is_v146: 146, 1 => "V146";
    common_buffer_freed_with_another_logical_address_is_v146: 146, 2 => "V146";
    common_buffer_freed_with_another_cache_flag_is_v146: 146, 3 => "V146";
    common_buffer_freed_at_another_address_is_v146: 146, 4 => "V146";
    common_buffer_never_allocated_is_v146: 146, 5 => "V146";
    adapter_object_freed_twice_is_v147: 147, 0 => "V147";
    list_put_twice_is_v149: 149, 0 => "V149";
    adapter_put_with_a_common_buffer_is_v150: 150, 0 => "V150";
    adapter_put_with_an_adapter_object_is_v151: 151, 0 => "V151";
    adapter_put_with_a_list_is_v153: 153, 0 => "V153";
    transfer_of_unlocked_memory_is_v157: 157, 0 => "V157";
    write_past_a_common_buffer_is_v158: 158, 0 => "V158";
    adapter_put_twice_is_v164: 160, 0 => "V164";
    list_put_in_the_other_direction_is_v163: 163, 0 => "V163";
    use_of_a_released_adapter_is_v164: 164, 0 => "V164";
    null_adapter_is_v165: 165, 0 => "V165";
    address_outside_of_the_mdl_is_v166: 166, 0 => "V166";
    zero_bytes_mapped_are_v171: 171, 0 => "V171";
    common_buffer_of_unmapped_pages_is_v172: 172, 0 => "V172";
    adapter_put_with_map_registers_is_v152: 153, 0 => "V152";
    buffer_shorter_than_the_transfer_is_v174: 174, 0 => "V174";
}

caught_in_life! {
    unknown_description_version_is_v175: 175, false => "V175";
    description_with_a_reserved_field_set_is_v177: 177, false => "V177";
    adapter_asked_for_with_the_function_device_is_v178: 178, false => "V178";
}

#[test]
fn more_map_registers_than_the_maximum_are_v155() {
    let dma = DmaConfig {
        map_registers: 4,
        ..DmaConfig::default()
    };
    let stage = Stage::on(builder().dma(dma));
    drop(stage.send(fault(155), 0, 0));
    let report = stage.end();
    assert!(report.has("V155"), "{report}");
}

#[test]
fn member_past_the_table_is_v180() {
    let dma = DmaConfig {
        interface_version: 1,
        ..DmaConfig::default()
    };
    let stage = Stage::on(builder().dma(dma));
    drop(stage.send(fault(180), 0, 0));
    let report = stage.end();
    assert!(report.has("V180"), "{report}");
}

#[test]
fn device_reading_a_logical_address_of_a_common_buffer_is_not_reported() {
    let stage = Stage::new();
    let address = stage.ask(work::BUFFER_ADDRESS, 0, 0);
    let mut bytes = [1; 64];
    let device = stage.device.bus_master();
    device.read(address, &mut bytes).expect("a common buffer");
    assert_eq!(bytes, [0; 64]);
    stage.work(work::FREE_BUFFER);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn device_reading_what_nobody_registered_is_v176() {
    let stage = Stage::new();
    let device = stage.device.bus_master();
    assert!(device.read(0x1234_5000, &mut [0; 16]).is_err());
    let report = stage.end();
    assert!(report.has("V176"), "{report}");
}

#[test]
fn device_reading_a_freed_common_buffer_is_v181() {
    let stage = Stage::new();
    let address = stage.ask(work::BUFFER_ADDRESS, 0, 0);
    stage.work(work::FREE_BUFFER);
    let device = stage.device.bus_master();
    assert!(device.read(address, &mut [0; 16]).is_err());
    let report = stage.end();
    assert!(report.has("V181"), "{report}");
}

#[test]
fn device_reading_by_a_physical_address_is_v182() {
    let dma = DmaConfig {
        address_bits: 64,
        ..DmaConfig::default()
    };
    let stage = Stage::on(builder().dma(dma));
    let address = stage.ask(work::BUFFER_ADDRESS, 1, 0);
    let device = stage.device.bus_master();
    assert!(device.read(address, &mut [0; 16]).is_err());
    let report = stage.end();
    assert!(report.has("V182"), "{report}");
}

#[test]
fn adapter_put_over_stop_is_not_reported() {
    let host = builder()
        .parameter("Fault", RegistryValue::Dword(0))
        .build()
        .expect("a host");
    crate::stage::live(&host, false).expect("every step succeeds");
    assert!(!host.report().has("V179"), "{}", host.report());
}
