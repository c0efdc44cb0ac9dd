//! A machine whose caches and device do not agree by themselves.

use super::*;

fn incoherent(remapping: bool) -> Nic {
    let dma = DmaConfig {
        coherent: false,
        remapping,
        address_bits: 64,
        ..config()
    };
    Nic::new(MachineConfig::default(), dma)
}

/// `FlushDmaBuffer`.
fn synchronise(nic: &Nic, mdl: u64, read: bool) -> u32 {
    let arguments = [nic.adapter, mdl, u64::from(read)];
    nic.kernel.call32("FlushDmaBuffer", &arguments)
}

#[test]
fn neither_side_sees_the_other_before_a_flush_in_that_direction() {
    for remapping in [true, false] {
        let nic = incoherent(remapping);
        let (base, mdl) = pool_mdl(&nic, 2 * PAGE);
        access::fill(base, 1, 2 * 4096);
        assert_eq!(nic.list_of(mdl, base, 2 * PAGE, false), 0);
        let list = LIST.get();
        assert_eq!(
            device_read(&nic, list),
            vec![1; 2 * 4096],
            "as it was mapped"
        );
        access::fill(base, 2, 10);
        assert_eq!(device_read(&nic, list), vec![1; 2 * 4096]);
        assert_eq!(synchronise(&nic, mdl, true), 0);
        assert_eq!(
            device_read(&nic, list)[..10],
            [1; 10],
            "the other direction"
        );
        assert_eq!(synchronise(&nic, mdl, false), 0);
        assert_eq!(
            device_read(&nic, list)[..11],
            [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
        );
        let (logical, _) = elements(list)[0];
        nic.device().write(logical + 20, &[3; 10]).unwrap();
        assert_eq!(access::read::<u8>(base + 20), 1);
        assert_eq!(synchronise(&nic, mdl, false), 0);
        assert_eq!(access::read::<u8>(base + 20), 1, "the other direction");
        assert_eq!(synchronise(&nic, mdl, true), 0);
        assert_eq!(
            access::read_bytes(base + 19, 12),
            [1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1]
        );
        nic.put_list(list, false);
        nic.put();
        nic.kernel.assert_clean();
    }
}

#[test]
fn put_of_the_list_shows_what_the_device_wrote_and_keeps_what_the_processor_wrote() {
    let nic = incoherent(true);
    let (base, mdl) = pool_mdl(&nic, PAGE);
    access::fill(base, 1, 4096);
    nic.list_of(mdl, base, PAGE, false);
    let (logical, _) = elements(LIST.get())[0];
    nic.device().write(logical, &[3; 4]).unwrap();
    access::fill(base + 100, 2, 4);
    nic.put_list(LIST.get(), false);
    assert_eq!(access::read::<u32>(base), 0x0303_0303);
    assert_eq!(access::read::<u32>(base + 100), 0x0202_0202);
    nic.kernel.assert_clean();
}

#[test]
fn flush_of_adapter_buffers_shows_what_the_device_wrote() {
    let nic = incoherent(true);
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    access::fill(buffer, 1, 4096);
    let base = nic.base(1);
    let (logical, _) = nic.map(mdl, base, buffer, 4096, false);
    nic.device().write(logical, &[3; 4]).unwrap();
    assert_eq!(access::read::<u8>(buffer), 1);
    assert!(nic.flush(mdl, base, buffer, 4096, false));
    assert_eq!(access::read::<u8>(buffer), 3);
    nic.free_registers(base, 1);
    nic.kernel.assert_clean();
}

#[test]
fn common_buffer_is_coherent_always() {
    let nic = incoherent(true);
    let (address, logical) = nic.allocate(PAGE);
    nic.device().write(logical, &[9]).unwrap();
    assert_eq!(access::read::<u8>(address), 9);
    nic.free(PAGE, logical, address);
    nic.kernel.assert_clean();
}

#[test]
fn flush_of_an_mdl_that_is_not_mapped_is_v163() {
    let nic = incoherent(true);
    let (_, mdl) = pool_mdl(&nic, PAGE);
    assert_eq!(synchronise(&nic, mdl, true), NtStatus::INVALID_PARAMETER.0);
    assert_eq!(nic.rules(), ["V163"]);
}

#[test]
fn flush_on_a_coherent_machine_changes_nothing() {
    let nic = Nic::plain();
    let (base, mdl) = pool_mdl(&nic, PAGE);
    access::fill(base, 1, 4096);
    nic.list_of(mdl, base, PAGE, false);
    access::fill(base, 2, 4096);
    assert_eq!(device_read(&nic, LIST.get()), vec![2; 4096]);
    assert_eq!(synchronise(&nic, mdl, true), 0);
    assert_eq!(access::read::<u8>(base), 2);
    nic.put_list(LIST.get(), false);
    nic.kernel.assert_clean();
}
