//! The committed seeds, through the functions that the fuzz targets run.

use std::{fs, path::Path};

fn run(target: &str, function: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .expect("the seeds are here")
        .map(|seed| seed.unwrap().path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} has seeds", folder.display());
    for seed in seeds {
        println!("{}", seed.display());
        function(&fs::read(seed).unwrap());
    }
}

#[test]
fn frame() {
    run("frame", super::frame);
}
