//! The table of a store: its name, and what `migrate` finds missing.

use crate::error::StoreError;
use crate::error::{ConfigError, ConfigErrorKind};

/// The longest name of a table. The names of its indexes are longer, and fit every database.
const LONGEST: usize = 48;

/// The name of a table, checked, so that it can be part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Table {
    schema: Option<String>,
    name: String,
    quote: char,
}

impl Table {
    /// The default name, with the quotation mark of the database.
    pub(in crate::store) fn new(quote: char) -> Self {
        Self { schema: None, name: "sessile_sessions".to_owned(), quote }
    }

    pub(in crate::store) fn with_name(&self, name: &str) -> Result<Self, ConfigError> {
        Ok(Self { name: checked(name)?, ..self.clone() })
    }

    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code, reason = "SQLite has none"))]
    pub(in crate::store) fn with_schema(&self, schema: &str) -> Result<Self, ConfigError> {
        Ok(Self { schema: Some(checked(schema)?), ..self.clone() })
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "the others take the whole name"))]
    pub(in crate::store) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The whole name, quoted.
    pub(in crate::store) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", self.quote(schema), self.quote(&self.name)),
            None => self.quote(&self.name),
        }
    }

    /// The quoted name of an index of this table.
    pub(in crate::store) fn index(&self, on: &str) -> String {
        self.quote(&format!("{}_{on}", self.name))
    }

    /// Names hold no quotation mark.
    pub(in crate::store) fn quote(&self, name: &str) -> String {
        format!("{0}{name}{0}", self.quote)
    }
}

/// ASCII letters, digits and underscores, as every database takes them.
fn checked(name: &str) -> Result<String, ConfigError> {
    let first_fits = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let all_fit = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if first_fits && all_fit && name.len() <= LONGEST {
        return Ok(name.to_owned());
    }
    Err(ConfigError::new(
        ConfigErrorKind::Store,
        format!("{name:?} cannot name a table: letters, digits and underscores, not a digit first, at most {LONGEST}"),
    ))
}

/// A column as it must be.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Column {
    pub(in crate::store) name: &'static str,
    /// The type as the database's own catalogue has it.
    pub(in crate::store) kind: &'static str,
}

/// What a table lacks.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Missing {
    /// There is no such table.
    Table,
    /// These columns, none if it is complete.
    RecordFields(Vec<&'static str>),
}

impl Missing {
    /// Compares what is there with what must be. A table that has a column of another type, or that has no column for
    /// what no default can stand in for, is somebody else's, and is left alone.
    pub(in crate::store) fn of(present: &[(String, String)], wanted: &[Column]) -> Result<Self, StoreError> {
        if present.is_empty() {
            return Ok(Self::Table);
        }
        let mut missing = Vec::new();
        for column in wanted {
            let found = present.iter().find(|(name, _)| name.eq_ignore_ascii_case(column.name));
            match found {
                Some((_, kind)) if kind.eq_ignore_ascii_case(column.kind) => {}
                Some((_, kind)) => {
                    return Err(StoreError::unsupported(format!(
                        "the table's column {} is of type {kind}, not {}: it is not one of sessions",
                        column.name, column.kind
                    )));
                }
                None if ["owner", "last_seen"].contains(&column.name) => missing.push(column.name),
                None => {
                    return Err(StoreError::unsupported(format!(
                        "the table has no column {}: it is not one of sessions",
                        column.name
                    )));
                }
            }
        }
        Ok(Self::RecordFields(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_end_a_quotation_are_refused() {
        let table = Table::new('"');
        for bad in ["", "a b", "a\"b", "a`b", "a;b", "1a", "ä", "a.b", &"a".repeat(LONGEST + 1)] {
            assert!(table.with_name(bad).is_err(), "{bad:?}");
            assert!(table.with_schema(bad).is_err(), "{bad:?}");
        }
        let table = table.with_name("Select").expect("a name").with_schema("_s1").expect("a name");
        assert_eq!(table.quoted(), r#""_s1"."Select""#);
    }
}
