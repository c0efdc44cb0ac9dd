//! Calls through stubs, without any image: the host plays the driver's part.
#![expect(unsafe_code, reason = "a stub is machine code")]
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "addresses of functions, sums of small numbers"
)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use nt_image::{Observer, Routine, Trap, call, current_routine, set_observer, stop, stub};

extern "win64" fn weigh(
    p1: u64,
    p2: u64,
    p3: u64,
    p4: u64,
    p5: u64,
    p6: u64,
    p7: u64,
    p8: u64,
) -> u64 {
    [p1, p2, p3, p4, p5, p6, p7, p8]
        .into_iter()
        .zip(1..)
        .map(|(value, weight)| value * weight)
        .sum()
}
static WEIGH: Routine = Routine {
    name: "Weigh",
    function: weigh as *const (),
    tag: 7,
};

extern "win64" fn give_up(reason: u64) -> u64 {
    stop(Box::new(reason));
}
static GIVE_UP: Routine = Routine {
    name: "GiveUp",
    function: give_up as *const (),
    tag: 0,
};

extern "win64" fn nest(reason: u64) -> u64 {
    // SAFETY: the stub takes one argument.
    let inner = unsafe { call(stub(&GIVE_UP), &[reason]) };
    let stopped = matches!(inner, Err(Trap::Stopped(_)));
    let mine = current_routine().is_some_and(|routine| routine.name == "Nest");
    u64::from(stopped && mine)
}
static NEST: Routine = Routine {
    name: "Nest",
    function: nest as *const (),
    tag: 0,
};

#[derive(Default)]
struct Recorder {
    entered: Cell<[u64; 4]>,
    left: Cell<u64>,
}

impl Observer for Recorder {
    fn enter(&self, _: &'static Routine, arguments: [u64; 4]) {
        self.entered.set(arguments);
    }
    fn leave(&self, _: &'static Routine, result: u64) {
        self.left.set(result);
    }
}

#[test]
fn call_with_eight_arguments_passes_all() {
    // SAFETY: the stub takes eight arguments.
    let result = unsafe { call(stub(&WEIGH), &[1, 2, 3, 4, 5, 6, 7, 8]) };
    assert!(matches!(result, Ok(204)), "{result:?}");
}

#[test]
fn stub_of_one_routine_is_always_the_same() {
    assert_eq!(stub(&WEIGH), stub(&WEIGH));
    assert_ne!(stub(&WEIGH), stub(&NEST));
}

#[test]
fn stop_in_a_routine_ends_the_call_with_its_payload() {
    // SAFETY: the stub takes one argument.
    let result = unsafe { call(stub(&GIVE_UP), &[99]) };
    let Err(Trap::Stopped(payload)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(payload.downcast_ref(), Some(&99_u64));
    assert!(current_routine().is_none());
}

#[test]
fn stop_in_a_nested_call_ends_only_that_call() {
    // SAFETY: the stub takes one argument.
    let result = unsafe { call(stub(&NEST), &[1]) };
    assert!(matches!(result, Ok(1)), "{result:?}");
}

#[test]
fn observer_sees_arguments_and_result() {
    let recorder = Rc::new(Recorder::default());
    set_observer(Some(recorder.clone()));
    // SAFETY: the stub takes eight arguments.
    let result = unsafe { call(stub(&WEIGH), &[1, 2, 3, 4]) };
    set_observer(None);
    assert!(matches!(result, Ok(30)), "{result:?}");
    assert_eq!(
        (recorder.entered.get(), recorder.left.get()),
        ([1, 2, 3, 4], 30)
    );
}

#[test]
fn stub_call_is_cheap() {
    let count = 100_000;
    let start = Instant::now();
    for _ in 0..count {
        // SAFETY: the stub takes eight arguments.
        assert!(unsafe { call(stub(&WEIGH), &[]) }.is_ok());
    }
    let each = start.elapsed() / count;
    let most = if cfg!(debug_assertions) { 5_000 } else { 100 };
    assert!(each.as_nanos() < most, "{each:?} for a call");
}
