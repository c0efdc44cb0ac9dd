//! What the demonstration has seen, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::timeline::Moment;

/// Everything that was seen.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether every step held and the judge found nothing.
    pub(crate) passed: bool,
    /// What failed, if anything did.
    pub(crate) error: Option<String>,
    /// The steps, in order.
    pub(crate) steps: Vec<Step>,
    /// The memory that was registered.
    pub(crate) registrations: Vec<Row>,
    /// Kernel calls of the driver over its whole life, by routine.
    pub(crate) kernel_calls: std::collections::BTreeMap<String, u64>,
    /// The driver's events, if somebody listened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeline: Option<Vec<Moment>>,
    /// What the judge found.
    pub(crate) verdict: Option<nt_host::Report>,
}

/// One step of the story.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// What was done.
    pub(crate) title: String,
    /// What was seen.
    pub(crate) details: Vec<String>,
    /// How long it took.
    pub(crate) milliseconds: f64,
}

/// One registration.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The kind of memory.
    pub(crate) kind: String,
    /// The routine that it came from.
    pub(crate) method: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// The first device address.
    pub(crate) first: u64,
    /// The last device address.
    pub(crate) last: u64,
    /// Whether all of it is below 4 GiB as the device sees it.
    pub(crate) below_4_gib: bool,
    /// How many contiguous pieces it has.
    pub(crate) pieces: usize,
    /// Whether it is mapped into the provider's process.
    pub(crate) mapped: bool,
    /// Kernel calls that registering it cost.
    pub(crate) kernel_calls: u64,
}

impl Step {
    /// Prints the step as it happens.
    pub(crate) fn print(&self, number: usize) {
        println!("{number}. {} ({:.1} ms)", self.title, self.milliseconds);
        for line in &self.details {
            println!("   {line}");
        }
    }
}

impl Report {
    /// Prints the table of registrations and the verdict; the steps have been printed as they happened.
    pub(crate) fn print(&self) {
        println!("\nRegistrations\n{}", self.table());
        for moment in self.timeline.iter().flatten().enumerate() {
            if moment.0 == 0 {
                println!("\nEvents of the driver");
            }
            println!("{}", moment.1);
        }
        let calls: u64 = self.kernel_calls.values().sum();
        println!(
            "\nKernel calls over the driver's life: {calls} of {} routines",
            self.kernel_calls.len()
        );
        match (&self.error, &self.verdict) {
            (Some(error), _) => println!("\nFAILED: {error}"),
            (None, None) => println!("\nFAILED: the judge has not spoken"),
            (None, Some(_)) => {}
        }
        if let Some(verdict) = &self.verdict {
            println!("\nThe judge's verdict: {}", verdict.to_string().trim_end());
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        table.set_header([
            "kind",
            "from",
            "size",
            "logical addresses",
            "below 4 GiB",
            "pieces",
            "mapped",
            "kernel calls",
        ]);
        for row in &self.registrations {
            table.add_row([
                row.kind.clone(),
                row.method.clone(),
                bytes(row.bytes),
                format!("{:#011x}-{:#011x}", row.first, row.last),
                yes_no(row.below_4_gib),
                row.pieces.to_string(),
                yes_no(row.mapped),
                row.kernel_calls.to_string(),
            ]);
        }
        for index in [2, 5, 7] {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_string()
}

/// A size in the largest unit that divides it.
pub(crate) fn bytes(count: u64) -> String {
    [("GiB", 30_u32), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .map(|(unit, shift)| (unit, count >> shift, shift))
        .find(|(_, whole, shift)| *whole > 0 && whole << shift == count)
        .map_or_else(
            || format!("{count} B"),
            |(unit, whole, _)| format!("{whole} {unit}"),
        )
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn size_is_told_in_the_largest_unit_that_divides_it() {
        assert_eq!(bytes(4096), "4 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes((1 << 20) + 1), "1048577 B");
    }
}
