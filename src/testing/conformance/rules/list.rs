//! The list of the rules. A rule is the function of its name, or with `=> function(data)` a call that rules share.

/// Creates a test for each [rule](crate::testing::conformance::Rule) of the contract of a store.
///
/// Takes the attributes of a test and an expression that creates a
/// [`Fixture`](crate::testing::conformance::Fixture). The expression is evaluated in each test and may await. A test
/// panics with the rule and how the store breaks it. The [module](crate::testing::conformance) has an example.
#[macro_export]
macro_rules! conformance_tests {
    (@list $then:tt) => { $crate::conformance_tests! { @each $then
        fields Nothing {
            every_field_is_kept: "A record is returned with the id, version, realm, owner, times and state that were written.";
            an_unknown_id_is_absent: "Get returns nothing for an id that was never written.";
            any_uuid_can_be_an_id: "An id can be any UUID, not only a time-ordered one.";
            versions_up_to_the_largest_i64_are_kept: "Versions of up to 2^63 - 1 are kept.";
            large_versions_that_differ_by_one_are_distinct: "Versions are compared as integers, also above 2^53.";
            an_empty_state_is_kept: "A state of zero bytes is a valid state."
                => states_are_kept(&[b""]);
            every_byte_value_is_kept: "A state is kept as bytes, of all 256 values, and not as text.";
            bytes_at_both_ends_of_a_state_are_kept: "A state is neither trimmed nor padded."
                => states_are_kept(&[
                    &[0], &[0; 64], b"\0\0state\0\0", b"  state  ",
                    b"\r\nstate\r\n\n", b"\xef\xbb\xbfstate\x1a",
                ]);
            a_state_of_1_mib_is_kept: "A state of 1 MiB is kept whole."
                => a_large_state_is_kept(1 << 20);
            a_state_of_16_mib_is_kept: "A state of 16 MiB is kept whole."
                => a_large_state_is_kept(16 << 20);
            realms_are_kept: "A realm of up to 255 visible ASCII characters is kept.";
            a_missing_and_an_empty_owner_are_distinct: "A missing owner stays missing, and an empty owner stays empty.";
            owners_in_every_script_are_kept: "An owner can be any text, combining characters and emoji included."
                => owners_are_kept(&[
                    "Ἀθηνᾶ", "محمد‏", "東京 さん", "é e\u{301}", "👩‍👩‍👧‍👦 𝔘𝔰𝔢𝔯",
                    "\u{feff}user\u{200b}", "ﬁ ß İ ı",
                ]);
            owners_with_quotes_are_kept: "Quotes, backslashes and SQL in an owner are text like any other."
                => owners_are_kept(&[
                    "' or ''='", "\"user\"", "`user`", "\\' \\n \\", "'; drop table sessions; --",
                    "{$1} %s ?1 :a\r\n*1\t",
                ]);
            owners_of_300_characters_are_kept: "An owner of 300 characters of four bytes is kept whole."
                => owners_are_kept(&[&"u".repeat(300), &"𝔲".repeat(300)]);
            an_owner_with_a_nul_is_kept_or_refused: "An owner with a NUL is kept or refused with an error, never cut off.";
            milliseconds_are_kept: "Last seen and expiry are kept to the millisecond.";
            times_of_every_utc_offset_are_kept: "A time with another UTC offset is kept as the same instant.";
            times_before_1970_are_kept: "A last-seen time before 1970 is kept."
                => last_seen_times_are_kept(&[-1, -1_500, -2_160_000_000_123]);
            times_after_2038_are_kept: "An expiry beyond the range of a 32-bit count of seconds is kept."
                => expiries_are_kept(&[(1 << 31) * 1_000 + 789, (1 << 32) * 1_000 + 789, 16_730_000_000_789]);
            the_end_of_the_year_9999_is_kept: "Set and touch keep the latest possible expiry."
                => expiries_are_kept(&[253_402_300_799_999]);
        }
        set Nothing {
            set_absent_creates_a_record: "Set with `Expected::Absent` writes if no record is stored.";
            set_absent_is_refused_if_a_record_exists: "Set with `Expected::Absent` leaves a live record unchanged.";
            set_replaces_the_expected_version: "Set writes if the stored version is the expected one.";
            set_expecting_an_older_version_is_refused: "Set changes nothing if the stored version is newer than expected.";
            set_expecting_a_newer_version_is_refused: "Set changes nothing if the stored version is older than expected.";
            set_of_a_version_creates_nothing: "Set with an expected version is refused if no record was ever written.";
            set_of_a_version_revives_nothing: "Set with the version of a deleted record is refused and revives nothing.";
            set_replaces_every_field: "Set replaces the whole record.";
            set_can_move_the_expiry_earlier: "Set can move the expiry to an earlier time, and the record expires then.";
            set_can_move_the_expiry_later: "Set can move the expiry to a later time, and the record lives on.";
            records_are_independent: "An operation on one record changes no other record.";
        }
        keeping_times Nothing {
            set_keeping_times_leaves_the_times_of_a_touch:
                "Set with `VersionKeepingTimes` leaves the times that a touch has moved between get and set.";
            set_keeping_times_ignores_the_times_it_is_given:
                "Set with `VersionKeepingTimes` leaves the stored times, whatever the times of the given record are.";
            set_keeping_times_replaces_all_other_fields:
                "Set with `VersionKeepingTimes` replaces version, realm, owner and state, as any set does.";
            set_keeping_times_of_another_version_is_refused:
                "Set with `VersionKeepingTimes` of an older or newer version changes nothing.";
            set_keeping_times_of_an_absent_record_is_refused:
                "Set with `VersionKeepingTimes` of an unknown or deleted id is refused and creates nothing.";
            set_keeping_times_revives_no_expired_record:
                "Set with `VersionKeepingTimes` of an expired record is refused and revives nothing.";
            set_keeping_times_does_not_prolong_a_life:
                "A record expires at its stored expiry after a set with `VersionKeepingTimes` of a later one.";
            set_keeping_times_does_not_shorten_a_life:
                "A record and its place in the owner's list outlive the expiry given with `VersionKeepingTimes`.";
            set_keeping_times_undoes_no_concurrent_touch: "Concurrent sets with `VersionKeepingTimes` undo no touch.";
        }
        expiry Nothing {
            a_record_is_absent_once_it_has_expired: "Get returns nothing after the expiry, by the store's clock.";
            set_of_a_version_is_refused_after_expiry: "Set with the version of an expired record is refused.";
            set_absent_replaces_an_expired_record: "Set with `Expected::Absent` writes over an expired record.";
            touch_does_not_revive_an_expired_record: "Touch of an expired record returns false and revives nothing.";
            delete_of_an_expired_record_returns_false: "Delete of an expired record returns false.";
            a_record_written_as_expired_is_absent: "A record whose expiry has passed can be written, and is absent.";
            set_with_a_past_expiry_ends_a_record: "Set with a past expiry writes over a live record and ends it.";
            delete_expired_keeps_live_records: "Delete_expired keeps live records, with and without an owner.";
            delete_expired_keeps_touched_records: "Delete_expired keeps a record that a touch has prolonged.";
        }
        expiry Sweeps {
            delete_expired_returns_the_number_deleted: "Delete_expired returns the number of expired records.";
            delete_expired_counts_each_record_once: "A second delete_expired has nothing left to delete.";
        }
        touch Nothing {
            touch_moves_only_last_seen_and_expiry: "Touch moves last seen and expiry, and leaves the other fields.";
            touch_of_another_version_does_nothing: "Touch of an older or newer version returns false.";
            touch_of_an_absent_record_creates_nothing: "Touch of an unknown or deleted id returns false.";
            touch_never_moves_the_expiry_back: "Touch with an earlier expiry returns true and leaves the expiry.";
            touch_never_moves_last_seen_back: "Touch with an earlier last-seen time returns true and leaves it.";
            touch_leaves_the_version_for_the_next_set: "A set that was prepared before a touch is still written.";
            touch_keeps_a_record_past_its_first_expiry: "A touched record lives past the expiry that it was written with.";
            touch_of_the_record_as_read_moves_its_times: "Touch takes a record as get returned it, with its present owner.";
            touch_after_a_change_of_owner_does_nothing: "Touch of a record read before its owner changed returns false.";
        }
        delete Nothing {
            delete_returns_true_once: "Delete of a live record returns true, and false from then on.";
            delete_ignores_the_version: "Delete removes the record whatever its version.";
            delete_of_an_unknown_id_returns_false: "Delete of an id that was never written returns false.";
            a_deleted_id_can_be_created_again: "Set with `Expected::Absent` writes after a delete, with no old field left.";
            delete_with_the_owner_removes_the_record: "Delete with the record's owner removes it, from the owner's list too.";
            delete_without_an_owner_removes_the_record: "Delete without an owner removes it, from the owner's list too.";
            delete_with_an_outdated_owner_removes_the_record: "Delete with an earlier owner removes it, from both lists.";
            delete_with_a_wrong_owner_removes_the_record: "Delete with another owner removes only the record of this id.";
        }
        owners NoOwners {
            owned_by_without_an_index_is_unsupported: "Owned_by of a store without an index of owners is `Unsupported`.";
        }
        owners Owners {
            owned_by_lists_the_owners_sessions: "Owned_by lists the owner's live sessions and no other.";
            owned_by_lists_the_oldest_first: "Owned_by lists by id, in whatever order the sessions were written.";
            owned_by_lists_whole_records: "Owned_by returns the same records as get, also after sets and touches.";
            owned_by_lists_sessions_of_every_realm: "Owned_by lists the owner's sessions of every realm.";
            owned_by_of_an_unknown_owner_is_empty: "Owned_by of an owner without sessions returns an empty list.";
            owned_by_lists_a_session_after_sign_in: "Owned_by lists a session once a set gives it an owner.";
            owned_by_follows_a_change_of_owner: "Owned_by of the former owner omits a session that a set gave away.";
            owned_by_lists_a_rewritten_session_once: "Owned_by lists a session once, however often it was written.";
            owned_by_omits_deleted_sessions: "Owned_by omits deleted sessions.";
            owned_by_omits_expired_sessions: "Owned_by omits expired sessions and lists the owner's others.";
            owned_by_omits_an_expired_id_that_was_replaced: "An expired id that another owner creates is only that owner's.";
            owned_by_lists_touched_sessions: "Owned_by lists a touched session past its first expiry.";
            a_refused_set_changes_no_list: "A refused set leaves the lists of all owners unchanged.";
            owned_by_omits_sessions_without_an_owner: "Sessions without an owner are not those of the empty owner.";
            owned_by_lists_300_sessions: "Owned_by lists all of 300 sessions, each once, in order.";
            owned_by_is_exact_after_concurrent_sets: "After concurrent changes of owner, only the last owner has the session.";
            owners_differ_by_case: "`User:1` and `user:1` are two owners."
                => owners_are_distinct(&["User:1", "user:1", "USER:1", "ΣΣ", "σς"]);
            owners_differ_by_spaces: "Spaces at either end of an owner are significant.";
            owners_differ_by_accents_and_composition: "Owners are compared byte by byte, without Unicode normalization."
                => owners_are_distinct(&[
                    "renee", "renée", "rene\u{301}e", "strasse", "straße",
                    "ﬁ", "fi", "i", "ı", "a\u{200b}", "a",
                ]);
            wildcards_in_an_owner_match_only_themselves: "`%`, `_`, `*`, `?` and `[a-z]` in an owner match only themselves."
                => owners_are_distinct(&["user", "%", "_ser", "u%", "*", "u*", "?ser", "[a-z]ser", "u.*", "us\\er"]);
            long_owners_differ_by_their_last_character: "Owners of 300 characters are compared up to the last one.";
            a_prefix_of_an_owner_is_another_owner: "`user:1` has no session of `user:12` or of `user:1:admin`."
                => owners_are_distinct(&["user:1", "user:12", "user:1:admin", "user:1:", "user:1\u{1}"]);
        }
        delete_owned NoOwners {
            delete_owned_by_without_an_index_is_unsupported:
                "Delete_owned_by of a store without an index of owners is `Unsupported`.";
        }
        delete_owned Owners {
            delete_owned_by_deletes_the_owners_sessions:
                "Delete_owned_by deletes the owner's sessions and no other, and returns their ids.";
            delete_owned_by_of_a_realm_leaves_the_others:
                "Delete_owned_by of a realm leaves the owner's sessions of other realms.";
            delete_owned_by_keeps_the_given_session: "Delete_owned_by leaves the session that it is given to keep.";
            delete_owned_by_of_an_unknown_owner_is_empty:
                "Delete_owned_by of an owner without sessions deletes nothing and returns an empty list.";
            delete_owned_by_follows_a_change_of_owner:
                "Delete_owned_by of a former owner leaves a session that a set gave away.";
            delete_owned_by_omits_expired_sessions: "Delete_owned_by returns no id of an expired session.";
            delete_owned_by_compares_owners_by_bytes:
                "Delete_owned_by compares owners byte by byte: case, spaces, accents and wildcards count.";
            delete_owned_by_deletes_300_sessions: "Delete_owned_by deletes all of 300 sessions and returns each id once.";
            delete_owned_by_frees_the_ids:
                "A session that delete_owned_by deleted is absent to set, touch and delete; its id can be created again.";
            a_set_during_delete_owned_by_revives_nothing:
                "A session is absent after delete_owned_by, also with a concurrent set.";
            delete_owned_by_returns_each_id_once: "Of concurrent calls of delete_owned_by, one returns each id.";
        }
        ids_of NoOwners {
            ids_of_without_an_index_is_unsupported: "Ids_of of a store without an index of owners is `Unsupported`.";
        }
        ids_of Owners {
            ids_of_returns_the_owners_sessions: "Ids_of returns the ids of the owner's live sessions and no other.";
            ids_of_returns_the_smallest_first: "Ids_of returns ids in ascending order, in whatever order they were written.";
            ids_of_a_realm_omits_the_others: "Ids_of with a realm returns the owner's sessions of that realm only.";
            ids_of_an_unknown_owner_is_empty: "Ids_of of an owner without sessions returns an empty list.";
            ids_of_follows_a_change_of_owner: "Ids_of of a former owner omits a session that a set gave away.";
            ids_of_omits_deleted_and_expired_sessions: "Ids_of omits deleted and expired sessions.";
            ids_of_compares_owners_by_bytes:
                "Ids_of compares owners byte by byte: case, spaces, accents and wildcards count.";
            ids_of_returns_300_sessions: "Ids_of returns all of 300 sessions, each once, in order.";
            ids_of_changes_nothing: "Ids_of changes no record and no list.";
            another_connection_sees_ids_of: "Ids_of follows the sets and deletes of another connection.";
        }
        summaries Nothing {
            summaries_of_returns_versions_and_times: "Summaries_of returns version and times as get does, also after sets and touches.";
            summaries_of_answers_in_the_order_of_the_ids: "Summaries_of answers in the order of the ids that it is given.";
            summaries_of_answers_each_id: "Summaries_of answers an id that is given twice twice, and no id with an empty list.";
            summaries_of_an_absent_record_is_none: "Summaries_of returns `None` for an unknown, deleted or expired record.";
            summaries_of_answers_1000_ids: "Summaries_of answers 1,000 ids, most of them unknown.";
            summaries_of_changes_nothing: "Summaries_of changes no record.";
            another_connection_sees_summaries_of: "Summaries_of follows the sets and deletes of another connection.";
            ping_succeeds_and_changes_nothing: "Ping of a store that works succeeds, and changes no record.";
        }
        listing NoListing {
            list_without_a_listing_is_unsupported: "List of a store that cannot list its records is `Unsupported`.";
        }
        listing Listing {
            list_returns_each_live_record_once: "List returns each live record of every realm once and whole, if none changes."
                => each_record_is_listed_once(7);
            list_in_pages_of_1_returns_each_record_once: "List with a limit of 1 returns each live record once."
                => each_record_is_listed_once(1);
            list_with_a_limit_of_0_returns_each_record_once: "List takes a limit of 0 as 1."
                => each_record_is_listed_once(0);
            list_with_the_largest_limit_returns_each_record_once: "List takes any limit, up to `usize::MAX`."
                => each_record_is_listed_once(usize::MAX);
            list_and_count_omit_deleted_and_expired_records: "List and count omit deleted and expired records.";
            list_returns_pages_of_about_the_limit: "A page of 3 has at most half of 60 records.";
            list_continues_after_a_deleted_record: "List continues after a page whose records were all deleted.";
            list_continues_on_another_connection: "A cursor is valid on another connection.";
            list_misses_no_record_while_others_change:
                "A record that is live throughout is listed, though others are created and deleted between pages.";
            list_misses_no_record_that_changes:
                "A record that is live throughout is listed, though it is set and touched between pages.";
            list_refuses_or_ends_after_a_foreign_cursor:
                "List refuses the cursor of another store, or lists live records from some position to the end.";
            list_and_count_change_nothing: "List and count change no record and no list.";
            count_follows_creates_and_deletes:
                "Count grows with each record that is created, of any realm, and shrinks with each that is deleted.";
        }
        races Nothing {
            each_version_is_written_by_one: "Of 200 concurrent writers each writes one version, and none is lost.";
            one_of_many_creators_writes: "Of 50 concurrent sets with `Expected::Absent`, one is written.";
            one_of_many_deletes_returns_true: "Of 20 concurrent deletes of one record, one returns true.";
            a_set_during_a_delete_revives_nothing: "A record is absent after a delete, also with a concurrent set.";
            a_touch_during_a_delete_revives_nothing: "A record is absent after a delete, also with a concurrent touch.";
            touches_during_sets_undo_no_set: "Concurrent touches undo no set.";
            a_get_during_sets_sees_a_whole_record: "Get never returns fields of two versions of a record.";
        }
        interruptions Nothing {
            a_dropped_set_has_happened_or_not: "A set whose future is dropped is made whole or not at all.";
            a_dropped_set_keeping_times_has_happened_or_not:
                "A set with `VersionKeepingTimes` whose future is dropped is made whole or not at all.";
            a_dropped_touch_has_happened_or_not: "A touch whose future is dropped is made whole or not at all.";
            a_dropped_delete_has_happened_or_not: "A delete whose future is dropped is made whole or not at all.";
        }
        interruptions Owners {
            a_dropped_delete_owned_by_leaves_whole_records:
                "After a delete_owned_by whose future is dropped, each record is deleted or whole.";
        }
        set Nothing {
            another_connection_sees_a_set: "A get by another connection returns what a set has written.";
            a_set_by_another_connection_counts: "A set is refused if another connection has written since.";
        }
        touch Nothing {
            another_connection_sees_a_touch: "A get by another connection returns what a touch has moved.";
        }
        delete Nothing {
            another_connection_sees_a_delete: "A deleted record is absent to every operation of another connection.";
        }
        owners Owners {
            another_connection_lists_the_owners_sessions: "Owned_by follows the sets of another connection.";
        }
        delete_owned Owners {
            another_connection_sees_delete_owned_by:
                "A session that delete_owned_by deleted is absent to another connection.";
        }
        round_trips RoundTrips {
            get_costs_one_round_trip: "A get costs one round trip, whether or not it finds a record.";
            set_costs_one_round_trip: "A set costs one round trip, whether it creates, replaces or is refused.";
            touch_costs_one_round_trip: "A touch costs one round trip, whether or not it moves anything.";
            delete_costs_one_round_trip: "A delete costs one round trip, whether or not it finds a record.";
            delete_owned_by_costs_two_round_trips_at_most:
                "Delete_owned_by costs at most two round trips, however many sessions the owner has.";
            ids_of_costs_two_round_trips_at_most:
                "Ids_of costs at most two round trips, however many sessions the owner has.";
            summaries_of_costs_two_round_trips_at_most: "Summaries_of 50 ids costs at most two round trips.";
            ping_costs_one_round_trip: "A ping costs one round trip.";
        }
    } };
    (@each [@rules] $($module:ident $needs:ident {
        $($name:ident: $sentence:literal $(=> $check:ident($data:expr))?;)+
    })+) => {
        &[$($(Rule {
            name: stringify!($name),
            sentence: $sentence,
            needs: Needs::$needs,
            run: $crate::conformance_tests! { @run $module $name $($check $data)? },
        }),+),+]
    };
    (@run $module:ident $name:ident) => { |probe| $module::$name(probe).boxed() };
    (@run $module:ident $name:ident $check:ident $data:expr) => {
        |probe| async move { $module::$check(probe, $data).await }.boxed()
    };
    (@each [@tests $attributes:tt $fixture:tt] $($module:ident $needs:ident {
        $($name:ident: $sentence:literal $(=> $check:ident($data:expr))?;)+
    })+) => {
        $($($crate::conformance_tests! { @test $attributes $fixture $name $sentence })+)+
    };
    (@test [$($attribute:tt)+] [$fixture:expr] $name:ident $sentence:literal) => {
        #[doc = $sentence]
        $($attribute)+
        async fn $name() {
            let fixture = $fixture;
            let rule = $crate::testing::conformance::Rule::named(stringify!($name)).expect("the suite has the rule");
            rule.assert(&fixture).await;
        }
    };
    ($(#[$attribute:meta])+ $fixture:expr) => {
        $crate::conformance_tests! { @list [@tests [$(#[$attribute])+] [$fixture]] }
    };
}
