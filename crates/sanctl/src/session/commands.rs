//! The commands of a session, as they are written.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sanproxy_provider::{Access, Side};

use crate::amount::{parse_bytes, parse_duration};
use crate::arguments::Wish;

/// Commands of a session; registrations are named by the numbers that `register` gives.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_version_flag = true,
    max_term_width = 100
)]
pub(super) struct Line {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_value_name = "COMMAND", help_template = "{subcommands}")]
pub(super) enum Command {
    /// Register memory
    Register(Wish),
    /// About memory of this program's own.
    #[command(flatten)]
    OwnMemory(OwnMemory),
    /// Release a registration
    Release {
        /// Its number
        number: u64,
    },
    /// List what this session holds
    List,
    /// Show one registration as the driver sees it
    Query {
        /// Its number
        number: u64,
    },
    /// Find the registration that holds a device address
    Lookup {
        /// The address
        #[arg(value_parser = parse_bytes)]
        address: u64,
    },
    /// Write text into mapped memory
    Write {
        /// The registration
        number: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        offset: u64,
        /// What
        text: String,
    },
    /// Read mapped memory
    Read {
        /// The registration
        number: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        offset: u64,
        /// How much, at most 4096 bytes
        #[arg(value_parser = parse_bytes)]
        length: u64,
    },
    /// Copy inside the driver from one registration to another
    Copy {
        /// From this registration
        source: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        source_offset: u64,
        /// To this registration
        destination: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        destination_offset: u64,
        /// How much
        #[arg(value_parser = parse_bytes)]
        length: u64,
    },
    /// Draw what this session holds
    Map {
        /// Write the picture as SVG too
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// Show the counters of the device
    Stats,
    /// About events and messages.
    #[command(flatten)]
    Talk(Talk),
    /// Read the device's status page: counters and state, without asking the driver
    Status,
    /// Go on with another open file of this session, which is opened when it is first named
    File {
        /// Its number; the session begins with 1
        #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
        number: u8,
    },
    /// Wait
    Wait {
        /// How long
        #[arg(value_parser = parse_duration)]
        duration: Duration,
    },
    /// End the session and release all
    Quit,
}

/// Commands about memory of this program's own.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum OwnMemory {
    /// Allocate memory of this program's own, for `buffer` and `secure`
    Allocate {
        /// How much: rounded up to whole pages
        #[arg(value_parser = parse_bytes)]
        size: u64,
    },
    /// Free memory of this program's own; refused while it is secured
    Free {
        /// The number that `allocate` gave it
        memory: u64,
    },
    /// Register memory of this program's own, where it lies
    Buffer {
        #[command(flatten)]
        part: Part,
        /// Where the device finds it may be several pieces
        #[arg(long)]
        pieces: bool,
        /// Below 4 GiB as the device sees it
        #[arg(long)]
        low: bool,
        /// Not above this address, as the device sees it
        #[arg(long, value_parser = parse_bytes, value_name = "ADDRESS")]
        highest: Option<u64>,
        /// If the device cannot be given the memory itself, a copy will do
        #[arg(long)]
        copy: bool,
    },
    /// Bring a registration up to date: what the program wrote for the device, or the other way round
    Synchronize {
        /// The registration
        number: u64,
        /// Who is to see what the other side wrote
        #[arg(value_enum)]
        side: SideName,
        /// Where in it; the beginning, if nothing is said
        #[arg(long, value_parser = parse_bytes, default_value = "0", value_name = "SIZE")]
        offset: u64,
        /// How much; all the rest, if nothing is said
        #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
        length: Option<u64>,
    },
    /// Secure memory of this program's own, so that it cannot be freed unnoticed
    Secure(Part),
    /// End the securing of a range
    Unsecure {
        /// The number that `secure` gave it
        range: u64,
    },
}

/// Commands about events and messages.
#[derive(Debug, Subcommand)]
pub(super) enum Talk {
    /// Show what has happened to this file and its device, and wait for it if nothing has
    Events(Limit),
    /// Show the number that another file connects with this one by
    Endpoint,
    /// Name the endpoint to be connected with; both sides name each other
    Connect {
        /// The other file's number
        endpoint: u64,
    },
    /// End the connection
    Disconnect,
    /// Send a message to the connected file; waits while there is no room for it
    Send {
        /// The message
        text: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Receive the next message
    Receive(Limit),
    /// Send a message and receive the next one that comes
    Exchange {
        /// The message
        text: String,
        /// Fail if there is no room for the message, instead of waiting
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        limit: Limit,
    },
}

/// A part of memory that `allocate` has made, and what is to be done with it.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Part {
    /// The number that `allocate` gave it
    pub(super) memory: u64,
    /// Where in it; the beginning, if nothing is said
    #[arg(long, value_parser = parse_bytes, default_value = "0", value_name = "SIZE")]
    pub(super) offset: u64,
    /// How much; all the rest, if nothing is said
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub(super) length: Option<u64>,
    /// What the device may do with it, or what cannot be taken away
    #[arg(long, value_enum, default_value_t = AccessName::Both, value_name = "ACCESS")]
    pub(super) access: AccessName,
}

/// A side of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SideName {
    /// The device
    Device,
    /// The processor, and with it the program
    Processor,
}

impl From<SideName> for Side {
    fn from(name: SideName) -> Self {
        match name {
            SideName::Device => Self::Device,
            SideName::Processor => Self::Processor,
        }
    }
}

/// An access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AccessName {
    /// Reading
    Read,
    /// Writing
    Write,
    /// Both
    Both,
}

impl From<AccessName> for Access {
    fn from(name: AccessName) -> Self {
        match name {
            AccessName::Read => Self::Read,
            AccessName::Write => Self::Write,
            AccessName::Both => Self::ReadWrite,
        }
    }
}

/// How long to wait.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Limit {
    /// How long to wait at most
    #[arg(long = "for", value_parser = parse_duration, default_value = "10s", value_name = "DURATION")]
    pub(super) limit: Duration,
}
