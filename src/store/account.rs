//! Accounts and sessions in PostgreSQL. A refresh token is exchanged once, however many come with it at the same moment, and
//! with its successor in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Double, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{
    Store,
    error::unexpected,
    once::{Once, Work},
    statement::Statement,
    transaction::{begin, end},
    user::{USER_COLUMNS, UserRow, UserSql, user_from},
};
use crate::domain::{
    AccountEdit, Credentials, IdempotencyKey, MOST_REFRESHES, NewAccount, NewRefreshToken, Outcome, PresentedToken,
    REFRESH_PACE_WINDOW, REFRESH_REPEAT_WINDOW, Refreshed, Result, SignInPlace, Successor, TokenDigest, User, UserId,
    ports::{Accounts, Sessions, Users},
};

impl Store {
    /// The account that this very request has changed before.
    async fn account_of_before(&self, id: Uuid) -> Outcome<Option<Arc<User>>> {
        Ok(self.users(&[UserId(id)]).await?.into_iter().next().flatten())
    }
}

/// Ends a transaction with a statement that returns the account it changed, if there is one.
async fn changed_account(mut work: Work<'_>, statement: Statement<UserSql>) -> Outcome<Option<Arc<User>>> {
    let rows: Vec<UserRow> = work.run(statement).await?;
    let user = rows.into_iter().next().map(|row| Arc::new(user_from(row)));
    match &user {
        Some(user) => work.finish(user.id.0).await?,
        None => work.give_up().await,
    }
    Ok(user)
}

/// A refresh token as it is: whose, whether it was used and how it may go on, and what its successor is derived with.
/// The last are the seconds that its session has to wait.
type HeldSql = (SqlUuid, Bool, Bool, Nullable<Binary>, Nullable<BigInt>);
type HeldRow = (Uuid, bool, bool, Option<Vec<u8>>, Option<i64>);

impl Store {
    /// The family of a refresh token, held until the transaction ends: whoever refreshes or ends a session takes turns,
    /// so that no successor is made of a token that somebody revokes at the same moment. Of a token that is not known
    /// it is the family that it names, whether there is one or not.
    async fn hold_family(&self, connection: &mut AsyncPgConnection, token: &PresentedToken) -> Result<Option<Uuid>> {
        let hold = Statement::<(SqlUuid, Text)>::new("accounts.hold_session")
            .sql(
                "WITH held AS MATERIALIZED (SELECT coalesce((SELECT t.family_id FROM refresh_tokens t \
                 WHERE t.token_digest = ",
            )
            .bind::<Binary, _>(token.digest.to_vec())
            .sql("), ")
            .bind::<Nullable<SqlUuid>, _>(token.family)
            .sql(
                ") AS family_id) SELECT h.family_id, \
                 pg_advisory_xact_lock(hashtextextended('refresh_tokens ' || h.family_id::text, 0))::text \
                 FROM held h WHERE h.family_id IS NOT NULL",
            );
        let held: Vec<(Uuid, String)> = self.run(connection, hold).await?;
        Ok(held.into_iter().next().map(|(family, _)| family))
    }

    /// Revokes all tokens of a family that is held; whether one was good.
    async fn close_family(&self, connection: &mut AsyncPgConnection, family: Uuid) -> Result<bool> {
        let close = Statement::<SqlUuid>::new("accounts.close_session")
            .sql(
                "UPDATE refresh_tokens t SET revoked_at = clock_timestamp(), successor_salt = NULL \
                 WHERE t.revoked_at IS NULL AND t.family_id = ",
            )
            .bind::<SqlUuid, _>(family)
            .sql(" RETURNING t.id");
        let closed: Vec<Uuid> = self.run(connection, close).await?;
        Ok(!closed.is_empty())
    }

    /// What becomes of a token of a held family that is not good. One that is not there, but names the family, was used
    /// so long ago that it was removed: somebody has a copy. One that is there has ended, or its account is not active.
    async fn not_good(
        &self,
        connection: &mut AsyncPgConnection,
        token: &PresentedToken,
        family: Uuid,
    ) -> Result<Refreshed> {
        let find = Statement::<Bool>::new("accounts.find_refresh_token")
            .sql("SELECT EXISTS (SELECT FROM refresh_tokens t WHERE t.token_digest = ")
            .bind::<Binary, _>(token.digest.to_vec())
            .sql(")");
        let found: Vec<bool> = self.run(connection, find).await?;
        if found == [false] && self.close_family(connection, family).await? {
            return Ok(Refreshed::Reused { family });
        }
        Ok(Refreshed::Unknown)
    }

    async fn refresh(
        &self,
        connection: &mut AsyncPgConnection,
        token: &PresentedToken,
        successor: &Successor,
    ) -> Result<Refreshed> {
        let Some(family) = self.hold_family(connection, token).await? else { return Ok(Refreshed::Unknown) };
        // Read in a statement of its own, which sees what those before have committed. A session of which any token is revoked
        // has ended: that is also how access tokens are judged.
        let look = Statement::<HeldSql>::new("accounts.refresh_token")
            .sql(
                "SELECT t.user_id, t.used_at IS NOT NULL, \
                 coalesce(clock_timestamp() - t.used_at <= make_interval(secs => ",
            )
            .bind::<Double, _>(REFRESH_REPEAT_WINDOW.num_seconds() as f64)
            .sql("), t.expires_at > clock_timestamp()), t.successor_salt, (SELECT CASE WHEN count(*) >= ")
            .bind::<BigInt, _>(MOST_REFRESHES)
            // Until the first of them does not count any more.
            .sql(" THEN greatest(ceil(extract(epoch FROM min(w.used_at) + make_interval(secs => ")
            .bind::<Double, _>(REFRESH_PACE_WINDOW.num_seconds() as f64)
            .sql(
                ") - clock_timestamp())), 1)::bigint END FROM refresh_tokens w WHERE w.family_id = t.family_id \
                 AND w.used_at > clock_timestamp() - make_interval(secs => ",
            )
            .bind::<Double, _>(REFRESH_PACE_WINDOW.num_seconds() as f64)
            .sql(
                ")) FROM refresh_tokens t JOIN users u ON u.id = t.user_id AND u.is_active \
                 WHERE NOT EXISTS (SELECT FROM refresh_tokens r WHERE r.family_id = t.family_id \
                 AND r.revoked_at IS NOT NULL) AND t.token_digest = ",
            )
            .bind::<Binary, _>(token.digest.to_vec());
        let held: Vec<HeldRow> = self.run(connection, look).await?;
        let Some((user, was_used, is_good, salt, wait)) = held.into_iter().next() else {
            return self.not_good(connection, token, family).await;
        };
        let good = |salt| Refreshed::Good { user: UserId(user), family, salt };
        match (was_used, is_good, salt, wait) {
            (false, false, ..) => Ok(Refreshed::Unknown),
            (false, true, _, Some(seconds)) => Ok(Refreshed::TooOften { seconds }),
            (false, true, _, None) => {
                self.take(connection, token, successor).await?;
                Ok(good(successor.salt))
            }
            (true, true, Some(salt), _) => {
                let length = salt.len();
                let salt = salt.try_into().map_err(|_| unexpected("length of a salt", &length.to_string()))?;
                Ok(good(salt))
            }
            (true, ..) => {
                self.close_family(connection, family).await?;
                Ok(Refreshed::Reused { family })
            }
        }
    }

    /// Uses up a token that is held and good, and adds its successor. What older tokens had for deriving theirs is
    /// forgotten. Those that the pace does not count any more are removed, where a copy is still known by its family.
    async fn take(
        &self,
        connection: &mut AsyncPgConnection,
        token: &PresentedToken,
        successor: &Successor,
    ) -> Result<()> {
        let pace = REFRESH_PACE_WINDOW.num_seconds() as f64;
        let take = Statement::<SqlUuid>::new("accounts.use_refresh_token")
            .sql("WITH taken AS (UPDATE refresh_tokens t SET used_at = clock_timestamp(), successor_salt = ")
            .bind::<Binary, _>(successor.salt.to_vec())
            .sql(" WHERE t.token_digest = ")
            .bind::<Binary, _>(token.digest.to_vec())
            .sql(
                " RETURNING t.user_id, t.family_id), forgotten AS (UPDATE refresh_tokens t SET successor_salt = NULL \
                 FROM taken WHERE t.family_id = taken.family_id AND t.successor_salt IS NOT NULL \
                 AND t.used_at < clock_timestamp() - make_interval(secs => ",
            )
            .bind::<Double, _>(REFRESH_REPEAT_WINDOW.num_seconds() as f64)
            .sql(")");
        let take = match token.family {
            // One part of a statement must not change what another removes, so both ask the same clock. What was
            // revoked stays: by it others know that the session has ended.
            Some(_) => take
                .sql(" AND t.used_at >= now() - make_interval(secs => ")
                .bind::<Double, _>(pace)
                .sql(
                    ")), removed AS (DELETE FROM refresh_tokens t USING taken WHERE t.family_id = taken.family_id \
                     AND t.revoked_at IS NULL AND t.used_at < now() - make_interval(secs => ",
                )
                .bind::<Double, _>(pace)
                .sql("))"),
            None => take.sql(")"),
        };
        let take = take
            .sql(
                " INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at) \
                 SELECT taken.user_id, taken.family_id, ",
            )
            .bind::<Binary, _>(successor.digest.to_vec())
            .sql(", ")
            .bind::<Timestamptz, _>(successor.expires_at)
            .sql(" FROM taken RETURNING id");
        let _: Vec<Uuid> = self.run(connection, take).await?;
        Ok(())
    }
}

#[async_trait]
impl Accounts for Store {
    async fn credentials(&self, email: &str) -> Result<Option<Credentials>> {
        let rows: Vec<(UserRow, String)> = self
            .fetch(|| {
                Statement::<(UserSql, Text)>::new("accounts.credentials")
                    .sql("SELECT ")
                    .sql(USER_COLUMNS)
                    .sql(", u.password_hash FROM users u WHERE u.email = ")
                    .bind::<Text, _>(email.to_owned())
            })
            .await?;
        let credentials = |(row, password_hash)| Credentials { user: Arc::new(user_from(row)), password_hash };
        Ok(rows.into_iter().next().map(credentials))
    }

    async fn create_account(
        &self,
        account: NewAccount,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<User>>> {
        let work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return self.account_of_before(id).await,
        };
        let statement = Statement::<UserSql>::new("accounts.create")
            .sql("INSERT INTO users AS u (id, email, name, password_hash, last_login_at) VALUES (")
            .bind::<SqlUuid, _>(account.id.0)
            .sql(", ")
            .bind::<Text, _>(account.email)
            .sql(", ")
            .bind::<Nullable<Text>, _>(account.name)
            .sql(", ")
            .bind::<Text, _>(account.password_hash)
            .sql(", now()) ON CONFLICT (email) DO NOTHING RETURNING ")
            .sql(USER_COLUMNS);
        changed_account(work, statement).await
    }

    async fn update_account(
        &self,
        user: UserId,
        edit: &dyn AccountEdit,
        request: Option<&IdempotencyKey>,
    ) -> Outcome<Option<Arc<User>>> {
        let mut work = match self.once(request).await? {
            Once::Now(work) => work,
            Once::Before(id) => return self.account_of_before(id).await,
        };
        // What the request knows of the account may be old: another part of it, or another device, has changed it
        // since.
        let hold = Statement::<UserSql>::new("accounts.hold")
            .sql("SELECT ")
            .sql(USER_COLUMNS)
            .sql(" FROM users u WHERE u.is_active AND u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" FOR NO KEY UPDATE");
        let rows: Vec<UserRow> = work.run(hold).await?;
        let Some(mut account) = rows.into_iter().next().map(user_from) else {
            work.give_up().await;
            return Ok(None);
        };
        edit.apply(&mut account);
        let statement = Statement::<UserSql>::new("accounts.update")
            .sql("UPDATE users AS u SET updated_at = now(), name = ")
            .bind::<Nullable<Text>, _>(account.name)
            .sql(", avatar_url = ")
            .bind::<Nullable<Text>, _>(account.avatar_url)
            .sql(", settings = ")
            .bind::<Jsonb, _>(account.settings)
            .sql(" WHERE u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" RETURNING ")
            .sql(USER_COLUMNS);
        changed_account(work, statement).await
    }

    async fn known_places(&self, email: &str, places: &[TokenDigest]) -> Result<Vec<TokenDigest>> {
        let rows: Vec<Vec<u8>> = self
            .fetch(|| {
                Statement::<Binary>::new("accounts.known_places")
                    .sql(
                        "SELECT p.place_digest FROM sign_in_places p JOIN users u ON u.id = p.user_id \
                         WHERE p.last_used_at > now() - interval '90 days' AND u.email = ",
                    )
                    .bind::<Text, _>(email.to_owned())
                    .sql(" AND p.place_digest = ANY(")
                    .bind::<Array<Binary>, _>(places.iter().map(|digest| digest.to_vec()).collect::<Vec<_>>())
                    .sql(")")
            })
            .await?;
        Ok(places.iter().copied().filter(|digest| rows.iter().any(|row| row == digest)).collect())
    }

    async fn remember_places(&self, user: UserId, checked_hash: &str, places: &[SignInPlace]) -> Result<()> {
        let digests: Vec<Vec<u8>> = places.iter().map(|place| place.digest.to_vec()).collect();
        let mut connection = self.connection().await?;
        // A reset forgets all places: with a password of before, nobody makes one known again.
        let statement = Statement::<SqlUuid>::new("accounts.remember_places")
            .sql("WITH account AS MATERIALIZED (SELECT u.id FROM users u WHERE u.id = ")
            .bind::<SqlUuid, _>(user.0)
            .sql(" AND u.password_hash = ")
            .bind::<Text, _>(checked_hash.to_owned())
            .sql(
                " FOR SHARE), old AS (DELETE FROM sign_in_places p USING (SELECT o.user_id, o.place_digest, \
                 row_number() OVER (PARTITION BY o.is_device ORDER BY o.last_used_at DESC) AS newest \
                 FROM sign_in_places o JOIN account a ON a.id = o.user_id WHERE o.place_digest <> ALL(",
            )
            .bind::<Array<Binary>, _>(digests.clone())
            .sql(
                ")) AS r WHERE r.newest >= 20 AND p.place_digest = r.place_digest AND p.user_id = r.user_id) \
                 INSERT INTO sign_in_places (user_id, place_digest, is_device) \
                 SELECT a.id, n.place_digest, n.is_device FROM account a, unnest(",
            )
            .bind::<Array<Binary>, _>(digests)
            .sql(", ")
            .bind::<Array<Bool>, _>(places.iter().map(|place| place.is_device).collect::<Vec<_>>())
            .sql(
                ") AS n (place_digest, is_device) ON CONFLICT (user_id, place_digest) DO UPDATE SET last_used_at = now() \
                 RETURNING user_id",
            );
        let _: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(())
    }

    async fn begin_session(&self, token: NewRefreshToken, checked_hash: &str) -> Result<bool> {
        let mut connection = self.connection().await?;
        // Who changes the password holds the row of the account. Whoever has waited for it sees the hash that it has
        // then.
        let statement = Statement::<SqlUuid>::new("accounts.begin_session")
            .sql("WITH account AS (UPDATE users u SET last_login_at = now() WHERE u.is_active AND u.id = ")
            .bind::<SqlUuid, _>(token.user.0)
            .sql(" AND u.password_hash = ")
            .bind::<Text, _>(checked_hash.to_owned())
            .sql(
                " RETURNING u.id) INSERT INTO refresh_tokens (user_id, family_id, token_digest, expires_at) \
                 SELECT a.id, ",
            )
            .bind::<SqlUuid, _>(token.family)
            .sql(", ")
            .bind::<Binary, _>(token.digest.to_vec())
            .sql(", ")
            .bind::<Timestamptz, _>(token.expires_at)
            .sql(" FROM account a RETURNING id");
        let begun: Vec<Uuid> = self.run(&mut connection, statement).await?;
        Ok(!begun.is_empty())
    }

    async fn use_refresh_token(&self, token: &PresentedToken, successor: &Successor) -> Result<Refreshed> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let refreshed = self.refresh(&mut connection, token, successor).await;
        end(&mut connection, refreshed).await
    }

    async fn end_session(&self, token: &PresentedToken) -> Result<Option<Uuid>> {
        let mut connection = self.connection().await?;
        begin(&mut connection).await?;
        let ended = async {
            let family = self.hold_family(&mut connection, token).await?;
            Ok(match family {
                Some(family) if self.close_family(&mut connection, family).await? => Some(family),
                _ => None,
            })
        };
        let ended = ended.await;
        end(&mut connection, ended).await
    }
}

#[async_trait]
impl Sessions for Store {
    async fn ended_sessions(&self, sessions: &[Uuid]) -> Result<Vec<Uuid>> {
        // Ending a session revokes all its tokens. One that is not known is that of another issuer.
        self.fetch(|| {
            Statement::<SqlUuid>::new("sessions.ended")
                .sql("SELECT DISTINCT t.family_id FROM refresh_tokens t WHERE t.revoked_at IS NOT NULL AND t.family_id = ANY(")
                .bind::<Array<SqlUuid>, _>(sessions.to_vec())
                .sql(")")
        })
        .await
    }

    /// Nothing is remembered here.
    fn forget_session(&self, _: Uuid) {}
}
