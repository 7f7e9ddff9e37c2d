//! What an API key has to reach for each mutation. A mutation that is not named here does not run, and a test fails.

use crate::access::Authority;

/// What a mutation needs; `None` for one that is not named.
pub(super) fn needed(mutation: &str) -> Option<Authority> {
    Some(match mutation {
        "createBoard" | "updateBoard" | "deleteBoard" | "restoreBoard" | "duplicateBoard" => Authority::Write,
        "createResourceNode" | "createChatNode" | "createFolderNode" => Authority::Write,
        "updateResourceNode" | "updateChatNode" | "updateFolderNode" => Authority::Write,
        "moveNodes" | "deleteNodes" | "restoreNodes" | "placeInFolder" => Authority::Write,
        "linkNodes" | "updateLink" | "unlinkNodes" => Authority::Write,
        "applyBoardChanges" | "setPresence" => Authority::Write,
        "reprocessResource" | "cancelJob" | "retryJob" => Authority::Write,
        "unlockFolder" => Authority::Read,
        "shareBoard" | "revokeShare" | "setFolderPassword" => Authority::Admin,
        "inviteCollaborator"
        | "cancelInvitation"
        | "acceptInvitation"
        | "changeCollaboratorRole"
        | "removeCollaborator" => Authority::Admin,
        "updateViewer" | "createApiKey" | "revokeApiKey" => Authority::Admin,
        "signUp" | "signIn" | "refreshSession" | "signOut" => Authority::Full,
        "verifyEmail" | "requestEmailVerification" => Authority::Full,
        "changePassword" | "requestPasswordReset" | "resetPassword" => Authority::Full,
        "endSession" | "endOtherSessions" => Authority::Full,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_says_what_a_key_has_to_reach() {
        let sdl = crate::graphql::sdl();
        let mutations = sdl.split("\ntype Mutation {").nth(1).unwrap().split("\n}").next().unwrap();
        let names: Vec<&str> = mutations
            .lines()
            .filter_map(|line| line.strip_prefix('\t')?.strip_suffix('('))
            .filter(|name| name.chars().all(char::is_alphanumeric))
            .collect();
        assert!(names.contains(&"createBoard") && names.len() > 20, "{names:?}");
        for name in names {
            assert!(needed(name).is_some(), "{name} does not say what a key has to reach");
        }
    }
}
