//! What a driver has not given back when it is unloaded.

use crate::stage::{Stage, caught, caught_in_life, fault, life_of, report_of};

/// The kinds of what was left behind.
fn left(rule: u32, variant: u32) -> Vec<&'static str> {
    let report = report_of(rule, variant);
    report.leaks.iter().map(|leak| leak.kind).collect()
}

/// Tests that something left at unload is listed: `name: fault, variant => kind`.
macro_rules! listed {
    ($($name:ident: $fault:literal, $variant:literal => $kind:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let kinds = left($fault, $variant);
                assert!(kinds.contains(&$kind), "{kinds:?}");
            }
        )*
    };
}

listed! {
    pool_left_is_listed: 16, 0 => "pool block";
    contiguous_memory_left_is_listed: 132, 0 => "contiguous memory";
    pages_left_are_listed: 132, 1 => "MDL with pages";
    mdl_left_is_listed: 132, 2 => "MDL";
    system_mapping_left_is_listed: 132, 3 => "system mapping";
    locked_pages_left_are_listed: 132, 4 => "locked pages";
    unprotected_contiguous_memory_left_is_listed: 132, 5 => "contiguous memory";
    common_buffer_left_is_listed: 150, 0 => "common buffer";
    list_left_is_listed: 153, 0 => "scatter/gather list";
    registry_handle_left_is_listed: 268, 0 => "registry handle";
}

caught! {
    contiguous_memory_left_is_v132: 132, 0 => "V132";
    pages_left_are_v132: 132, 1 => "V132";
    mdl_left_is_v132: 132, 2 => "V132";
    registry_handle_left_is_v268: 268, 0 => "V268";
    device_reference_left_is_v293: 293, 0 => "V293";
}

caught_in_life! {
    adapter_left_is_v132: 132, false => "V132";
    adapter_kept_over_stop_is_v179: 179, false => "V179";
    event_provider_left_is_v257: 257, false => "V257";
    registry_handle_of_add_device_left_is_v268: 268, false => "V268";
    process_notification_left_is_v298: 298, false => "V298";
    interface_left_enabled_is_v297: 297, false => "V297";
    device_left_is_v220: 220, false => "V220";
}

#[test]
fn device_left_is_listed() {
    let report = life_of(220, false);
    let kinds: Vec<_> = report.leaks.iter().map(|leak| leak.kind).collect();
    assert!(kinds.contains(&"device object"), "{report}");
}

#[test]
fn interface_name_left_is_listed() {
    let report = life_of(14, false);
    assert!(!report.leaks.is_empty(), "{report}");
}

#[test]
fn adapter_left_is_listed() {
    let report = life_of(132, false);
    let kinds: Vec<_> = report.leaks.iter().map(|leak| leak.kind).collect();
    assert!(kinds.contains(&"DMA adapter"), "{report}");
}

#[test]
fn leak_is_listed_with_the_stack_of_its_allocation() {
    let stage = Stage::new();
    stage.send(fault(16), 0, 0).expect("it comes back");
    let report = stage.end();
    let leak = report.leaks.first().expect("the leak");
    assert!(
        leak.stack
            .iter()
            .any(|frame| frame.symbol.starts_with("faulty.sys+0x")),
        "{leak}"
    );
}
