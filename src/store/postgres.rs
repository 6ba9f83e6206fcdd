//! PostgreSQL.

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgQueryResult, Postgres};
use sqlx::{AssertSqlSafe, Row};

use super::sql::{Dialect, Running, SWEEP_BATCH_SIZE, SqlFailure, SqlStore, Table, server_address};

/// A store in PostgreSQL 12 or newer.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use sessile::{PostgresStore, SessionLayer};
///
/// let store = PostgresStore::connect("postgres://app@localhost/app").await?;
/// store.migrate().await?;
/// let layer = SessionLayer::new(store);
/// # Ok(()) }
/// ```
///
/// Its methods are those of [`SqlStore`].
///
/// Records expire by the database's clock, so a node with a wrong clock deletes no live session. The clocks of the nodes
/// should still agree within seconds, because each node computes the expiry of the records that it writes.
/// [`Sessions::sweep_every`](crate::Sessions::sweep_every) deletes expired records; run it on one node or on several.
///
/// # The table
///
/// `sessile_sessions` has the columns `id uuid`, `version`, `last_seen` and `expires_at` (`bigint`, instants in
/// milliseconds since the Unix epoch), `realm bytea`, `owner bytea` (the owner in UTF-8; a binary type compares bytes, whatever the
/// database's collation and encoding) and `state bytea`.
///
/// ```sql
/// SELECT id, to_timestamp(expires_at / 1000.0) FROM sessile_sessions WHERE owner = 'user:42'
/// ```
pub type PostgresStore = SqlStore<Postgres>;

impl Dialect for Postgres {
    // The time is constant during a statement, so that the index on the expiry can be used.
    const NOW: &'static str = "(extract(epoch FROM statement_timestamp()) * 1000)::bigint";
    const COLUMN_TYPES: [&'static str; 7] = ["uuid", "bigint", "bytea", "bytea", "bigint", "bigint", "bytea"];

    fn address(options: &PgConnectOptions) -> String {
        server_address(options.get_socket(), options.get_host(), options.get_port())
    }

    fn test(connection: &mut PgConnection) -> Running<'_, Option<&'static str>> {
        Box::pin(async move {
            // A simple query without an open transaction begins one, at the time of the statement.
            let row = sqlx::raw_sql("SELECT now() < statement_timestamp()").fetch_one(connection).await?;
            if row.try_get(0)? {
                return Err(sqlx::Error::Protocol("the connection has an open transaction".to_owned()));
            }
            Ok(None)
        })
    }

    async fn columns(pool: &PgPool, table: &Table) -> Result<Vec<(String, String)>, sqlx::Error> {
        let columns = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                       WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        sqlx::query_as(columns).bind(table.quoted()).fetch_all(pool).await
    }

    /// Creates the table in one message, which is one transaction.
    async fn create(pool: &PgPool, table: &Table) -> Result<(), sqlx::Error> {
        let (name, columns) = (table.quoted(), Table::column_definitions::<Self>());
        // Without the lock, concurrent `CREATE TABLE` can violate a constraint of the catalog. The server names the indexes, since
        // those of a renamed table keep their names.
        let statements = format!(
            "SELECT pg_advisory_xact_lock(hashtext('{name}')); \
             DO $create$ BEGIN CREATE TABLE {name} ({columns}); \
             CREATE INDEX ON {name} USING hash (owner) WHERE owner IS NOT NULL; CREATE INDEX ON {name} (expires_at); \
             EXCEPTION WHEN duplicate_table THEN NULL; END $create$"
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await.map(drop)
    }

    fn sweep(table: &str) -> String {
        let now = Self::NOW;
        // Records that another node is deleting are skipped.
        format!(
            "DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table} WHERE expires_at <= {now} \
             ORDER BY expires_at LIMIT {SWEEP_BATCH_SIZE} FOR UPDATE SKIP LOCKED))"
        )
    }

    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn failure(error: &dyn DatabaseError) -> SqlFailure {
        let code = error.code().unwrap_or_default();
        match (code.get(..2).unwrap_or_default(), &*code) {
            // Serialization failure, deadlock.
            (_, "40001" | "40P01") => SqlFailure::RolledBack,
            ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P04" | "57P05") => SqlFailure::Connection,
            // Read-only; a transaction that other code has left open has failed.
            (_, "25006" | "25P02") => SqlFailure::ReadOnly,
            // A prepared statement does not exist, or exists already.
            (_, "26000" | "42P05") => SqlFailure::Statement,
            // A rollback for another reason, after which the outcome is unknown; out of resources, locked, canceled, I/O error.
            ("40" | "53" | "55" | "57" | "58", _) => SqlFailure::Unavailable,
            ("54", _) => SqlFailure::TooLarge,
            _ => SqlFailure::Other,
        }
    }
}
