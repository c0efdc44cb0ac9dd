//! The table of exported routines: name, function, the IRQL at which it may be called, and the rule that says so.
//!
//! Each module that implements routines ends in an `exports!` table. The observer checks every
//! call by it before the routine runs, so a routine need not.

use core::ptr::NonNull;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

use nt_image::{Import, Observer, Routine};

use crate::{suspension, thread};

/// At which IRQL a routine may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IrqlRule {
    /// At any.
    Any,
    /// At this level or below.
    AtMost(u8),
    /// At exactly this level.
    Exactly(u8),
}

impl IrqlRule {
    fn allows(self, irql: u8) -> bool {
        match self {
            Self::Any => true,
            Self::AtMost(limit) => irql <= limit,
            Self::Exactly(level) => irql == level,
        }
    }
}

/// One exported routine.
#[derive(Clone, Copy)]
pub(crate) struct Export {
    /// Its exported name.
    pub(crate) name: &'static str,
    /// An `extern "win64"` function.
    pub(crate) function: *const (),
    /// At which IRQL it may be called.
    pub(crate) irql: IrqlRule,
    /// The rule broken by a call at another.
    pub(crate) rule: &'static str,
    /// The bug check of that rule.
    pub(crate) code: &'static str,
}

// SAFETY: the pointer is the address of a function.
unsafe impl Sync for Export {}
// SAFETY: as above.
unsafe impl Send for Export {}

/// Declares a table: `"Name" => function, IrqlRule, "rule", "code";` per routine.
macro_rules! exports {
    ($($name:literal => $function:expr, $irql:expr, $rule:literal, $code:literal;)*) => {
        /// The routines of this module.
        pub(crate) static EXPORTS: &[$crate::export::Export] = &[
            $($crate::export::Export {
                name: $name,
                function: $function as *const (),
                irql: $irql,
                rule: $rule,
                code: $code,
            }),*
        ];
    };
}
pub(crate) use exports;

/// The table of all routines, by index (`Routine::tag`) and by name.
pub(crate) struct Table {
    routines: &'static [Routine],
    exports: Vec<&'static Export>,
    by_name: HashMap<&'static str, usize>,
}

/// All routines that the host exports.
pub(crate) fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::new(&all()))
}

fn all() -> Vec<&'static [Export]> {
    vec![
        crate::bug_check::EXPORTS,
        crate::debug::EXPORTS,
        crate::device::interface::EXPORTS,
        crate::device::link::EXPORTS,
        crate::device::object::EXPORTS,
        crate::device::stack::EXPORTS,
        crate::driver::EXPORTS,
        crate::etw::EXPORTS,
        crate::irp::cancel::EXPORTS,
        crate::irp::complete::EXPORTS,
        crate::irp::csq::EXPORTS,
        crate::irp::owned::EXPORTS,
        crate::irp::send::EXPORTS,
        crate::object::EXPORTS,
        crate::process::attach::EXPORTS,
        crate::process::notify::EXPORTS,
        crate::random::EXPORTS,
        crate::registry::EXPORTS,
        crate::remove_lock::EXPORTS,
        crate::runtime::EXPORTS,
        crate::security::EXPORTS,
        crate::sync::event::EXPORTS,
        crate::sync::irql::EXPORTS,
        crate::sync::mutex::EXPORTS,
        crate::sync::push_lock::EXPORTS,
        crate::sync::rundown::EXPORTS,
        crate::sync::spin_lock::EXPORTS,
        crate::work_item::EXPORTS,
        crate::memory::exports(),
        crate::dma::exports(),
    ]
}

impl Table {
    fn new(groups: &[&'static [Export]]) -> Self {
        let exports: Vec<&'static Export> = groups.iter().flat_map(|group| group.iter()).collect();
        let routines: Vec<Routine> = exports
            .iter()
            .enumerate()
            .map(|(tag, export)| Routine {
                name: export.name,
                function: export.function,
                tag,
            })
            .collect();
        let by_name = exports
            .iter()
            .enumerate()
            .map(|(index, export)| (export.name, index))
            .collect();
        // Call stubs refer to the routines for as long as any image lives: they are never freed.
        Self {
            routines: Box::leak(routines.into_boxed_slice()),
            exports,
            by_name,
        }
    }

    /// The number of routines.
    pub(crate) fn len(&self) -> usize {
        self.exports.len()
    }

    /// The routine of that name.
    pub(crate) fn routine(&self, name: &str) -> Option<&'static Routine> {
        self.by_name.get(name).map(|index| &self.routines[*index])
    }

    /// The name at an index.
    pub(crate) fn name(&self, index: usize) -> &'static str {
        self.exports[index].name
    }

    /// Whether two routines share a name: the second would never be bound.
    #[cfg(test)]
    fn has_duplicates(&self) -> bool {
        self.by_name.len() != self.exports.len()
    }
}

/// Whether a module of that name exports the kernel's routines, or the random numbers.
fn is_exported_by(module: &str, name: &str) -> bool {
    let is = |other: &str| module.eq_ignore_ascii_case(other);
    let is_random = crate::random::EXPORTS
        .iter()
        .any(|export| export.name == name);
    if is_random {
        is(crate::random::MODULE)
    } else {
        is("ntoskrnl.exe") || is("hal.dll")
    }
}

/// Binds an import of a driver image; `None` for what the host does not export.
pub(crate) fn resolve(
    module: &str,
    name: &str,
    data: &dyn Fn(&str) -> Option<NonNull<u8>>,
) -> Option<Import> {
    if !is_exported_by(module, name) {
        return None;
    }
    table()
        .routine(name)
        .map(Import::Routine)
        .or_else(|| data(name).map(Import::Data))
}

/// Watches every call of a driver into the host: counts it and checks its IRQL.
pub(crate) struct Watch;

impl Watch {
    /// Makes this thread's calls watched, from its first on.
    pub(crate) fn install() {
        thread_local! {
            static INSTALLED: () = drop(nt_image::set_observer(Some(Rc::new(Watch))));
        }
        INSTALLED.with(|()| ());
    }
}

impl Observer for Watch {
    fn enter(&self, routine: &'static Routine, arguments: [u64; 4]) {
        let Some(host) = thread::host() else { return };
        host.count_call(routine.tag);
        let export = table().exports[routine.tag];
        let irql = thread::irql();
        if !export.irql.allows(irql) {
            let message = format!(
                "called at IRQL {irql}, allowed is {:?}; first argument {:#x}",
                export.irql, arguments[0]
            );
            host.violation(export.rule, export.code, message);
        }
        host.restless.called();
        suspension::entered(&host);
    }

    fn leave(&self, _routine: &'static Routine, _result: u64) {
        if let Some(host) = thread::host() {
            suspension::deliver(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_all_routines_has_each_name_once() {
        assert!(!table().has_duplicates());
    }

    #[test]
    fn rule_exactly_refuses_a_lower_level() {
        assert!(!IrqlRule::Exactly(thread::DISPATCH).allows(thread::PASSIVE));
        assert!(IrqlRule::AtMost(thread::DISPATCH).allows(thread::PASSIVE));
    }
}
