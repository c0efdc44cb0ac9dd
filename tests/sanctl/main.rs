//! The commands of `sanctl`, from the command line to the shipped driver in the embedded host.
//!
//! The host stands for Windows: installing starts the driver, removing unloads it, and after every test the judge's report
//! has to be clean. What the host has no part for (the verifier's program, the registry's refusals) follows a script.

mod commands;
mod computer;
mod installation;
mod own_memory;
mod sessions;
mod settings;
mod verification;
