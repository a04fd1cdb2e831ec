//! `hashtable describe`: what a policy may be about, as a table and as JSON.

use serde_json::Value;

use crate::support::World;

/// Each method of a service with its verb, object and delivery.
fn methods(service: &Value) -> Vec<String> {
    let method = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap().to_owned();
        [text("name"), text("verb"), text("object"), text("delivery")].join(" ")
    };
    service["methods"].as_array().unwrap().iter().map(method).collect()
}

#[test]
fn as_json_each_method_stands_there_with_its_verb_and_object() {
    let ran = World::new().run(&["describe", "--json"]);
    assert_eq!(ran.code, Some(0));
    let description: Value = serde_json::from_str(&ran.stdout).unwrap();
    let services = description["services"].as_array().unwrap();
    let names: Vec<_> = services.iter().map(|it| it["service"].as_str().unwrap()).collect();
    assert_eq!(names, ["Table", "Health"]);
    assert_eq!(
        methods(&services[0]),
        [
            "get read table/{key} readonly",
            "put write table/{key} durable",
            "compare_and_swap write table/{key} durable",
            "delete write table/{key} durable",
            "increment write table/{key} durable",
            "keys list table readonly",
            "stats list table readonly",
        ]
    );
    assert_eq!(
        services[0]["methods"][0]["arguments"],
        serde_json::json!([{ "name": "key", "type": "String" }])
    );
}

#[test]
fn without_it_people_read_the_same_as_a_table() {
    let world = World::new();
    let ran = world.run(&["describe"]);
    assert_eq!(ran.code, Some(0));
    let json = world.run(&["describe", "--json"]).stdout;
    let description: Value = serde_json::from_str(&json).unwrap();
    let mut lines = ran.stdout.lines();
    for service in description["services"].as_array().unwrap() {
        assert_eq!(lines.next(), service["service"].as_str());
        assert!(lines.next().unwrap().starts_with("  METHOD "), "{}", ran.stdout);
        for method in methods(service) {
            let line = lines.next().unwrap();
            let words: Vec<_> = line.split_whitespace().take(4).collect();
            assert_eq!(words.join(" "), method);
        }
        assert!(matches!(lines.next(), None | Some("")), "{}", ran.stdout);
    }
    assert_eq!(lines.next(), None);
}
