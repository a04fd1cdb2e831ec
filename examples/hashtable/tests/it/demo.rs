//! `hashtable demo`: the story ends well and leaves nothing behind.

use std::fs;

use crate::support::World;

#[test]
fn the_story_ends_well_and_leaves_nothing_behind() {
    tell(&["demo"], "answer the handshake");
}

#[test]
fn the_story_ends_well_over_udp_too() {
    tell(&["demo", "--transport", "udp"], "nobody answers at udp://");
}

/// `impostor` is what Alice learns about it.
fn tell(arguments: &[&str], impostor: &str) {
    let world = World::new();
    fs::create_dir(world.path("tmp")).unwrap();
    let output = world.command(arguments).env("TMPDIR", world.path("tmp")).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{story}\n{:?}", String::from_utf8(output.stderr));

    let scenes = [
        "1. Keys",
        "2. The policy",
        "3. The server",
        "4. What is allowed",
        "5. What is denied",
        "6. A stranger",
        "7. An impostor",
        impostor,
        "8. A table that is kept",
        "recovered: 0 records",
        "kill -9",
        "recovered: 2 records",
        "good night",
        "9. The audit log",
        "the record was edited",
        "All went as it should.",
    ];
    let mut rest = &*story;
    for scene in scenes {
        let at = rest.find(scene).unwrap_or_else(|| panic!("no {scene:?} in:\n{story}"));
        rest = &rest[at..];
    }
    assert!(!story.contains('\x1b'), "no colour where nobody looks");
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0);
}
