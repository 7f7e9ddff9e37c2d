//! The role that the gateway works with in the own PostgreSQL, and the database that it owns.
//!
//! All of it is done at every start and comes to the same each time, so a start that was cut off is made good by the next one.
//! Clusters of earlier versions, where everything belonged to the superuser, are moved over in the same way.

use secrecy::ExposeSecret;
use tokio_postgres::Client;

use super::endpoint::{ADMIN, DATABASE, Endpoint, ROLE};
use crate::ops::Failure;

/// Gives the role what the superuser owns outside the system's schemas. What belongs to an extension stays where it is, and
/// sequences of columns follow their tables.
const HAND_OVER: &str = "
DO $$
DECLARE statement text;
BEGIN
  SET LOCAL search_path = '';
  FOR statement IN
    WITH mine AS (
      SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    )
    SELECT pg_catalog.format('SCHEMA %I', n.nspname) FROM pg_catalog.pg_namespace n JOIN mine USING (oid)
      WHERE n.nspowner = '{admin}'::pg_catalog.regrole
    UNION ALL
    SELECT pg_catalog.format('%s %s', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
        WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass)
      FROM pg_catalog.pg_class c JOIN mine ON mine.oid = c.relnamespace
      WHERE c.relowner = '{admin}'::pg_catalog.regrole AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.objid = c.oid AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT pg_catalog.format('ROUTINE %s', p.oid::pg_catalog.regprocedure)
      FROM pg_catalog.pg_proc p JOIN mine ON mine.oid = p.pronamespace
      WHERE p.proowner = '{admin}'::pg_catalog.regrole
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT pg_catalog.format('TYPE %s', t.oid::pg_catalog.regtype)
      FROM pg_catalog.pg_type t JOIN mine ON mine.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
      WHERE t.typowner = '{admin}'::pg_catalog.regrole AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
        AND d.objid = t.oid AND d.deptype = 'e')
    UNION ALL
    SELECT pg_catalog.format('STATISTICS %I.%I', mine.nspname, s.stxname)
      FROM pg_catalog.pg_statistic_ext s JOIN mine ON mine.oid = s.stxnamespace
      WHERE s.stxowner = '{admin}'::pg_catalog.regrole
    UNION ALL
    SELECT pg_catalog.format('TEXT SEARCH CONFIGURATION %s', t.oid::pg_catalog.regconfig)
      FROM pg_catalog.pg_ts_config t JOIN mine ON mine.oid = t.cfgnamespace
      WHERE t.cfgowner = '{admin}'::pg_catalog.regrole
  LOOP
    EXECUTE pg_catalog.format('ALTER %s OWNER TO {role}', statement);
  END LOOP;
END
$$";

/// Makes the role and its database, or brings them to what they have to be.
pub(super) async fn ensure(endpoint: &Endpoint) -> Result<(), Failure> {
    let admin = endpoint.connect_as_admin("postgres").await.map_err(failed())?;
    ensure_role(&admin, endpoint).await.map_err(failed())?;
    let known = admin.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await.map_err(failed())?;
    let database = match known {
        None => format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"),
        Some(_) => format!("ALTER DATABASE {DATABASE} OWNER TO {ROLE}"),
    };
    admin.batch_execute(&database).await.map_err(failed())?;
    let admin = endpoint.connect_as_admin(DATABASE).await.map_err(failed())?;
    // Not every version of it may be made by others than the superuser.
    admin.batch_execute("CREATE EXTENSION IF NOT EXISTS vector").await.map_err(failed())?;
    admin.batch_execute(&HAND_OVER.replace("{admin}", ADMIN).replace("{role}", ROLE)).await.map_err(failed())
}

fn failed<E: std::fmt::Display>() -> impl FnOnce(E) -> Failure {
    Failure::while_doing("preparing the database and its role")
}

async fn ensure_role(admin: &Client, endpoint: &Endpoint) -> Result<(), tokio_postgres::Error> {
    if admin.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&ROLE]).await?.is_none() {
        admin.batch_execute(&format!("CREATE ROLE {ROLE}")).await?;
    }
    // The password is letters and digits of our own, so it needs no quoting, and the server keeps a statement with one out of its log
    // unless it is told to log all of them.
    let password = endpoint.gateway_password().expose_secret();
    let rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
    admin.batch_execute(&format!("ALTER ROLE {ROLE} {rights} PASSWORD '{password}'")).await
}
