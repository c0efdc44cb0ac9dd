//! Wine with a system of its own below the target folder, shared by the tests, one at a time.
//!
//! Wine does not always start: now and then it cannot map what it shares with its processes. So each start has a time limit
//! and is tried again. Only processes that were started here are ended, each by its own number, and Wine's server by the
//! folder that is its system; when the tests end, the system sees its last program end and ends itself.

use std::{
    env,
    fs::{self, File},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Failure, installation, probe::Probe, staging};

const LOADERS: [&str; 2] = ["/usr/lib/wine/wine64", "/usr/bin/wine64"];
const SERVERS: [&str; 2] = ["/usr/lib/wine/wineserver64", "/usr/bin/wineserver"];
const STARTS: usize = 3;
const STOP_LIMIT: Duration = Duration::from_secs(20);
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);
/// Where driver and INF are staged.
pub(crate) const STAGED: &str = r"C:\sanproxy";

/// The hardware identifier of the INF.
pub(crate) const IDENTIFIER: &str = r"Root\SanProxy";
/// The service of the INF.
pub(crate) const SERVICE: &str = "SanProxy";

/// Set when a program did not answer in time: then the system is started anew for the next test.
static STUCK: AtomicBool = AtomicBool::new(false);

/// How many programs were run.
static RUNS: AtomicUsize = AtomicUsize::new(0);

static STATE: Mutex<State> = Mutex::new(State::NotStarted);

enum State {
    NotStarted,
    Failed(String),
    Running(Wine),
}

/// A running system.
pub(crate) struct Wine {
    places: Places,
    installed: bool,
    /// Keeps the system running between tests.
    keeper: Option<Probe>,
}

/// Where things are.
#[derive(Clone)]
struct Places {
    loader: PathBuf,
    server: PathBuf,
    folder: PathBuf,
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; none if it was ended.
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A program that runs. It is ended on drop, if not before.
pub(crate) struct Running(Child);

impl Running {
    /// Ends it at once, as somebody's kill does.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.kill();
    }
}

/// The system, for one test.
pub(crate) struct Session(MutexGuard<'static, State>);

impl Session {
    /// The system, started if need be, without the driver unless an earlier test left it.
    pub(crate) fn begin() -> Result<Self, Failure> {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if STUCK.swap(false, Ordering::Relaxed)
            && let State::Running(wine) = std::mem::replace(&mut *state, State::NotStarted)
        {
            wine.places.stop();
        }
        if matches!(*state, State::NotStarted) {
            *state = match Wine::boot() {
                Ok(wine) => State::Running(wine),
                Err(failure) => State::Failed(failure.to_string()),
            };
        }
        match &*state {
            State::Failed(why) => Err(why.clone().into()),
            State::Running(_) | State::NotStarted => Ok(Self(state)),
        }
    }

    /// The system with the driver installed.
    pub(crate) fn with_driver() -> Result<Self, Failure> {
        let mut session = Self::begin()?;
        if !session.installed {
            session.install()?;
        }
        Ok(session)
    }

    /// The system without the driver.
    pub(crate) fn without_driver() -> Result<Self, Failure> {
        let mut session = Self::begin()?;
        if session.installed {
            installation::uninstall(&mut session)?;
        }
        Ok(session)
    }

    /// Installs the driver from the staged INF.
    pub(crate) fn install(&mut self) -> Result<(), Failure> {
        let probe = self.probe()?;
        probe.ask(&format!(r"install {STAGED}\sanproxy.inf {IDENTIFIER}"))?;
        self.set_installed(true);
        Ok(())
    }

    /// Notes whether the driver is installed now.
    pub(crate) fn set_installed(&mut self, installed: bool) {
        if let State::Running(wine) = &mut *self.0 {
            wine.installed = installed;
        }
    }
}

impl Deref for Session {
    type Target = Wine;

    fn deref(&self) -> &Wine {
        match &*self.0 {
            State::Running(wine) => wine,
            #[expect(clippy::unreachable, reason = "a session is made of a running system")]
            State::NotStarted | State::Failed(_) => unreachable!("no system is running"),
        }
    }
}

impl Wine {
    fn boot() -> Result<Self, Failure> {
        let places = Places::find()?;
        let mut failures = Vec::new();
        for _ in 0..STARTS {
            match Self::boot_once(&places) {
                Ok(wine) => return Ok(wine),
                Err(failure) => failures.push(failure.to_string()),
            }
            places.stop();
        }
        Err(format!("Wine does not start: {}", failures.join("; ")).into())
    }

    fn boot_once(places: &Places) -> Result<Self, Failure> {
        if places.folder.exists() {
            fs::remove_dir_all(&places.folder)?;
        }
        fs::create_dir_all(&places.folder)?;
        let mut wine = Self {
            places: places.clone(),
            installed: false,
            keeper: None,
        };
        // The first program makes the system. It stays: a system whose last program has ended ends its services too, and
        // a program that starts meanwhile meets them half gone.
        wine.keeper = Some(wine.probe_once()?);
        let modules = places.drive().join("windows/system32");
        for module in ["ntosshim.exe", "bcryptprimitives.dll"] {
            fs::copy(built(module), modules.join(module))?;
        }
        staging::stage(&places.drive().join("sanproxy"))?;
        Ok(wine)
    }

    /// A new process that does what it is told.
    pub(crate) fn probe(&self) -> Result<Probe, Failure> {
        // Now and then a program does not start; a second one that does not either is no accident.
        self.probe_once().or_else(|_| self.probe_once())
    }

    fn probe_once(&self) -> Result<Probe, Failure> {
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.places.folder.join("probe.errors"))?;
        let command = self.places.command(&built("probe.exe").to_string_lossy());
        Probe::start(command, errors)
    }

    /// A new process that has opened the device.
    pub(crate) fn client(&self) -> Result<Probe, Failure> {
        let probe = self.probe()?;
        probe.ask("open")?;
        Ok(probe)
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) -> Result<Finished, Failure> {
        let mut command = self.places.command(&program.to_string_lossy());
        self.places.run(command.args(arguments), PROGRAM_LIMIT)
    }

    /// Starts a program, whose end is not waited for.
    pub(crate) fn start(&self, program: &Path, arguments: &[&str]) -> Result<Running, Failure> {
        let mut command = self.places.command(&program.to_string_lossy());
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Running(child))
    }

    /// What the companion of Wine's kernel has noted.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.places.drive().join("windows/temp/ntosshim.log"))
            .unwrap_or_default()
    }
}

impl Places {
    fn find() -> Result<Self, Failure> {
        let first = |candidates: &[&str]| {
            let found = candidates
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists());
            found.ok_or("Wine is not installed: `cargo xtask setup`, or apt-get install wine64")
        };
        Ok(Self {
            loader: first(&LOADERS)?,
            server: first(&SERVERS)?,
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("wine"),
        })
    }

    fn prefix(&self) -> PathBuf {
        self.folder.join("prefix")
    }

    fn drive(&self) -> PathBuf {
        self.prefix().join("drive_c")
    }

    /// A command in the system, which has no display, no desktop of the user's, and no network of browsers and runtimes.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.loader);
        self.set(&mut command).arg(program);
        command
    }

    fn set<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("WINEPREFIX", self.prefix())
            .env("WINELOADER", &self.loader)
            .env("WINESERVER", &self.server)
            .env(
                "WINEDEBUG",
                env::var("WINEDEBUG").unwrap_or_else(|_| "-all".to_string()),
            )
            .env("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=")
            .env("HOME", &self.folder)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .current_dir(&self.folder)
    }

    /// Runs a command to its end, within a time limit. What it prints goes to files: processes of the system that it starts
    /// would keep pipes open.
    fn run(&self, command: &mut Command, limit: Duration) -> Result<Finished, Failure> {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let output = self.folder.join(format!("{number}.output"));
        let errors = self.folder.join(format!("{number}.errors"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?)
            .spawn()?;
        let code = wait(&mut child, limit)?;
        let read = |path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(Finished {
            code,
            output: read(output)?,
            errors: read(errors)?,
        })
    }

    /// Ends what runs in the system of this folder, and nothing else.
    fn stop(&self) {
        let mut command = Command::new(&self.server);
        let stopped = self.set(&mut command).arg("-k").spawn();
        if let Ok(mut child) = stopped {
            let _ended = wait(&mut child, STOP_LIMIT);
        }
    }
}

/// Waits for the end of a child; its exit code. One that takes too long is ended.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<i32>, Failure> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Err(format!("a program took more than {} seconds", limit.as_secs()).into())
}

/// Notes that a program did not answer.
pub(crate) fn stuck() {
    STUCK.store(true, Ordering::Relaxed);
}

/// What `cargo xtask test` builds for Wine.
pub(crate) fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/wine")
        .join(name)
}
