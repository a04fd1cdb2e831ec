//! `hashtable describe`: JSON that says what a policy may be about.

use serde_json::Value;

use crate::support::World;

#[test]
fn each_method_stands_there_with_its_verb_and_object() {
    let ran = World::new().run(&["describe"]);
    assert_eq!(ran.code, Some(0));
    let description: Value = serde_json::from_str(&ran.stdout).unwrap();
    let service = &description["services"][0];
    assert_eq!(service["service"], "Table");
    let methods = service["methods"].as_array().unwrap();
    let method = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap().to_owned();
        [text("name"), text("verb"), text("object"), text("delivery")].join(" ")
    };
    assert_eq!(
        methods.iter().map(method).collect::<Vec<_>>(),
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
    assert_eq!(methods[0]["arguments"], serde_json::json!([{ "name": "key", "type": "String" }]));
}
