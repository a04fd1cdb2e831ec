//! `describe`: what a server's services offer, and what a policy can say about them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bailiwick_acl::audit::escape;
use bailiwick_acl::policy::{MethodFacts, ObjectTemplate, ServiceFacts};
use clap::Args;
use serde::Deserialize;

use crate::files;
use crate::output::{Failure, Outcome, Style, Table};

/// Most bytes of a description.
const MAX_FILE: usize = 16 << 20;

/// Show the description of services: their methods, verbs, objects and types.
#[derive(Debug, Args)]
#[command(
    after_help = "A server prints the description itself, usually by `my-server describe --json`.\n\n\
                        Example:\n  my-server describe --json > my.json && bailiwick describe my.json"
)]
pub(crate) struct Describe {
    /// A description, as a server's `describe --json` prints it.
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
}

/// A description as a server prints it.
#[derive(Debug, Deserialize)]
pub(crate) struct Description {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    service: String,
    methods: Vec<Method>,
}

#[derive(Debug, Deserialize)]
struct Method {
    name: String,
    verb: String,
    /// A template; `**` where an argument lists the objects.
    object: String,
    delivery: Option<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    arguments: Vec<Argument>,
    result: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Argument {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
}

/// Reads the description at `path`.
pub(crate) fn read(path: &Path) -> Result<Description, Failure> {
    let help = "give the JSON that a server's `describe --json` prints: {\"services\":[…]}";
    let text = files::read(path, "a description of services", MAX_FILE)?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display()), help))
}

impl Description {
    /// What a policy is checked against.
    pub(crate) fn facts(&self, path: &Path) -> Result<Vec<ServiceFacts>, Failure> {
        self.services.iter().map(|service| service.facts(path)).collect()
    }
}

impl Service {
    fn facts(&self, path: &Path) -> Result<ServiceFacts, Failure> {
        let facts = |method: &Method| {
            let object = match &*method.object {
                "**" => ObjectTemplate::Anything,
                template => ObjectTemplate::parse(template).map_err(|error| {
                    let at = format!("{}: {}.{}", path.display(), self.service, method.name);
                    Failure::new(format!("{at}: {error}"), "print the description again")
                })?,
            };
            Ok(MethodFacts { name: method.name.clone(), verb: method.verb.clone(), object })
        };
        let methods = self.methods.iter().map(facts).collect::<Result<_, Failure>>()?;
        Ok(ServiceFacts { service: self.service.clone(), methods })
    }

    fn write(&self, out: &mut impl Write, style: Style) -> io::Result<()> {
        writeln!(out, "{}", style.bold(&escape(&self.service)))?;
        let mut table = Table::new(&["METHOD", "VERB", "OBJECT", "DELIVERY", "TIMEOUT", "CALL"]);
        for method in &self.methods {
            table.add(method.cells());
        }
        table.write(out, "  ", str::to_owned)
    }
}

impl Method {
    fn cells(&self) -> Vec<String> {
        let text = |field: &Option<String>| escape(field.as_deref().unwrap_or("-"));
        vec![
            escape(&self.name),
            escape(&self.verb),
            escape(&self.object),
            text(&self.delivery),
            self.timeout_ms.map_or_else(|| "-".to_owned(), |time| format!("{time} ms")),
            escape(&self.signature()),
        ]
    }

    fn signature(&self) -> String {
        let arguments: Vec<_> = self
            .arguments
            .iter()
            .map(|argument| format!("{}: {}", argument.name, argument.type_name))
            .collect();
        let result = match (&self.result, &self.error) {
            (Some(result), Some(error)) => format!(" -> Result<{result}, {error}>"),
            (Some(result), None) => format!(" -> {result}"),
            _ => String::new(),
        };
        format!("({}){result}", arguments.join(", "))
    }
}

impl Describe {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let description = read(&self.file)?;
        let style = Style::of(&io::stdout());
        for (at, service) in description.services.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            service.write(out, style)?;
        }
        if description.services.is_empty() {
            writeln!(out, "no services")?;
        }
        Ok(Outcome::Good)
    }
}
