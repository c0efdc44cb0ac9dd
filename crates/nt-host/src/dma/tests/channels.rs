//! Adapter channels and map registers: how they are given, kept and freed.

use super::*;

#[test]
fn routine_runs_at_dispatch_level_before_the_call_returns() {
    let nic = Nic::plain();
    let before = nic.free_in_pool();
    assert_eq!(nic.channel(4, FREE), 0);
    assert_eq!((CALLS.get(), IRQL.get()), (1, DISPATCH));
    assert_eq!(
        nic.free_in_pool(),
        before,
        "DeallocateObject frees the registers"
    );
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn registers_that_the_routine_keeps_are_freed_with_their_number() {
    let nic = Nic::plain();
    let before = nic.free_in_pool();
    let base = nic.base(4);
    assert_eq!(nic.free_in_pool(), before - 4);
    nic.free_registers(base, 4);
    assert_eq!(nic.free_in_pool(), before);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn registers_freed_with_another_number_or_twice_are_v148() {
    let nic = Nic::plain();
    let base = nic.base(4);
    nic.free_registers(base, 5);
    nic.free_registers(base, 4);
    nic.free_registers(base, 4);
    assert_eq!(nic.rules(), ["V148", "V148"]);
}

#[test]
fn object_that_is_kept_goes_with_the_channel() {
    let nic = Nic::plain();
    let before = nic.free_in_pool();
    assert_eq!(nic.channel(4, KEEP), 0);
    nic.free_registers(BASE.get(), 4);
    assert_eq!(nic.rules(), ["V148"], "they go with the object");
    nic.at_dispatch("FreeAdapterChannel", &[nic.adapter]);
    assert_eq!(nic.free_in_pool(), before);
    nic.at_dispatch("FreeAdapterChannel", &[nic.adapter]);
    assert_eq!(nic.rules(), ["V148", "V147"]);
}

#[test]
fn second_channel_while_the_first_is_kept_is_v154() {
    let nic = Nic::plain();
    nic.channel(1, KEEP);
    assert_eq!(nic.channel(1, FREE), NtStatus::INSUFFICIENT_RESOURCES.0);
    assert_eq!((CALLS.get(), nic.rules()), (1, vec!["V154"]));
}

/// A driver's adapter control routine that asks for a channel itself: its context is the adapter.
extern "win64" fn ask_again(device: u64, _irp: u64, _base: u64, adapter: u64) -> u64 {
    let kernel = Kernel::on(&crate::host::current());
    let function = keep_base as *const () as u64;
    let status = kernel.call32(
        "AllocateAdapterChannel",
        &[adapter, device, 1, function, FREE],
    );
    assert_eq!(status, NtStatus::INSUFFICIENT_RESOURCES.0);
    FREE
}

#[test]
fn channel_asked_for_by_the_routine_of_a_channel_is_v154() {
    let nic = Nic::plain();
    let function = ask_again as *const () as u64;
    let arguments = [nic.adapter, nic.pdo, 1, function, nic.adapter];
    assert_eq!(nic.at_dispatch("AllocateAdapterChannel", &arguments), 0);
    assert_eq!((CALLS.get(), nic.rules()), (0, vec!["V154"]));
}

#[test]
fn more_registers_than_the_maximum_are_v155_and_all_kept_ones_together_v162() {
    let nic = Nic::plain();
    let most = u64::from(nic.registers);
    assert_eq!(
        nic.channel(most + 1, FREE),
        NtStatus::INSUFFICIENT_RESOURCES.0
    );
    let base = nic.base(most);
    assert_eq!(nic.channel(1, FREE), NtStatus::INSUFFICIENT_RESOURCES.0);
    assert_eq!(nic.rules(), ["V155", "V162"]);
    nic.free_registers(base, most);
    assert_eq!(nic.channel(1, FREE), 0);
}

#[test]
fn synchronous_channel_without_a_routine_is_the_drivers_to_free() {
    for action in [FREE, KEEP_REGISTERS] {
        let nic = Nic::plain();
        let before = nic.free_in_pool();
        let context = nic.context();
        let base = nic.channel_now(context, 3).unwrap();
        nic.free_object(KEEP);
        assert_eq!(nic.free_in_pool(), before - 3);
        nic.free_object(action);
        if action == KEEP_REGISTERS {
            assert_eq!(nic.free_in_pool(), before - 3);
            nic.free_registers(base, 3);
        }
        assert_eq!(nic.free_in_pool(), before);
        nic.put();
        nic.kernel.assert_clean();
    }
}

#[test]
fn channel_taken_refuses_a_synchronous_request_and_queues_another() {
    let nic = Nic::plain();
    let (first, second) = (nic.context(), nic.context());
    nic.channel_now(first, 1).unwrap();
    let refused = nic.channel_now(second, 1);
    assert_eq!(refused, Err(NtStatus::INSUFFICIENT_RESOURCES.0));
    assert_eq!(nic.channel_ex(second, 1, FREE), 0);
    assert_eq!(CALLS.get(), 0);
    nic.free_object(FREE);
    assert_eq!(CALLS.get(), 1);
    nic.put();
    nic.kernel.assert_clean();
}

#[test]
fn arguments_that_contradict_each_other_are_v008() {
    let nic = Nic::plain();
    let context = nic.context();
    let mut base = 0_u64;
    let to = &raw mut base as u64;
    let function = keep_base as *const () as u64;
    for (flags, function, to) in [(0, 0, to), (1, 0, 0), (1, function, to), (2, function, 0)] {
        let arguments = [nic.adapter, nic.pdo, context, 1, flags, function, FREE, to];
        let status = nic.at_dispatch("AllocateAdapterChannelEx", &arguments);
        assert_eq!(status, NtStatus::INVALID_PARAMETER.0);
    }
    assert_eq!(nic.rules(), ["V008"; 4]);
}

#[test]
fn context_in_use_or_not_set_up_is_v008() {
    let nic = Nic::plain();
    let context = nic.context();
    let base = nic.channel_now(context, 1).unwrap();
    assert!(nic.channel_now(context, 1).is_err());
    assert!(nic.channel_now(nic.kernel.pool(128), 1).is_err());
    assert_eq!(nic.rules(), ["V008"; 2]);
    nic.free_object(KEEP_REGISTERS);
    nic.free_registers(base, 1);
    assert!(nic.channel_now(context, 1).is_ok());
}

#[test]
fn channel_and_registers_outstanding_at_put_are_v151_and_v152() {
    let nic = Nic::plain();
    nic.channel(2, KEEP);
    nic.put();
    assert_eq!(nic.rules(), ["V151", "V152"]);
}

#[test]
fn fault_plan_makes_the_channel_fail() {
    let nic = Nic::plain();
    nic.kernel
        .host
        .faults()
        .fail_routine("AllocateAdapterChannel", 1);
    assert_eq!(nic.channel(1, FREE), NtStatus::INSUFFICIENT_RESOURCES.0);
    assert_eq!(nic.channel(1, FREE), 0);
    nic.kernel.assert_clean();
}

#[test]
fn members_of_system_dma_answer_that_there_is_none() {
    let nic = Nic::plain();
    assert_eq!(nic.kernel.call32("ReadDmaCounter", &[nic.adapter]), 0);
    let status = nic
        .kernel
        .call32("ConfigureAdapterChannel", &[nic.adapter, 1, 0]);
    assert_eq!(status, NtStatus::NOT_IMPLEMENTED.0);
    nic.kernel.assert_clean();
}
