//! Exceptions, stops and faults in a compiled driver.
#![expect(unsafe_code, reason = "runs machine code")]
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "test code: addresses, small numbers, and failing is what it is for"
)]

mod driver;

use driver::{load, notes};
use nt_image::Trap;

const ACCESS_VIOLATION: u64 = 0xc000_0005;

/// Code, parameters, symbols of the frames, problem.
fn exception(result: Result<u64, Trap>) -> (u32, Vec<u64>, Vec<String>, Option<String>) {
    match result {
        Err(Trap::Exception {
            code,
            parameters,
            backtrace,
            problem,
            ..
        }) => {
            let symbols = backtrace.into_iter().map(|frame| frame.symbol).collect();
            (code, parameters, symbols, problem)
        }
        other => panic!("expected an exception, got {other:?}"),
    }
}

#[test]
fn thirteen_arguments_reach_the_routine() {
    let result = load().run("sum_of_13", &[]);
    assert!(matches!(result, Ok(0x1_2345_6789_abcd)), "{result:x?}");
}

#[test]
fn call_through_a_stub_keeps_registers() {
    let result = load().run("registers_lost_in_a_call", &[]);
    assert!(matches!(result, Ok(0)), "{result:?}");
    assert_eq!(notes(), [1]);
}

#[test]
fn raised_exception_reaches_the_filter() {
    let driver = load();
    assert_eq!(driver.guarded("raise", 0xc000_009a), 0xc000_009a);
    let [code, flags, count, parameter, _, address] = driver.seen();
    assert_eq!((code, flags, count, parameter), (0xc000_009a, 1, 1, 77));
    assert!(driver.0.contains(address));
}

#[test]
fn scope_with_literal_filter_takes_every_exception() {
    let driver = load();
    let result = driver.run("guarded_always", &[driver.address("raise"), 0xc000_0001]);
    assert!(matches!(result, Ok(0x8000_0000_c000_0001)), "{result:x?}");
}

#[test]
fn unhandled_exception_ends_the_call_with_its_frames() {
    let driver = load();
    let result = driver.run("call_back", &[driver.address("raise"), 5]);
    assert!(matches!(result, Ok(1005)), "{result:?}");
    let (code, parameters, symbols, problem) = exception(driver.run("refused", &[0xc000_0001]));
    assert_eq!((code, parameters, problem), (0xc000_0001, vec![77], None));
    assert!(symbols[0].starts_with("test.sys+0x"), "{symbols:?}");
    assert!(symbols[0].contains("(raise+0x"), "{symbols:?}");
    assert!(
        symbols.last().is_some_and(|it| it.contains("(refused+0x")),
        "{symbols:?}"
    );
}

#[test]
fn filters_run_before_termination_handlers() {
    let result = load().run("refused_then_taken", &[0xc000_0002]);
    assert!(matches!(result, Ok(0x8000_0000_c000_0002)), "{result:x?}");
    assert_eq!(notes(), [500, 601]);
}

#[test]
fn termination_handlers_do_not_run_if_nobody_takes_the_exception() {
    let (code, ..) = exception(load().run("refused", &[0xc000_0002]));
    assert_eq!((code, notes()), (0xc000_0002, vec![500]));
}

#[test]
fn registers_survive_an_exception_through_frames_of_every_shape() {
    let result = load().run("registers_lost_in_an_exception", &[]);
    assert!(matches!(result, Ok(0)), "{result:?}");
}

#[test]
fn registers_survive_an_exception_through_chained_and_machine_frames() {
    let driver = load();
    let result = driver.run("registers_lost_in_a_chained_frame", &[]);
    assert!(matches!(result, Ok(0)), "{result:?}");
    assert_eq!(driver.seen()[0], 0xc000_0018);
}

#[test]
fn unwinding_stops_at_the_scope_that_holds_the_handler() {
    let result = load().run("raise_in_nested_scopes", &[0xc000_0003]);
    assert!(matches!(result, Ok(0x8000_0000_c000_0003)), "{result:x?}");
    assert_eq!(notes(), [500, 601]);
}

#[test]
fn backtrace_passes_frames_of_every_shape() {
    let (code, _, symbols, problem) = exception(load().run("raise_in_deep_frames", &[1]));
    assert_eq!((code, problem), (0xc000_0017, None));
    assert!(symbols.len() >= 4, "{symbols:?}");
    assert!(
        symbols
            .last()
            .is_some_and(|it| it.contains("(raise_in_deep")),
        "{symbols:?}"
    );
}

#[test]
fn fault_in_a_filter_ends_the_call() {
    let (code, parameters, _, problem) = exception(load().run("fault_in_filter", &[]));
    assert_eq!(
        (u64::from(code), parameters, problem),
        (ACCESS_VIOLATION, vec![1, 16], None)
    );
}

#[test]
fn continuing_after_a_breakpoint_resumes_the_code() {
    let result = load().run("breakpoint_skipped", &[]);
    assert!(matches!(result, Ok(1)), "{result:?}");
}

#[test]
fn continuing_after_a_raise_is_noncontinuable() {
    let (code, ..) = exception(load().run("raise_and_continue", &[3]));
    assert_eq!(code, 0xc000_0025);
}

#[test]
fn exception_in_a_nested_call_ends_that_call() {
    let driver = load();
    let result = driver.run("call_back", &[driver.address("null_write"), 5]);
    assert!(
        matches!(result, Ok(code) if code == 1000 + ACCESS_VIOLATION),
        "{result:?}"
    );
    assert_eq!(notes(), [ACCESS_VIOLATION]);
}

#[test]
fn handled_exception_in_a_nested_call_stays_there() {
    let driver = load();
    let result = driver.run("call_back", &[driver.address("raise_guarded"), 5]);
    assert!(matches!(result, Ok(0x8000_0000_0000_03ed)), "{result:x?}");
    assert_eq!(notes(), []);
}

#[test]
fn stop_passes_guards_and_nested_calls() {
    let driver = load();
    let result = driver.run("call_back", &[driver.address("stop_guarded"), 8]);
    let Err(Trap::Stopped(payload)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(payload.downcast_ref(), Some(&8_u64));
    assert!(matches!(driver.run("count", &[]), Ok(42)));
}

#[test]
fn write_to_null_is_an_access_violation() {
    let driver = load();
    assert_eq!(driver.guarded("null_write", 0), ACCESS_VIOLATION);
    let [_, flags, count, kind, address, instruction] = driver.seen();
    assert_eq!((flags, count, kind, address), (0, 2, 1, 16));
    assert!(driver.0.contains(instruction));
}

#[test]
fn write_to_code_is_an_access_violation() {
    let driver = load();
    assert_eq!(driver.guarded("write_own_code", 0), ACCESS_VIOLATION);
    assert_eq!(driver.seen()[4], driver.address("raise"));
}

#[test]
fn call_of_null_is_an_execution_access_violation() {
    let driver = load();
    assert_eq!(driver.guarded("call_null", 0), ACCESS_VIOLATION);
    assert_eq!(driver.seen()[2..5], [2, 8, 0]);
}

#[test]
fn fault_in_a_routine_is_the_drivers_exception() {
    let driver = load();
    assert_eq!(
        driver.guarded("read_bad_address_by_routine", 64),
        ACCESS_VIOLATION
    );
    assert_eq!(driver.seen()[2..5], [2, 0, 64]);
}

#[test]
fn address_that_is_not_canonical_is_an_access_violation() {
    let driver = load();
    assert_eq!(
        driver.guarded("read_bad_address_by_routine", 1 << 60),
        ACCESS_VIOLATION
    );
}

#[test]
fn privileged_instructions_are_reported_as_such() {
    let driver = load();
    assert_eq!(driver.guarded("disable_interrupts", 0), 0xc000_0096);
    assert_eq!(driver.guarded("raise_irql", 2), 0xc000_0096);
}

#[test]
fn breakpoint_is_reported_at_the_instruction() {
    let driver = load();
    assert_eq!(driver.guarded("breakpoint", 0), 0x8000_0003);
    let instruction = std::ptr::with_exposed_provenance::<u8>(driver.seen()[5] as usize);
    // SAFETY: the address is in the driver's code.
    assert_eq!(unsafe { instruction.read() }, 0xcc);
}

#[test]
fn division_by_zero_is_reported_as_such() {
    let driver = load();
    assert!(matches!(driver.run("divide", &[7]), Ok(14)));
    assert_eq!(driver.guarded("divide", 0), 0xc000_0094);
}

#[test]
fn fast_fail_passes_guards() {
    let driver = load();
    let result = driver.run("guarded", &[driver.address("fast_fail"), 3]);
    let (code, parameters, ..) = exception(result);
    assert_eq!((code, parameters), (0xc000_0409, vec![3]));
}

#[test]
fn stack_overflow_ends_the_call() {
    let driver = load();
    let (code, _, _, problem) = exception(driver.run("recurse", &[1]));
    assert_eq!(code, 0xc000_00fd);
    assert!(problem.is_some());
    assert!(matches!(driver.run("count", &[]), Ok(42)));
}

#[test]
fn fault_without_a_stack_ends_the_call_and_says_so() {
    let driver = load();
    let result = driver.run("guarded", &[driver.address("lose_stack"), 0x1000]);
    let (code, parameters, _, problem) = exception(result);
    assert_eq!(
        (u64::from(code), parameters),
        (ACCESS_VIOLATION, vec![1, 0xff8])
    );
    assert!(problem.is_some_and(|problem| problem.contains("stack pointer 0x1000")));
}

#[test]
fn return_to_a_bad_address_is_unhandled_and_says_why() {
    let driver = load();
    let result = driver.run("smash_return_address", &[]);
    let (code, _, symbols, problem) = exception(result);
    assert_eq!(
        (u64::from(code), symbols.first()),
        (ACCESS_VIOLATION, Some(&"0x66".to_owned()))
    );
    assert!(problem.is_some(), "{symbols:?}");
}

#[test]
fn driver_of_many_threads_faults_in_each() {
    let driver = load();
    let codes = std::thread::scope(|scope| {
        let run = || scope.spawn(|| [(); 50].map(|()| driver.guarded("null_write", 0)));
        [run(), run(), run()].map(|thread| thread.join().expect("no thread panics"))
    });
    assert_eq!(codes, [[ACCESS_VIOLATION; 50]; 3]);
}

#[test]
fn fault_outside_of_any_call_ends_the_process() {
    // The handlers are in place, and a call has been made and has returned.
    assert!(matches!(load().run("count", &[]), Ok(42)));
    // SAFETY: the child does nothing but fault, or else leave at once.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no child process");
    if child == 0 {
        let place = std::ptr::with_exposed_provenance::<u64>(64);
        // SAFETY: it is not; that ends the child.
        unsafe { place.read_volatile() };
        // SAFETY: ends the child without running what the test program has registered for its end.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; the status is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "the child outlived its fault");
    assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
}
