//! The rows that everybody is given, in three languages, and the requests that are asked of them.
//!
//! Only what all three can say: a user or a group, an object or all that is below one, some verbs,
//! allow or deny. The same number of rows gives the same rows in every process.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};

/// Requests for each number of rows; fewer where there are fewer rows.
const REQUESTS: usize = 65_536;

/// What casbin is told to do with its rows: as ours are read, with the cheapest condition first.
const CASBIN_MODEL: &str = "\
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.act == p.act && keyMatch(r.obj, p.obj) && g(r.sub, p.sub)
";

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) user: String,
    pub(super) verb: String,
    pub(super) object: String,
}

/// The files of one number of rows.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) ours: PathBuf,
    pub(super) casbin_model: PathBuf,
    pub(super) casbin: PathBuf,
    pub(super) cedar: PathBuf,
    /// Who is in which group, for Cedar, which keeps no groups in its policies.
    pub(super) groups: PathBuf,
    pub(super) requests: PathBuf,
}

impl Files {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            ours: folder.join("policy.acl"),
            casbin_model: folder.join("casbin.conf"),
            casbin: folder.join("casbin.csv"),
            cedar: folder.join("policy.cedar"),
            groups: folder.join("groups.json"),
            requests: folder.join("requests.json"),
        }
    }
}

/// How many there are of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    pub(super) users: usize,
    groups: usize,
    tenants: usize,
}

impl Crowd {
    pub(super) fn of(rows: usize) -> Self {
        let users = (rows / 100).clamp(4, 10_000);
        Self { users, groups: (users / 10).max(1), tenants: (rows / 50).clamp(2, 20_000) }
    }

    /// Ten to a group; some users are in none and some in two.
    pub(super) fn members(self, group: usize) -> impl Iterator<Item = usize> {
        (0..10).map(move |nth| (group * 9 + nth) % self.users)
    }
}

/// One row.
struct Row {
    subject: Subject,
    object: String,
    below: bool,
    verbs: &'static [&'static str],
    allow: bool,
}

#[derive(Clone, Copy)]
enum Subject {
    User(usize),
    Group(usize),
}

impl Row {
    /// Of twenty rows, two give a team what is below a folder, one forbids a document, and the others
    /// allow one.
    fn at(number: usize, crowd: Crowd, random: &mut SmallRng) -> Self {
        let user = Subject::User(random.random_range(0..crowd.users));
        let tenant = random.random_range(0..crowd.tenants);
        let document = format!("tenant/t{tenant}/docs/d{number}");
        match random.random_range(0..20) {
            0 | 1 => Self {
                subject: Subject::Group(random.random_range(0..crowd.groups)),
                object: format!("tenant/t{tenant}/docs"),
                below: true,
                verbs: &["read"],
                allow: true,
            },
            2 => Self {
                subject: user,
                object: document,
                below: false,
                verbs: &["write"],
                allow: false,
            },
            _ => Self {
                subject: user,
                object: document,
                below: false,
                verbs: &["read", "write"],
                allow: true,
            },
        }
    }
}

/// Writes `rows` rows for all, and the requests. `head` goes before our own rows.
///
/// # Errors
///
/// What the disk said.
pub(super) fn write(folder: &Path, rows: usize, head: &str) -> io::Result<()> {
    let files = Files::in_folder(folder);
    let crowd = Crowd::of(rows);
    let create = |path: &Path| fs::File::create(path).map(BufWriter::new);
    let (mut ours, mut casbin) = (create(&files.ours)?, create(&files.casbin)?);
    let mut cedar = create(&files.cedar)?;
    fs::write(&files.casbin_model, CASBIN_MODEL)?;
    writeln!(ours, "acl 1\n{head}")?;
    for user in 0..crowd.users {
        writeln!(ours, "principal user{user} = ed25519:{:064x}", user + 1)?;
    }
    let mut groups = Vec::new();
    for group in 0..crowd.groups {
        let mut members: Vec<_> = crowd.members(group).map(|user| format!("user{user}")).collect();
        members.sort();
        members.dedup();
        writeln!(ours, "group @team{group} = {}", members.join(", "))?;
        for member in &members {
            writeln!(casbin, "g, {member}, team{group}")?;
        }
        groups.push(members);
    }
    let mut random = SmallRng::seed_from_u64(rows as u64);
    let mut requests = Vec::new();
    for number in 0..rows {
        let row = Row::at(number, crowd, &mut random);
        write_ours(&row, &mut ours)?;
        write_casbin(&row, &mut casbin)?;
        write_cedar(&row, &mut cedar)?;
        if random.random_range(0..rows.div_ceil(REQUESTS)) == 0 {
            requests.push(request(&row, crowd, &mut random));
        }
    }
    for at in 1..requests.len() {
        requests.swap(at, random.random_range(0..=at));
    }
    fs::write(&files.groups, serde_json::to_vec(&groups)?)?;
    fs::write(&files.requests, serde_json::to_vec(&requests)?)?;
    ours.flush()?;
    casbin.flush()?;
    cedar.flush()
}

/// A question near a row: half of them are about its own user, a third with another verb.
fn request(row: &Row, crowd: Crowd, random: &mut SmallRng) -> Request {
    let user = match row.subject {
        Subject::User(user) if random.random_range(0..2) == 0 => user,
        Subject::Group(group) if random.random_range(0..2) == 0 => {
            crowd.members(group).next().unwrap_or(0)
        }
        _ => random.random_range(0..crowd.users),
    };
    let object = if row.below { format!("{}/plan", row.object) } else { row.object.clone() };
    let verb = ["read", "write", "list"][random.random_range(0..3)];
    Request { user: format!("user{user}"), verb: verb.to_owned(), object }
}

fn write_ours(row: &Row, out: &mut impl Write) -> io::Result<()> {
    let (sigil, who) = match row.subject {
        Subject::User(user) => ("", format!("user{user}")),
        Subject::Group(group) => ("@", format!("team{group}")),
    };
    let below = if row.below { "/**" } else { "" };
    let effect = if row.allow { "allow" } else { "deny" };
    writeln!(out, "{sigil}{who} | {}{below} | {} | {effect}", row.object, row.verbs.join(", "))
}

/// casbin takes a row for each verb.
fn write_casbin(row: &Row, out: &mut impl Write) -> io::Result<()> {
    let who = match row.subject {
        Subject::User(user) => format!("user{user}"),
        Subject::Group(group) => format!("team{group}"),
    };
    let below = if row.below { "/*" } else { "" };
    let effect = if row.allow { "allow" } else { "deny" };
    for verb in row.verbs {
        writeln!(out, "p, {who}, {}{below}, {verb}, {effect}", row.object)?;
    }
    Ok(())
}

fn write_cedar(row: &Row, out: &mut impl Write) -> io::Result<()> {
    let effect = if row.allow { "permit" } else { "forbid" };
    let who = match row.subject {
        Subject::User(user) => format!("== User::\"user{user}\""),
        Subject::Group(group) => format!("in Team::\"team{group}\""),
    };
    let actions: Vec<_> = row.verbs.iter().map(|verb| format!("Action::\"{verb}\"")).collect();
    let is = if row.below { "in" } else { "==" };
    writeln!(
        out,
        "{effect}(principal {who}, action in [{}], resource {is} Object::\"{}\");",
        actions.join(", "),
        row.object
    )
}
