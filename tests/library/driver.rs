//! The driver that ships, where its own registrations would use up the map registers.

use nt_host::DmaConfig;
use sanproxy_abi::Access;
use sanproxy_provider::{RegisterOptions, UserBufferOptions};
use sanproxy_tests::{
    scene::{Scene, scene_of},
    stage::Setting,
};

use crate::stage::{INSUFFICIENT_RESOURCES, PAGE, interface};

/// Eight registers for the whole system, and a table whose lists would wait for them.
fn scarce() -> Scene {
    scene_of(Setting::default().dma(DmaConfig {
        map_registers: 8,
        system_map_registers: 8,
        ..interface(2, true)
    }))
}

#[test]
fn user_buffers_that_would_wait_for_each_other_are_refused() {
    let scene = scarce();
    let memory = || scene.process.allocate(5 * 4096).expect("memory");
    let options = || UserBufferOptions::new(memory(), 5 * PAGE, Access::Read).allow_pieces();
    let first = scene.provider.register_user_buffer(&options());
    let first = first.expect("registers enough");
    let refused = scene.provider.register_user_buffer(&options()).err();
    let status = refused.and_then(|error| error.status());
    assert_eq!(status.map(|status| status.0), Some(INSUFFICIENT_RESOURCES));
    assert_eq!(scene.stage.device.waiting_for_map_registers(), 0);
    drop(first);
    let again = scene.provider.register_user_buffer(&options());
    drop(again.expect("the registers are free again"));
    scene.finish();
}

#[test]
fn user_buffer_longer_than_all_map_registers_is_refused_and_leaves_them() {
    let scene = scarce();
    let start = scene.process.allocate(20 * 4096).expect("memory");
    let long = UserBufferOptions::new(start, 20 * PAGE, Access::Read).allow_pieces();
    let refused = scene.provider.register_user_buffer(&long).err();
    let status = refused.and_then(|error| error.status());
    assert_eq!(status.map(|status| status.0), Some(INSUFFICIENT_RESOURCES));
    let short = UserBufferOptions::new(start, 7 * PAGE, Access::Read).allow_pieces();
    drop(
        scene
            .provider
            .register_user_buffer(&short)
            .expect("registered"),
    );
    drop(
        scene
            .provider
            .register(&RegisterOptions::common_buffer(PAGE)),
    );
    scene.finish();
}
