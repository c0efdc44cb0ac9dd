//! Adapter channels, map registers, and what is mapped with them.

use nt_host::dma::DmaConfig;
use nt_machine::MachineConfig;

use crate::stage::{Stage, builder, caught, code, fault, work};

caught! {
    flush_of_too_many_bytes_is_v143: 143, 0 => "V143";
    fragment_without_a_map_register_is_v144: 144, 0 => "V144";
    adapter_channel_freed_twice_is_v147: 147, 1 => "V147";
    map_registers_freed_twice_are_v148: 148, 0 => "V148";
    map_registers_freed_with_another_number_are_v148: 148, 1 => "V148";
    map_registers_freed_instead_of_their_channel_are_v148: 148, 2 => "V148";
    adapter_put_with_a_channel_is_v151: 151, 1 => "V151";
    adapter_put_with_map_registers_is_v152: 151, 1 => "V152";
    adapter_put_with_a_mapped_transfer_is_v156: 151, 2 => "V156";
    second_channel_is_v154: 154, 0 => "V154";
    channel_freed_before_the_flush_is_v156: 156, 0 => "V156";
    transfer_mapped_before_the_flush_of_the_last_is_v156: 156, 1 => "V156";
    adapter_object_freed_before_the_flush_is_v156: 156, 2 => "V156";
    map_registers_freed_before_the_flush_are_v159: 159, 0 => "V159";
    routine_that_maps_and_keeps_nothing_is_v159: 159, 1 => "V159";
    flush_of_another_buffer_is_v163: 163, 1 => "V163";
    range_mapped_twice_is_v167: 167, 0 => "V167";
    buffer_before_the_mdl_is_v169: 169, 0 => "V169";
    buffer_behind_the_mdl_is_v169: 169, 1 => "V169";
    buffer_longer_than_the_mdl_is_v169: 169, 2 => "V169";
    flush_of_nothing_is_v170: 170, 0 => "V170";
    channel_below_dispatch_level_is_v053: 53, 1 => "V053";
    flush_above_dispatch_level_is_v161: 161, 1 => "V161";
    domain_above_passive_level_is_v161: 161, 2 => "V161";
}

#[test]
fn more_map_registers_than_the_maximum_in_all_are_v162() {
    let dma = DmaConfig {
        map_registers: 4,
        ..DmaConfig::default()
    };
    let stage = Stage::on(builder().dma(dma));
    drop(stage.send(fault(162), 0, 0));
    let report = stage.end();
    assert!(report.has("V162"), "{report}");
}

#[test]
fn flush_before_the_device_has_ended_is_v173() {
    let stage = Stage::new();
    let logical = stage.ask(work::MAPPED_PAGE, 0, 0);
    let transfer = stage.device.begin_transfer(logical);
    drop(stage.send(code(work::MAPPED_PAGE), 1, 0));
    drop(transfer);
    let report = stage.end();
    assert!(report.has("V173"), "{report}");
}

#[test]
fn flush_after_the_device_has_ended_is_not_reported() {
    let stage = Stage::new();
    let logical = stage.ask(work::MAPPED_PAGE, 0, 0);
    drop(stage.device.begin_transfer(logical));
    let mut bytes = [0; 16];
    let device = stage.device.bus_master();
    device.read(logical, &mut bytes).expect("it is mapped");
    drop(stage.send(code(work::MAPPED_PAGE), 1, 0));
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn channel_that_waits_for_map_registers_is_not_reported() {
    let stage = Stage::new();
    let held = stage.device.hold_map_registers(u32::MAX);
    stage.work(work::WAITING_CHANNEL);
    assert_eq!(stage.device.waiting_for_map_registers(), 1);
    assert_eq!(stage.ask(work::WAITING_CHANNEL, 1, 0), 0);
    drop(held);
    assert_eq!(stage.device.waiting_for_map_registers(), 0);
    assert_eq!(stage.ask(work::WAITING_CHANNEL, 1, 0), 1);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn channel_that_is_cancelled_in_time_is_not_reported() {
    let stage = Stage::new();
    let held = stage.device.hold_map_registers(u32::MAX);
    assert_eq!(stage.ask(work::WAITING_CHANNEL, 2, 0), 1);
    assert_eq!(stage.device.waiting_for_map_registers(), 0);
    drop(held);
    assert_eq!(stage.ask(work::WAITING_CHANNEL, 1, 0), 0);
    assert_eq!(stage.ask(work::WAITING_CHANNEL, 2, 0), 0, "too late");
    assert_eq!(stage.ask(work::WAITING_CHANNEL, 1, 0), 1);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn dma_by_every_table_is_not_reported() {
    let tables = [(1, 0), (2, 0), (3, 232), (3, 272), (3, 320)];
    for (interface_version, table_size) in tables {
        let dma = DmaConfig {
            interface_version,
            table_size,
            ..DmaConfig::default()
        };
        let stage = Stage::on(builder().dma(dma));
        stage.work(work::DMA);
        let report = stage.end();
        assert!(report.is_clean(), "version {interface_version}: {report}");
    }
}

#[test]
fn channel_that_still_waits_when_the_adapter_is_put_is_v151() {
    let stage = Stage::new();
    let held = stage.device.hold_map_registers(u32::MAX);
    stage.work(work::WAITING_CHANNEL);
    let report = stage.end();
    drop(held);
    assert!(report.has("V151"), "{report}");
}

#[test]
fn dma_without_an_iommu_is_not_reported() {
    for coherent in [true, false] {
        let dma = DmaConfig {
            remapping: false,
            coherent,
            ..DmaConfig::default()
        };
        let stage = Stage::on(builder().dma(dma));
        stage.work(work::DMA);
        let report = stage.end();
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn device_writing_beside_a_bounced_buffer_is_v158() {
    let dma = DmaConfig {
        remapping: false,
        ..DmaConfig::default()
    };
    let machine = MachineConfig::without_low_memory();
    let stage = Stage::on(builder().machine(machine).dma(dma));
    let logical = stage.ask(work::MAPPED_PAGE, 2, 0);
    let device = stage.device.bus_master();
    device
        .write(logical + 100, &[1])
        .expect("nothing protects it");
    drop(stage.send(code(work::MAPPED_PAGE), 3, 0));
    let report = stage.end();
    assert!(report.has("V158"), "{report}");
}
