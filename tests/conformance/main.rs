//! The conformance suite: every case is written once, over [`api::Api`], and runs twice, on the
//! Rust API and through the C functions of the shared library. A test's name says on which side:
//! `rust::graph::create_empty`, `c::graph::create_empty`.
//!
//! | file | what it holds |
//! |---|---|
//! | `api` | what a store can do, in plain words: the trait, its options and its results |
//! | `rust_api` | the Rust side |
//! | `c_abi` | the header's declarations by hand |
//! | `c_call`, `c_handle` | one call and its error; handles |
//! | `c_api` | the C side |
//! | `images` | images, on both sides |
//! | `world`, `tar` | what the cases share |
//! | `cases/*` | the cases: the peers' (with their rows in `row N`), and the contract's own |
//! | `page` | the page that names the cases, `docs/conformance.md` |
//! | `both` | one store seen from both sides at once |
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod api;
mod both;
mod c_abi;
mod c_api;
mod c_call;
mod c_handle;
mod cases;
mod images;
mod page;
mod rust_api;
mod tar;
mod world;

use api::Api;
use support::fsys;
use world::World;

/// Runs a case on one side, in a mount namespace and on a tmpfs of its own.
fn run<A: Api>(case: impl FnOnce(&World<'_, A>) + Send) {
    require!("root", "overlay");
    fsys::with_mounts(|base| case(&World::new(base)));
}

macro_rules! suite {
    ($($module:ident: $($case:ident)+;)+) => {
        mod rust {
            $(mod $module {
                $(#[test]
                fn $case() {
                    crate::run::<crate::rust_api::Rust>(crate::cases::$module::$case);
                })+
            })+
        }

        mod c {
            $(mod $module {
                $(#[test]
                fn $case() {
                    crate::run::<crate::c_api::C>(crate::cases::$module::$case);
                })+
            })+
        }
    };
}

// A case that is not listed here is dead code, and the compiler says so.
suite! {
    graph: create_empty create_base create_snap deep_layer_read diff_apply diff_of_a_running_layer
        init_layer_is_seen size_is_the_containers_own changes_are_exactly_four
        apply_onto_a_writable_layer root_mode_is_inherited create_from_template echo
        three_hundred_layers;
    tools: list_is_what_was_made leaves_go_first mounts_are_counted changes_of_each_layer
        diff_is_its_own_files diff_remove_apply apply_takes_the_place junk_leaves_no_layer;
    snapshot: parents_and_states names_are_taken_once removed_names_are_free
        stat_of_all_that_is_listed same_second_same_size a_new_directory_hides_the_old
        chown_keeps_the_rest directories_keep_their_modes what_went_stays_away
        directories_from_below_are_not_renamed a_view_is_not_written roots_are_0755;
    apply: whiteouts implied_parents odd_names empty_and_slow global_headers links attributes
        labels_are_the_hosts without_xattrs shared_files_stay;
    escape: symlinks one_over_another hard_links whiteouts;
    resolve: names shapes paths_resolve_inside trees_that_became_links;
    hold: full_disks opened_again mounts_inside immutable_files each_of_many_layers specs_of_each_sort any_path;
    damage: every_attribute_is_checked missing_rooms damaged_layers_can_go what_it_holds_is_kept
        notes a_repair_is_alone a_budget usage;
    change: twenty_files mutations nothing_is_an_empty_tar the_way_is_told metadata_alone the_same_time;
    tell: parents_come_first link_groups sizes clamped unreadable_is_an_error marks_are_spelled_out;
    error: invalid not_there in_the_way in_use read_only bad_messages limits too_long_a_chain
        without_marks beyond wrong_descriptors;
    store: opening user_marks held_mounts kept_mounts detached_mounts volatile_mounts specs
        damage_is_found leftovers_go the_log_tells status_has_reasons copies info_stays;
    image: every_way_in what_it_says every_way_out refusals;
    watch: streams_are_alike callbacks_may_fail cancelled cancelled_before_it_began
        progress_may_stop cancelled_from_elsewhere;
}
