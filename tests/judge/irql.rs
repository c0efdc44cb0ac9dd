//! IRQL of calls.

use crate::stage::{caught, caught_in_life};

caught! {
    irql_raised_to_a_lower_level_is_v028: 28, 0 => "V028";
    irql_lowered_to_a_higher_level_is_v029: 29, 0 => "V029";
    spin_lock_released_at_passive_is_v030: 30, 0 => "V030";
    fast_mutex_acquired_at_dispatch_is_v055: 31, 0 => "V055";
    fast_mutex_released_at_passive_is_v032: 32, 0 => "V032";
    queued_spin_lock_released_at_passive_is_v033: 33, 0 => "V033";
    unsafe_fast_mutex_with_apcs_enabled_is_v035: 35, 0 => "V035";
    critical_region_left_without_being_in_one_is_v036: 36, 0 => "V036";
    spin_lock_at_dpc_level_below_dispatch_is_v037: 37, 0 => "V037";
    spin_lock_acquired_above_dispatch_is_v038: 38, 0 => "V038";
    pages_locked_above_dispatch_is_v039: 39, 0 => "V039";
    pages_mapped_by_the_obsolete_routine_above_dispatch_are_v041: 111, 1 => "V041";
    pages_mapped_above_dispatch_is_v042: 42, 0 => "V042";
    pages_mapped_to_user_at_dispatch_is_v043: 43, 0 => "V043";
    pages_unlocked_above_dispatch_is_v044: 44, 0 => "V044";
    pages_unmapped_above_dispatch_is_v045: 45, 0 => "V045";
    user_pages_unmapped_at_dispatch_is_v046: 43, 0 => "V046";
    event_set_above_dispatch_is_v048: 48, 0 => "V048";
    critical_region_at_dispatch_is_v049: 49, 0 => "V049";
    object_dereferenced_above_dispatch_is_v050: 50, 0 => "V050";
    registry_key_closed_in_a_guarded_region_is_v051: 51, 0 => "V051";
    list_built_below_dispatch_is_v053: 53, 0 => "V053";
    push_lock_at_dispatch_is_v056: 56, 0 => "V056";
    device_deleted_at_dispatch_is_v058: 58, 0 => "V058";
    device_created_at_apc_is_v059: 59, 0 => "V059";
    registry_key_opened_at_apc_is_v060: 60, 0 => "V060";
    interface_registered_at_apc_is_v061: 61, 0 => "V061";
    device_detached_at_apc_is_v061: 61, 1 => "V061";
    adapter_asked_for_at_dispatch_is_v062: 62, 0 => "V062";
    process_attached_at_dispatch_is_v063: 63, 0 => "V063";
    queued_lock_above_dispatch_is_v064: 64, 0 => "V064";
    event_set_with_wait_at_dispatch_is_v066: 66, 0 => "V066";
    pages_allocated_at_dispatch_are_v067: 67, 0 => "V067";
    contiguous_memory_freed_above_dispatch_is_v068: 68, 0 => "V068";
    process_notification_at_apc_is_v070: 70, 0 => "V070";
    string_freed_at_apc_is_v072: 72, 0 => "V072";
    registry_key_closed_at_apc_is_v073: 73, 0 => "V073";
    remove_lock_released_above_dispatch_is_v074: 74, 0 => "V074";
    interrupts_disabled_are_v090: 90, 0 => "V090";
    wait_above_dispatch_is_v094: 94, 0 => "V094";
    endless_wait_at_dispatch_is_v095: 95, 0 => "V095";
    wait_with_timeout_at_dispatch_is_v096: 96, 0 => "V096";
    common_buffer_allocated_at_apc_is_v161: 161, 0 => "V161";
    dispatch_routine_that_changes_irql_is_v187: 187, 0 => "V187";
    request_completed_above_dispatch_is_v193: 193, 0 => "V193";
    request_sent_above_dispatch_is_v195: 195, 0 => "V195";
}

caught_in_life! {
    add_device_that_returns_at_apc_is_v071: 71, false => "V071";
    completion_routine_that_changes_irql_is_v093: 93, false => "V093";
}
