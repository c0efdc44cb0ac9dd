//! `__C_specific_handler`: the language handler of C, which interprets scope tables.
//!
//! A scope is a range of code with either an exception handler (a filter and the address of the
//! `__except` block) or a termination handler (`__finally`).

use std::ptr::from_ref;

use crate::call::{call, escape};
use crate::context::{Context, DispatcherContext, ExceptionRecord};
use crate::dispatch::{CONTINUE_EXECUTION, CONTINUE_SEARCH, Dispatch, TARGET_UNWIND, UNWINDING};
use crate::registry;
use crate::unwind::Problem;

/// An `extern "win64"` function that serves as the routine `__C_specific_handler`.
pub const C_SPECIFIC_HANDLER: *const () = c_specific_handler as *const ();

/// In place of a filter: `__except (EXCEPTION_EXECUTE_HANDLER)`.
const ALWAYS: u32 = 1;

/// One entry of a scope table, as RVAs.
#[derive(Debug, Clone, Copy)]
struct Scope {
    begin: u32,
    end: u32,
    /// Filter, or termination handler.
    handler: u32,
    /// Start of the `__except` block; 0 for a termination handler.
    target: u32,
}

/// `EXCEPTION_POINTERS`: what a filter gets.
#[repr(C)]
struct ExceptionPointers {
    record: *const ExceptionRecord,
    context: *const Context,
}

extern "win64" fn c_specific_handler(
    record: *const ExceptionRecord,
    frame: u64,
    context: *const Context,
    dispatcher: &mut DispatcherContext,
) -> u32 {
    // SAFETY: exception dispatch calls this with a record that outlives the call.
    let flags = unsafe { (*record).flags };
    if flags & UNWINDING == 0 {
        find_handler(&ExceptionPointers { record, context }, frame, dispatcher)
    } else {
        run_termination_handlers(flags, frame, dispatcher);
        CONTINUE_SEARCH
    }
}

/// Asks the filters around the exception; the first that wants it gets it.
fn find_handler(pointers: &ExceptionPointers, frame: u64, dispatcher: &DispatcherContext) -> u32 {
    for index in dispatcher.scope_index..scope_count(dispatcher) {
        let scope = scope(dispatcher, index);
        if !covers(scope, dispatcher) || scope.target == 0 {
            continue;
        }
        let answer = if scope.handler == ALWAYS {
            1
        } else {
            let pointers = from_ref(pointers).expose_provenance() as u64;
            run(dispatcher, scope.handler, [pointers, frame])
        };
        if answer < 0 {
            return CONTINUE_EXECUTION;
        }
        if answer > 0 {
            let target = dispatcher.image_base + u64::from(scope.target);
            match Dispatch::current() {
                Some(dispatch) => dispatch.unwind_to(frame, target),
                None => give_up(dispatcher, Problem::NoDispatch),
            }
        }
    }
    CONTINUE_SEARCH
}

/// Runs the termination handlers of the scopes that are being left.
fn run_termination_handlers(flags: u32, frame: u64, dispatcher: &mut DispatcherContext) {
    let target = dispatcher.target_ip.wrapping_sub(dispatcher.image_base);
    let target = u32::try_from(target)
        .ok()
        .filter(|_| flags & TARGET_UNWIND != 0);
    for index in dispatcher.scope_index..scope_count(dispatcher) {
        let scope = scope(dispatcher, index);
        if !covers(scope, dispatcher) {
            continue;
        }
        // This scope and those around it are not left: the target is in it, or is its handler.
        let stays = target.is_some_and(|target| {
            if scope.target == 0 {
                (scope.begin..scope.end).contains(&target)
            } else {
                scope.target == target
            }
        });
        if stays {
            break;
        }
        if scope.target == 0 {
            dispatcher.scope_index = index + 1;
            run(dispatcher, scope.handler, [1, frame]);
        }
    }
}

/// Runs a filter or termination handler.
fn run(dispatcher: &DispatcherContext, function: u32, arguments: [u64; 2]) -> i32 {
    let address = dispatcher.image_base + u64::from(function);
    let function = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the image declares this to be a handler, and these are the arguments of one.
    match unsafe { call(function, &arguments) } {
        Ok(answer) => answer as i32,
        Err(trap) => escape(trap),
    }
}

fn covers(scope: Scope, dispatcher: &DispatcherContext) -> bool {
    let pc = dispatcher.control_pc.wrapping_sub(dispatcher.image_base);
    (u64::from(scope.begin)..u64::from(scope.end)).contains(&pc)
}

fn scope_count(dispatcher: &DispatcherContext) -> u32 {
    table_field(dispatcher, 0)
}

fn scope(dispatcher: &DispatcherContext, index: u32) -> Scope {
    let field = |number: u64| table_field(dispatcher, 4 + u64::from(index) * 16 + number * 4);
    Scope {
        begin: field(0),
        end: field(1),
        handler: field(2),
        target: field(3),
    }
}

fn table_field(dispatcher: &DispatcherContext, offset: u64) -> u32 {
    let table = dispatcher.handler_data;
    let field = registry::with_image(table, |image| {
        let at = table.wrapping_add(offset).wrapping_sub(image.base);
        image.view.read().u32(usize::try_from(at).ok()?)
    });
    match field.flatten() {
        Some(field) => field,
        None => give_up(dispatcher, Problem::ScopeTable(table)),
    }
}

fn give_up(dispatcher: &DispatcherContext, problem: Problem) -> ! {
    if let Some(dispatch) = Dispatch::current() {
        escape(dispatch.trap(Some(problem)));
    }
    let mut context = Context::empty();
    context.rip = dispatcher.control_pc;
    let record = ExceptionRecord::new(0xc000_0026, 1, context.rip, &[]); // INVALID_DISPOSITION
    escape(crate::dispatch::unhandled(
        &record,
        &context,
        problem.to_string(),
    ))
}
