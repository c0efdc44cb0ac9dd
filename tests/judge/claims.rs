//! What the host claims to check, in its RULES.md, has been seen to be caught.

use std::{collections::BTreeSet, fs, path::Path};

/// Conditions under which everything else has to hold; nothing that a driver does wrong.
const CONDITIONS: &[&str] = &[
    "V271", "V272", "V302", "V303", "V304", "V305", "V306", "V311",
];

/// Claimed, and not provoked by any driver yet.
const UNPROVED: &[&str] = &[];

struct Row {
    rule: String,
    place: String,
    proofs: String,
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rules that the host says it checks, apart from those that another rule stands for.
fn claims() -> Vec<Row> {
    let text = read("crates/nt-host/RULES.md");
    let (checked, _) = text.split_once("## Not checked yet").expect("two tables");
    let rows = checked.lines().filter(|line| line.starts_with("| V"));
    rows.map(|line| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, rule, .., place, proofs, ""] = columns.as_slice() else {
            panic!("{line}")
        };
        let [rule, place, proofs] = [rule, place, proofs].map(ToString::to_string);
        Row {
            rule,
            place,
            proofs,
        }
    })
    .filter(|row| {
        let aside = ["with V", "not applicable", "the IRQL column"];
        !aside.iter().any(|start| row.place.starts_with(start))
            && !CONDITIONS.contains(&row.rule.as_str())
    })
    .collect()
}

/// Whether a file named in the last column looks for the rule in a report.
fn is_proved(row: &Row) -> bool {
    let files = row.proofs.split(", ").map(|file| file.trim_matches('`'));
    files.filter(|file| !file.is_empty()).any(|file| {
        let folder = if file.starts_with("judge/") {
            "tests"
        } else {
            "crates/nt-host/tests"
        };
        read(&format!("{folder}/{file}")).contains(&format!("\"{}\"", row.rule))
    })
}

#[test]
fn every_rule_that_the_host_claims_has_been_provoked() {
    let claims = claims();
    assert!(claims.len() > 150, "{}", claims.len());
    let unproved: BTreeSet<&str> = claims
        .iter()
        .filter(|row| !is_proved(row))
        .map(|row| row.rule.as_str())
        .collect();
    let expected: BTreeSet<&str> = UNPROVED.iter().copied().collect();
    assert_eq!(unproved, expected);
}
