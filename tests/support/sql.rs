//! Tests that every store on an SQL server passes.

/// Declares the tests: type of the store, constructor of the server, type of the pool's options, SQL that creates the
/// schema `other`.
macro_rules! sql_server_tests {
    ($Store:ident, $server:ident, $PoolOptions:ty, $create_schema:literal) => {
        struct Stores(Server);

        /// Each store has its own proxy, which counts round trips.
        impl Fixture for Stores {
            type Store = ProxiedStore<$Store>;

            async fn open(&self) -> Self::Store {
                let proxy = Proxy::to(self.0.port()).await;
                let store = $Store::patient(&self.0.url_at(proxy.port())).await;
                store.migrate().await.unwrap();
                ProxiedStore { store, proxy }
            }

            async fn another(&self, _store: &Self::Store) -> Self::Store {
                self.open().await
            }

            fn spawn(&self, task: Task) {
                tokio::spawn(task);
            }

            async fn advance(&self, by: Duration) {
                tokio::time::sleep(by).await;
            }

            fn round_trips(&self, store: &Self::Store) -> Option<u64> {
                Some(store.proxy.round_trips())
            }
        }

        /// Connects a store and creates its table.
        async fn open(server: &Server) -> $Store {
            let store = $Store::patient(&server.url()).await;
            store.migrate().await.unwrap();
            store
        }

        /// The store passes the conformance suite.
        #[tokio::test(flavor = "multi_thread")]
        async fn it_keeps_every_rule_of_the_contract() {
            let report = check(&Stores(Server::$server())).await;
            eprintln!("{report}");
            report.assert();
        }

        /// Parallel writers on two nodes lose no change, and a sign-out on one node ends the session on both.
        #[tokio::test(flavor = "multi_thread")]
        async fn two_nodes_lose_nothing_and_end_together() {
            let server = Server::$server();
            nodes::parallel_writers_on_two_nodes_lose_nothing(open(&server).await, open(&server).await).await;
            nodes::a_sign_out_on_one_node_ends_the_session_on_both(open(&server).await, open(&server).await).await;
        }

        /// Acknowledged writes survive repeated kills of the server under load.
        #[tokio::test(flavor = "multi_thread")]
        async fn no_acknowledged_write_is_lost_while_the_server_is_killed() {
            let server = Server::$server();
            let store = open(&server).await;
            faults::no_acknowledged_write_is_lost(server, store).await;
        }

        /// Operations on a server that does not answer fail at the deadline.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_server_that_hangs_costs_the_deadline() {
            let server = Server::$server();
            let proxy = Proxy::to(server.port()).await;
            let store = $Store::patient(&server.url_at(proxy.port())).await;
            store.migrate().await.unwrap();
            let hasty = store.clone().with_deadline(Duration::from_millis(300));
            faults::a_server_that_hangs_costs_the_deadline(store, hasty, &proxy).await;
        }

        /// A write whose answer is lost is an error, and is not sent again.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_write_whose_answer_is_lost_is_not_repeated() {
            let stores = Stores(Server::$server());
            let ProxiedStore { store, proxy } = stores.open().await;
            faults::a_write_whose_answer_is_lost_is_not_repeated(store, stores.open().await, &proxy).await;
        }

        /// A read whose answer is lost is sent again.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_read_whose_answer_is_lost_is_repeated() {
            let stores = Stores(Server::$server());
            let ProxiedStore { store, proxy } = stores.open().await;
            faults::a_read_whose_answer_is_lost_is_repeated(store, &proxy).await;
        }

        /// The deadline includes the wait for a connection, and a closed pool is an error.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_pool_without_a_free_connection_costs_the_deadline() {
            let server = Server::$server();
            let pool = <$PoolOptions>::new().max_connections(1).connect(&server.url()).await.unwrap();
            let store = $Store::new(pool.clone()).with_deadline(PATIENCE);
            store.migrate().await.unwrap();
            let held = pool.acquire().await.unwrap();
            let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
            let hasty = store.clone().with_deadline(Duration::from_millis(200));
            assert_eq!(hasty.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
            drop(held);
            assert!(store.get(&id).await.unwrap().is_none());
            // The store holds no connection that would keep the pool open.
            pool.close().await;
            assert_eq!(store.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }

        /// The store returns its idle connections when the application closes the pool.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_shared_pool_can_be_closed_at_any_time() {
            let server = Server::$server();
            let pool = <$PoolOptions>::new().max_connections(4).connect(&server.url()).await.unwrap();
            let store = $Store::new(pool.clone()).with_deadline(PATIENCE);
            store.migrate().await.unwrap();
            let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
            for _ in 0..10 {
                assert!(store.get(&id).await.unwrap().is_none());
            }
            tokio::time::timeout(PATIENCE, pool.close()).await.expect("the pool closes");
        }

        /// Damaged records open no session, and the layer does not overwrite them.
        #[tokio::test(flavor = "multi_thread")]
        async fn damaged_records_open_no_session_and_stay() {
            let server = Server::$server();
            damage::damaged_records_open_no_session_and_stay(open(&server).await).await;
        }

        /// Two nodes that sweep at once delete each expired record once, and no live one.
        #[tokio::test(flavor = "multi_thread")]
        async fn concurrent_sweeps_delete_expired_records_only() {
            let stores = Stores(Server::$server());
            let (one, other) = (stores.open().await, stores.open().await);
            let before = one.proxy.round_trips() + other.proxy.round_trips();
            sweeps::concurrent_sweeps_delete_expired_records_only(one.clone(), other.clone()).await;
            assert!(one.proxy.round_trips() + other.proxy.round_trips() > before, "the sweeps bypass the proxies");
        }

        /// A node whose clock is wrong by hours neither deletes nor ends a live session.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_node_with_a_wrong_clock_ends_no_session() {
            let server = Server::$server();
            sweeps::a_node_with_a_wrong_clock_ends_no_session(async || open(&server).await).await;
        }

        /// The example programs continue a session after a restart.
        #[tokio::test(flavor = "multi_thread")]
        async fn the_examples_keep_their_sessions_here() {
            let server = Server::$server();
            databases::the_examples_keep_their_sessions_here(&server.url()).await;
        }

        /// Nodes that migrate at once create one table; a second schema gets its own table.
        #[tokio::test(flavor = "multi_thread")]
        async fn nodes_that_start_at_once_create_one_table() {
            let server = Server::$server();
            let store = $Store::patient(&server.url()).await.with_table("Sessions_new").unwrap();
            let mut nodes = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let store = store.clone();
                nodes.spawn(async move { store.migrate().await.unwrap() });
            }
            nodes.join_all().await;
            let record = damage::record(1, Some("a"));
            assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            assert_eq!(store.owned_by("a").await.unwrap().len(), 1);
            sqlx::raw_sql($create_schema).execute(store.pool()).await.unwrap();
            let other = store.clone().with_schema("other").unwrap();
            other.migrate().await.unwrap();
            assert!(other.get(record.id()).await.unwrap().is_none());
        }

        /// A table of the same name with other columns is an error, and stays as it is.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_table_with_other_columns_is_refused_and_unchanged() {
            let server = Server::$server();
            let store = open(&server).await;
            for (create, problem) in [
                ("CREATE TABLE other_table (id text, data text)", "has a column id of type text"),
                (
                    "CREATE TABLE other_table AS SELECT id, version, realm, owner, expires_at, state FROM sessile_sessions",
                    "has no column last_seen",
                ),
            ] {
                sqlx::raw_sql(create).execute(store.pool()).await.unwrap();
                let other = store.clone().with_table("other_table").unwrap();
                let error = other.migrate().await.unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::Unsupported);
                let source = std::error::Error::source(&error).unwrap().to_string();
                for part in ["other_table", problem, "with_table"] {
                    assert!(source.contains(part), "{source}");
                }
                assert_eq!(other.owned_by("a").await.unwrap_err().kind(), StoreErrorKind::Other, "a column was added");
                sqlx::raw_sql("DROP TABLE other_table").execute(store.pool()).await.unwrap();
            }
        }

        /// Checks a reader whose connections may not write: reads succeed, writes are unavailable.
        async fn check_read_only(store: &$Store, reader: &$Store) {
            let record = damage::record(1, Some("a"));
            assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            reader.migrate().await.unwrap();
            assert_eq!(reader.get(record.id()).await.unwrap().as_ref(), Some(&record));
            let refused = reader.set(&damage::record(2, None), Expected::Absent).await.unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused:?}");
            assert_eq!(reader.delete(record.id(), None).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
            assert_eq!(reader.delete_expired().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
    };
}
