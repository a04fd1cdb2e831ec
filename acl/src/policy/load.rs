//! From bytes to a policy: read, resolve, check, build, then let the policy test itself.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::digest::revision_digest;
use super::engine::{Builder, EVERY_VERB, Interner, MAX_VISITS, Says};
use super::fault::{Fault, Place};
use super::finding::{Files, PolicyErrors, Severity};
use super::parse::{self, Contents};
use super::pattern::Part;
use super::people::People;
use super::row::{Row, Verbs};
use super::syntax::Syntax;
use super::{LoadOptions, Loaded, Policy, Principal, Source, Subjects};
use super::{against_services, invariants, object_column};

/// Most bytes of a policy file: 1 GiB, so that every count in it fits 32 bits.
pub const MAX_FILE: usize = 1 << 30;

/// Numbers the loads, so that subjects of one are never taken for those of another.
static REVISIONS: AtomicU64 = AtomicU64::new(1);

/// Reads one object pattern, as it stands in a row's second column.
///
/// # Errors
///
/// What is wrong with it, and the mend.
pub fn object_pattern(text: &str) -> Result<super::Pattern, PolicyErrors> {
    let mut faults = Vec::new();
    let place = Place { file: 0, line: 1, offset: 0 };
    object_column::parse(text, place, &mut faults).ok_or_else(|| {
        let files = Files::new(vec![("object", text.as_bytes())]);
        PolicyErrors::new(files.findings(faults, Severity::Error))
    })
}

/// The [digest](Policy::digest) that the policy in these files has, or would have if it loaded.
#[must_use]
pub fn digest_of(policy: Source<'_>, principals: Option<Source<'_>>) -> [u8; 32] {
    match principals {
        None => digest(&[policy]),
        Some(principals) => digest(&[policy, principals]),
    }
}

pub(super) fn load(source: Source<'_>, options: &LoadOptions<'_>) -> Result<Loaded, PolicyErrors> {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    let mut syntax = Syntax::default();
    let mut sources = vec![source];
    sources.extend(options.principals);

    for (file, source) in (0_u8..).zip(&sources) {
        if source.text.len() > MAX_FILE {
            let span = Place { file, line: 1, offset: 0 }.span(0, 0);
            faults.push(Fault::new(span, "a file of more than 1 GiB", "split or shorten it"));
            continue;
        }
        let contents = if file == 0 { Contents::Policy } else { Contents::PrincipalsOnly };
        parse::read(source.text, file, contents, &mut syntax, &mut faults);
    }
    let people = People::of(&syntax, options.keys, &mut faults, &mut warnings);
    against_services::check(&syntax, options.services, &mut faults);
    check_serial(&syntax, options.previous_serial, &mut faults);
    warn_of_dead_rows(&syntax, &mut warnings);

    let policy = build(&sources, &syntax, &people, &mut faults);
    if let Some(policy) = &policy {
        invariants::check(policy, &syntax, &people, &mut faults);
    }
    let files = |faults: Vec<Fault>, severity| {
        if faults.is_empty() {
            return Vec::new();
        }
        let sources = sources.iter().map(|source| (source.name, source.text)).collect();
        Files::new(sources).findings(faults, severity)
    };
    match policy {
        Some(policy) if faults.is_empty() => {
            Ok(Loaded { policy, warnings: files(warnings, Severity::Warning) })
        }
        _ => Err(PolicyErrors::new(files(faults, Severity::Error))),
    }
}

/// Builds the policy from the rows that could be read, for the policy's tests of itself even when
/// others could not. `None` only if the rows cost too much to judge.
fn build(
    sources: &[Source<'_>],
    syntax: &Syntax<'_>,
    people: &People<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Policy> {
    let mut verbs = Interner::with_room(0);
    let engine = match compile(syntax, people, &mut verbs).finish() {
        Ok(engine) => engine,
        Err(visits) => {
            faults.push(too_wild(syntax, visits));
            return None;
        }
    };
    let revision = REVISIONS.fetch_add(1, Ordering::Relaxed);
    let principals: Vec<_> = people.principals.iter().map(|name| Principal::new(name)).collect();
    let subjects = principals.iter().zip(1..).map(|(principal, id)| {
        let ids = people.subjects_of(id).into();
        let subjects = Subjects { principal: principal.clone(), ids, revision };
        (principal.as_str().into(), subjects)
    });
    let keys = people.keys.iter().filter_map(|(key, id)| {
        let at = (*id as usize).checked_sub(1)?;
        Some((*key, principals.get(at)?.clone()))
    });
    Some(Policy {
        name: sources.first().map_or_else(String::new, |source| source.name.to_owned()),
        serial: syntax.serial.map(|(serial, _)| serial),
        digest: digest(sources),
        revision,
        people: subjects.collect(),
        keys: keys.collect(),
        verbs: verbs.finish(),
        engine,
    })
}

/// Takes in all rows that could be read. The verbs are numbered after [`EVERY_VERB`].
fn compile(syntax: &Syntax<'_>, people: &People<'_>, verbs: &mut Interner) -> Builder {
    let mut builder = Builder::with_room(syntax.rows.len());
    for row in &syntax.rows {
        let subject = row.who().and_then(|who| people.id(&who));
        let (Some(subject), Some(object), Some(effect)) = (subject, row.object(), row.effect)
        else {
            continue;
        };
        let says = Says { subject, effect, line: row.line() };
        match row.verbs() {
            Verbs::Every => builder.add(says, object, iter::once(EVERY_VERB)),
            Verbs::Listed(list) => {
                let ids = list.iter().map(|verb| EVERY_VERB + 1 + verbs.intern(verb.text));
                builder.add(says, object, ids);
            }
        }
    }
    builder
}

fn too_wild(syntax: &Syntax<'_>, visits: u64) -> Fault {
    let wildness = |row: &&Row<'_>| {
        row.object()
            .map_or(0, |(parts, _)| parts.filter(|part| !matches!(part, Part::Literal(_))).count())
    };
    // Ties go to the first row.
    let row = syntax.rows.iter().rev().max_by_key(wildness);
    let span = row.map_or(Place { file: 0, line: 1, offset: 0 }.span(0, 0), Row::object_span);
    Fault::new(
        span,
        format!("the wildcards overlap so much that one request could visit {visits} places"),
        format!("the most is {MAX_VISITS}: spell out segments, beginning with this row"),
    )
    .with_code("acl::too-wild")
}

fn check_serial(syntax: &Syntax<'_>, previous: Option<u64>, faults: &mut Vec<Fault>) {
    let Some(previous) = previous else { return };
    match syntax.serial {
        Some((serial, span)) if serial < previous => {
            let message = format!("serial {serial} is lower than {previous}, the one in force");
            let help =
                format!("an old file? otherwise write `serial {}`", previous.saturating_add(1));
            faults.push(Fault::new(span, message, help).with_code("acl::serial"));
        }
        Some(_) => {}
        None => {
            let span = Place { file: 0, line: 1, offset: 0 }.span(0, 0);
            let message = format!("no serial, but the policy in force has serial {previous}");
            let help = format!("add a line `serial {}`", previous.saturating_add(1));
            faults.push(Fault::new(span, message, help).with_code("acl::serial"));
        }
    }
}

fn warn_of_dead_rows(syntax: &Syntax<'_>, warnings: &mut Vec<Fault>) {
    for row in &syntax.rows {
        if row.is_dead() {
            let message = "no request can name this object, so the row never matters";
            let help = "a backslash or an invisible mark is refused in every request";
            warnings.push(Fault::new(row.object_span(), message, help).with_code("acl::dead"));
        }
    }
}

fn digest(sources: &[Source<'_>]) -> [u8; 32] {
    let mut digests = sources.iter().map(|source| Sha256::digest(source.text).into());
    // The first source is the policy, and is always there.
    let policy = digests.next().unwrap_or_default();
    revision_digest(policy, digests.next())
}
