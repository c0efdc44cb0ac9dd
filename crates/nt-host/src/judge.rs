//! The judge: what the driver did wrong, with the rule, the routine and the driver's call stack.

use std::fmt;
use std::sync::Mutex;

use nt_image::Frame;
use serde::Serialize;

use crate::lock;

/// One line of a driver's call stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackFrame {
    /// Return address.
    pub address: u64,
    /// Image and offset, with the function's name where it is known.
    pub symbol: String,
}

impl From<Frame> for StackFrame {
    fn from(frame: Frame) -> Self {
        Self {
            address: frame.address,
            symbol: frame.symbol,
        }
    }
}

/// A breach of a documented rule.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// The rule's permanent name, such as "V146".
    pub rule: &'static str,
    /// The bug check that Driver Verifier would raise, such as "E6/0x03".
    pub code: &'static str,
    /// The system routine in which it showed, or the driver entry point.
    pub routine: String,
    /// What was wrong, with the values.
    pub message: String,
    /// The driver's frames, innermost first.
    pub stack: Vec<StackFrame>,
}

/// Something the driver made and did not give back.
#[derive(Clone, Debug, Serialize)]
pub struct Leak {
    /// What it is, such as "pool" or "registry handle".
    pub kind: &'static str,
    /// Which one: size, tag, address, owner.
    pub detail: String,
    /// The driver's frames when it was made, innermost first.
    pub stack: Vec<StackFrame>,
}

/// All that the judge has found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Breaches of rules, in order.
    pub violations: Vec<Violation>,
    /// What was not given back, in order of discovery.
    pub leaks: Vec<Leak>,
}

impl Report {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.leaks.is_empty()
    }

    /// Whether the rule was broken.
    #[must_use]
    pub fn has(&self, rule: &str) -> bool {
        self.violations
            .iter()
            .any(|violation| violation.rule == rule)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} violations, {} leaks",
            self.violations.len(),
            self.leaks.len()
        )?;
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        for leak in &self.leaks {
            writeln!(f, "{leak}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}) in {}: {}",
            self.rule, self.code, self.routine, self.message
        )?;
        write_stack(f, &self.stack)
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leak of {}: {}", self.kind, self.detail)?;
        write_stack(f, &self.stack)
    }
}

fn write_stack(f: &mut fmt::Formatter<'_>, stack: &[StackFrame]) -> fmt::Result {
    for frame in stack {
        write!(f, "\n    at {}", frame.symbol)?;
    }
    Ok(())
}

/// Collects violations and leaks; one per host.
#[derive(Default)]
pub(crate) struct Judge {
    report: Mutex<Report>,
}

/// More of one kind than this tell nothing new.
const LIMIT: usize = 1000;

impl Judge {
    /// Records a breach, found in the routine that the driver is calling now, or in `context`.
    pub(crate) fn violation(
        &self,
        rule: &'static str,
        code: &'static str,
        context: &str,
        message: impl Into<String>,
    ) {
        let routine = nt_image::current_routine()
            .map_or(context, |routine| routine.name)
            .to_owned();
        let violation = Violation {
            rule,
            code,
            routine,
            message: message.into(),
            stack: current_stack(),
        };
        let mut report = lock(&self.report);
        if report.violations.len() < LIMIT {
            report.violations.push(violation);
        }
    }

    /// Records a breach whose stack was taken earlier, such as that of an exception.
    pub(crate) fn record(&self, violation: Violation) {
        let mut report = lock(&self.report);
        if report.violations.len() < LIMIT {
            report.violations.push(violation);
        }
    }

    /// Records something that was not given back.
    pub(crate) fn leak(&self, leak: Leak) {
        let mut report = lock(&self.report);
        if report.leaks.len() < LIMIT {
            report.leaks.push(leak);
        }
    }

    /// A copy of everything found so far.
    pub(crate) fn report(&self) -> Report {
        lock(&self.report).clone()
    }
}

/// The driver's call stack at the routine that runs now; kept with what it allocates.
pub(crate) fn current_stack() -> Vec<StackFrame> {
    nt_image::backtrace()
        .into_iter()
        .map(StackFrame::from)
        .collect()
}
