//! What the audit log shows of arguments: what the trait marks, as it marks it, and nothing else.

use bailiwick::{CallError, Context, rpc_service, service::Service};
use bailiwick_acl::audit::verify_chain;

use crate::world::cx;

#[rpc_service(verb = "pay", object = "accounts/{from}")]
trait Bank {
    #[rpc(audit)]
    async fn pay(
        &self,
        cx: &Context,
        from: String,
        #[audit(show)] to: String,
        #[audit(hmac)] pin: u32,
        amount: u64,
    ) -> Result<(), CallError>;

    #[rpc(readonly)]
    async fn look(&self, cx: &Context, from: String) -> Result<(), CallError>;
}

struct Rich;

impl Bank for Rich {
    async fn pay(
        &self,
        _: &Context,
        _: String,
        _: String,
        _: u32,
        _: u64,
    ) -> Result<(), CallError> {
        Ok(())
    }

    async fn look(&self, _: &Context, _: String) -> Result<(), CallError> {
        Ok(())
    }
}

const POLICY: &str = "alice | accounts/alice | pay | allow\nbob | accounts/bob | pay | allow";

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let begin = format!("\"{name}\":\"");
    let rest = line.split_once(&begin).unwrap_or_else(|| panic!("{name} in {line}")).1;
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn a_marked_argument_is_shown_or_known_again_and_others_leave_no_trace() {
    let bank = BankClient::in_memory(Rich).policy(POLICY);
    let (alice, bob) = (bank.as_principal("alice").await, bank.as_principal("bob").await);
    // Allowed and recorded since the method says so; then refused twice, once with another pin.
    alice.pay(&cx(), "alice".into(), "carol".into(), 493_127, 77_123).await.unwrap();
    for pin in [493_127, 493_128] {
        let refused = bob.pay(&cx(), "alice".into(), "bob\n\u{202e}".into(), pin, 77_123).await;
        assert!(matches!(refused, Err(CallError::Denied(_))), "{refused:?}");
    }
    let lines = bank.audit();
    let decisions: Vec<_> = lines.iter().filter(|it| it.contains("\"decision\":")).collect();
    assert_eq!(decisions.len(), 3, "{decisions:?}");
    assert!(decisions[0].contains(r#""decision":"allow""#));
    assert_eq!(field(decisions[0], "arg.to"), "carol");
    assert_eq!(field(decisions[1], "arg.to"), r"bob\u000a\u202e");
    let pins: Vec<_> = decisions.iter().map(|line| field(line, "arg.pin")).collect();
    assert!(pins[0].starts_with("hmac:") && pins[0].len() == 37, "{pins:?}");
    assert_eq!(pins[0], pins[1], "the same pin");
    assert_ne!(pins[1], pins[2], "another pin");
    for hidden in ["493127", "493128", "77123", "arg.from", "arg.amount"] {
        assert!(!lines.iter().any(|line| line.contains(hidden)), "{hidden} in {lines:?}");
    }
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(verify_chain(text.as_bytes()).unwrap().records, lines.len() as u64);
}

#[tokio::test]
async fn a_method_that_asks_for_it_is_always_on_record_and_another_is_not() {
    let bank = BankClient::in_memory(Rich).policy(POLICY);
    let alice = bank.as_principal("alice").await;
    alice.look(&cx(), "alice".into()).await.unwrap();
    assert!(!bank.audit().iter().any(|line| line.contains(r#""decision""#)));
    alice.pay(&cx(), "alice".into(), "bob".into(), 1, 1).await.unwrap();
    assert!(bank.audit().iter().any(|line| line.contains(r#""decision":"allow""#)));
}

#[tokio::test]
async fn a_long_argument_makes_no_long_record() {
    let bank = BankClient::in_memory(Rich).policy(POLICY);
    let alice = bank.as_principal("alice").await;
    alice.pay(&cx(), "alice".into(), "x".repeat(100_000), 1, 1).await.unwrap();
    let lines = bank.audit();
    let line = lines.iter().find(|line| line.contains("arg.to")).unwrap();
    assert_eq!(field(line, "arg.to"), format!("{}…", "x".repeat(256)));
}

#[test]
fn the_description_says_what_records_show() {
    let described = serde_json::to_string(BankServer::new(Rich).description()).unwrap();
    for said in [r#""recorded":"always""#, r#""shown":"value""#, r#""shown":"hmac""#] {
        assert_eq!(described.matches(said).count(), 1, "{said} in {described}");
    }
    assert!(!described.contains("nothing"), "{described}");
}
