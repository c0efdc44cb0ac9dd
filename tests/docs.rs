//! The book under docs/: what it says of requests is what crates/abi says, its examples are code that is compiled or run, and every
//! test and file that it names is there.

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::CommandFactory;
use sanctl::arguments::Arguments;
use sanproxy_abi::{CODES, ControlCode, Error};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What lies between the lines that begin with `start` and a name, and those that begin with `end`, by name; indented as the
/// first line is, and no more.
fn examples(path: &str, start: &str, end: &str) -> BTreeMap<String, String> {
    let text = read(path);
    let (mut found, mut name, mut lines) = (BTreeMap::new(), None, Vec::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(rest) = trimmed.strip_prefix(start) {
            name = rest.split_whitespace().next().map(str::to_owned);
        } else if trimmed.starts_with(end) && name.is_some() {
            let indent = lines
                .iter()
                .filter(|line: &&&str| !line.trim().is_empty())
                .map(|line| line.len() - line.trim_start().len())
                .min()
                .unwrap_or(0);
            let code = lines.iter().map(|line| line.get(indent..).unwrap_or(""));
            let code: Vec<_> = code.collect();
            found.insert(name.take().expect("open"), code.join("\n"));
            lines.clear();
        } else if name.is_some() {
            lines.push(line);
        }
    }
    assert!(!found.is_empty(), "{path} has no examples");
    found
}

/// The sections of a page, by heading.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n## ").skip(1);
    parts
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .collect()
}

/// The fenced block of a language.
fn fence<'a>(section: &'a str, language: &str) -> Option<&'a str> {
    let start = section.split_once(&format!("```{language}\n"))?.1;
    start.split_once("\n```").map(|(code, _)| code)
}

#[test]
fn contract_has_every_request_with_its_structs_in_the_order_of_the_codes() {
    let page = read("docs/contract.md");
    let headings: Vec<_> = sections(&page)
        .into_iter()
        .map(|(heading, _)| heading.to_owned())
        .filter(|heading| heading.starts_with("IOCTL_"))
        .collect();
    let codes: Vec<_> = CODES.iter().map(|code| c_name(code.code)).collect();
    assert_eq!(headings, codes);
    for (code, (heading, section)) in CODES.iter().zip(sections(&page)) {
        let text = section.split_whitespace().collect::<Vec<_>>().join(" ");
        let input = format!("input `{}`, {} bytes", code.input.c_name, code.input.size);
        let output = match code.output {
            Some(output) => format!("output `{}`, {} bytes", output.c_name, output.size),
            None => "output a message".to_owned(),
        };
        let number = format!(
            "code 0x{:08X} (function 0x{:X}, `{}`)",
            code.code.value(),
            code.function,
            code.transfer.c_name()
        );
        for expected in [number, input, output] {
            assert!(text.contains(&expected), "{heading}: {expected}");
        }
        for part in ["further errors: ", "cost: "] {
            assert!(text.contains(part), "{heading}: {part}");
        }
    }
}

#[test]
fn contract_shows_the_examples_word_for_word() {
    let page = read("docs/contract.md");
    let c = examples("examples/contract.c", "/* example:", "/* end */");
    let rust = examples("tests/contract.rs", "// example:", "// end");
    for code in CODES {
        let name = c_name(code.code);
        let section = sections(&page)
            .into_iter()
            .find(|(heading, _)| *heading == name);
        let (_, section) = section.unwrap_or_else(|| panic!("{name} has no section"));
        assert_eq!(
            fence(section, "c"),
            c.get(name).map(String::as_str),
            "{name}"
        );
        let shown = fence(section, "rust");
        assert_eq!(shown, rust.get(name).map(String::as_str), "{name}");
    }
}

#[test]
fn library_shows_its_examples_word_for_word() {
    let page = read("docs/library.md");
    let known = examples("tests/contract.rs", "// example:", "// end");
    let mut shown = 0;
    for part in page.split("```rust\n").skip(1) {
        let (code, _) = part.split_once("\n```").expect("a closed fence");
        assert!(
            known.values().any(|known| known == code),
            "not run by any test:\n{code}"
        );
        shown += 1;
    }
    assert!(shown >= 3);
}

/// The name of a control code in C.
fn c_name(code: ControlCode) -> &'static str {
    let mut all = ControlCode::ENUMERATION.constants.iter();
    let found = all.find(|constant| constant.value == code.value());
    found.expect("all are in the table").c_name
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn contract_names_every_error_and_no_other() {
    let page = read("docs/contract.md");
    let known: Vec<_> = Error::ALL
        .iter()
        .map(|error| format!("{error:?}"))
        .collect();
    let (mut named, general) = (Vec::new(), page.split("\n## ").next().expect("a beginning"));
    for name in quoted(general) {
        named.extend(known.iter().filter(|known| *known == name));
    }
    for (heading, section) in sections(&page) {
        let Some((_, list)) = section.split_once("- further errors: ") else {
            continue;
        };
        let list = list.split("\n- ").next().expect("the list");
        for name in quoted(list) {
            let error = known.iter().find(|known| *known == name);
            named.push(error.unwrap_or_else(|| panic!("{heading}: there is no error {name}")));
        }
    }
    for error in &known {
        assert!(named.contains(&error), "no request names {error}");
    }
    let (_, table) = page.split_once("## What can be wrong").expect("the table");
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
        .collect();
    let expected: Vec<_> = Error::ALL
        .iter()
        .map(|error| {
            let status = error.status().name().expect("a status of the contract");
            let sentence = error.sentence();
            format!(
                "| {} | `{error:?}` | `{status}` | {sentence} |",
                error.index()
            )
        })
        .collect();
    assert_eq!(rows, expected);
}

/// The rows of a table whose first cell is a letter and two digits.
fn rows(page: &str, letter: char) -> Vec<(String, String)> {
    page.lines()
        .filter_map(|line| {
            let (cell, rest) = line.strip_prefix("| ")?.split_once(" |")?;
            let digits = cell.strip_prefix(letter)?;
            let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| (cell.to_owned(), rest.to_owned()))
        })
        .collect()
}

/// Finds what a page names in backticks: a file, or a file and a function in it.
fn check_names(page: &str, row: &str, text: &str) -> usize {
    let mut tests = 0;
    for name in quoted(text) {
        if let Some((path, function)) = name
            .split_once("::")
            .filter(|(path, _)| path.ends_with(".rs"))
        {
            let source = read(path);
            assert!(
                source.contains(&format!("fn {function}(")),
                "{page}, {row}: {path} has no {function}"
            );
            tests += 1;
        } else if name.contains('/') && name.contains('.') {
            assert!(
                root().join(name).exists(),
                "{page}, {row}: {name} is not there"
            );
        } else if name.starts_with("IOCTL_") {
            let known = CODES.iter().any(|code| c_name(code.code) == name);
            assert!(known, "{page}, {row}: {name} is no control code");
        }
    }
    tests
}

/// Each row from 1 to `count`, once and in order; each names a test that is there, or says that it is not met.
fn check_table(path: &str, letter: char, count: usize) {
    let page = read(path);
    let rows = rows(&page, letter);
    let names: Vec<_> = rows.iter().map(|(name, _)| name.clone()).collect();
    let expected: Vec<_> = (1..=count)
        .map(|number| format!("{letter}{number:02}"))
        .collect();
    assert_eq!(names, expected);
    for (row, text) in &rows {
        let tests = check_names(path, row, text);
        let excused = text.contains("**not met**") || text.contains("**no counterpart**");
        assert!(tests > 0 || excused, "{path}, {row} names no test");
    }
}

#[test]
fn table_of_the_requirements_is_whole_and_names_tests_that_exist() {
    check_table("docs/san.md", 'R', 82);
}

#[test]
fn table_of_storports_routines_is_whole_and_names_tests_that_exist() {
    check_table("docs/storport.md", 'S', 23);
}

#[test]
fn row_that_names_a_missing_test_or_file_is_found() {
    let caught = |text: &'static str| {
        std::panic::catch_unwind(move || check_names("a page", "a row", text)).is_err()
    };
    assert!(caught("`tests/docs.rs::no_such_test`"));
    assert!(caught("`tests/no_such_file.rs::x`"));
    assert!(caught("`docs/none.md`"));
    assert!(caught("`IOCTL_SANPROXY_NOTHING`"));
    assert!(!caught(
        "`tests/docs.rs::row_that_names_a_missing_test_or_file_is_found`"
    ));
}

/// The links of a page to other files of the repository.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn link_of_every_page_leads_to_a_file() {
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).expect("docs").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    for page in &pages {
        let text = read(page);
        let folder = root().join(page);
        let folder = folder.parent().expect("a folder");
        for target in links(&text) {
            assert!(folder.join(target).exists(), "{page} links to {target}");
        }
    }
}

#[test]
fn page_of_docs_is_named_in_the_readme() {
    let readme = read("README.md");
    for entry in fs::read_dir(root().join("docs")).expect("docs").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let told = readme.contains(&format!("docs/{name}")) || name == "imports.txt";
        assert!(told, "README.md does not lead to docs/{name}");
    }
}

#[test]
fn command_and_option_of_the_readme_are_those_of_sanctl() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("| command | does |").expect("the table");
    let table = table.split("\n\n").next().expect("its rows");
    let sanctl = Arguments::command();
    let mut named = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let (cell, does) = row.split_once(" | ").expect("two cells");
        let commands: Vec<_> = quoted(cell)
            .map(|text| text.split(' ').next().expect("a word"))
            .map(|name| {
                let found = sanctl.find_subcommand(name);
                found.unwrap_or_else(|| panic!("sanctl has no command {name}"))
            })
            .collect();
        for option in quoted(does).filter_map(|text| text.strip_prefix("--")) {
            let mut all = commands.iter().flat_map(|command| command.get_arguments());
            assert!(
                all.any(|argument| argument.get_long() == Some(option)),
                "no command of the row has --{option}: {row}"
            );
        }
        named.extend(commands.iter().map(|command| command.get_name().to_owned()));
    }
    for command in sanctl.get_subcommands().map(|command| command.get_name()) {
        // It only tells where it works.
        let told = named.iter().any(|name| name == command) || command == "release";
        assert!(told, "README.md does not name sanctl {command}");
    }
}
