//! A statement of a store and its parameters, in both protocols of PostgreSQL.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use uuid::Uuid;

use super::Dialect;
use super::dialect::Driver;
use crate::error::StoreError;

/// A table of one row, whose name cannot be that of a store's table.
const ONE_ROW: &str = "(SELECT 1) AS \"one row\"";

/// Protocol by which a connection sends statements and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "the other databases have one protocol"))]
pub(in crate::store) enum Protocol {
    /// As a prepared statement, which a connection sends once.
    Prepared,
    /// As the text of one message, with the parameters as literals and the answer as text.
    Simple,
}

/// A statement, built once per store, so that connections can cache the prepared statement.
///
/// A pooler that gives a connection's prepared statement to another server connection runs another statement there. The statements
/// of PostgreSQL have a tag against this, a number that depends on their text. It is their last parameter, and a statement has no
/// effect if it receives another number. It is also the first column of each answer, which has at least one row.
pub(super) struct Statement {
    text: Arc<str>,
    tag: Option<i64>,
    protocol: Protocol,
}

/// Value of a statement's parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parameter<'a> {
    Id(Uuid),
    Number(i64),
    Bytes(Option<&'a [u8]>),
}

impl Statement {
    /// Creates a statement that returns columns of the rows of `table` for which `condition` is true.
    pub(super) fn read<D: Dialect>(
        protocol: Protocol,
        (columns, table): (&str, &str),
        (condition, order): (&str, &str),
    ) -> Self {
        Self::new::<D>(
            protocol,
            if D::IS_TAGGED {
                format!("SELECT $tag, {columns} FROM {ONE_ROW} LEFT JOIN {table} ON {condition} AND $guard{order}")
            } else {
                format!("SELECT {columns} FROM {table} WHERE {condition}{order}")
            },
        )
    }

    /// Creates a statement from one that changes rows and ends with its condition.
    pub(super) fn write<D: Dialect>(protocol: Protocol, sql: String) -> Self {
        Self::new::<D>(
            protocol,
            if D::IS_TAGGED {
                format!("WITH changed AS ({sql} AND $guard RETURNING 1) SELECT $tag, count(*) FROM changed")
            } else {
                sql
            },
        )
    }

    /// Creates a statement from one that deletes rows and ends with its condition; it returns their ids.
    pub(super) fn delete_returning<D: Dialect>(protocol: Protocol, sql: &str) -> Self {
        Self::new::<D>(
            protocol,
            if D::IS_TAGGED {
                format!(
                    "WITH deleted AS ({sql} AND $guard RETURNING id) \
                     SELECT $tag, deleted.id FROM {ONE_ROW} LEFT JOIN deleted ON true"
                )
            } else {
                format!("{sql} RETURNING id")
            },
        )
    }

    /// Creates a statement from its text, in which `$tag` stands for its tag and `$guard` for the condition that it has received it.
    fn new<D: Dialect>(protocol: Protocol, sql: String) -> Self {
        if !D::IS_TAGGED {
            // The parameters of each statement are numbered in the order in which they stand in it.
            let numbered = |sql: String| (1..=8).fold(sql, |sql, number| sql.replace(&format!("${number}"), "?"));
            let text = if D::HAS_NUMBERED_PARAMETERS { sql } else { numbered(sql) };
            return Self { text: text.into(), tag: None, protocol };
        }
        let tag = tag(&sql);
        let last = (1..).find(|number| !sql.contains(&format!("${number}"))).unwrap_or(1);
        let tag_literal = literal(Parameter::Number(tag));
        let text = sql.replace("$guard", &format!("${last} = {tag_literal}")).replace("$tag", &tag_literal);
        Self { text: text.into(), tag: Some(tag), protocol }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the tag, which is the first column of each row.
    pub(super) fn tag(&self) -> Option<i64> {
        self.tag
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the text, and the parameters unless they are in it.
    pub(super) fn call<D: Driver>(
        &self,
        parameters: &[Parameter<'_>],
    ) -> Result<(SqlStr, Option<D::Arguments>), StoreError> {
        let all = parameters.iter().copied().chain(self.tag.map(Parameter::Number));
        match self.protocol {
            Protocol::Prepared => {
                let arguments = D::arguments(all).map_err(StoreError::unsupported)?;
                Ok((AssertSqlSafe(Arc::clone(&self.text)).into_sql_str(), Some(arguments)))
            }
            Protocol::Simple => {
                let text = with_literals(&self.text, &all.collect::<Vec<_>>());
                Ok((AssertSqlSafe(text).into_sql_str(), None))
            }
        }
    }
}

/// Returns a number that differs between statements, also between those of two tables.
fn tag(sql: &str) -> i64 {
    let digest = Sha256::digest(sql);
    digest.iter().take(8).fold(0, |tag, &byte| tag << 8 | i64::from(byte)) & i64::MAX
}

/// Returns the text with each parameter as a literal in place of its number.
fn with_literals(sql: &str, parameters: &[Parameter<'_>]) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|char: char| char.is_ascii_digit());
        let number = part[..part.len() - rest.len()].parse::<usize>().unwrap_or_default();
        if let Some(parameter) = number.checked_sub(1).and_then(|index| parameters.get(index)) {
            text += &literal(*parameter);
            text += rest;
        }
    }
    text
}

/// Returns a parameter as a literal of PostgreSQL.
///
/// It consists of digits, hexadecimal digits, hyphens and the text below, whatever the parameter's value. It has no backslash, so it
/// means the same with `standard_conforming_strings = off`.
fn literal(parameter: Parameter<'_>) -> String {
    match parameter {
        Parameter::Id(id) => format!("'{}'::uuid", id.hyphenated()),
        Parameter::Number(number) => format!("'{number}'::bigint"),
        Parameter::Bytes(None) => "NULL::bytea".to_owned(),
        Parameter::Bytes(Some(bytes)) => {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let digits = digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
            let mut text = String::with_capacity(2 * bytes.len() + 20);
            text += "decode('";
            text.extend(digits);
            text += "', 'hex')";
            text
        }
    }
}

/// Decodes what `encode(…, 'hex')` returns.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    /// A literal has no character that could end it, whatever the value.
    #[test]
    fn literals_contain_digits_only() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        for (parameter, expected) in [
            (Parameter::Id(Uuid::from_u128(0xab)), "'00000000-0000-0000-0000-0000000000ab'::uuid"),
            (Parameter::Number(i64::MIN), "'-9223372036854775808'::bigint"),
            (Parameter::Bytes(None), "NULL::bytea"),
            (Parameter::Bytes(Some(b"'$1\\")), "decode('2724315c', 'hex')"),
            (Parameter::Bytes(Some(b"")), "decode('', 'hex')"),
        ] {
            assert_eq!(literal(parameter), expected);
        }
        let text = literal(Parameter::Bytes(Some(&all)));
        let digits = text.strip_prefix("decode('").and_then(|rest| rest.strip_suffix("', 'hex')")).expect("a literal");
        assert_eq!(from_hex(digits).as_ref(), Some(&all));
    }

    /// Each parameter replaces its own number, and never a part of another parameter.
    #[test]
    fn literals_replace_their_numbers() {
        let parameters = [Parameter::Number(1), Parameter::Bytes(Some(b"$1"))];
        assert_eq!(
            with_literals("a = $2 AND b = $1 AND c = $2", &parameters),
            "a = decode('2431', 'hex') AND b = '1'::bigint AND c = decode('2431', 'hex')"
        );
    }

    /// Text of an odd length, or with another character, is no hexadecimal text.
    #[test]
    fn only_hexadecimal_text_is_decoded() {
        assert_eq!(from_hex("00fF").as_deref(), Some(&[0, 255][..]));
        for bad in ["0", "0g", "+1", "0x", "\\x00"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    /// The tags of all statements of two tables differ, and each is a parameter and a column.
    #[test]
    fn each_statement_has_a_tag_of_its_own() {
        let mut tags = std::collections::HashSet::new();
        for table in ["this_table", "that_table"] {
            let condition = ("id = $1", "");
            let protocol = Protocol::Prepared;
            for statement in [
                Statement::read::<sqlx::Postgres>(protocol, ("id", table), condition),
                Statement::write::<sqlx::Postgres>(protocol, format!("DELETE FROM {table} WHERE id = $1")),
                Statement::delete_returning::<sqlx::Postgres>(protocol, &format!("DELETE FROM {table} WHERE id = $1")),
            ] {
                let tag = statement.tag().expect("a tag");
                assert!(tags.insert(tag), "{}", statement.text());
                assert!(statement.text().contains(&format!("$2 = '{tag}'::bigint")), "{}", statement.text());
                assert!(statement.text().contains(&format!("SELECT '{tag}'::bigint")), "{}", statement.text());
            }
        }
    }
}
