//! Scatter/gather lists.

use super::*;

#[test]
fn device_that_follows_the_list_fills_the_buffer() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, 4 * PAGE);
    assert_eq!(nic.list_of(mdl, base + 100, 3 * PAGE, false), 0);
    let list = LIST.get();
    let total: u64 = elements(list).iter().map(|(_, length)| length).sum();
    assert_eq!(total, 3 * PAGE);
    let bytes: Vec<u8> = (0..3 * 4096_u32).map(|value| (value % 251) as u8).collect();
    device_write(&nic, list, &bytes);
    assert_eq!(access::read_bytes(base + 100, bytes.len()), bytes);
    nic.put_list(list, false);
    assert!(nic.device().write(base, &[0]).is_err());
    nic.put();
    assert!(!nic.rules().contains(&"V153"));
}

#[test]
fn device_out_of_reach_works_through_bounce_pages() {
    let dma = DmaConfig {
        remapping: false,
        ..config()
    };
    let nic = Nic::new(MachineConfig::without_low_memory(), dma);
    let (base, mdl) = pool_mdl(&nic, 2 * PAGE);
    access::fill(base, 0x11, 2 * 4096);
    assert_eq!(nic.list_of(mdl, base, 2 * PAGE, true), 0);
    let list = LIST.get();
    let mut byte = [0];
    let (logical, _) = elements(list)[0];
    assert!(logical < 1 << 32);
    nic.device().read(logical, &mut byte).unwrap();
    assert_eq!(byte, [0x11]);
    nic.put_list(list, true);
    assert_eq!(nic.list_of(mdl, base, 2 * PAGE, false), 0);
    device_write(&nic, LIST.get(), &[0x22; 2 * 4096]);
    assert_eq!(access::read::<u8>(base), 0x11, "not before the list is put");
    nic.put_list(LIST.get(), false);
    assert_eq!(access::read_bytes(base, 2 * 4096), vec![0x22; 2 * 4096]);
    nic.kernel.assert_clean();
}

#[test]
fn device_without_scatter_gather_gets_one_fragment() {
    let mut nic = Nic::without_adapter(Kernel::new());
    let mut bytes = description(3, 32);
    bytes[5] = 0;
    nic.get(&bytes);
    let (base, mdl) = pool_mdl(&nic, 4 * PAGE);
    assert_eq!(nic.list_of(mdl, base, 4 * PAGE, false), 0);
    assert_eq!(elements(LIST.get()).len(), 1);
}

#[test]
fn device_write_to_memory_that_it_may_only_read_faults() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    nic.list_of(mdl, base, PAGE, true);
    let (logical, _) = elements(LIST.get())[0];
    assert_eq!(
        nic.device().write(logical, &[1]).unwrap_err().kind,
        FaultKind::Write
    );
}

#[test]
fn list_of_locked_user_pages_reaches_the_process() {
    let nic = Nic::plain();
    let process = nic.kernel.process();
    let user = allocate_user(&nic.kernel.host, &process, 3 * 4096).unwrap();
    write_user(&process, user + 10, &[9]).unwrap();
    let mdl = nic.kernel.mdl(user + 10, 2 * PAGE);
    thread::in_process(&process, || {
        nic.kernel.call("MmProbeAndLockPages", &[mdl, 1, 1])
    });
    assert_eq!(nic.list_of(mdl, user + 10, 2 * PAGE, false), 0);
    let mut byte = [0];
    let (logical, _) = elements(LIST.get())[0];
    nic.device().read(logical, &mut byte).unwrap();
    assert_eq!(byte, [9]);
    nic.device().write(logical, &[8]).unwrap();
    read_user(&process, user + 10, &mut byte).unwrap();
    assert_eq!(byte, [8]);
    nic.put_list(LIST.get(), false);
    nic.kernel.call("MmUnlockPages", &[mdl]);
    nic.kernel.assert_clean();
}

#[test]
fn transfer_longer_than_the_mdl_is_buffer_too_small_and_v174() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    assert_eq!(
        nic.list_of(mdl, base, 2 * PAGE, false),
        NtStatus::BUFFER_TOO_SMALL.0
    );
    assert_eq!(nic.rules(), ["V174"]);
}

#[test]
fn transfer_outside_of_the_mdl_is_v166_and_of_zero_bytes_v171() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    nic.list_of(mdl, base - 1, 1, false);
    nic.list_of(mdl, base, 0, false);
    assert_eq!(nic.rules(), ["V166", "V171"]);
}

#[test]
fn transfer_of_unlocked_memory_is_v157() {
    let nic = Nic::plain();
    let mdl = nic.kernel.mdl(nic.kernel.pool(PAGE), PAGE);
    let address = crate::memory::mdl::Mdl::read(mdl).address();
    nic.list_of(mdl, address, PAGE, false);
    assert_eq!(nic.rules(), ["V157"]);
}

#[test]
fn more_map_registers_than_allowed_is_v155() {
    let dma = DmaConfig {
        map_registers: 2,
        ..config()
    };
    let nic = Nic::new(MachineConfig::default(), dma);
    let (base, mdl) = pool_mdl(&nic, 3 * PAGE);
    let status = nic.list_of(mdl, base, 3 * PAGE, false);
    assert_eq!(
        (status, nic.rules()),
        (NtStatus::INSUFFICIENT_RESOURCES.0, vec!["V155"])
    );
}

#[test]
fn list_put_twice_is_v149_and_outstanding_at_put_of_the_adapter_v153() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    nic.list_of(mdl, base, PAGE, false);
    let first = LIST.get();
    nic.put_list(first, false);
    nic.put_list(first, false);
    nic.list_of(mdl, base, PAGE, false);
    nic.put();
    assert_eq!(nic.rules(), ["V149", "V153", "V152"]);
}

#[test]
fn list_put_for_the_other_direction_is_v163() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    nic.list_of(mdl, base, PAGE, false);
    nic.put_list(LIST.get(), true);
    assert_eq!(nic.rules(), ["V163"]);
}

#[test]
fn list_in_the_drivers_memory_needs_the_calculated_size() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, 3 * PAGE);
    let (mut size, mut registers) = (0_u32, 0_u32);
    let to = [&raw mut size as u64, &raw mut registers as u64];
    let arguments = [nic.adapter, mdl, base, 3 * PAGE, to[0], to[1]];
    assert_eq!(
        nic.kernel.call32("CalculateScatterGatherList", &arguments),
        0
    );
    assert_eq!((size, registers), (16 + 3 * 24, 3));
    let buffer = nic.kernel.pool(u64::from(size));
    let function = keep_list as *const () as u64;
    let build = |length: u64| {
        let device = nic.pdo;
        let arguments = [
            nic.adapter,
            device,
            mdl,
            base,
            3 * PAGE,
            function,
            0,
            0,
            buffer,
            length,
        ];
        thread::at_irql(DISPATCH, || {
            nic.kernel.call32("BuildScatterGatherList", &arguments)
        })
    };
    assert_eq!(build(16), NtStatus::BUFFER_TOO_SMALL.0);
    assert_eq!(build(u64::from(size)), 0);
    assert_eq!(LIST.get(), buffer);
    nic.put_list(buffer, false);
    nic.kernel.assert_clean();
}

#[test]
fn transfer_info_counts_pages() {
    let nic = Nic::plain();
    let (_, mdl) = pool_mdl(&nic, 3 * PAGE);
    let mut info = [2_u32, 0, 0, 0, 0];
    let to = info.as_mut_ptr() as u64;
    let arguments = [nic.adapter, mdl, PAGE, PAGE + 1, 0, to];
    assert_eq!(nic.kernel.call32("GetDmaTransferInfo", &arguments), 0);
    assert_eq!(info, [2, 2, 2, 64, 2]);
}
