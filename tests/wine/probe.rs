//! A process in Wine that does what it is told: `probe.c`.

use std::{
    cell::RefCell,
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use sanproxy_provider::{Channel, MemoryFault, Status, status_of_win32};

use crate::{Failure, session};

/// The first answer of all takes longest: Wine makes its system first, in a few seconds where nothing else runs.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// The process. It is ended on drop, if not before.
pub(crate) struct Probe {
    child: RefCell<Child>,
    input: RefCell<ChildStdin>,
    answers: Receiver<String>,
}

/// What the probe says when something does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the probe answers `{answer}` to `{command}`")]
pub(crate) struct Refusal {
    command: String,
    answer: String,
}

impl Refusal {
    /// The error's words after the first, e.g. the step and the Win32 error.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.answer.split_whitespace().skip(1).collect()
    }
}

impl Probe {
    /// Starts it and waits until it answers.
    pub(crate) fn start(mut command: Command, errors: File) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = child.stdout.take().ok_or("no output")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let probe = Self {
            child: RefCell::new(child),
            input: RefCell::new(input),
            answers,
        };
        probe.ask("process")?;
        Ok(probe)
    }

    /// Gives a command; what follows the `ok` of the answer.
    pub(crate) fn ask(&self, command: &str) -> Result<String, Refusal> {
        let refusal = |answer: &str| Refusal {
            command: command.chars().take(100).collect(),
            answer: answer.to_string(),
        };
        let sent = writeln!(self.input.borrow_mut(), "{command}");
        if let Err(error) = sent {
            return Err(refusal(&error.to_string()));
        }
        let answer = self.answers.recv_timeout(ANSWER_LIMIT).map_err(|error| {
            session::stuck();
            refusal(&error.to_string())
        })?;
        match answer.trim().strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_string()),
            None => Err(refusal(answer.trim())),
        }
    }

    /// Sends a control request as it is; the Win32 error if it is refused.
    pub(crate) fn control_raw(
        &self,
        code: u32,
        input: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, Win32Error> {
        let answer = self.ask(&format!("control {code:x} {room:x} {}", hex(input)));
        // Nothing that is no number is an error of a request; so such an answer matches none.
        let error = |refusal: &Refusal| {
            let number = refusal.words().first().and_then(|word| word.parse().ok());
            Win32Error(number.unwrap_or(u32::MAX))
        };
        let output = answer.map_err(|refusal| error(&refusal))?;
        bytes(&output).ok_or(Win32Error(u32::MAX))
    }

    /// Ends the process at once, as somebody's kill does.
    pub(crate) fn kill(&self) -> Result<(), Failure> {
        let mut child = self.child.borrow_mut();
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _killed = self.kill();
    }
}

/// The Win32 error of a refused control request. (Wine's `OVERLAPPED` does not say the NTSTATUS of a synchronous one.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Win32 error {0}")]
pub(crate) struct Win32Error(pub(crate) u32);

impl Channel for Probe {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        let reply = self
            .control_raw(code, input, output.len())
            .map_err(|error| status_of_win32(error.0))?;
        output
            .iter_mut()
            .zip(&reply)
            .for_each(|(place, byte)| *place = *byte);
        Ok(reply.len())
    }

    fn read_memory(&self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        let fault = MemoryFault { address };
        let answer = self.ask(&format!("read {address:x} {:x}", out.len()));
        let read = answer.ok().and_then(|text| bytes(&text)).ok_or(fault)?;
        if read.len() != out.len() {
            return Err(fault);
        }
        out.copy_from_slice(&read);
        Ok(())
    }

    fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        self.ask(&format!("write {address:x} {}", hex(bytes)))
            .map(drop)
            .map_err(|_| MemoryFault { address })
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_string();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| {
            let digits = hex.get(at..at.checked_add(2)?)?;
            u8::from_str_radix(digits, 16).ok()
        })
        .collect()
}
