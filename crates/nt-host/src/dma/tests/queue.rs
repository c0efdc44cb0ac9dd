//! Requests that wait for map registers.

use super::*;

#[test]
fn list_waits_until_the_registers_are_free() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, 2 * PAGE);
    LIST.set(0);
    let held = nic.hold(u32::MAX);
    assert_eq!(nic.list_of(mdl, base, 2 * PAGE, true), 0);
    assert_eq!(LIST.get(), 0, "it waits");
    access::fill(base, 0x33, 2 * 4096);
    drop(held);
    let list = LIST.get();
    assert_eq!(device_read(&nic, list), vec![0x33; 2 * 4096]);
    nic.put_list(list, true);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn bounce_pages_of_a_list_that_waited_hold_what_was_written_meanwhile() {
    let nic = Nic::out_of_reach();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    access::fill(base, 0x11, 4096);
    let held = nic.hold(u32::MAX);
    assert_eq!(nic.list_of(mdl, base, PAGE, true), 0);
    access::fill(base, 0x22, 4096);
    drop(held);
    assert_eq!(device_read(&nic, LIST.get()), vec![0x22; 4096]);
}

#[test]
fn put_of_a_list_serves_the_next() {
    let dma = DmaConfig {
        system_map_registers: 2,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    assert_eq!(nic.registers, 2);
    let (base, mdl) = pool_mdl(&nic, 2 * PAGE);
    nic.list_of(mdl, base, 2 * PAGE, true);
    let first = LIST.replace(0);
    nic.list_of(mdl, base, 2 * PAGE, true);
    nic.list_of(mdl, base, PAGE, true);
    assert_eq!(LIST.get(), 0);
    nic.put_list(first, true);
    let second = LIST.replace(0);
    assert_eq!(
        elements(second).iter().map(|one| one.1).sum::<u64>(),
        2 * PAGE
    );
    nic.put_list(second, true);
    nic.put_list(LIST.get(), true);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn small_request_does_not_overtake_a_large_one() {
    let dma = DmaConfig {
        system_map_registers: 3,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    let (base, mdl) = pool_mdl(&nic, 3 * PAGE);
    let held = nic.hold(2);
    LIST.set(0);
    nic.list_of(mdl, base, 3 * PAGE, true);
    nic.list_of(mdl, base, PAGE, true);
    assert_eq!(
        LIST.get(),
        0,
        "one register is free, but the larger request came first"
    );
    drop(held);
    let large = LIST.replace(0);
    nic.put_list(large, true);
    assert_ne!(LIST.get(), 0);
}

#[test]
fn synchronous_requests_fail_instead_of_waiting() {
    let nic = Nic::plain();
    let (_, mdl) = pool_mdl(&nic, PAGE);
    let context = nic.context();
    let held = nic.hold(u32::MAX);
    let refused = NtStatus::INSUFFICIENT_RESOURCES.0;
    assert_eq!(nic.channel_now(context, 1), Err(refused));
    let mut list = 0_u64;
    let to = &raw mut list as u64;
    let (adapter, pdo) = (nic.adapter, nic.pdo);
    let arguments = [
        adapter,
        pdo,
        context,
        mdl,
        0,
        PAGE,
        SYNCHRONOUS,
        0,
        0,
        1,
        0,
        0,
        to,
    ];
    let get = || nic.at_dispatch("GetScatterGatherListEx", &arguments);
    assert_eq!((get(), list), (refused, 0));
    drop(held);
    assert_eq!(get(), 0);
    nic.free_object(FREE);
    nic.put_list(list, true);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn channel_waits_and_is_called_when_registers_are_freed() {
    let nic = Nic::plain();
    let held = nic.hold(u32::MAX);
    assert_eq!(nic.channel(4, FREE), 0);
    assert_eq!(CALLS.get(), 0);
    drop(held);
    assert_eq!((CALLS.get(), IRQL.get()), (1, DISPATCH));
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn cancelled_request_is_never_called() {
    let nic = Nic::plain();
    let context = nic.context();
    let cancel = || {
        nic.kernel
            .call32("CancelAdapterChannel", &[nic.adapter, nic.pdo, context])
            & 0xFF
    };
    let held = nic.hold(u32::MAX);
    assert_eq!(nic.channel_ex(context, 4, FREE), 0);
    assert_eq!(cancel(), 1);
    drop(held);
    assert_eq!(CALLS.get(), 0);
    assert_eq!(nic.channel_ex(context, 4, KEEP_REGISTERS), 0);
    assert_eq!((CALLS.get(), cancel()), (1, 0), "too late");
    nic.free_registers(BASE.get(), 4);
    assert_eq!(cancel(), 0, "still too late");
    let arguments = [nic.adapter, context];
    let status = nic
        .kernel
        .call32("InitializeDmaTransferContext", &arguments);
    assert_eq!((status, cancel()), (0, 1), "in advance");
    assert_eq!(nic.channel_ex(context, 4, FREE), NtStatus::CANCELLED.0);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn cancelled_list_leaves_nothing_behind() {
    let nic = Nic::out_of_reach();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    access::fill(base, 0x11, 4096);
    let context = nic.context();
    let free = nic.kernel.host.machine().free_frames();
    let held = nic.hold(u32::MAX);
    let function = keep_list as *const () as u64;
    let (adapter, pdo) = (nic.adapter, nic.pdo);
    let arguments = [
        adapter, pdo, context, mdl, 0, PAGE, 0, function, 0, 0, 0, 0, 0,
    ];
    assert_eq!(nic.at_dispatch("GetScatterGatherListEx", &arguments), 0);
    let cancelled = nic
        .kernel
        .call32("CancelAdapterChannel", &[adapter, pdo, context]);
    assert_eq!(cancelled & 0xFF, 1);
    assert_eq!(access::read::<u8>(base), 0x11);
    drop(held);
    assert_eq!(nic.kernel.host.machine().free_frames(), free);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn request_that_waits_at_put_is_v151_and_is_not_called() {
    let nic = Nic::plain();
    let held = nic.hold(u32::MAX);
    nic.channel(1, FREE);
    nic.put();
    drop(held);
    assert_eq!((CALLS.get(), nic.rules()), (0, vec!["V151"]));
}

#[test]
fn request_behind_a_cancelled_one_need_not_wait_for_it() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    let context = nic.context();
    let all = nic.free_in_pool();
    let held = nic.hold(all - 2);
    assert_eq!(nic.channel_ex(context, 3, FREE), 0);
    LIST.set(0);
    nic.list_of(mdl, base, PAGE, true);
    assert_eq!(LIST.get(), 0);
    let cancel = [nic.adapter, nic.pdo, context];
    nic.kernel.call("CancelAdapterChannel", &cancel);
    assert_ne!(LIST.get(), 0);
    nic.put_list(LIST.get(), true);
    drop(held);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn request_that_waits_at_unload_is_a_leak_and_is_not_called() {
    let nic = Nic::plain();
    let held = nic.hold(u32::MAX);
    nic.channel(1, FREE);
    driver_unloaded(&nic.kernel.host);
    drop(held);
    let leaks = nic.kernel.host.report().leaks;
    assert!(leaks.iter().any(|leak| leak.kind == "DMA request"));
    assert_eq!(CALLS.get(), 0);
}

/// A driver's list control routine: sends the list to the thread that asked for it.
extern "win64" fn send_list(_device: u64, _irp: u64, list: u64, sender: u64) {
    // SAFETY: the context is a sender that outlives all threads of the test.
    let sender = unsafe { &*(sender as *const std::sync::mpsc::Sender<u64>) };
    sender.send(list).unwrap();
}

#[test]
fn threads_that_share_too_few_registers_are_all_served() {
    let dma = DmaConfig {
        system_map_registers: 3,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    let (adapter, pdo, host) = (nic.adapter, nic.pdo, &nic.kernel.host);
    // A sender outlives its thread: another one may still be inside of `send` when the list has arrived.
    let (senders, receivers): (Vec<_>, Vec<_>) = [1, 2, 3, 2]
        .map(|_| std::sync::mpsc::channel())
        .into_iter()
        .unzip();
    std::thread::scope(|scope| {
        for ((pages, sender), receiver) in [1, 2, 3, 2].into_iter().zip(&senders).zip(receivers) {
            scope.spawn(move || {
                let kernel = Kernel::on(host);
                let (base, mdl) = kernel.described(pages * PAGE);
                let (function, context) = (
                    send_list as *const () as u64,
                    core::ptr::from_ref(sender) as u64,
                );
                let arguments = [adapter, pdo, mdl, base, pages * PAGE, function, context, 1];
                for _ in 0..200 {
                    let status = thread::at_irql(DISPATCH, || {
                        kernel.call32("GetScatterGatherList", &arguments)
                    });
                    assert_eq!(status, 0);
                    let limit = std::time::Duration::from_secs(20);
                    let list = receiver.recv_timeout(limit).unwrap();
                    thread::at_irql(DISPATCH, || {
                        kernel.call("PutScatterGatherList", &[adapter, list, 1])
                    });
                }
            });
        }
    });
    assert_eq!(nic.free_in_pool(), 3);
    nic.put();
    nic.kernel.assert_clean();
}
