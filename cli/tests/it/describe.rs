//! Descriptions of services.

use super::Folder;

const TABLE: &str = r#"{"services":[{"service":"Table","methods":[
    {"name":"get","id":13243546576879,"verb":"read","object":"table/{key}","delivery":"readonly",
     "timeout_ms":500,"arguments":[{"name":"key","type":"String"}],
     "result":"Option<Bytes>","error":"TableError"},
    {"name":"many","id":2,"verb":"write","object":"**","delivery":"at-most-once",
     "timeout_ms":null,"arguments":[],"result":"()","error":"TableError"}]}]}"#;

#[test]
fn a_description_reads_as_a_table() {
    let folder = Folder::new();
    folder.write("s.json", TABLE);
    let ran = folder.run(&["describe", "s.json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let wanted = "\
Table
  METHOD  VERB   OBJECT       DELIVERY      TIMEOUT  CALL
  get     read   table/{key}  readonly      500 ms   (key: String) -> Result<Option<Bytes>, TableError>
  many    write  **           at-most-once  -        () -> Result<(), TableError>
";
    assert_eq!(ran.out, wanted);
}

#[test]
fn a_policy_is_held_to_a_description_in_which_one_method_lists_its_objects() {
    let folder = Folder::new();
    folder.write("s.json", TABLE);
    folder.write("p.acl", "a | anything/at/all | write | allow\na | tabel/x | read | allow\n");
    let ran = folder.run(&["acl", "check", "p.acl", "--service", "s.json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("p.acl:2:5: error: no method with this verb"), "{}", ran.out);
    assert!(ran.out.contains("did you mean `table/x`?"), "{}", ran.out);
    assert!(ran.out.contains("refused (1 error)"));
}

#[test]
fn what_is_not_a_description_is_refused() {
    let folder = Folder::new();
    for text in ["", "[]", "{\"services\":1}"] {
        folder.write("s.json", text);
        let ran = folder.run(&["describe", "s.json"]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("s.json: ") && ran.err.contains("describe"), "{}", ran.err);
    }
    folder.write("s.json", TABLE.replace("table/{key}", "table/x{key}"));
    folder.write("p.acl", "");
    let ran = folder.run(&["acl", "check", "p.acl", "--service", "s.json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("Table.get"), "{}", ran.err);
}
