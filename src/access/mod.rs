//! Who is asking, and what they may do: credentials, viewers, and the one check of permission.

pub mod authority;
pub mod caller;
pub mod jwks;
pub mod permission;
pub mod secret_hash;
pub mod token;
pub mod turns;
pub mod viewer;

pub use authority::Authority;
pub use caller::Caller;
pub use jwks::{KeySet, KeySetTimes};
pub use permission::Granted;
pub use secret_hash::{SecretHasher, token_digest};
pub use token::{Claims, Tokens};
pub use turns::{Priority, Turn, TurnLimits, Turns};
pub use viewer::{Bearer, HeldShare, Viewer};
