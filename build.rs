//! How the shared library is linked, and, with the feature `header`, `include/ovl.h`.
//!
//! `cargo build --features header` writes the header anew. With `OVL_HEADER=check` in the
//! environment it writes nothing, and fails where the committed header is not what it would write.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The name that programs ask the loader for. It changes with the ABI, never with the version
    // of the crate.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libovl.so.0");
    // The Rust runtime leaves destructors of thread-local values behind: code that is still to run
    // must not be unmapped by dlclose().
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    #[cfg(feature = "header")]
    header::make();
}

#[cfg(feature = "header")]
#[allow(clippy::expect_used)]
mod header {
    use std::path::Path;

    /// What the header is made from, in its order.
    const SOURCES: [&str; 18] = [
        "constants",
        "version",
        "error",
        "cancel",
        "log",
        "stream",
        "iter",
        "info",
        "store",
        "layer",
        "apply",
        "diff",
        "mount",
        "spec",
        "copy",
        "usage",
        "image",
        "images",
    ];

    pub fn make() {
        println!("cargo:rerun-if-env-changed=OVL_HEADER");
        println!("cargo:rerun-if-changed=cbindgen.toml");
        println!("cargo:rerun-if-changed=include/ovl.h");
        println!("cargo:rerun-if-changed=src/ffi");
        let config = cbindgen::Config::from_file("cbindgen.toml").expect("cbindgen.toml");
        let mut builder = cbindgen::Builder::new().with_config(config);
        for source in SOURCES {
            builder = builder.with_src(Path::new("src/ffi").join(source).with_extension("rs"));
        }
        let mut header = Vec::new();
        builder
            .generate()
            .expect("cbindgen reads src/ffi")
            .write(&mut header);
        let committed = Path::new("include/ovl.h");
        let fresh = std::fs::read(committed).is_ok_and(|there| there == header);
        match std::env::var("OVL_HEADER").as_deref() {
            Ok("check") => assert!(fresh, "include/ovl.h is stale: run `make header`"),
            _ if fresh => {}
            _ => std::fs::write(committed, header).expect("include/ovl.h is written"),
        }
    }
}
