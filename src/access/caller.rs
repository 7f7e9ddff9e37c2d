//! For whom work is done: what turns, bounds and quotas are counted by, so that one caller never stops the others.
//!
//! A caller is coarser than a viewer: an account is one caller however many keys and sockets it uses, and guests at one
//! address are one whatever share links they hold. It says nothing about what may be seen; that is `permission.rs`.

use std::future::Future;

use super::Viewer;
use crate::domain::{ClientAddress, UserId};

tokio::task_local! {
    static CALLER: Caller;
}

/// For whom work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// An account, in person or through any of its API keys.
    Account(UserId),
    /// Whoever has no account, from this address. An account makes many share links, so a link is no name.
    Address(ClientAddress),
    /// The program itself: background work.
    System,
}

impl Caller {
    /// The caller behind a viewer who comes from `address`.
    #[must_use]
    pub fn of(viewer: &Viewer, address: ClientAddress) -> Self {
        if viewer.is_system() {
            return Caller::System;
        }
        viewer.user().map_or(Caller::Address(address), |user| Caller::Account(user.id))
    }

    /// The caller for whom the current task works; the program itself where none was named.
    #[must_use]
    pub fn current() -> Self {
        CALLER.try_with(|caller| *caller).unwrap_or(Caller::System)
    }

    /// Does `work` for this caller: [`Caller::current`] names it within. Tasks that are spawned within are the program's own.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CALLER.scope(self, work).await
    }

    /// The same for work that does not wait: one step of a stream.
    pub fn within<T>(self, work: impl FnOnce() -> T) -> T {
        CALLER.sync_scope(self, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_for_the_caller_who_was_named() {
        let address = ClientAddress::from(std::net::IpAddr::from([192, 0, 2, 1]));
        assert_eq!(Caller::current(), Caller::System);
        let within = Caller::Address(address).scope(async { Caller::current() }).await;
        assert_eq!(within, Caller::of(&Viewer::anonymous(), address));
        assert_eq!(Caller::of(&Viewer::system("a test"), address), Caller::System);
        assert_eq!(Caller::current(), Caller::System);
    }
}
