//! Sessions in MySQL and MariaDB.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlQueryResult, MySqlRow};
use sqlx::{AssertSqlSafe, Connection, SqlStr};

use super::sql::{BATCH, Column, Dialect, Fault, Missing, Running, Sql, Statements, Table, sql_store, store_error};
use crate::error::ConfigError;
use crate::error::StoreError;

/// Now by the database's clock, in milliseconds since the Unix epoch, whatever the time zone of the connection.
const NOW: &str = "(timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(3)) DIV 1000)";

/// How long `migrate` waits for another node that does the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the statement that adds a record says where it replaced one that had expired.
const REPLACED: u64 = 2;
/// What it says where it found one that lives, and left it alone.
const LEFT_ALONE: u64 = 1;

const COLUMNS: [Column; 6] = [
    Column { name: "id", kind: "binary(16)" },
    Column { name: "version", kind: "bigint" },
    Column { name: "owner", kind: "blob" },
    Column { name: "last_seen", kind: "bigint" },
    Column { name: "expires_at", kind: "bigint" },
    Column { name: "state", kind: "longblob" },
];

/// A store in MySQL 8 or newer, or MariaDB 10.6 or newer.
///
/// Every operation is one statement and one round trip. Expiry goes by the database's clock, so a node whose own is wrong
/// deletes nobody's session; the nodes' clocks should still agree to within seconds, because each writes the expiry that
/// it computed.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use sessile::{MySqlStore, SessionLayer};
///
/// let store = MySqlStore::connect("mysql://app@localhost/app").await?;
/// store.migrate().await?;
/// let layer = SessionLayer::new(store);
/// # Ok(()) }
/// ```
///
/// Expired records go while [`Sessions::sweep_every`](crate::Sessions::sweep_every) runs, on one node or on several.
///
/// # Bounds
///
/// A record travels in one packet: it must be smaller than the server's `max_allowed_packet` (16 MiB by default in
/// MariaDB, 64 MiB in MySQL). A session is refused at 1 MiB unless
/// [`with_size_limit`](crate::SessionLayerBuilder::with_size_limit) says otherwise; for 16 MiB set `max_allowed_packet`
/// to 17 MiB or more. The server closes the connection on a larger one, and the store says
/// [`Unavailable`](crate::store::StoreErrorKind::Unavailable). An owner may have 65,535 bytes.
///
/// # The table
///
/// `sessile_sessions`, with the columns `id binary(16)`, `version`, `last_seen` and `expires_at` (`bigint`, instants in
/// milliseconds since the Unix epoch), `owner blob` (the owner in UTF-8; bytes, because owners are equal only where they
/// are the same to the byte, trailing spaces included) and `state longblob`.
#[derive(Clone, Debug)]
pub struct MySqlStore {
    sql: Sql<MySql>,
    table: Table,
}

impl MySqlStore {
    /// Connects to the database of this URL, with a pool of up to ten connections for this store alone. What the URL may
    /// say is sqlx's to say; TLS needs the feature `tls-rustls`.
    ///
    /// # Errors
    ///
    /// Where the URL is none, or the database cannot be reached within two seconds.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = Sql::pool_options().connect(url).await.map_err(store_error::<MySql>)?;
        let table = Table::new('`');
        Ok(Self { sql: Sql::owning(pool, statements(&table)), table })
    }

    /// Over a pool that the application has already. While the store is busy it keeps up to half of the pool's
    /// connections at hand.
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        let table = Table::new('`');
        Self { sql: Sql::sharing(pool, statements(&table)), table }
    }

    /// Names the database (in MySQL also: the schema) that the table is in. Default: the one of the connection.
    ///
    /// # Errors
    ///
    /// As for [`with_table`](Self::with_table).
    pub fn with_schema(mut self, schema: &str) -> Result<Self, ConfigError> {
        self.table = self.table.with_schema(schema)?;
        self.sql.set_statements(statements(&self.table));
        Ok(self)
    }

    /// Creates the table, or adds what a table of an older release lacks. Several nodes may do so at once, and a table
    /// that is complete is not touched.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) where a table of this name holds something else.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let failed = store_error::<MySql>;
        // The lock belongs to the connection, so the connection goes when we do.
        let mut connection = self.pool().acquire().await.map_err(failed)?.detach();
        let lock = format!("sessile {}", self.table.name());
        let locked: Option<i64> = sqlx::query_scalar("SELECT get_lock(?, ?)")
            .bind(lock)
            .bind(PATIENCE.as_secs())
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        if locked != Some(1) {
            return Err(StoreError::unavailable("another node is changing the table"));
        }
        let steps = steps(&self.table, &self.missing(&mut connection).await?, &self.indexes(&mut connection).await?);
        for step in steps {
            sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut connection).await.map_err(failed)?;
        }
        connection.close().await.map_err(failed)
    }

    async fn missing(&self, connection: &mut MySqlConnection) -> Result<Missing, StoreError> {
        let columns: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT CAST(column_name AS BINARY), CAST(column_type AS BINARY) FROM information_schema.columns \
             WHERE table_schema = coalesce(?, database()) AND table_name = ?",
        )
        .bind(self.table.schema())
        .bind(self.table.name())
        .fetch_all(connection)
        .await
        .map_err(store_error::<MySql>)?;
        let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
        // MariaDB and older MySQL show a width, which means nothing.
        let columns: Vec<_> =
            columns.into_iter().map(|(name, kind)| (text(name), text(kind).replace("bigint(20)", "bigint"))).collect();
        Missing::of(&columns, &COLUMNS)
    }

    async fn indexes(&self, connection: &mut MySqlConnection) -> Result<Vec<String>, StoreError> {
        let names: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT DISTINCT CAST(index_name AS BINARY) FROM information_schema.statistics \
             WHERE table_schema = coalesce(?, database()) AND table_name = ?",
        )
        .bind(self.table.schema())
        .bind(self.table.name())
        .fetch_all(connection)
        .await
        .map_err(store_error::<MySql>)?;
        Ok(names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
    }
}

sql_store!(MySqlStore, MySql);

impl Dialect for MySql {
    const LONGEST_OWNER: usize = 65_535;

    fn execute(
        connection: &mut MySqlConnection,
        sql: SqlStr,
        arguments: MySqlArguments,
    ) -> Running<'_, MySqlQueryResult> {
        Box::pin(sqlx::query_with(sql, arguments).execute(connection))
    }

    fn fetch(connection: &mut MySqlConnection, sql: SqlStr, arguments: MySqlArguments) -> Running<'_, Vec<MySqlRow>> {
        Box::pin(sqlx::query_with(sql, arguments).fetch_all(connection))
    }

    fn affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    /// The number of rows does not tell an insert from a row that was left alone, so the statement says it by the way of
    /// the last insert id, of which the table has no other use. An insert leaves it at 0.
    fn added(result: &MySqlQueryResult) -> bool {
        matches!(result.last_insert_id(), 0 | REPLACED)
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
            // Deadlock; a row changed since it was read (MariaDB's snapshot isolation).
            Some(1213 | 1020) => Fault::Undone,
            // Shutting down, killed, the network failed.
            Some(1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1317 | 1927 | 3169) => Fault::Connection,
            // Input, output and space; too many connections; memory; locks; read-only; time limits.
            Some(
                3 | 14 | 28 | 1021 | 1023 | 1026 | 1028 | 1030 | 1037 | 1038 | 1040 | 1041 | 1114 | 1135 | 1180 | 1203
                | 1205 | 1206 | 1226 | 1290 | 1836 | 1792 | 1969 | 3024 | 3572 | 3675 | 4031,
            ) => Fault::Unavailable,
            // Too large for a packet, for the log, or for the column.
            Some(1118 | 1153 | 1301 | 1406 | 1534) => Fault::Refused,
            _ => Fault::Other,
        }
    }
}

fn statements(table: &Table) -> Statements {
    let table = table.quoted();
    // Assignments see those before them, so the expiry, on which the others depend, comes last.
    let unless_live = |column: &str| format!("{column} = if(expires_at <= {NOW}, values({column}), {column})");
    let rest = ["owner", "last_seen", "state", "expires_at"].map(unless_live).join(", ");
    Statements {
        get: format!(
            "SELECT version, owner, last_seen, expires_at, state FROM {table} WHERE id = ? AND expires_at > {NOW}"
        )
        .into(),
        add: format!(
            "INSERT INTO {table} (version, owner, last_seen, expires_at, state, id) VALUES (?, ?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE version = if(last_insert_id(if(expires_at <= {NOW}, {REPLACED}, {LEFT_ALONE})) \
             = {REPLACED}, values(version), version), {rest}"
        )
        .into(),
        replace: format!(
            "UPDATE {table} SET version = ?, owner = ?, last_seen = ?, expires_at = ?, state = ? \
             WHERE id = ? AND version = ? AND expires_at > {NOW}"
        )
        .into(),
        touch: format!(
            "UPDATE {table} SET last_seen = greatest(last_seen, ?), expires_at = greatest(expires_at, ?) \
             WHERE id = ? AND version = ? AND expires_at > {NOW}"
        )
        .into(),
        delete: format!("DELETE FROM {table} WHERE id = ? AND expires_at > {NOW}").into(),
        owned_by: format!(
            "SELECT version, owner, last_seen, expires_at, state, id FROM {table} \
             WHERE owner = ? AND expires_at > {NOW} ORDER BY id"
        )
        .into(),
        sweep: format!("DELETE FROM {table} WHERE expires_at <= {NOW} ORDER BY expires_at LIMIT {BATCH}").into(),
    }
}

fn steps(table: &Table, missing: &Missing, indexes: &[String]) -> Vec<String> {
    let quoted = table.quoted();
    let mut steps = match missing {
        Missing::Table => {
            return vec![format!(
                "CREATE TABLE IF NOT EXISTS {quoted} (id binary(16) NOT NULL PRIMARY KEY, version bigint NOT NULL, \
                 owner blob, last_seen bigint NOT NULL, expires_at bigint NOT NULL, state longblob NOT NULL, \
                 KEY {} (owner(255)), KEY {} (expires_at)) ENGINE = InnoDB",
                table.index("owner"),
                table.index("expires_at")
            )];
        }
        Missing::RecordFields(columns) => columns
            .iter()
            .flat_map(|column| match *column {
                "owner" => vec![format!("ALTER TABLE {quoted} ADD COLUMN owner blob")],
                // The sessions that are there count as used now.
                _ => vec![
                    format!("ALTER TABLE {quoted} ADD COLUMN last_seen bigint"),
                    format!("UPDATE {quoted} SET last_seen = {NOW} WHERE last_seen IS NULL"),
                    format!("ALTER TABLE {quoted} MODIFY COLUMN last_seen bigint NOT NULL"),
                ],
            })
            .collect::<Vec<_>>(),
    };
    for (on, what) in [("owner", "owner(255)"), ("expires_at", "expires_at")] {
        if !indexes.contains(&format!("{}_{on}", table.name())) {
            steps.push(format!("CREATE INDEX {} ON {quoted} ({what})", table.index(on)));
        }
    }
    steps
}
