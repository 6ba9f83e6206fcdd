//! Sessions in PostgreSQL.

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgQueryResult, PgRow, Postgres};
use sqlx::{AssertSqlSafe, SqlStr};

use super::sql::{BATCH, Column, Dialect, Fault, Missing, Running, Sql, Statements, Table, sql_store, store_error};
use crate::error::ConfigError;
use crate::error::StoreError;

/// Now by the database's clock, in milliseconds since the Unix epoch. It stands still during a statement, so that an
/// index on the expiry serves.
const NOW: &str = "(extract(epoch FROM statement_timestamp()) * 1000)::bigint";

const COLUMNS: [Column; 6] = [
    Column { name: "id", kind: "uuid" },
    Column { name: "version", kind: "bigint" },
    Column { name: "owner", kind: "bytea" },
    Column { name: "last_seen", kind: "bigint" },
    Column { name: "expires_at", kind: "bigint" },
    Column { name: "state", kind: "bytea" },
];

/// A store in PostgreSQL 12 or newer.
///
/// Every operation is one statement and one round trip. Expiry goes by the database's clock, so a node whose own is wrong
/// deletes nobody's session; the nodes' clocks should still agree to within seconds, because each writes the expiry that
/// it computed.
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
/// Expired records go while [`Sessions::sweep_every`](crate::Sessions::sweep_every) runs, on one node or on several.
///
/// # The table
///
/// `sessile_sessions`, with the columns `id uuid`, `version`, `last_seen` and `expires_at` (`bigint`, instants in
/// milliseconds since the Unix epoch), `owner bytea` (the owner in UTF-8; bytes, because owners are equal only where they
/// are the same to the byte, whatever the database's collation and encoding) and `state bytea`.
///
/// ```sql
/// SELECT id, to_timestamp(expires_at / 1000.0) FROM sessile_sessions WHERE owner = 'user:42'
/// ```
#[derive(Clone, Debug)]
pub struct PostgresStore {
    sql: Sql<Postgres>,
    table: Table,
}

impl PostgresStore {
    /// Connects to the database of this URL, with a pool of up to ten connections for this store alone. What the URL may
    /// say is sqlx's to say; TLS needs the feature `tls-rustls`.
    ///
    /// # Errors
    ///
    /// Where the URL is none, or the database cannot be reached within two seconds.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = Sql::pool_options().connect(url).await.map_err(store_error::<Postgres>)?;
        let table = Table::new('"');
        Ok(Self { sql: Sql::owning(pool, statements(&table)), table })
    }

    /// Over a pool that the application has already. While the store is busy it keeps up to half of the pool's
    /// connections at hand.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let table = Table::new('"');
        Self { sql: Sql::sharing(pool, statements(&table)), table }
    }

    /// Names the schema that the table is in. It must exist. Default: the first of the search path.
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
        let failed = store_error::<Postgres>;
        let quoted = self.table.quoted();
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext($1))")
            .bind(&quoted)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let columns = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        );
        let columns = columns.bind(&quoted).fetch_all(&mut *transaction).await.map_err(failed)?;
        let indexes = sqlx::query_scalar(
            "SELECT relname::text FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = to_regclass($1)",
        );
        let indexes: Vec<String> = indexes.bind(&quoted).fetch_all(&mut *transaction).await.map_err(failed)?;
        let mut steps = steps(&Missing::of(&columns, &COLUMNS)?, &quoted);
        for (on, how) in [("owner", "USING hash (owner) WHERE owner IS NOT NULL"), ("expires_at", "(expires_at)")] {
            if !indexes.contains(&format!("{}_{on}", self.table.name())) {
                steps.push(format!("CREATE INDEX {} ON {quoted} {how}", self.table.index(on)));
            }
        }
        for step in steps {
            sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

sql_store!(PostgresStore, Postgres);

impl Dialect for Postgres {
    fn execute(connection: &mut PgConnection, sql: SqlStr, arguments: PgArguments) -> Running<'_, PgQueryResult> {
        Box::pin(sqlx::query_with(sql, arguments).execute(connection))
    }

    fn fetch(connection: &mut PgConnection, sql: SqlStr, arguments: PgArguments) -> Running<'_, Vec<PgRow>> {
        Box::pin(sqlx::query_with(sql, arguments).fetch_all(connection))
    }

    fn affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        let code = error.code().unwrap_or_default();
        match (code.get(..2).unwrap_or_default(), &*code) {
            ("40", _) => Fault::Undone,
            ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P04" | "57P05") => Fault::Connection,
            // Read-only, out of resources, locked, cancelled, input and output failed.
            (_, "25006") | ("53" | "55" | "57" | "58", _) => Fault::Unavailable,
            ("54", _) => Fault::Refused,
            _ => Fault::Other,
        }
    }
}

fn statements(table: &Table) -> Statements {
    let table = table.quoted();
    Statements {
        get: format!(
            "SELECT version, owner, last_seen, expires_at, state FROM {table} WHERE id = $1 AND expires_at > {NOW}"
        )
        .into(),
        add: format!(
            "INSERT INTO {table} AS stored (version, owner, last_seen, expires_at, state, id) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
             owner = excluded.owner, last_seen = excluded.last_seen, expires_at = excluded.expires_at, \
             state = excluded.state WHERE stored.expires_at <= {NOW}"
        )
        .into(),
        replace: format!(
            "UPDATE {table} SET version = $1, owner = $2, last_seen = $3, expires_at = $4, state = $5 \
             WHERE id = $6 AND version = $7 AND expires_at > {NOW}"
        )
        .into(),
        touch: format!(
            "UPDATE {table} SET last_seen = greatest(last_seen, $1), expires_at = greatest(expires_at, $2) \
             WHERE id = $3 AND version = $4 AND expires_at > {NOW}"
        )
        .into(),
        delete: format!("DELETE FROM {table} WHERE id = $1 AND expires_at > {NOW}").into(),
        owned_by: format!(
            "SELECT version, owner, last_seen, expires_at, state, id FROM {table} \
             WHERE owner = $1 AND expires_at > {NOW} ORDER BY id"
        )
        .into(),
        // What another node is deleting is skipped.
        sweep: format!(
            "DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table} WHERE expires_at <= {NOW} \
             ORDER BY expires_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED))"
        )
        .into(),
    }
}

fn steps(missing: &Missing, table: &str) -> Vec<String> {
    match missing {
        Missing::Table => vec![format!(
            "CREATE TABLE {table} (id uuid PRIMARY KEY, version bigint NOT NULL, owner bytea, \
             last_seen bigint NOT NULL, expires_at bigint NOT NULL, state bytea NOT NULL)"
        )],
        Missing::RecordFields(columns) => columns
            .iter()
            .flat_map(|column| match *column {
                "owner" => vec![format!("ALTER TABLE {table} ADD COLUMN owner bytea")],
                // The sessions that are there count as used now.
                _ => vec![
                    format!("ALTER TABLE {table} ADD COLUMN last_seen bigint NOT NULL DEFAULT {NOW}"),
                    format!("ALTER TABLE {table} ALTER COLUMN last_seen DROP DEFAULT"),
                ],
            })
            .collect(),
    }
}
