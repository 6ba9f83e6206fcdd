//! PostgreSQL.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgQueryResult, Postgres};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::sql::{
    Dialect, POOLER_ADVICE, Protocol, Running, SWEEP_BATCH_SIZE, SqlFailure, SqlStore, Table, pool_options,
    server_address, store_error,
};
use crate::error::StoreError;

/// Time limit of the search for a pooler that mixes up prepared statements.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// Number of times that the search runs its two statements.
const PROBE_ROUNDS: usize = 4;

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
///
/// # Poolers
///
/// Behind a pooler that gives each transaction or statement another server connection, such as PgBouncer in transaction or statement
/// mode, use [`connect_through_pooler`](SqlStore::connect_through_pooler).
pub type PostgresStore = SqlStore<Postgres>;

impl SqlStore<Postgres> {
    /// Connects to PostgreSQL through a pooler such as PgBouncer, in any of its modes.
    ///
    /// The store then uses no prepared statements: each operation is one message of the simple query protocol and one transaction.
    /// PgBouncer before 1.21 gives the prepared statement of one connection to another, and so does a newer one with
    /// `max_prepared_statements = 0`; [`connect`](SqlStore::connect) returns an error there.
    ///
    /// The values of a session are in the text of the statement. sqlx therefore does not log the statements of this store, and no
    /// error contains them. The server's own log has them if it logs statements (`log_statement`, `log_min_duration_statement`).
    ///
    /// The store opens up to ten connections, for itself alone. Run no prepared statements on its [`pool`](SqlStore::pool).
    ///
    /// ```no_run
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use sessile::{PostgresStore, SessionLayer};
    ///
    /// let store = PostgresStore::connect_through_pooler("postgres://app@pooler:6432/app").await?;
    /// store.migrate().await?;
    /// let layer = SessionLayer::new(store);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or the store cannot connect within five seconds.
    pub async fn connect_through_pooler(url: &str) -> Result<Self, StoreError> {
        let options = options(url).map_err(store_error::<Postgres>)?.disable_statement_logging();
        Self::open(pool_options().connect_lazy_with(options), Protocol::Simple).await
    }
}

/// Parses a URL.
fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    // The store reads no floating-point numbers, and PgBouncer refuses the parameter that sqlx would send for them.
    Ok(PgConnectOptions::from_str(url)?.extra_float_digits(None))
}

/// Returns whether two new connections get each other's prepared statements.
///
/// sqlx gives the first statement of each connection the same name.
async fn mixes_up_statements(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut connections = [(1, options.connect().await?), (2, options.connect().await?)];
    for _ in 0..PROBE_ROUNDS {
        for (number, connection) in &mut connections {
            let sql = AssertSqlSafe(format!("SELECT {number}::bigint"));
            match sqlx::query_scalar::<_, i64>(sql).fetch_one(connection).await {
                Ok(answer) if answer == *number => {}
                Ok(_) => return Ok(true),
                Err(error) => {
                    return match error.as_database_error().map(Postgres::failure) {
                        Some(SqlFailure::Statement | SqlFailure::Parameters) => Ok(true),
                        _ => Err(error),
                    };
                }
            }
        }
    }
    for (_, connection) in connections {
        connection.close().await?;
    }
    Ok(false)
}

impl Dialect for Postgres {
    // The time is constant during a statement, so that the index on the expiry can be used.
    const NOW: &'static str = "(extract(epoch FROM statement_timestamp()) * 1000)::bigint";
    const COLUMN_TYPES: [&'static str; 7] = ["uuid", "bigint", "bytea", "bytea", "bigint", "bigint", "bytea"];

    const IS_TAGGED: bool = true;
    const GUARDED_ROW: &'static str =
        "SELECT $1::bigint, $2::bytea, $3::bytea, $4::bigint, $5::bigint, $6::bytea, $7::uuid WHERE $guard";

    fn pool(url: &str, pool: PoolOptions<Self>) -> Result<PgPool, sqlx::Error> {
        Ok(pool.connect_lazy_with(options(url)?))
    }

    fn address(options: &PgConnectOptions) -> String {
        server_address(options.get_socket(), options.get_host(), options.get_port())
    }

    /// Refuses a pooler only on proof; any other error is left to the store's own connections.
    async fn check_pooling(pool: &PgPool) -> Result<(), StoreError> {
        let options = pool.connect_options();
        match tokio::time::timeout(PROBE_DEADLINE, mixes_up_statements(&options)).await {
            Ok(Ok(true)) => Err(StoreError::unsupported(POOLER_ADVICE)),
            _ => Ok(()),
        }
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

    // The next two use no prepared statement, so that they work behind every pooler. A table's name has no character that could end a
    // literal.
    async fn columns(pool: &PgPool, table: &Table) -> Result<Vec<(String, String)>, sqlx::Error> {
        let columns = format!(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = to_regclass('{}') AND attnum > 0 AND NOT attisdropped",
            table.quoted()
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(columns)).fetch_all(pool).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
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
            // Invalid binary representation of a parameter.
            (_, "22P03") => SqlFailure::Parameters,
            // A rollback for another reason, after which the outcome is unknown; out of resources, locked, canceled, I/O error.
            ("40" | "53" | "55" | "57" | "58", _) => SqlFailure::Unavailable,
            ("54", _) => SqlFailure::TooLarge,
            _ => SqlFailure::Other,
        }
    }
}
