//! `include/ovl.h` once more, by hand: its structs, its numbers and its functions, which are taken
//! from the shared library by name. The tests in here hold them against the header.
#![allow(unsafe_code)] // Loading a library, and structs that begin as zeros.
#![allow(non_camel_case_types)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// Handles.
macro_rules! handles {
    ($($name:ident)+) => {
        $(#[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
        })+
    };
}

handles!(ovl_cancel ovl_error ovl_iter ovl_mnt ovl_store);

pub type ovl_log_fn = Option<unsafe extern "C" fn(*mut c_void, u32, *const c_char)>;
pub type ovl_progress_fn =
    Option<unsafe extern "C" fn(*mut c_void, *const ovl_progress, usize) -> c_int>;
pub type ovl_read_fn = Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> i64>;
pub type ovl_write_fn = Option<unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> i64>;

/// Structs as C lays them out, and the text of `tests/header/layout.txt` for them.
macro_rules! structs {
    ($($name:ident { $($member:ident: $type:ty),+ $(,)? })+) => {
        $(#[repr(C)]
        pub struct $name {
            $(pub $member: $type),+
        }

        impl Default for $name {
            fn default() -> Self {
                // SAFETY: integers, arrays of them, pointers, and functions in an `Option`.
                unsafe { std::mem::zeroed() }
            }
        })+

        fn layout() -> String {
            let mut text = String::new();
            $(
                text += concat!(stringify!($name), ":");
                $(text += &format!(
                    concat!(" ", stringify!($member), "={}"),
                    std::mem::offset_of!($name, $member)
                );)+
                text += &format!(" sizeof={}\n", size_of::<$name>());
            )+
            text.replace("r#", "")
        }
    };
}

structs! {
    ovl_item {
        name: *const c_char, name_len: u64, detail: *const c_char, detail_len: u64, what: u32,
        reserved: u32,
    }
    ovl_store_opts {
        flags: u64, marks: u32, log_level: u32, log: ovl_log_fn, log_user: *mut c_void,
    }
    ovl_list_opts { flags: u64 }
    ovl_status_opts { flags: u64 }
    ovl_progress { entries: u64, bytes: u64 }
    ovl_cleanup_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
        budget_ms: u64,
    }
    ovl_cleanup_stats { removed: u64, busy: u64, unmounted: u64, dropped: u64, left: u64 }
    ovl_check_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_create_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_commit_opts {
        flags: u64, durability: u32, reserved: u32, cancel: *mut ovl_cancel,
        progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_remove_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_exists_opts { flags: u64 }
    ovl_layer_info {
        id: [c_char; 136], parent: [c_char; 136], diff_id: [c_char; 136],
        blob_digest: [c_char; 136], copied_from: [c_char; 136], kind: u32, state: u32, size: u64,
        entries: u64, tar_size: u64, blob_size: u64, created_sec: i64, created_nsec: u32,
        lowers: u32, mounted: u32, unclean: u32, skipped_devices: u64, skipped_owners: u64,
        skipped_xattrs: u64, skipped_sockets: u64, skipped_names: u64,
    }
    ovl_apply_opts {
        flags: u64, parent: *const c_char, diff_id: *const c_char, kind: u32, durability: u32,
        max_size: u64, max_entries: u64, max_meta: u64, max_xattrs: u64, max_path: u64,
        zstd_window_log: u32, reserved: u32, read: ovl_read_fn, read_user: *mut c_void,
        cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_diff_opts {
        flags: u64, clamp_sec: i64, clamp_nsec: u32, reserved: u32, write: ovl_write_fn,
        write_user: *mut c_void, cancel: *mut ovl_cancel, progress: ovl_progress_fn,
        progress_user: *mut c_void,
    }
    ovl_changes_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_diff_size_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_mount_opts { flags: u64, target: *const c_char, label: *const c_char }
    ovl_unmount_opts { flags: u64 }
    ovl_spec_opts { flags: u64, label: *const c_char, destination: *const c_char }
    ovl_copy_opts {
        flags: u64, reflink: u32, reserved: u32, cancel: *mut ovl_cancel,
        progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_copy_stats {
        entries: u64, directories: u64, copied: u64, reflinked: u64, linked: u64, grouped: u64,
        bytes: u64, link_fallbacks: u64, mounts_skipped: u64, vanished: u64, skipped_owners: u64,
        skipped_xattrs: u64, skipped_devices: u64,
    }
    ovl_usage_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_usage_info {
        own_bytes: u64, shared_bytes: u64, own_inodes: u64, shared_inodes: u64, own_size: u64,
        shared_size: u64,
    }
    ovl_image_import_opts {
        flags: u64, r#ref: *const c_char, platform: *const c_char, kind: u32, durability: u32,
        max_size: u64, max_entries: u64, max_meta: u64, max_xattrs: u64, max_path: u64,
        zstd_window_log: u32, reserved: u32, read: ovl_read_fn, read_user: *mut c_void,
        cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_image_export_opts {
        flags: u64, r#ref: *const c_char, write: ovl_write_fn, write_user: *mut c_void,
        cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_image_info {
        layer: [c_char; 136], manifest: [c_char; 136], config: [c_char; 136], size: u64,
        layers: u64, created_sec: i64, created_nsec: u32, blobs: u32, skipped_devices: u64,
        skipped_owners: u64, skipped_xattrs: u64, made: u64,
    }
    ovl_image_remove_opts {
        flags: u64, cancel: *mut ovl_cancel, progress: ovl_progress_fn, progress_user: *mut c_void,
    }
    ovl_image_stat_opts { flags: u64 }
    ovl_image_list_opts { flags: u64 }
    ovl_image_config_opts { flags: u64 }
}

/// Numbers, and the lines that define them in the header.
macro_rules! constants {
    ($($name:ident: $type:ty = $value:expr;)+) => {
        $(pub const $name: $type = $value;)+

        fn defines() -> Vec<String> {
            vec![$(format!(concat!("#define ", stringify!($name), " {}"), $value)),+]
        }
    };
}

constants! {
    OVL_STORE_MUST_EXIST: u64 = 1;
    OVL_STORE_READ_ONLY: u64 = 2;
    OVL_MARKS_AUTO: u32 = 0;
    OVL_MARKS_TRUSTED: u32 = 1;
    OVL_MARKS_USER: u32 = 2;
    OVL_CREATE_LIVE: u64 = 1;
    OVL_CREATE_FLAT: u64 = 2;
    OVL_CREATE_SYNC: u64 = 4;
    OVL_APPLY_WRITABLE: u64 = 1;
    OVL_APPLY_STRICT: u64 = 2;
    OVL_APPLY_NO_DEVICES: u64 = 4;
    OVL_KIND_DEFAULT: u32 = 0;
    OVL_KIND_ROOT: u32 = 1;
    OVL_KIND_OVERLAY: u32 = 2;
    OVL_STATE_WRITABLE: u32 = 1;
    OVL_STATE_COMMITTED: u32 = 2;
    OVL_DURABILITY_DEFAULT: u32 = 0;
    OVL_DURABILITY_NONE: u32 = 1;
    OVL_DURABILITY_FULL: u32 = 2;
    OVL_DURABILITY_VERIFIED: u32 = 3;
    OVL_REMOVE_DEFER: u64 = 1;
    OVL_MOUNT_READ_ONLY: u64 = 1;
    OVL_MOUNT_KEEP: u64 = 2;
    OVL_MOUNT_DETACHED: u64 = 4;
    OVL_MOUNT_VOLATILE: u64 = 8;
    OVL_UNMOUNT_LAZY: u64 = 1;
    OVL_SPEC_READ_ONLY: u64 = 1;
    OVL_SPEC_OCI_JSON: u64 = 2;
    OVL_SPEC_TYPE: u32 = 1;
    OVL_SPEC_SOURCE: u32 = 2;
    OVL_SPEC_OPTION: u32 = 3;
    OVL_SPEC_JSON: u32 = 4;
    OVL_DIFF_STRICT: u64 = 1;
    OVL_DIFF_SPARSE: u64 = 2;
    OVL_DIFF_CLAMP: u64 = 4;
    OVL_CHANGE_ADD: u32 = 65;
    OVL_CHANGE_MODIFY: u32 = 67;
    OVL_CHANGE_DELETE: u32 = 68;
    OVL_CHECK_REPAIR: u64 = 1;
    OVL_CHECK_REPAIRED: u32 = 1;
    OVL_CHECK_NOTE: u32 = 2;
    OVL_COPY_HARD_LINK: u64 = 1;
    OVL_COPY_STRICT: u64 = 2;
    OVL_COPY_NO_OVERLAY_XATTRS: u64 = 4;
    OVL_COPY_SYNC: u64 = 8;
    OVL_REFLINK_AUTO: u32 = 0;
    OVL_REFLINK_ALWAYS: u32 = 1;
    OVL_REFLINK_NEVER: u32 = 2;
    OVL_IMPORT_KEEP_BLOBS: u64 = 1;
    OVL_IMPORT_STRICT: u64 = 2;
    OVL_IMPORT_NO_DEVICES: u64 = 4;
    OVL_CONFIG_JSON: u32 = 1;
    OVL_CONFIG_ENV: u32 = 2;
    OVL_CONFIG_ENTRYPOINT: u32 = 3;
    OVL_CONFIG_CMD: u32 = 4;
    OVL_CONFIG_WORKING_DIR: u32 = 5;
    OVL_CONFIG_USER: u32 = 6;
    OVL_CONFIG_LABEL: u32 = 7;
    OVL_CONFIG_LAYER: u32 = 8;
}

/// The functions, found in the library when first asked for.
macro_rules! functions {
    ($($name:ident($($argument:ty),* $(,)?) $(-> $result:ty)?;)+) => {
        pub struct Library {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?),+
        }

        impl Library {
            fn load() -> Library {
                let handle = open();
                Library {
                    // SAFETY: the header declares the symbol as it is declared here; the library
                    // is never closed.
                    $($name: unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(find(handle, stringify!($name))) }),+
                }
            }
        }
    };
}

functions! {
    ovl_cancel_free(*mut ovl_cancel);
    ovl_cancel_new() -> *mut ovl_cancel;
    ovl_cancel_trigger(*mut ovl_cancel);
    ovl_error_callback_result(*const ovl_error) -> c_int;
    ovl_error_code(*const ovl_error) -> u32;
    ovl_error_errno(*const ovl_error) -> c_int;
    ovl_error_free(*mut ovl_error);
    ovl_error_message(*const ovl_error) -> *const c_char;
    ovl_error_operation(*const ovl_error) -> *const c_char;
    ovl_error_path(*const ovl_error, *mut usize) -> *const c_char;
    ovl_iter_free(*mut ovl_iter);
    ovl_iter_next(*mut ovl_iter, *mut ovl_item, usize, *mut *mut ovl_error) -> c_int;
    ovl_mnt_fd(*const ovl_mnt) -> c_int;
    ovl_mnt_free(*mut ovl_mnt);
    ovl_mnt_path(*const ovl_mnt) -> *const c_char;
    ovl_store_free(*mut ovl_store);
    ovl_store_open(
        *const c_char, *const ovl_store_opts, usize, *mut *mut ovl_store, *mut *mut ovl_error,
    ) -> c_int;
    ovl_list(
        *mut ovl_store, *const ovl_list_opts, usize, *mut *mut ovl_iter, *mut *mut ovl_error,
    ) -> c_int;
    ovl_status(
        *mut ovl_store, *const ovl_status_opts, usize, *mut *mut ovl_iter, *mut *mut ovl_error,
    ) -> c_int;
    ovl_cleanup(
        *mut ovl_store, *const ovl_cleanup_opts, usize, *mut ovl_cleanup_stats, usize,
        *mut *mut ovl_error,
    ) -> c_int;
    ovl_check(
        *mut ovl_store, *const ovl_check_opts, usize, *mut *mut ovl_iter, *mut *mut ovl_error,
    ) -> c_int;
    ovl_create(
        *mut ovl_store, *const c_char, *const c_char, *const ovl_create_opts, usize,
        *mut *mut ovl_error,
    ) -> c_int;
    ovl_commit(
        *mut ovl_store, *const c_char, *const ovl_commit_opts, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_remove(
        *mut ovl_store, *const c_char, *const ovl_remove_opts, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_exists(
        *mut ovl_store, *const c_char, *const ovl_exists_opts, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_stat(
        *mut ovl_store, *const c_char, *mut ovl_layer_info, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_apply_layer(
        *mut ovl_store, *const c_char, c_int, *const ovl_apply_opts, usize, *mut ovl_layer_info,
        usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_diff(
        *mut ovl_store, *const c_char, *const c_char, c_int, *const ovl_diff_opts, usize,
        *mut ovl_layer_info, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_changes(
        *mut ovl_store, *const c_char, *const c_char, *const ovl_changes_opts, usize,
        *mut *mut ovl_iter, *mut *mut ovl_error,
    ) -> c_int;
    ovl_diff_size(
        *mut ovl_store, *const c_char, *const c_char, *const ovl_diff_size_opts, usize, *mut u64,
        *mut *mut ovl_error,
    ) -> c_int;
    ovl_mount(
        *mut ovl_store, *const c_char, *const ovl_mount_opts, usize, *mut *mut ovl_mnt,
        *mut *mut ovl_error,
    ) -> c_int;
    ovl_unmount(*mut ovl_mnt, *const ovl_unmount_opts, usize, *mut *mut ovl_error) -> c_int;
    ovl_unmount_at(
        *mut ovl_store, *const c_char, *const ovl_unmount_opts, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_mount_spec(
        *mut ovl_store, *const c_char, *const ovl_spec_opts, usize, *mut *mut ovl_iter,
        *mut *mut ovl_error,
    ) -> c_int;
    ovl_copy_dir(
        c_int, *const c_char, c_int, *const c_char, *const ovl_copy_opts, usize,
        *mut ovl_copy_stats, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_usage(
        *mut ovl_store, *const c_char, *const ovl_usage_opts, usize, *mut ovl_usage_info, usize,
        *mut *mut ovl_error,
    ) -> c_int;
    ovl_image_import(
        *mut ovl_store, *const c_char, c_int, *const ovl_image_import_opts, usize,
        *mut ovl_image_info, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_image_export(
        *mut ovl_store, *const c_char, c_int, *const ovl_image_export_opts, usize,
        *mut ovl_image_info, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_image_remove(
        *mut ovl_store, *const c_char, *const ovl_image_remove_opts, usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_image_stat(
        *mut ovl_store, *const c_char, *const ovl_image_stat_opts, usize, *mut ovl_image_info,
        usize, *mut *mut ovl_error,
    ) -> c_int;
    ovl_image_list(
        *mut ovl_store, *const ovl_image_list_opts, usize, *mut *mut ovl_iter, *mut *mut ovl_error,
    ) -> c_int;
    ovl_image_config(
        *mut ovl_store, *const c_char, *const ovl_image_config_opts, usize, *mut *mut ovl_iter,
        *mut *mut ovl_error,
    ) -> c_int;
}

pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(Library::load)
}

/// The shared library that was built together with this program.
fn open() -> *mut c_void {
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name("libovl.so");
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a string, and flags; the library runs nothing of its own when it is loaded.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{}: cannot be loaded", path.display());
    handle
}

fn find(handle: *mut c_void, name: &str) -> *mut c_void {
    let symbol = CString::new(name).unwrap();
    // SAFETY: a handle of dlopen's, and a string.
    let found = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
    assert!(!found.is_null(), "{name} is not in the library");
    found
}

fn of_the_crate(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
#[cfg(target_pointer_width = "64")]
fn structs_are_those_of_the_header() {
    let there = of_the_crate("tests/header/layout.txt");
    let there: Vec<&str> = there.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(layout().lines().collect::<Vec<_>>(), there);
}

#[test]
fn numbers_are_those_of_the_header() {
    let header = of_the_crate("include/ovl.h");
    for define in defines() {
        assert!(header.lines().any(|line| line == define), "{define}");
    }
}
