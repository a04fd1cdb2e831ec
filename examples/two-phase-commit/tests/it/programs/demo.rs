//! The demo tells its story to the end, and shows what it says it shows.

use crate::programs::support::World;

#[test]
fn the_demo_tells_of_death_between_prepare_and_commit() {
    let world = World::new();
    let told = world.run(&["demo".to_owned()]);
    assert_eq!(told.code, Some(0), "{}{}", told.stdout, told.stderr);
    let story = [
        "committed ",
        "aborted: p1: not enough",
        "denied",
        "5. A participant is killed",
        "no answer in time from p2",
        "6. The coordinator is killed between prepare and commit",
        "outcome unknown",
        "coordinator  away",
        "p1  1 in doubt, 1 blocked",
        "p2  1 in doubt, 1 blocked",
        "7. It comes back",
        "coordinator  0 committed",
        "p1  0 in doubt",
        "     aborted",
        "8. The coordinator is killed right after it has decided",
        "p1  1 in doubt, 1 blocked",
        "9. It comes back",
        "     committed",
        "p1/alice 50",
        "p2/bob 90",
        "10. The last resort",
        "forced at p1",
        "DAMAGED: aborted by hand, decided otherwise",
        "All went as it should.",
    ];
    let mut rest = &*told.stdout;
    for words in story {
        let Some((_, behind)) = rest.split_once(words) else {
            panic!("{words:?} is not told, or not in its place:\n{}", told.stdout);
        };
        rest = behind;
    }
    assert!(!told.stdout.contains('\x1b'), "no colour where nobody looks");
}
