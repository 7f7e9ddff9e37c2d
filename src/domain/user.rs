//! Accounts, as far as reading needs them. Credentials of accounts are not here.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Stamp, UserId};

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Lower-case address; only the account itself may see it.
    pub email: String,
    /// Whether the address was confirmed.
    pub email_verified: bool,
    /// Display name.
    pub name: Option<String>,
    /// Address of a picture.
    pub avatar_url: Option<String>,
    /// Preferences of the frontend; only the account itself may see them.
    pub settings: Value,
    /// Name of the plan; only the account itself may see it.
    pub subscription_tier: String,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Last sign-in; only the account itself may see it.
    pub last_login_at: Option<DateTime<Utc>>,
    /// A deactivated account can do nothing.
    pub is_active: bool,
    /// By which a cache knows whether this is still true.
    pub stamp: Stamp,
}
