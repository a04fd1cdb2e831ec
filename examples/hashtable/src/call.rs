//! `hashtable call`: one call, its value on stdout, its outcome in the exit code.

use std::os::unix::ffi::OsStringExt as _;

use bailiwick::{CallError, Context, Executed, service::Delivery};
use bailiwick_acl::object;
use hashtable::service::{KEYS_PER_PAGE, Kept, Stats, TABLE, Table as _, TableClient, TableError};
use miette::{Report, miette};

use crate::{
    args::{CallArgs, Operation},
    dial::Dial,
    exit::{Exit, Failure},
    output,
};

/// Makes the call.
pub(crate) async fn run(args: CallArgs) -> Result<(), Failure> {
    let cx = Context::within(args.timeout);
    let table = Dial::read(&args.dial)?.connect(&cx).await?;
    let (method, key) = about(&args.operation);
    let called = operate(&table, &cx, args.operation).await;
    let channel = table.channel().clone();
    drop(table);
    channel.close().await;
    let output = called?.map_err(|error| failure(&error, method, key.as_deref()))?;
    output::value(&output)
}

async fn operate(
    table: &TableClient,
    cx: &Context,
    operation: Operation,
) -> Result<Result<Vec<u8>, CallError<TableError>>, Failure> {
    Ok(match operation {
        Operation::Get { key } => get(table, cx, key).await?,
        Operation::Put { key, value } => {
            table.put(cx, key, value.into_vec().into()).await.map(|()| Vec::new())
        }
        Operation::CompareAndSwap { key, expected, value } => {
            let (expected, value) = (expected.bytes(), value.into_vec().into());
            table.compare_and_swap(cx, key, expected, value).await.map(yes_or_no)
        }
        Operation::Delete { key } => table.delete(cx, key).await.map(yes_or_no),
        Operation::Increment { key, by } => {
            table.increment(cx, key, by).await.map(|sum| format!("{sum}\n").into_bytes())
        }
        Operation::Keys { prefix } => keys(table, cx, &prefix).await,
        Operation::Stats => table.stats(cx).await.map(|stats| describe(&stats).into_bytes()),
    })
}

/// The method that an operation calls, and the key it is about.
fn about(operation: &Operation) -> (&'static str, Option<String>) {
    match operation {
        Operation::Get { key } => ("get", Some(key.clone())),
        Operation::Put { key, .. } => ("put", Some(key.clone())),
        Operation::CompareAndSwap { key, .. } => ("compare_and_swap", Some(key.clone())),
        Operation::Delete { key } => ("delete", Some(key.clone())),
        Operation::Increment { key, .. } => ("increment", Some(key.clone())),
        Operation::Keys { .. } => ("keys", None),
        Operation::Stats => ("stats", None),
    }
}

/// A script must be able to tell an absent value from an empty one: the first is a failure.
async fn get(
    table: &TableClient,
    cx: &Context,
    key: String,
) -> Result<Result<Vec<u8>, CallError<TableError>>, Failure> {
    let absent = miette!(help = "`keys` shows those there are", "no such key: {key:?}");
    match table.get(cx, key).await {
        Ok(Some(value)) => Ok(Ok(line(&value))),
        Ok(None) => Err(Failure::new(Exit::Service, absent)),
        Err(error) => Ok(Err(error)),
    }
}

/// All pages of keys, a key a line.
async fn keys(
    table: &TableClient,
    cx: &Context,
    prefix: &str,
) -> Result<Vec<u8>, CallError<TableError>> {
    let mut output = Vec::new();
    let mut after = None;
    loop {
        let page = table.keys(cx, prefix.to_owned(), after).await?;
        output.extend(page.iter().flat_map(|key| line(key.as_bytes())));
        if page.len() < KEYS_PER_PAGE {
            return Ok(output);
        }
        after = page.into_iter().next_back();
    }
}

fn line(value: &[u8]) -> Vec<u8> {
    [value, b"\n"].concat()
}

fn yes_or_no(it: bool) -> Vec<u8> {
    line(if it { b"yes" } else { b"no" })
}

fn describe(stats: &Stats) -> String {
    let Stats { keys, bytes, kept } = stats;
    let mut text = format!("keys         {keys}\nbytes        {bytes}\n");
    match kept {
        None => text += "kept         in memory only\n",
        Some(Kept { epoch, records, forced, checkpoints }) => {
            text += &format!(
                "epoch        {epoch}\nrecords      {records}\nforced       {forced}\n\
                 checkpoints  {checkpoints}\n"
            );
        }
    }
    text
}

/// What failed, and what the caller can do about it.
pub(crate) fn failure(
    error: &CallError<TableError>,
    method: &'static str,
    key: Option<&str>,
) -> Failure {
    Failure::new(Exit::of_call(error), report(error, method, key))
}

fn report(error: &CallError<TableError>, method: &'static str, key: Option<&str>) -> Report {
    let Some(method) = TABLE.methods.iter().find(|it| it.name == method) else {
        return miette!("{error}");
    };
    match (error, error.executed()) {
        (CallError::App(error), _) => miette!("{error}"),
        (CallError::Denied(_), _) => match key.map(object::check_segment) {
            Some(Err(why)) => miette!(
                help = "choose a key without it: a key is one segment of the object `table/KEY`",
                "{error}; the key cannot be the name of an object: {why}"
            ),
            _ => miette!(
                help = format!(
                    "the policy must allow `{}` on `{}`; it is the operator's to change",
                    method.verb,
                    key.map_or("table".to_owned(), |key| format!("table/{key}")),
                ),
                "{error}"
            ),
        },
        (_, Executed::Unknown) if method.delivery == Delivery::Readonly => {
            miette!(help = format!("`{}` can safely be repeated", method.name), "{error}")
        }
        (_, Executed::Unknown) => {
            miette!(help = "it may have run: read the key before you repeat it", "{error}")
        }
        (_, Executed::No) => {
            miette!(help = "it did not run: repeat it once the cause is gone", "{error}")
        }
        (_, Executed::Yes) => miette!(help = "the server's log says more", "{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Expected;

    #[test]
    fn each_operation_calls_a_method_that_there_is() {
        let key = || "k".to_owned();
        let operations = [
            Operation::Get { key: key() },
            Operation::Put { key: key(), value: "v".into() },
            Operation::CompareAndSwap {
                key: key(),
                expected: Expected { held: None, absent: true },
                value: "v".into(),
            },
            Operation::Delete { key: key() },
            Operation::Increment { key: key(), by: 1 },
            Operation::Keys { prefix: key() },
            Operation::Stats,
        ];
        for operation in &operations {
            let (method, _) = about(operation);
            assert!(TABLE.methods.iter().any(|it| it.name == method), "{method}");
        }
        assert_eq!(operations.len(), TABLE.methods.len());
    }

    #[test]
    fn only_what_reads_may_be_repeated_unseen() {
        let error = CallError::DeadlineExceeded { executed: Executed::Unknown, call: None };
        let help = |method| report(&error, method, Some("k")).help().map(|it| it.to_string());
        assert_eq!(help("get").as_deref(), Some("`get` can safely be repeated"));
        for method in ["put", "increment"] {
            assert!(help(method).is_some_and(|help| help.contains("may have run")), "{method}");
        }
    }
}
