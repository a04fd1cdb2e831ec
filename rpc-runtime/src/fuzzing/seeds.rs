//! The committed seeds, through the functions that the fuzz targets run.

use std::{fs, path::Path};

fn run(target: &str, function: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let listed = fs::read_dir(&folder).expect("the seeds are in the repository");
    let mut seeds: Vec<_> = listed.map(|seed| seed.expect("a seed").path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} has seeds", folder.display());
    for seed in seeds {
        println!("{}", seed.display());
        function(&fs::read(seed).expect("a seed is a file"));
    }
}

#[test]
fn frames_keep_their_promises_for_all_seeds() {
    run("frame", super::frame);
    run("request", super::request);
    run("stream", super::stream);
}

#[test]
fn a_server_keeps_its_promises_for_all_seeds() {
    run("server", super::server);
}

#[test]
fn links_and_endpoints_keep_their_promises_for_all_seeds() {
    run("link", super::link);
    run("endpoint", super::endpoint);
}
