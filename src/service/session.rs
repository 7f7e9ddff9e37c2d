//! The sessions of an account, for its holder in person: a list, and ending them. What stands behind a token is `user.rs`.

use uuid::Uuid;

use super::{
    Services,
    change::{WriteOptions, origin},
};
use crate::{
    access::{Authority, Viewer},
    domain::{
        AccountSession, ClientAddress, Error, Outcome, Page, PageRequest, Refusal, Result, SessionId, UserId,
        WhichSessions,
    },
};

/// Browsers by what they write; those that also write the names of others come first.
const BROWSERS: [(&str, &str); 7] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
/// Systems likewise.
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];
/// Characters of a program that is no known browser.
const MOST_CHARS: usize = 40;

/// Browser and system in words. Of a program that is none of the known ones, the name and version that it begins with, as far as
/// they are made of letters, digits and `.-_/`: whatever shows them need not fear them.
fn device_of(user_agent: &str) -> Option<String> {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => Some(format!("{browser} on {system}")),
        (Some(browser), None) => Some(browser.to_owned()),
        (None, _) => {
            let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
            let name: String = user_agent.chars().take_while(is_plain).take(MOST_CHARS).collect();
            (!name.is_empty()).then_some(name)
        }
    }
}

impl Services {
    /// Whether the viewer may look at the sessions of an account: itself, in person.
    #[must_use]
    pub fn may_list_sessions(viewer: &Viewer, user: UserId) -> bool {
        viewer.is(user) && viewer.authority() >= Authority::Full
    }

    /// One page of the sessions of an account that go on, the last begun first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sessions(&self, user: UserId, page: &PageRequest) -> Result<Page<AccountSession>> {
        self.ports.account_sessions.session_page(user, page).await
    }

    /// How many sessions of an account go on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn session_count(&self, user: UserId) -> Result<i64> {
        self.ports.account_sessions.session_count(user).await
    }

    /// Ends a session of the viewer's account: its tokens are refused and what was opened with them ends, at once in this
    /// process and within a second in others.
    ///
    /// # Errors
    /// A refusal when there is no such session; `Unauthenticated` without an account.
    pub async fn end_session(&self, viewer: &Viewer, session: SessionId, options: WriteOptions) -> Outcome<()> {
        origin(viewer, options)?;
        let user = holder(viewer)?;
        let ended = self.ports.account_sessions.end_sessions(user, WhichSessions::One(session)).await?;
        if ended.is_empty() {
            return Err(Refusal::not_found("id", format!("There is no session {session}")).into());
        }
        self.forget_sessions(&ended);
        Ok(())
    }

    /// Ends all sessions of the viewer's account but the one that asks; how many.
    ///
    /// # Errors
    /// `Unauthenticated` without an account.
    pub async fn end_other_sessions(&self, viewer: &Viewer, options: WriteOptions) -> Outcome<usize> {
        origin(viewer, options)?;
        let user = holder(viewer)?;
        let own = viewer.bearer().and_then(|bearer| bearer.session).map(SessionId);
        let ended = self.ports.account_sessions.end_sessions(user, WhichSessions::AllBut(own)).await?;
        self.forget_sessions(&ended);
        Ok(ended.len())
    }

    /// Notes from where a session was begun or goes on, for the list. What cannot be noted is left out.
    pub async fn note_session(&self, session: Uuid, user_agent: Option<&str>, address: ClientAddress) {
        let (device, network) = (user_agent.and_then(device_of), address.shortened());
        let noted = self.ports.account_sessions.note_session(session, device.as_deref(), &network);
        if let Err(error) = noted.await {
            tracing::debug!(cause = ?error.cause(), "Could not note where a session is used: {error}");
        }
    }

    /// What this process remembers of sessions that it has just ended.
    pub(super) fn forget_sessions(&self, ended: &[Uuid]) {
        ended.iter().for_each(|session| self.ports.sessions.forget_session(*session));
    }
}

fn holder(viewer: &Viewer) -> Result<UserId> {
    viewer.user().map(|user| user.id).ok_or_else(|| Error::unauthenticated("Sign in to end sessions"))
}

#[cfg(test)]
mod tests {
    use super::device_of;

    #[test]
    fn devices_are_told_in_words() {
        let device = |text: &str| device_of(text);
        for (user_agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36 Edg/131.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.11.0", "curl/8.11.0"),
            ("python-requests/2.32 <script>alert(1)</script>", "python-requests/2.32"),
        ] {
            assert_eq!(device(user_agent).as_deref(), Some(expected));
        }
        assert_eq!(device("<script>"), None);
        assert_eq!(device(""), None);
        assert_eq!(device(&"x".repeat(5000)).map(|name| name.len()), Some(40));
    }
}
