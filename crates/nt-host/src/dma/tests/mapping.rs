//! Mapping and flushing with map registers.

use super::*;

#[test]
fn buffer_mapped_fragment_by_fragment_is_reached_whole() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, 4 * PAGE);
    let base = nic.base(4);
    let length = 3 * 4096_u32;
    let mut done = 0;
    while done < length {
        let at = buffer + 100 + u64::from(done);
        let (logical, bytes) = nic.map(mdl, base, at, length - done, false);
        let content = vec![0x5A; bytes as usize];
        nic.device().write(logical, &content).unwrap();
        done += bytes;
    }
    assert_eq!(done, length);
    assert!(nic.flush(mdl, base, buffer + 100, length, false));
    assert_eq!(
        access::read_bytes(buffer + 100, length as usize),
        vec![0x5A; length as usize]
    );
    nic.free_registers(base, 4);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn bounce_page_is_copied_at_map_or_at_flush() {
    let nic = Nic::out_of_reach();
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    access::fill(buffer, 0x11, 4096);
    let base = nic.base(1);
    let (logical, _) = nic.map(mdl, base, buffer, 4096, true);
    assert!(logical < 1 << 32);
    let mut bytes = [0; 4];
    nic.device().read(logical, &mut bytes).unwrap();
    assert_eq!(bytes, [0x11; 4]);
    assert!(nic.flush(mdl, base, buffer, 4096, true));
    let (logical, _) = nic.map(mdl, base, buffer, 4096, false);
    nic.device().write(logical, &[0x22; 4096]).unwrap();
    assert_eq!(access::read::<u8>(buffer), 0x11, "not before the flush");
    assert!(nic.flush(mdl, base, buffer, 4096, false));
    assert_eq!(access::read_bytes(buffer, 4096), vec![0x22; 4096]);
    nic.free_registers(base, 1);
    nic.kernel.assert_clean();
}

#[test]
fn device_that_writes_beside_a_bounced_buffer_is_v158_at_the_flush() {
    let nic = Nic::out_of_reach();
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    access::fill(buffer, 0x11, 4096);
    let base = nic.base(1);
    let (logical, _) = nic.map(mdl, base, buffer + 8, 100, false);
    nic.device().write(logical, &[0x22; 101]).unwrap();
    assert!(nic.flush(mdl, base, buffer + 8, 100, false));
    assert_eq!(
        access::read::<u16>(buffer + 107),
        0x1122,
        "beside it nothing comes back"
    );
    nic.free_registers(base, 1);
    assert_eq!(nic.rules(), ["V158"]);
}

#[test]
fn registers_freed_without_a_flush_are_v159_and_the_data_is_lost() {
    let nic = Nic::out_of_reach();
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    access::fill(buffer, 0x11, 4096);
    let base = nic.base(1);
    let (logical, _) = nic.map(mdl, base, buffer, 4096, false);
    nic.device().write(logical, &[0x22; 4096]).unwrap();
    nic.free_registers(base, 1);
    assert_eq!(access::read::<u8>(buffer), 0x11);
    assert_eq!(nic.rules(), ["V159"]);
}

#[test]
fn channel_freed_without_a_flush_is_v156() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    nic.channel(1, KEEP);
    nic.map(mdl, BASE.get(), buffer, 4096, true);
    nic.at_dispatch("FreeAdapterChannel", &[nic.adapter]);
    assert_eq!(nic.rules(), ["V156"]);
}

#[test]
fn fragment_for_which_no_register_is_left_is_v144() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, 2 * PAGE);
    let base = nic.base(1);
    let (_, bytes) = nic.map(mdl, base, buffer, 2 * 4096, true);
    assert_eq!(bytes, 4096, "as much as the register covers");
    assert_eq!(nic.map(mdl, base, buffer + PAGE, 4096, true), (0, 0));
    assert_eq!(nic.rules(), ["V144"]);
}

#[test]
fn device_without_scatter_gather_gets_all_or_v144() {
    let mut nic = Nic::without_adapter(Kernel::new());
    let mut bytes = description(3, 32);
    bytes[5] = 0;
    nic.get(&bytes);
    let (buffer, mdl) = pool_mdl(&nic, 3 * PAGE);
    let base = nic.base(2);
    assert_eq!(nic.map(mdl, base, buffer, 3 * 4096, true), (0, 0));
    assert_eq!(nic.map(mdl, base, buffer, 2 * 4096, true).1, 2 * 4096);
    assert_eq!(nic.rules(), ["V144"]);
}

#[test]
fn range_mapped_twice_is_v167() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    let base = nic.base(4);
    nic.map(mdl, base, buffer, 4096, true);
    nic.map(mdl, base, buffer + 8, 8, true);
    assert_eq!(nic.rules(), ["V167"]);
}

#[test]
fn buffer_outside_of_the_first_mdl_is_v169() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, 2 * PAGE);
    let base = nic.base(4);
    nic.map(mdl, base, buffer - 8, 8, true);
    nic.map(mdl, base, buffer + 2 * PAGE, 8, true);
    nic.map(mdl, base, buffer + PAGE, 4097, true);
    assert_eq!(nic.rules(), ["V169"; 3]);
}

#[test]
fn flush_of_nothing_is_v170_of_another_buffer_v163_and_of_too_much_v143() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, 2 * PAGE);
    let base = nic.base(4);
    assert!(!nic.flush(mdl, base, buffer, 4096, true));
    nic.map(mdl, base, buffer, 4096, true);
    assert!(!nic.flush(mdl, base, buffer + 8, 4096, true));
    assert!(!nic.flush(mdl, base, buffer, 2 * 4096, true));
    assert!(!nic.flush(mdl, base + 8, buffer, 4096, true));
    assert_eq!(nic.rules(), ["V170", "V163", "V143", "V170"]);
    assert!(nic.flush(mdl, base, buffer, 4096, true));
}

#[test]
fn flush_before_the_device_is_done_is_v173_unless_it_was_cancelled() {
    let nic = Nic::plain();
    let (_, mdl) = pool_mdl(&nic, PAGE);
    let (context, list) = (nic.context(), nic.kernel.pool(64));
    let base = nic.channel_now(context, 1).unwrap();
    let place = (mdl, base, 0);
    let begin = || {
        nic.map_ex(place, 4096, true, (list, 1)).unwrap();
        let (logical, _) = elements(list)[0];
        crate::dma::device::begin_transfer(&nic.kernel.host, nic.pdo, logical)
    };
    let transfer = begin();
    assert_eq!(nic.flush_ex(place, 4096, true), 0);
    assert_eq!(nic.rules(), ["V173"]);
    drop(transfer);
    let transfer = begin();
    let cancel = [nic.adapter, context];
    assert_eq!(nic.kernel.call32("CancelMappedTransfer", &cancel), 0);
    assert_eq!(nic.flush_ex(place, 4096, true), 0);
    assert_eq!(nic.rules(), ["V173"]);
    drop(transfer);
    let again = nic.map_ex(place, 4096, true, (list, 1));
    assert_eq!(again, Err(NtStatus::CANCELLED.0));
}

/// Two MDLs of a page and a half each.
fn chain(nic: &Nic) -> (u64, u64, u64) {
    let half = PAGE / 2;
    let (first, head) = pool_mdl(nic, PAGE + half);
    let (second, next) = pool_mdl(nic, PAGE + half);
    access::write::<u64>(head, next);
    (head, first, second)
}

#[test]
fn list_spans_the_chain_from_an_offset_in_its_second_mdl() {
    let nic = Nic::plain();
    let (mdl, first, second) = chain(&nic);
    access::fill(first, 1, 6144);
    access::fill(second, 2, 6144);
    let (context, list) = (nic.context(), nic.kernel.pool(1024));
    let base = nic.channel_now(context, 8).unwrap();
    let all = nic.map_ex((mdl, base, 0), 12_288, true, (list, 8)).unwrap();
    assert_eq!(all, 12_288);
    let mut expected = vec![1; 6144];
    expected.extend([2; 6144]);
    assert_eq!(device_read(&nic, list), expected);
    assert_eq!(nic.flush_ex((mdl, base, 0), all, true), 0);
    let part = nic.map_ex((mdl, base, 7000), 100, true, (list, 8)).unwrap();
    assert_eq!((part, device_read(&nic, list)), (100, vec![2; 100]));
    assert_eq!(nic.flush_ex((mdl, base, 7000), part, true), 0);
    nic.free_object(FREE);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn length_shrinks_to_registers_and_to_the_room_for_the_list() {
    let nic = Nic::plain();
    let (mdl, _, _) = chain(&nic);
    let (context, list) = (nic.context(), nic.kernel.pool(1024));
    let base = nic.channel_now(context, 3).unwrap();
    let place = (mdl, base, 0);
    let shrunk = nic.map_ex(place, 12_288, true, (list, 8)).unwrap();
    assert_eq!(shrunk, 6144 + 4096, "three pages");
    assert_eq!(nic.flush_ex(place, shrunk, true), 0);
    let one = nic.map_ex(place, 12_288, true, (list, 1)).unwrap();
    assert_eq!(elements(list).len(), 1);
    assert_eq!(elements(list)[0].1, u64::from(one));
    assert_eq!(nic.flush_ex(place, one, true), 0);
    let none = nic.map_ex(place, 12_288, true, (list, 0));
    assert_eq!(none, Err(NtStatus::INVALID_PARAMETER.0));
    nic.kernel.assert_clean();
}

#[test]
fn second_transfer_before_the_flush_of_the_first_is_v156() {
    let nic = Nic::plain();
    let (mdl, _, _) = chain(&nic);
    let (context, list) = (nic.context(), nic.kernel.pool(1024));
    let base = nic.channel_now(context, 8).unwrap();
    nic.map_ex((mdl, base, 0), 100, true, (list, 8)).unwrap();
    assert!(nic.map_ex((mdl, base, 100), 100, true, (list, 8)).is_err());
    assert!(nic.map_ex((mdl, base, 50), 100, true, (list, 8)).is_err());
    assert_eq!(nic.rules(), ["V156", "V167"]);
}

#[test]
fn list_of_a_bounced_buffer_is_described_by_an_mdl_of_the_systems() {
    let nic = Nic::out_of_reach();
    let (buffer, mdl) = pool_mdl(&nic, 2 * PAGE);
    access::fill(buffer, 0x44, 2 * 4096);
    nic.list_of(mdl, buffer + 16, PAGE, true);
    let list = LIST.get();
    let mut target = 0_u64;
    let arguments = [nic.adapter, list, mdl, &raw mut target as u64];
    let build = || {
        nic.kernel
            .call32("BuildMdlFromScatterGatherList", &arguments)
    };
    assert_eq!(build(), 0);
    assert_ne!(target, mdl);
    let view = nic.kernel.map_system(target, 1);
    assert_eq!(access::read::<u32>(view), 0x4444_4444);
    assert_eq!(build(), NtStatus::NONE_MAPPED.0);
    nic.put_list(list, true);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn list_of_memory_within_reach_is_described_by_the_original_mdl() {
    let nic = Nic::plain();
    let (buffer, mdl) = pool_mdl(&nic, PAGE);
    nic.list_of(mdl, buffer, PAGE, true);
    let mut target = 0_u64;
    let arguments = [nic.adapter, LIST.get(), mdl, &raw mut target as u64];
    assert_eq!(
        nic.kernel
            .call32("BuildMdlFromScatterGatherList", &arguments),
        0
    );
    assert_eq!(target, mdl);
    let null = [nic.adapter, LIST.get(), 0, &raw mut target as u64];
    let status = nic.kernel.call32("BuildMdlFromScatterGatherList", &null);
    assert_eq!(status, NtStatus::INVALID_PARAMETER.0);
}
