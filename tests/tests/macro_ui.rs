//! What the compiler says to those who make a mistake with `#[rpc_service]`.
//!
//! Each file in `ui/fail` is a mistake, with what is said of it beside it: `TRYBUILD=overwrite
//! cargo test -p bailiwick-tests macro_ui` writes that anew, to be read before it is kept.

#[test]
fn each_mistake_is_said_once_at_the_users_token() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}
