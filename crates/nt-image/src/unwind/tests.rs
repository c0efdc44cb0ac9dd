//! Unwinding by tables that no compiler wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::view::View;

const TABLES: usize = 0x100;

/// Registers an image whose one function has the unwind information `tables`.
fn image(tables: &[u8]) -> Arc<Known> {
    // Addresses that nothing is mapped at, different for each image.
    static NEXT: AtomicU64 = AtomicU64::new(0x7000_0000_0000_0000);
    let mut view = View(vec![0x90; 0x1000]);
    view.fill(TABLES..0x1000, tables);
    let function = Function {
        begin: 0x10,
        end: 0xf00,
        unwind: 0x100,
        entry: 0,
    };
    let known = Arc::new(Known {
        name: "broken.sys".to_owned(),
        base: NEXT.fetch_add(0x1000, Ordering::Relaxed),
        view,
        exports: Vec::new(),
        functions: vec![function],
    });
    registry::add(Arc::clone(&known));
    known
}

/// Unwinds until it ends or fails; gives the number of steps and what it failed by.
fn walk(image: &Known, words: &mut [u64], registers: [u64; 16]) -> (usize, Option<Problem>) {
    for word in words.iter_mut() {
        *word = image.base + *word % 0xff8;
    }
    let low = words.as_ptr().expose_provenance() as u64;
    let stack = Stack {
        low,
        end: low + words.len() as u64 * 8 - Stack::HOME,
    };
    let mut context = Context::empty();
    context.integer = registers.map(|register| low + register % 0x400);
    context.integer[RSP] = low;
    context.rip = image.base + 0x500;
    let mut steps = 0;
    while context.rsp() != stack.end {
        if let Err(problem) = step(&mut context, stack) {
            return (steps, Some(problem));
        }
        steps += 1;
    }
    (steps, None)
}

fn problem_of(tables: &[u8]) -> Option<Problem> {
    let image = image(tables);
    let (_, problem) = walk(&image, &mut [0x500; 64], [0; 16]);
    registry::remove(&image);
    problem
}

#[test]
fn unknown_version_is_reported() {
    let problem = problem_of(&[7, 0, 0, 0]);
    assert!(
        matches!(problem, Some(Problem::Version { version: 7, .. })),
        "{problem:?}"
    );
}

#[test]
fn unknown_operation_is_reported() {
    let problem = problem_of(&[1, 0, 1, 0, 0, 7, 0, 0]);
    assert!(
        matches!(problem, Some(Problem::Operation { operation: 7, .. })),
        "{problem:?}"
    );
}

#[test]
fn chain_to_itself_is_reported() {
    let problem = problem_of(&[0x21, 0, 0, 0, 0x10, 0, 0, 0, 0, 0xf, 0, 0, 0, 1, 0, 0]);
    assert!(matches!(problem, Some(Problem::Chain(_))), "{problem:?}");
}

#[test]
fn frame_that_leads_down_the_stack_is_reported() {
    // Allocates 4 GiB less 64 bytes, in the 32-bit form: far beyond the stack.
    let problem = problem_of(&[1, 0, 3, 0, 0, 0x11, 0xc0, 0xff, 0xff, 0xff, 0, 0]);
    assert!(
        matches!(problem, Some(Problem::Stack { .. })),
        "{problem:?}"
    );
}

#[test]
fn handler_is_found_behind_the_codes() {
    // One push, both handler flags, handler at 0x600, then its data.
    let image = image(&[0x19, 1, 1, 0, 1, 0x30, 0, 0, 0, 6, 0, 0]);
    let words = [image.base + 0x500; 8];
    let low = words.as_ptr().expose_provenance() as u64;
    let mut context = Context::empty();
    context.integer[RSP] = low;
    context.rip = image.base + 0x500;
    let step = step(&mut context, Stack { low, end: low + 32 });
    registry::remove(&image);
    let handler = step.ok().and_then(|step| step.handler);
    let found = handler.map(|it| (it.flags, it.routine - image.base, it.data - image.base));
    assert_eq!(found, Some((3, 0x600, 0x10c)));
    assert_eq!(
        (context.integer[3], context.rsp()),
        (image.base + 0x500, low + 16)
    );
}

proptest! {
    #[test]
    fn random_tables_lead_up_the_stack_or_are_reported(
        tables in vec(any::<u8>(), 0x100),
        version in 0..4_u8,
        flags in 0..8_u8,
        mut words in vec(any::<u64>(), 200),
        registers in any::<[u64; 16]>(),
    ) {
        let mut tables = tables;
        tables[0] = version | flags << 3;
        let image = image(&tables);
        let (steps, _) = walk(&image, &mut words, registers);
        registry::remove(&image);
        prop_assert!(steps <= words.len());
    }
}
