//! PostgreSQL.

use sqlx::AssertSqlSafe;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgPool, PgQueryResult, Postgres};

use super::sql::{Dialect, SWEEP_BATCH_SIZE, SqlFailure, SqlStore, Table};

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

    async fn columns(pool: &PgPool, table: &Table) -> Result<Vec<(String, String)>, sqlx::Error> {
        let columns = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                       WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        sqlx::query_as(columns).bind(table.quoted()).fetch_all(pool).await
    }

    async fn create(pool: &PgPool, table: &Table) -> Result<(), sqlx::Error> {
        let (name, columns) = (table.quoted(), Table::column_definitions::<Self>());
        let statements = format!(
            "CREATE TABLE IF NOT EXISTS {name} ({columns}); \
             CREATE INDEX IF NOT EXISTS {} ON {name} USING hash (owner) WHERE owner IS NOT NULL; \
             CREATE INDEX IF NOT EXISTS {} ON {name} (expires_at)",
            table.index("owner"),
            table.index("expires_at")
        );
        let mut transaction = pool.begin().await?;
        // Without the lock, concurrent `CREATE TABLE IF NOT EXISTS` can violate a constraint of the catalog.
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtext($1))").bind(name);
        lock.execute(&mut *transaction).await?;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
        transaction.commit().await
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
            // Whether the statement took effect is unknown (40003).
            (_, "40003") => SqlFailure::Unavailable,
            ("40", _) => SqlFailure::RolledBack,
            ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P04" | "57P05") => SqlFailure::Connection,
            // Read-only, out of resources, locked, canceled, I/O error.
            (_, "25006") | ("53" | "55" | "57" | "58", _) => SqlFailure::Unavailable,
            ("54", _) => SqlFailure::TooLarge,
            _ => SqlFailure::Other,
        }
    }
}
