//! The same C program three times: in the binary, in a library that it is linked to, and
//! in one that it loads; and one of C++.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=c");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    build("static").file("c/known.c").compile("known_static");
    cc::Build::new()
        .cpp(true)
        .file("c/known.cc")
        .debug(true)
        .opt_level(1)
        .compile("known_cpp");
    shared("shared", "c/known.c", &out.join("libknown_shared.so"));
    shared("loaded", "c/known.c", &out.join("libknown_loaded.so"));
    shared("oracle", "c/oracle.c", &out.join("liboracle.so"));
    println!("cargo::rustc-env=ORACLE={}/liboracle.so", out.display());
    for pad in ["1000", "2000"] {
        let library = out.join(format!("libframes_{pad}.so"));
        let mut command = build("plugged")
            .pic(true)
            .define("PAD", pad)
            .get_compiler()
            .to_command();
        command
            .args(["-shared", "-o"])
            .arg(library)
            .arg("c/frames.c");
        let status = command.status().expect("the C compiler starts");
        assert!(status.success(), "{command:?}: {status}");
    }
    println!("cargo::rustc-env=PLUG_INS={}/libframes_", out.display());
    println!("cargo::rustc-link-search=native={}", out.display());
    println!("cargo::rustc-link-lib=dylib=known_shared");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", out.display());
    println!(
        "cargo::rustc-env=KNOWN_LOADED={}/libknown_loaded.so",
        out.display()
    );
}

/// Optimized, with the names and lines of functions, and without frame pointers: what C
/// libraries are built with.
fn build(prefix: &str) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .define("PREFIX", prefix)
        .debug(true)
        .opt_level(1)
        .flag("-momit-leaf-frame-pointer")
        .flag("-fomit-frame-pointer")
        .flag("-mforce-drap")
        .flag("-fno-builtin")
        .flag("-fno-optimize-sibling-calls")
        .warnings(true)
        // Of requests that are to be refused.
        .flag("-Wno-alloc-size-larger-than");
    build
}

fn shared(prefix: &str, source: &str, library: &Path) {
    let mut command = build(prefix).pic(true).get_compiler().to_command();
    command.args(["-shared", "-o"]).arg(library).arg(source);
    let status = command.status().expect("the C compiler starts");
    assert!(status.success(), "{command:?}: {status}");
}
