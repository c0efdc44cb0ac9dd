//! `sanctl verify`: the conformance suite under Driver Verifier.
//!
//! The verifier's settings take effect when Windows starts, so this is two calls with a restart in
//! between. What verifier.exe prints is in the language of the system: only file names and numbers
//! are read out of it.

use std::path::Path;

use serde::Serialize;

use crate::arguments::Wanted;
use crate::conformance::{self, Suite};
use crate::failure::{Exit, Failure, not_administrator};
use crate::screen::{HEAD, Report, Screen};
use crate::system::{IMAGE, ProgramOutput, System};

/// The standard options: special pool, forced IRQL, pool tracking, I/O, deadlocks, DMA, security,
/// miscellaneous, DDI compliance.
const STANDARD: u32 = 0x0002_09BB;
/// Allocations fail at random.
const LOW_RESOURCES: u32 = 0x4;

/// What the verifier has to say.
#[derive(Serialize)]
struct Verified {
    suite: Suite,
    verifier_active: bool,
    verifier_output: String,
    switched_off: bool,
}

impl Report for Verified {
    fn text(&self) -> String {
        let mut text = self.suite.text();
        text.push_str(&format!(
            "{HEAD}Driver Verifier{HEAD:#}\n{}\n",
            self.verifier_output.trim()
        ));
        if self.switched_off {
            text.push_str("Switched off; Windows goes back to normal with its next restart.\n");
        }
        text
    }
}

/// `sanctl verify`.
pub(crate) fn verify<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    wanted: Wanted,
) -> Result<(), Failure> {
    if wanted.suite_only {
        let suite = conformance::run(system, screen)?;
        screen.report(&suite)?;
        return suite.outcome();
    }
    if !system.is_administrator()? {
        return Err(not_administrator("Driver Verifier"));
    }
    if wanted.off {
        return switch_off(system, screen);
    }
    if is_active(system)? {
        run_verified(system, screen)
    } else {
        switch_on(system, screen, wanted)
    }
}

/// Runs the verifier's program.
fn program<S: System>(system: &S, arguments: &[&str]) -> Result<ProgramOutput, Failure> {
    system.verifier(arguments).map_err(|error| {
        Failure::from(error).cure("verifier.exe belongs to Windows, in its System32 folder")
    })
}

/// Whether the driver is verified now, since Windows started.
fn is_active<S: System>(system: &S) -> Result<bool, Failure> {
    Ok(mentions(&program(system, &["/query"])?.text, IMAGE))
}

fn mentions(text: &str, name: &str) -> bool {
    text.to_ascii_lowercase().contains(name)
}

/// The drivers that the settings name.
fn drivers(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| letter.is_whitespace() || letter == ',' || letter == ':');
    let mut names: Vec<String> = words
        .map(str::to_ascii_lowercase)
        .filter(|word| Path::new(word).extension() == Some("sys".as_ref()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn switch_on<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    wanted: Wanted,
) -> Result<(), Failure> {
    let restart = || {
        Failure::new(Exit::Restart, "Driver Verifier is set for sanproxy.sys and begins with the next start of Windows")
            .cure("restart Windows, then run sanctl verify again: it runs the suite and switches the verifier off")
    };
    let others = drivers(&program(system, &["/querysettings"])?.text);
    if others.iter().any(|name| name == IMAGE) {
        return Err(restart());
    }
    if !others.is_empty() && !wanted.replace {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "Driver Verifier is set for other drivers: {}",
                others.join(", ")
            ),
        )
        .cure("--replace gives up those settings"));
    }
    // Before the machine is changed: is there a driver to be verified at all?
    drop(crate::system::open(system)?);
    if system.is_interrupted() {
        return Err(Failure::interrupted("nothing was changed"));
    }
    let more = if wanted.low_resources {
        LOW_RESOURCES
    } else {
        0
    };
    let flags = format!("{:#x}", STANDARD | more);
    let output = program(system, &["/flags", &flags, "/driver", IMAGE])?;
    // verifier.exe does not always end with 0 when it wants a restart: what counts is the setting.
    let set = drivers(&program(system, &["/querysettings"])?.text);
    if !set.iter().any(|name| name == IMAGE) {
        return Err(refused("Driver Verifier could not be switched on", &output));
    }
    screen.say(format_args!(
        "Driver Verifier is set with flags {flags} for {IMAGE}."
    ))?;
    Err(restart())
}

fn refused(what: &str, output: &ProgramOutput) -> Failure {
    let code = output
        .code
        .map_or(String::new(), |code| format!(" (exit code {code})"));
    let said: Vec<&str> = output.text.split_whitespace().collect();
    Failure::new(Exit::Failed, format!("{what}{code}: {}", said.join(" ")))
}

fn run_verified<S: System>(system: &S, screen: &mut Screen<'_>) -> Result<(), Failure> {
    // An error of the suite's surroundings does not leave the verifier on.
    let suite = conformance::run(system, screen);
    let counters = program(system, &["/query"])?;
    let off = program(system, &["/reset"])?;
    let switched_off = drivers(&program(system, &["/querysettings"])?.text).is_empty();
    let suite = suite?;
    let outcome = suite.outcome();
    let verifier_active = mentions(&counters.text, IMAGE);
    screen.report(&Verified {
        suite,
        verifier_active,
        verifier_output: counters.text,
        switched_off,
    })?;
    outcome?;
    if !verifier_active {
        return Err(Failure::wrong(
            "the verifier stopped watching the driver during the suite",
        ));
    }
    if !switched_off {
        return Err(refused("Driver Verifier could not be switched off", &off)
            .cure("run verifier /reset as an administrator"));
    }
    Ok(())
}

fn switch_off<S: System>(system: &S, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let set = drivers(&program(system, &["/querysettings"])?.text);
    if !set.iter().any(|name| name == IMAGE) && !is_active(system)? {
        screen.say("Driver Verifier is not set for sanproxy.sys; nothing to do.")?;
        return Ok(());
    }
    let output = program(system, &["/reset"])?;
    if !drivers(&program(system, &["/querysettings"])?.text).is_empty() {
        return Err(
            refused("Driver Verifier could not be switched off", &output)
                .cure("run verifier /reset as an administrator"),
        );
    }
    screen.say("Driver Verifier is switched off.")?;
    if is_active(system)? {
        return Err(
            Failure::new(Exit::Restart, "it goes on until Windows is restarted")
                .cure("restart Windows"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::drivers;

    #[test]
    fn drivers_are_found_in_the_settings_whatever_the_language() {
        let text = "Verifier Flags: 0x000209bb\n\nVerifizierte Treiber:\n\n  SanProxy.sys\n  ntfs.sys, a.sys\n";
        assert_eq!(drivers(text), ["a.sys", "ntfs.sys", "sanproxy.sys"]);
        assert!(drivers("No drivers are currently verified.").is_empty());
    }
}
