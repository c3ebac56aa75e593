//! How `berth-agent` is linked.

fn main() {
    // Half a megabyte of relocations becomes seven kilobytes: all of the program is locked in the node's memory. Understood by lld, mold and GNU ld (2.38),
    // applied at the start by the C library (glibc 2.36), which is linked statically.
    let (os, env) = (target("OS"), target("ENV"));
    if os == "linux" && env == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script what it builds for by variables"
)]
fn target(part: &str) -> String {
    std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default()
}
