//! What a store on an SQL database says to the outside, whichever database it is.

/// The settings of a store, and its operations. The type has the fields `sql` and `table`; its module has the function
/// `statements`.
macro_rules! sql_store {
    ($Store:ident, $Database:ty) => {
        impl $Store {
            /// Names the table. Default: `sessile_sessions`.
            ///
            /// # Errors
            ///
            /// Where the name has anything but ASCII letters, digits and underscores, begins with a digit, or is longer
            /// than 48.
            pub fn with_table(mut self, name: &str) -> Result<Self, $crate::config::ConfigError> {
                self.table = self.table.with_name(name)?;
                self.sql.set_statements(statements(&self.table));
                Ok(self)
            }

            /// How long an operation may take, waiting for a connection or for its turn included. Default: 2 seconds.
            #[must_use]
            pub fn with_deadline(mut self, deadline: std::time::Duration) -> Self {
                self.sql.set_deadline(deadline);
                self
            }

            /// The pool.
            #[must_use]
            pub fn pool(&self) -> &sqlx::Pool<$Database> {
                self.sql.pool()
            }

            #[cfg(feature = "testing")]
            #[doc(hidden)]
            #[must_use]
            pub fn statements(&self) -> Vec<(&'static str, String)> {
                self.sql.statements()
            }
        }

        impl $crate::store::Store for $Store {
            async fn get(
                &self,
                id: &$crate::SessionId,
            ) -> Result<Option<$crate::store::Record>, $crate::store::StoreError> {
                self.sql.get(id).await
            }

            async fn set(
                &self,
                record: &$crate::store::Record,
                expected: $crate::store::Expected,
            ) -> Result<$crate::store::Outcome, $crate::store::StoreError> {
                self.sql.set(record, expected).await
            }

            async fn touch(
                &self,
                record: &$crate::store::Record,
                touch: $crate::store::Touch,
            ) -> Result<bool, $crate::store::StoreError> {
                self.sql.touch(record, touch).await
            }

            async fn delete(&self, id: &$crate::SessionId, _: Option<&str>) -> Result<bool, $crate::store::StoreError> {
                self.sql.delete(id).await
            }

            async fn owned_by(&self, owner: &str) -> Result<Vec<$crate::store::Record>, $crate::store::StoreError> {
                self.sql.owned_by(owner).await
            }

            async fn delete_expired(&self) -> Result<u64, $crate::store::StoreError> {
                self.sql.delete_expired().await
            }
        }
    };
}

pub(in crate::store) use sql_store;
