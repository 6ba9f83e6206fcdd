//! SQLite.

use std::str::FromStr;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteQueryResult};
use sqlx::{AssertSqlSafe, Connection};

use super::deadline::DEFAULT_DEADLINE;
use super::sql::{Dialect, Running, SWEEP_BATCH_SIZE, SqlFailure, SqlStore, Table};

/// A store in a SQLite file, which several processes of one machine may share.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use sessile::{SessionLayer, SqliteStore};
///
/// let store = SqliteStore::connect("sqlite:sessions.db").await?;
/// store.migrate().await?;
/// let layer = SessionLayer::new(store);
/// # Ok(()) }
/// ```
///
/// Its methods are those of [`SqlStore`]. [`connect`](SqlStore::connect) creates a missing file and opens it in WAL mode,
/// which does not work on a network file system. A URL with `mode=` or `immutable=` switches both off. A URL without a file name is
/// an error. Open a pool for [`new`](SqlStore::new) in WAL mode and with a busy timeout.
///
/// A database in memory (`sqlite::memory:`) is lost with the store. Its pool has one connection: while a transaction of the application
/// holds it, all sessions wait.
///
/// The writers of one process wait in a queue, so only those of another process can lock the file; the store waits for
/// them.
///
/// [`Sessions::sweep_every`](crate::Sessions::sweep_every) deletes expired records; run it in one process or in several.
///
/// # The table
///
/// `sessile_sessions` has the columns `id blob` (16 bytes), `version`, `last_seen` and `expires_at` (`integer`, instants in
/// milliseconds since the Unix epoch), `realm blob`, `owner blob` (the owner in UTF-8) and `state blob`.
pub type SqliteStore = SqlStore<Sqlite>;

impl Dialect for Sqlite {
    // A Julian day begins at noon; 2440587.5 is midnight of 1 January 1970.
    const NOW: &'static str = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)";
    const GREATEST: &'static str = "max";
    const COLUMN_TYPES: [&'static str; 7] = ["blob", "integer", "blob", "blob", "integer", "integer", "blob"];
    // A deferred transaction that has read fails at its first write if another connection has written since.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const HAS_SINGLE_WRITER: bool = true;

    fn pool(url: &str, mut pool: PoolOptions<Self>) -> Result<SqlitePool, sqlx::Error> {
        let mut options = SqliteConnectOptions::from_str(url)?.busy_timeout(DEFAULT_DEADLINE);
        let is_in_memory = url.contains(":memory:") || url.contains("mode=memory");
        if !is_in_memory && options.get_filename().as_os_str().is_empty() {
            // SQLite would open a temporary database for each connection.
            return Err(sqlx::Error::Configuration("the URL names no file; use `sqlite:sessions.db`".into()));
        }
        if !["mode=ro", "mode=memory", "immutable="].iter().any(|setting| url.contains(setting)) {
            options = options.journal_mode(SqliteJournalMode::Wal);
        }
        if !url.contains("mode=") && !url.contains("immutable=") {
            options = options.create_if_missing(true);
        }
        if is_in_memory {
            // Each connection has its own database, which is lost when the pool closes the connection.
            pool = pool.max_connections(1).idle_timeout(None).max_lifetime(None);
        }
        Ok(pool.connect_lazy_with(options))
    }

    fn address(options: &SqliteConnectOptions) -> String {
        options.get_filename().display().to_string()
    }

    fn test(connection: &mut SqliteConnection) -> Running<'_, Option<&'static str>> {
        Box::pin(async move {
            // Without a transaction, which is the rule, this is an error.
            match sqlx::raw_sql("ROLLBACK").execute(connection).await {
                Ok(_) | Err(sqlx::Error::Database(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    async fn columns(pool: &SqlitePool, table: &Table) -> Result<Vec<(String, String)>, sqlx::Error> {
        sqlx::query_as("SELECT name, type FROM pragma_table_info(?)").bind(&table.name).fetch_all(pool).await
    }

    async fn create(pool: &SqlitePool, table: &Table) -> Result<(), sqlx::Error> {
        let (name, columns) = (table.quoted(), Table::column_definitions::<Self>());
        // The indexes of a renamed table keep their names, and an existing one is an error.
        let statements = format!(
            "CREATE TABLE {name} ({columns}); CREATE INDEX {} ON {name} (owner) WHERE owner IS NOT NULL; \
             CREATE INDEX {} ON {name} (expires_at)",
            table.index("owner"),
            table.index("expires_at")
        );
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let exists = sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = ? COLLATE NOCASE");
        if !exists.bind(&table.name).fetch_one(&mut *transaction).await? {
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    fn sweep(table: &str) -> String {
        let now = Self::NOW;
        format!(
            "DELETE FROM {table} WHERE rowid IN \
             (SELECT rowid FROM {table} WHERE expires_at <= {now} ORDER BY expires_at LIMIT {SWEEP_BATCH_SIZE})"
        )
    }

    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn failure(error: &dyn DatabaseError) -> SqlFailure {
        // The low byte is the primary result code.
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
        match code & 0xff {
            // Busy or locked: another process writes, and this statement has not begun to write.
            5 | 6 => SqlFailure::RolledBack,
            // Out of memory, I/O error, full, cannot open, protocol error.
            7 | 10 | 13 | 14 | 15 => SqlFailure::Unavailable,
            8 => SqlFailure::ReadOnly,
            // Too big.
            18 => SqlFailure::TooLarge,
            _ => SqlFailure::Other,
        }
    }
}
