//! What every store on an SQL server must do, as tests of this store.

/// The tests of a store: its type, how its server is made, its pool's options, and the SQL that makes and fills the table
/// `Old` as it would have been before last seen was kept.
macro_rules! tests_of_a_store_on_a_server {
    ($Store:ident, $server:ident, $PoolOptions:ty, $old_table:expr, $old_record:expr, $other_schema:literal) => {
        struct Stores(Server);

        /// Each store is behind a proxy of its own, which counts round trips.
        impl Fixture for Stores {
            type Store = Behind<$Store>;

            async fn open(&self) -> Self::Store {
                let proxy = Proxy::before(self.0.port()).await;
                let store = $Store::connect(&self.0.url_at(proxy.port())).await.unwrap();
                store.migrate().await.unwrap();
                Behind { store: store.with_deadline(Duration::from_secs(20)), proxy }
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

        /// A store on this server, whose table is there.
        async fn open(server: &Server) -> $Store {
            let store = $Store::connect(&server.url()).await.unwrap();
            store.migrate().await.unwrap();
            store
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn it_keeps_every_rule_of_the_contract() {
            let report = check(&Stores(Server::$server())).await;
            eprintln!("{report}");
            report.assert();
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn two_nodes_lose_nothing_and_end_together() {
            let server = Server::$server();
            nodes::nothing_is_lost_between_two_nodes(open(&server).await, open(&server).await).await;
            nodes::a_sign_out_on_one_node_ends_the_session_on_both(open(&server).await, open(&server).await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn nothing_acknowledged_is_lost_while_the_server_is_killed_again_and_again() {
            let server = Server::$server();
            let store = open(&server).await;
            faults::nothing_acknowledged_is_lost(server, store).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_server_that_hangs_costs_the_deadline() {
            let server = Server::$server();
            let proxy = Proxy::before(server.port()).await;
            let store = $Store::connect(&server.url_at(proxy.port())).await.unwrap();
            store.migrate().await.unwrap();
            let store = store.with_deadline(Duration::from_millis(300));
            faults::a_server_that_hangs_costs_the_deadline(store, &proxy).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_pool_without_a_free_connection_costs_the_deadline() {
            let server = Server::$server();
            let pool = <$PoolOptions>::new().max_connections(1).connect(&server.url()).await.unwrap();
            let store = $Store::new(pool.clone()).with_deadline(Duration::from_millis(200));
            store.migrate().await.unwrap();
            let held = pool.acquire().await.unwrap();
            let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
            assert_eq!(store.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
            drop(held);
            assert!(store.get(&id).await.unwrap().is_none());
            // Nothing keeps the pool from closing.
            pool.close().await;
            assert_eq!(store.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_pool_that_is_shared_can_be_closed_at_any_time() {
            let server = Server::$server();
            let pool = <$PoolOptions>::new().max_connections(4).connect(&server.url()).await.unwrap();
            let store = $Store::new(pool.clone());
            store.migrate().await.unwrap();
            let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
            for _ in 0..10 {
                assert!(store.get(&id).await.unwrap().is_none());
            }
            tokio::time::timeout(Duration::from_secs(30), pool.close()).await.expect("the pool closes");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn damaged_records_open_nothing_and_are_kept() {
            let server = Server::$server();
            damage::damaged_records_open_nothing_and_are_kept(open(&server).await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn two_nodes_that_sweep_at_once_delete_what_has_expired_and_nothing_else() {
            let stores = Stores(Server::$server());
            let (one, other) = (stores.open().await, stores.open().await);
            let before = one.proxy.round_trips() + other.proxy.round_trips();
            sweeps::two_nodes_that_sweep_at_once_delete_what_has_expired_and_nothing_else(one.clone(), other.clone())
                .await;
            assert!(one.proxy.round_trips() + other.proxy.round_trips() > before, "they went through the proxies");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_node_whose_clock_is_hours_off_ends_nobodys_session() {
            let server = Server::$server();
            sweeps::a_node_whose_clock_is_hours_off_ends_nobodys_session(async || open(&server).await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn the_examples_keep_their_sessions_here() {
            let server = Server::$server();
            databases::the_examples_keep_their_sessions_here(&server.url()).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn nodes_that_start_at_once_make_one_table_and_an_old_one_is_upgraded() {
            let server = Server::$server();
            let store = $Store::connect(&server.url()).await.unwrap().with_table("Old").unwrap();
            let pool = store.pool().clone();
            sqlx::raw_sql($old_table).execute(&pool).await.unwrap();
            sqlx::raw_sql($old_record).execute(&pool).await.unwrap();
            assert_eq!(store.owned_by("a").await.unwrap_err().kind(), StoreErrorKind::Other, "before the upgrade");
            for table in ["Old", "sessions_new"] {
                let mut nodes = tokio::task::JoinSet::new();
                for _ in 0..8 {
                    let store = store.clone().with_table(table).unwrap();
                    nodes.spawn(async move { store.migrate().await.unwrap() });
                }
                nodes.join_all().await;
            }
            assert_eq!(store.owned_by("a").await.unwrap().len(), 1);
            let record = damage::record(1, Some("a"));
            assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            // A table of something else is left alone.
            sqlx::raw_sql("CREATE TABLE foreign_table (id text, data text)").execute(&pool).await.unwrap();
            let foreign = store.clone().with_table("foreign_table").unwrap();
            assert_eq!(foreign.migrate().await.unwrap_err().kind(), StoreErrorKind::Unsupported);
            // And there may be two, each with a schema of its own.
            sqlx::raw_sql($other_schema).execute(&pool).await.unwrap();
            let other = store.clone().with_schema("other").unwrap();
            other.migrate().await.unwrap();
            assert!(other.get(record.id()).await.unwrap().is_none());
        }

        /// Writers are told; readers are served. The reader's connections may not write.
        async fn a_store_that_may_not_write_serves_readers(store: &$Store, reader: &$Store) {
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
