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

/// The clause of an insert that contains the new row.
pub(super) const VALUES: &str = "VALUES ($1, $2, $3, $4, $5, $6, $7)";

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
    untagged: Arc<str>,
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
    ///
    /// `order` begins with a space if it is not empty.
    pub(super) fn read<D: Dialect>(
        protocol: Protocol,
        (columns, table): (&str, &str),
        condition: &str,
        order: &str,
    ) -> Self {
        let select = |guard| format!("SELECT {columns} FROM {table} WHERE {condition}{guard}{order}");
        // A join need not keep the order, which is that of the ids.
        let outer_order = if order.is_empty() { "" } else { " ORDER BY id" };
        let guarded = select(" AND $guard");
        let tagged = format!("SELECT $tag, found.* FROM {ONE_ROW} LEFT JOIN ({guarded}) AS found ON true{outer_order}");
        Self::new::<D>(protocol, &select(""), &tagged)
    }

    /// Creates a statement from one that changes rows and ends with its condition.
    pub(super) fn write<D: Dialect>(protocol: Protocol, sql: &str) -> Self {
        Self::new::<D>(protocol, sql, &tagged_write(sql))
    }

    /// Creates the statement that inserts a record.
    pub(super) fn insert<D: Dialect>(protocol: Protocol, table: &str) -> Self {
        Self::new::<D>(protocol, &D::insert(table, VALUES), &tagged_write(&D::insert(table, D::GUARDED_ROW)))
    }

    /// Creates a statement from one that deletes rows and ends with its condition; it returns their ids.
    pub(super) fn delete_returning<D: Dialect>(protocol: Protocol, sql: &str) -> Self {
        let tagged = format!(
            "WITH deleted AS ({sql} AND $guard RETURNING id) \
             SELECT $tag, deleted.id FROM {ONE_ROW} LEFT JOIN deleted ON true"
        );
        Self::new::<D>(protocol, &format!("{sql} RETURNING id"), &tagged)
    }

    /// Creates a statement from its text without a tag and the one with a tag.
    ///
    /// In the latter, `$tag` stands for the tag and `$guard` for the condition that the statement has received it.
    fn new<D: Dialect>(protocol: Protocol, untagged: &str, tagged: &str) -> Self {
        let untagged: Arc<str> = if D::HAS_NUMBERED_PARAMETERS {
            untagged.into()
        } else {
            // The parameters of each statement are numbered in the order in which they stand in it.
            with_parameters(untagged, |_| "?".to_owned()).into()
        };
        if !D::IS_TAGGED {
            return Self { text: Arc::clone(&untagged), untagged, tag: None, protocol };
        }
        let tag = tag(tagged);
        let last = (1..).find(|number| !tagged.contains(&format!("${number}"))).unwrap_or(1);
        let tag_literal = literal(Parameter::Number(tag));
        let text = tagged.replace("$guard", &format!("${last} = {tag_literal}")).replace("$tag", &tag_literal);
        Self { text: text.into(), untagged, tag: Some(tag), protocol }
    }

    /// Returns the text without a tag, which needs a connection whose prepared statements are its own.
    pub(super) const fn untagged(&self) -> &Arc<str> {
        &self.untagged
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the tag, which is the first column of each row.
    pub(super) fn tag(&self) -> Option<i64> {
        self.tag
    }

    /// Returns the index of the first column after the tag.
    pub(super) fn first_column(&self) -> usize {
        usize::from(self.tag.is_some())
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

/// Returns the text with a tag of a statement that changes rows and ends with its condition.
fn tagged_write(sql: &str) -> String {
    format!("WITH changed AS ({sql} AND $guard RETURNING 1) SELECT $tag, count(*) FROM changed")
}

/// Returns a number that differs between statements, also between those of two tables.
fn tag(sql: &str) -> i64 {
    let digest = Sha256::digest(sql);
    digest.iter().take(8).fold(0, |tag, &byte| tag << 8 | i64::from(byte)) & i64::MAX
}

/// Returns the text with each parameter as a literal in place of its number.
fn with_literals(sql: &str, parameters: &[Parameter<'_>]) -> String {
    with_parameters(sql, |number| {
        let parameter = number.checked_sub(1).and_then(|index| parameters.get(index));
        parameter.map_or_else(String::new, |parameter| literal(*parameter))
    })
}

/// Returns the text with other text in place of each parameter's number.
fn with_parameters(sql: &str, parameter: impl Fn(usize) -> String) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|char: char| char.is_ascii_digit());
        text += &parameter(part[..part.len() - rest.len()].parse().unwrap_or_default());
        text += rest;
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
            let protocol = Protocol::Prepared;
            for statement in [
                Statement::read::<sqlx::Postgres>(protocol, ("id", table), "id = $1", ""),
                Statement::write::<sqlx::Postgres>(protocol, &format!("DELETE FROM {table} WHERE id = $1")),
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
