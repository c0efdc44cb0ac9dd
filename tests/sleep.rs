//! What sleep does to registrations: nothing.
//!
//! Cites san.md: R60; io-pnp-rules.md section 5.

use sanproxy_provider::RegisterOptions;
use sanproxy_tests::{scene::scene, stage::accepted};

/// `IRP_MN_SET_POWER` and `IRP_MN_QUERY_POWER`.
const SET: u8 = 2;
const QUERY: u8 = 3;
/// `PowerSystemWorking`, `PowerSystemSleeping3`, `PowerDeviceD0`, `PowerDeviceD3`.
const WORKING: u32 = 1;
const SLEEPING_3: u32 = 4;
const D0: u32 = 1;
const D3: u32 = 4;

#[test]
fn data_is_kept_over_s3_and_registrations_stay_valid() {
    let scene = scene();
    let device = &scene.stage.device;
    for wish in [
        RegisterOptions::common_buffer(65536).map(),
        RegisterOptions::contiguous(65536).map(),
    ] {
        let registration = scene.provider.register(&wish).expect("memory");
        let user = registration.user_address().expect("mapped");
        let address = registration.device_address();
        let bytes: Vec<u8> = (0..65536_u32)
            .map(|at| at.to_le_bytes()[0] ^ 0x5A)
            .collect();
        scene.process.write(user, &bytes).expect("mapped");
        for (minor, system, state) in [
            (QUERY, true, SLEEPING_3),
            (SET, true, SLEEPING_3),
            (SET, false, D3),
            (SET, true, WORKING),
            (SET, false, D0),
        ] {
            accepted(device.send_power(minor, system, state)).expect("power requests succeed");
        }
        let mut seen = vec![0; bytes.len()];
        scene.nic.read(address, &mut seen).expect("still reachable");
        assert!(seen == bytes, "the NIC sees other bytes");
        scene
            .nic
            .write(address, &[1, 2, 3])
            .expect("still writable");
        let mut three = [0; 3];
        scene.process.read(user, &mut three).expect("still mapped");
        assert_eq!(three, [1, 2, 3]);
        registration.release().expect("still known");
    }
    let again = scene
        .provider
        .register(&RegisterOptions::common_buffer(4096))
        .expect("memory after the sleep");
    again.release().expect("released");
    scene.finish();
}
