//! Generates the gRPC code with protox, which needs no `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=v1/ipam.proto");
    let descriptors = protox::compile(["ipam.proto"], ["v1"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
