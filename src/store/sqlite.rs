//! Sessions in a SQLite file.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteQueryResult,
    SqliteRow,
};
use sqlx::{AssertSqlSafe, Connection, SqlStr};
use tokio::time::Instant;

use super::sql::{BATCH, Column, Dialect, Fault, Missing, Running, Sql, Statements, Table, sql_store, store_error};
use crate::backoff::pause;
use crate::error::{StoreError, StoreErrorKind};

/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(250);
/// Now by this machine's clock, in milliseconds since the Unix epoch. A Julian day begins at noon; 2440587.5 is midnight
/// of 1 January 1970.
const NOW: &str = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)";

/// How long `migrate` waits for other processes.
const PATIENCE: Duration = Duration::from_secs(60);

const COLUMNS: [Column; 6] = [
    Column { name: "id", kind: "blob" },
    Column { name: "version", kind: "integer" },
    Column { name: "owner", kind: "blob" },
    Column { name: "last_seen", kind: "integer" },
    Column { name: "expires_at", kind: "integer" },
    Column { name: "state", kind: "blob" },
];

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
/// The file is opened in WAL mode, which a network file system cannot do. Writes of one process queue up, so that only
/// those of another process can find the file locked; they wait for it.
///
/// Expired records go while [`Sessions::sweep_every`](crate::Sessions::sweep_every) runs, in one process or in several.
///
/// # The table
///
/// `sessile_sessions`, with the columns `id blob` (16 bytes), `version`, `last_seen` and `expires_at` (`integer`, instants
/// in milliseconds since the Unix epoch), `owner blob` (the owner in UTF-8) and `state blob`.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    sql: Sql<Sqlite>,
    table: Table,
}

impl SqliteStore {
    /// Opens the database of this URL (`sqlite:sessions.db`, `sqlite:///var/lib/app/sessions.db`), and creates the file if
    /// there is none. What else the URL may say is sqlx's to say. A database in memory (`sqlite::memory:`) is gone with
    /// the store.
    ///
    /// # Errors
    ///
    /// Where the URL is none, or the file cannot be opened.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let failed = store_error::<Sqlite>;
        let mut options = SqliteConnectOptions::from_str(url).map_err(failed)?.busy_timeout(Sql::<Sqlite>::DEADLINE);
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        if !url.contains("mode=") && !url.contains("immutable=") {
            options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        }
        let mut pool: PoolOptions<Sqlite> = Sql::pool_options();
        if in_memory {
            pool = pool.max_connections(1).idle_timeout(None).max_lifetime(None);
        }
        let pool = pool.connect_with(options).await.map_err(failed)?;
        Ok(Self::over(Sql::owning, pool))
    }

    /// Over a pool that the application has already. Open it in WAL mode and with a busy timeout. While the store is busy
    /// it keeps up to half of the pool's connections at hand.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self::over(Sql::sharing, pool)
    }

    fn over(sql: fn(SqlitePool, Statements) -> Sql<Sqlite>, pool: SqlitePool) -> Self {
        let table = Table::new('"');
        let sql = sql(pool, statements(&table));
        Self { sql, table }
    }

    /// Creates the table, or adds what a table of an older release lacks. Several processes may do so at once.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) where a table of this name holds something else.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let until = Instant::now() + PATIENCE;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.upgrade().await {
                Err(error) if error.kind() == StoreErrorKind::Unavailable && Instant::now() < until => {
                    pause(attempt, MAX_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn upgrade(&self) -> Result<(), StoreError> {
        let failed = store_error::<Sqlite>;
        let mut connection = self.pool().acquire().await.map_err(failed)?;
        if self.missing(&mut connection).await?.is_empty() {
            return Ok(());
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        for step in self.missing(&mut transaction).await? {
            sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// The statements that make the table what it must be.
    async fn missing(&self, connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
        let failed = store_error::<Sqlite>;
        let columns = sqlx::query_as("SELECT name, type FROM pragma_table_info(?)");
        let columns = columns.bind(self.table.name()).fetch_all(&mut *connection).await.map_err(failed)?;
        let indexes = sqlx::query_scalar("SELECT name FROM pragma_index_list(?)");
        let indexes: Vec<String> = indexes.bind(self.table.name()).fetch_all(connection).await.map_err(failed)?;
        Ok(steps(&self.table, &Missing::of(&columns, &COLUMNS)?, &indexes))
    }
}

sql_store!(SqliteStore, Sqlite);

impl Dialect for Sqlite {
    const ONE_WRITER: bool = true;

    fn execute(
        connection: &mut SqliteConnection,
        sql: SqlStr,
        arguments: SqliteArguments,
    ) -> Running<'_, SqliteQueryResult> {
        Box::pin(sqlx::query_with(sql, arguments).execute(connection))
    }

    fn fetch(
        connection: &mut SqliteConnection,
        sql: SqlStr,
        arguments: SqliteArguments,
    ) -> Running<'_, Vec<SqliteRow>> {
        Box::pin(sqlx::query_with(sql, arguments).fetch_all(connection))
    }

    fn affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        // The low byte is what SQLite calls the primary result code.
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
        match code & 0xff {
            // Busy, locked: another process is writing, and this one has not begun to.
            5 | 6 => Fault::Undone,
            // Out of memory, read-only, input or output failed, full, cannot be opened, protocol.
            7 | 8 | 10 | 13 | 14 | 15 => Fault::Unavailable,
            // Too big.
            18 => Fault::Refused,
            _ => Fault::Other,
        }
    }
}

fn statements(table: &Table) -> Statements {
    let table = table.quoted();
    Statements {
        get: format!(
            "SELECT version, owner, last_seen, expires_at, state FROM {table} WHERE id = ?1 AND expires_at > {NOW}"
        )
        .into(),
        add: format!(
            "INSERT INTO {table} AS stored (version, owner, last_seen, expires_at, state, id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
             owner = excluded.owner, last_seen = excluded.last_seen, expires_at = excluded.expires_at, \
             state = excluded.state WHERE stored.expires_at <= {NOW}"
        )
        .into(),
        replace: format!(
            "UPDATE {table} SET version = ?1, owner = ?2, last_seen = ?3, expires_at = ?4, state = ?5 \
             WHERE id = ?6 AND version = ?7 AND expires_at > {NOW}"
        )
        .into(),
        touch: format!(
            "UPDATE {table} SET last_seen = max(last_seen, ?1), expires_at = max(expires_at, ?2) \
             WHERE id = ?3 AND version = ?4 AND expires_at > {NOW}"
        )
        .into(),
        delete: format!("DELETE FROM {table} WHERE id = ?1 AND expires_at > {NOW}").into(),
        owned_by: format!(
            "SELECT version, owner, last_seen, expires_at, state, id FROM {table} \
             WHERE owner = ?1 AND expires_at > {NOW} ORDER BY id"
        )
        .into(),
        sweep: format!(
            "DELETE FROM {table} WHERE rowid IN \
             (SELECT rowid FROM {table} WHERE expires_at <= {NOW} ORDER BY expires_at LIMIT {BATCH})"
        )
        .into(),
    }
}

fn steps(table: &Table, missing: &Missing, indexes: &[String]) -> Vec<String> {
    let quoted = table.quoted();
    let mut steps = match missing {
        Missing::Table => vec![format!(
            "CREATE TABLE {quoted} (id blob NOT NULL PRIMARY KEY, version integer NOT NULL, owner blob, \
             last_seen integer NOT NULL, expires_at integer NOT NULL, state blob NOT NULL)"
        )],
        Missing::RecordFields(columns) => columns
            .iter()
            .flat_map(|column| match *column {
                "owner" => vec![format!("ALTER TABLE {quoted} ADD COLUMN owner blob")],
                // The sessions that are there count as used now. SQLite adds no column without a constant default.
                _ => vec![
                    format!("ALTER TABLE {quoted} ADD COLUMN last_seen integer NOT NULL DEFAULT 0"),
                    format!("UPDATE {quoted} SET last_seen = {NOW}"),
                ],
            })
            .collect(),
    };
    for (on, what) in [("owner", "(owner) WHERE owner IS NOT NULL"), ("expires_at", "(expires_at)")] {
        if !indexes.contains(&format!("{}_{on}", table.name())) {
            steps.push(format!("CREATE INDEX {} ON {quoted} {what}", table.index(on)));
        }
    }
    steps
}
