//! Name and columns of a store's table.

use super::Dialect;
use crate::error::{ConfigError, ConfigErrorKind, StoreError};

/// Longest table name. The names of its indexes are longer, and every database accepts them.
const MAX_NAME_LENGTH: usize = 48;

/// Names of the columns, in the order of [`Dialect::COLUMN_TYPES`].
const COLUMNS: [&str; 7] = ["id", "version", "realm", "owner", "last_seen", "expires_at", "state"];

/// Validated name of a table, safe to use in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Table {
    pub(in crate::store) schema: Option<String>,
    pub(in crate::store) name: String,
    quote: char,
}

impl Table {
    /// Creates the default name.
    pub(super) fn new<D: Dialect>() -> Self {
        Self { schema: None, name: "sessile_sessions".to_owned(), quote: D::QUOTE }
    }

    pub(super) fn with_name(self, name: &str) -> Result<Self, ConfigError> {
        Ok(Self { name: validated(name)?, ..self })
    }

    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn with_schema(self, schema: &str) -> Result<Self, ConfigError> {
        Ok(Self { schema: Some(validated(schema)?), ..self })
    }

    /// Returns the quoted name, with the schema if one is set.
    pub(in crate::store) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{0}{schema}{0}.{0}{1}{0}", self.quote, self.name),
            None => format!("{0}{1}{0}", self.quote, self.name),
        }
    }

    /// Returns the quoted name of the index on a column.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(in crate::store) fn index(&self, column: &str) -> String {
        format!("{0}{1}_{column}{0}", self.quote, self.name)
    }

    /// Returns the definitions of the columns for a `CREATE TABLE` statement.
    pub(in crate::store) fn column_definitions<D: Dialect>() -> String {
        let definition = |(name, kind): (&str, &str)| match name {
            "id" => format!("id {kind} NOT NULL PRIMARY KEY"),
            "owner" => format!("owner {kind}"),
            _ => format!("{name} {kind} NOT NULL"),
        };
        COLUMNS.into_iter().zip(D::COLUMN_TYPES).map(definition).collect::<Vec<_>>().join(", ")
    }

    /// Checks the names and types of existing columns, and returns whether the table exists.
    pub(super) fn check<D: Dialect>(&self, existing: &[(String, String)]) -> Result<bool, StoreError> {
        if existing.is_empty() {
            return Ok(false);
        }
        for (name, expected) in COLUMNS.into_iter().zip(D::COLUMN_TYPES) {
            let problem = match existing.iter().find(|(existing, _)| existing.eq_ignore_ascii_case(name)) {
                None => format!("has no column {name}"),
                Some((_, kind)) if kind.eq_ignore_ascii_case(expected) => continue,
                Some((_, kind)) => format!("has a column {name} of type {kind} instead of {expected}"),
            };
            return Err(StoreError::unsupported(format!(
                "table {} {problem}; rename or drop it, or choose another name with `with_table`",
                self.quoted()
            )));
        }
        Ok(true)
    }
}

/// Accepts ASCII letters, digits and underscores, which are valid in every database and cannot end a quotation.
fn validated(name: &str) -> Result<String, ConfigError> {
    let first_is_valid = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let all_are_valid = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if first_is_valid && all_are_valid && name.len() <= MAX_NAME_LENGTH {
        return Ok(name.to_owned());
    }
    Err(ConfigError::new(
        ConfigErrorKind::Store,
        format!(
            "{name:?} is not a valid table name; use at most {MAX_NAME_LENGTH} ASCII letters, digits and underscores, \
             and no digit first"
        ),
    ))
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    /// Table names are refused if they could end a quotation.
    #[test]
    fn table_names_with_special_characters_are_refused() {
        let table = Table::new::<sqlx::Postgres>();
        for bad in ["", "a b", "a\"b", "a`b", "a;b", "1a", "ä", "a.b", &"a".repeat(MAX_NAME_LENGTH + 1)] {
            assert!(table.clone().with_name(bad).is_err(), "{bad:?}");
            assert!(table.clone().with_schema(bad).is_err(), "{bad:?}");
        }
        let table = table.with_name("Select").expect("a name").with_schema("_s1").expect("a name");
        assert_eq!(table.quoted(), r#""_s1"."Select""#);
    }
}
