//! The program's own PostgreSQL server, for those who have none: made, started, watched over and stopped here.
//!
//! One data folder has one owner at a time. The server ends with its owner, however that ends, and no data is lost
//! whichever of the two is killed. What is in the databases is the migrations' business, not this module's.

#[cfg(unix)]
mod binaries;
#[cfg(not(unix))]
mod elsewhere;
mod endpoint;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod initialise;
#[cfg(unix)]
mod lifecycle;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod orphan;
#[cfg(unix)]
mod recovery;
#[cfg(unix)]
mod roles;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod settings;
#[cfg(unix)]
mod supervision;
pub mod unprivileged;
#[cfg(unix)]
mod watchdog;

use std::path::PathBuf;

#[cfg(not(unix))]
pub use self::elsewhere::LocalPg;
pub use self::endpoint::Endpoint;
#[cfg(unix)]
pub use self::lifecycle::LocalPg;

/// What the data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept: every commit survives a crash.
    Durable,
    /// For one test run: nothing is written with care, and the folder is removed in the end.
    Throwaway,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; made when it does not exist. For [`Purpose::Throwaway`] it must be new or empty.
    pub data_dir: PathBuf,
    /// Where fetched artifacts are kept.
    pub cache_dir: PathBuf,
    /// What the data is for.
    pub purpose: Purpose,
}
