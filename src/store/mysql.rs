//! MySQL and MariaDB.

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlQueryResult};
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, Row};

use super::sql::{Dialect, Running, SWEEP_BATCH_SIZE, SqlFailure, SqlStore, Table, server_address};

/// Last insert id that the insert statement reports if it replaced an expired record.
const REPLACED: u64 = 2;
/// Last insert id that the insert statement reports if it left a live record unchanged.
const UNCHANGED: u64 = 1;

/// A store in MySQL 8 or newer, or MariaDB 10.6 or newer.
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
/// Its methods are those of [`SqlStore`].
///
/// Records expire by the database's clock, so a node with a wrong clock deletes no live session. The clocks of the nodes
/// should still agree within seconds, because each node computes the expiry of the records that it writes.
/// [`Sessions::sweep_every`](crate::Sessions::sweep_every) deletes expired records; run it on one node or on several.
///
/// # Limits
///
/// A record must fit into one packet, so it must be smaller than the server's `max_allowed_packet` (16 MiB by default in
/// MariaDB, 64 MiB in MySQL). The layer refuses a session above 1 MiB unless
/// [`with_size_limit`](crate::SessionLayerBuilder::with_size_limit) sets another limit; for 16 MiB set `max_allowed_packet`
/// to at least 17 MiB. The server closes the connection if a packet is larger, and the store returns
/// [`Unavailable`](crate::store::StoreErrorKind::Unavailable). An owner may have at most 65,535 bytes.
///
/// # The table
///
/// `sessile_sessions` has the columns `id binary(16)`, `version`, `last_seen` and `expires_at` (`bigint`, instants in
/// milliseconds since the Unix epoch), `realm varbinary(255)`, `owner blob` (the owner in UTF-8; a binary type compares bytes,
/// trailing spaces included) and `state longblob`.
///
/// [`delete_owned_by`](crate::store::Store::delete_owned_by) empties the rows and sets their expiry to the negated time, since MySQL
/// cannot return the rows that it deletes. A sweep deletes them after a minute.
pub type MySqlStore = SqlStore<MySql>;

impl Dialect for MySql {
    const QUOTE: char = '`';
    // `utc_timestamp` does not depend on the connection's time zone.
    const NOW: &'static str = "(timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(3)) DIV 1000)";
    const HAS_NUMBERED_PARAMETERS: bool = false;
    // MariaDB has it, MySQL has not.
    const DELETE_HAS_RETURNING: bool = false;
    const COLUMN_TYPES: [&'static str; 7] =
        ["binary(16)", "bigint", "varbinary(255)", "blob", "bigint", "bigint", "longblob"];
    const MAX_OWNER_LENGTH: usize = 65_535;

    fn pool(url: &str, options: PoolOptions<Self>) -> Result<MySqlPool, sqlx::Error> {
        let options = options.after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql("SET autocommit = 1").execute(connection).await.map(drop) })
        });
        options.connect_lazy(url)
    }

    fn address(options: &MySqlConnectOptions) -> String {
        server_address(options.get_socket(), options.get_host(), options.get_port())
    }

    fn test(connection: &mut MySqlConnection) -> Running<'_, Option<&'static str>> {
        Box::pin(async move {
            // The rollback ends a transaction that other code has left open; without one it does nothing.
            let row = sqlx::raw_sql("ROLLBACK; SELECT @@autocommit").fetch_one(connection).await?;
            let is_automatic = row.try_get::<i64, _>(0)? == 1;
            Ok((!is_automatic).then_some(
                "autocommit is off on a connection of the pool, so no write would be kept: set it for the pool's connections",
            ))
        })
    }

    async fn columns(pool: &MySqlPool, table: &Table) -> Result<Vec<(String, String)>, sqlx::Error> {
        // The types of the catalog's own columns differ between servers, hence the casts.
        let columns = "SELECT CAST(column_name AS BINARY), CAST(column_type AS BINARY) FROM information_schema.columns \
                       WHERE table_schema = coalesce(?, database()) AND table_name = ?";
        let columns = sqlx::query_as(columns).bind(&table.schema).bind(&table.name);
        let columns: Vec<(Vec<u8>, Vec<u8>)> = columns.fetch_all(pool).await?;
        let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
        // MariaDB and older MySQL show a display width, which has no effect.
        let without_width = |kind: String| kind.replace("bigint(20)", "bigint");
        Ok(columns.into_iter().map(|(name, kind)| (text(name), without_width(text(kind)))).collect())
    }

    async fn create(pool: &MySqlPool, table: &Table) -> Result<(), sqlx::Error> {
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {} ({}, KEY {} (owner(255)), KEY {} (expires_at)) ENGINE = InnoDB",
            table.quoted(),
            Table::column_definitions::<Self>(),
            table.index("owner"),
            table.index("expires_at")
        );
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.map(drop)
    }

    fn insert(table: &str, row: &str) -> String {
        let now = Self::NOW;
        // An assignment sees the ones before it, so the expiry, on which the others depend, is last.
        let unless_live = |column: &str| format!("{column} = if(expires_at <= {now}, values({column}), {column})");
        let rest = ["realm", "owner", "last_seen", "state", "expires_at"].map(unless_live).join(", ");
        format!(
            "INSERT INTO {table} (version, realm, owner, last_seen, expires_at, state, id) \
             {row} \
             ON DUPLICATE KEY UPDATE version = if(last_insert_id(if(expires_at <= {now}, {REPLACED}, {UNCHANGED})) \
             = {REPLACED}, values(version), version), {rest}"
        )
    }

    /// Reads the last insert id: the number of rows is the same for an insert and for a row that was left unchanged.
    fn rows_inserted(result: &MySqlQueryResult) -> u64 {
        u64::from(matches!(result.last_insert_id(), 0 | REPLACED))
    }

    fn sweep(table: &str) -> String {
        let now = Self::NOW;
        // Not the rows that `delete_owned_by` has emptied within the last minute: it may not have listed them yet.
        format!(
            "DELETE FROM {table} WHERE expires_at <= {now} AND expires_at NOT BETWEEN -{now} AND 60000 - {now} \
             ORDER BY expires_at LIMIT {SWEEP_BATCH_SIZE}"
        )
    }

    fn rows_affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn failure(error: &dyn DatabaseError) -> SqlFailure {
        match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
            // Deadlock; a row changed since it was read (MariaDB's snapshot isolation).
            Some(1213 | 1020) => SqlFailure::RolledBack,
            // Shutdown, killed, network error.
            Some(1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1317 | 1927 | 3169) => SqlFailure::Connection,
            // Read-only server or transaction.
            Some(1290 | 1792 | 1836) => SqlFailure::ReadOnly,
            // The prepared statement does not exist, or could not be prepared anew.
            Some(1243 | 1615) => SqlFailure::Statement,
            // I/O and disk space; too many connections or prepared statements; memory; locks; time limits.
            Some(
                3 | 14 | 28 | 1021 | 1023 | 1026 | 1028 | 1030 | 1037 | 1038 | 1040 | 1041 | 1114 | 1135 | 1180 | 1203
                | 1205 | 1206 | 1226 | 1461 | 1969 | 3024 | 3572 | 3675 | 4031,
            ) => SqlFailure::Unavailable,
            // Too large for a packet, for the log, or for the column.
            Some(1118 | 1153 | 1301 | 1406 | 1534) => SqlFailure::TooLarge,
            _ => SqlFailure::Other,
        }
    }
}
