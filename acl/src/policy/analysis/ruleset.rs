//! A policy that loads, with its rows and people kept for the analyses.

use std::collections::{HashMap, HashSet};

use super::expectations::Expectation;
use crate::policy::decision::Effect;
use crate::policy::fault::{Fault, Place, Span};
use crate::policy::finding::{Files, Finding, Severity};
use crate::policy::parse::{self, Contents};
use crate::policy::pattern::Pattern;
use crate::policy::people::{EVERYONE, People, SubjectId};
use crate::policy::row::{Row, Verbs};
use crate::policy::suggest::nearest;
use crate::policy::syntax::{Syntax, Who};
use crate::policy::{
    KeysRequired, LoadOptions, Policy, PolicyErrors, PolicyWarning, ServiceFacts, Source,
};

/// The number of a verb that some row names.
pub(super) type VerbId = u32;

/// A policy that loads, with its rows kept as their author wrote them.
///
/// It takes about twice the memory and time of a [`Policy`] alone: it is for tools, not for a
/// server's calls.
#[derive(Debug)]
pub struct Ruleset {
    name: String,
    text: Vec<u8>,
    principals_file: Option<(String, Vec<u8>)>,
    services: Vec<ServiceFacts>,
    required: KeysRequired,
    policy: Policy,
    warnings: Vec<PolicyWarning>,
    pub(super) rules: Vec<Rule>,
    pub(super) verbs: Vec<Box<str>>,
    pub(super) folk: Folk,
    expects: Vec<Expectation>,
    nevers: Vec<u32>,
}

/// A row.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) subject: SubjectId,
    pub(super) object: Pattern,
    pub(super) verbs: Listed,
    pub(super) effect: Effect,
    pub(super) span: Span,
}

/// The verbs of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Every,
    These(Box<[VerbId]>),
}

/// The principals and groups, by number.
#[derive(Debug, Default)]
pub(super) struct Folk {
    /// Names; the place is the number, and `*` the first.
    pub(super) names: Vec<Box<str>>,
    /// The sorted subjects of each principal, the principal with number 1 first.
    subjects: Vec<Box<[SubjectId]>>,
    /// The principals of each group, however deep.
    members: HashMap<SubjectId, Vec<SubjectId>>,
    /// Where groups are defined, and principals bound to keys.
    pub(super) defined: Vec<(SubjectId, Span)>,
    /// The groups that some row, `never` or other group names.
    pub(super) used: HashSet<SubjectId>,
    /// Whether no principal but those with a key exists.
    pub(super) closed: bool,
}

/// Someone who may ask. The stranger, who may come to have a key where the policy gives none, has
/// an empty name, which no `{self}` matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'r> {
    pub(super) name: &'r str,
    pub(super) subjects: &'r [SubjectId],
}

impl Ruleset {
    /// Reads a policy and keeps its rows.
    ///
    /// # Errors
    ///
    /// As [`Policy::load`].
    pub fn load(source: Source<'_>, options: &LoadOptions<'_>) -> Result<Self, PolicyErrors> {
        let loaded = Policy::load(source, options)?;
        let mut syntax = Syntax::default();
        // It loaded, so reading it again finds no fault.
        let mut faults = Vec::new();
        parse::read(source.text, 0, Contents::Policy, &mut syntax, &mut faults);
        if let Some(principals) = options.principals {
            let contents = Contents::PrincipalsOnly;
            parse::read(principals.text, 1, contents, &mut syntax, &mut faults);
        }
        let people = People::of(&syntax, options.keys, &mut faults, &mut Vec::new());
        let folk = Folk::of(&syntax, &people);
        let expects = syntax.expects.iter().filter_map(Expectation::of).collect();
        let nevers = syntax.nevers.iter().map(|line| line.row.line()).collect();
        let (rules, verbs) = rules(syntax.rows, &people);
        Ok(Self {
            name: source.name.to_owned(),
            text: source.text.to_owned(),
            principals_file: options.principals.map(|file| (file.name.into(), file.text.into())),
            services: options.services.to_owned(),
            required: options.keys,
            policy: loaded.policy,
            warnings: loaded.warnings,
            rules,
            verbs,
            folk,
            expects,
            nevers,
        })
    }

    /// The policy itself, on the engine that servers use.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What [`Policy::load`] warned of.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyWarning] {
        &self.warnings
    }

    /// The policy's own `expect` lines, all of which hold: it loads.
    #[must_use]
    pub fn expectations(&self) -> &[Expectation] {
        &self.expects
    }

    /// The lines of the policy's `never`s, all of which hold: it loads.
    #[must_use]
    pub fn nevers(&self) -> &[u32] {
        &self.nevers
    }

    /// The text of a line of the policy file, as it stands there; 1 is the first. It may hold what
    /// a terminal would obey: the file is its author's.
    #[must_use]
    pub fn line(&self, number: u32) -> String {
        let line = self.text.split(|byte| *byte == b'\n').nth(number.saturating_sub(1) as usize);
        String::from_utf8_lossy(line.unwrap_or_default()).trim().to_owned()
    }

    /// The known principal or group whose name is nearest to an unknown one.
    #[must_use]
    pub fn nearest_principal(&self, name: &str) -> Option<&str> {
        let is_group = name.starts_with('@');
        let mut known: Vec<_> = self.folk.names.iter().map(|known| &**known).collect();
        known.retain(|known| *known != "*" && known.starts_with('@') == is_group);
        // The same file must always give the same answer.
        known.sort_unstable();
        nearest(name, known)
    }

    /// The verb of some row that is nearest to one that no row names.
    #[must_use]
    pub fn nearest_verb(&self, verb: &str) -> Option<&str> {
        let mut known: Vec<_> = self.verbs.iter().map(|known| &**known).collect();
        known.sort_unstable();
        nearest(verb, known).filter(|known| *known != verb)
    }

    /// Reads the policy again with these rows appended.
    pub(super) fn with_rows(&self, rows: &[String]) -> Result<Policy, PolicyErrors> {
        let mut text = self.text.clone();
        for row in rows {
            text.push(b'\n');
            text.extend_from_slice(row.as_bytes());
        }
        let principals = self.principals_file.as_ref();
        let options = LoadOptions {
            services: &self.services,
            principals: principals.map(|(name, text)| Source { name, text }),
            previous_serial: None,
            keys: self.required,
        };
        Ok(Policy::load(Source { name: &self.name, text: &text }, &options)?.policy)
    }

    pub(super) fn findings(&self, faults: Vec<Fault>, severity: Severity) -> Vec<Finding> {
        if faults.is_empty() {
            return Vec::new();
        }
        let mut files = vec![(&*self.name, &*self.text)];
        files.extend(self.principals_file.as_ref().map(|(name, text)| (&**name, &**text)));
        Files::new(files).findings(faults, severity)
    }

    /// The beginning of the file, for what concerns all of it.
    pub(super) fn start(&self) -> Span {
        Place { file: 0, line: 1, offset: 0 }.span(0, 0)
    }

    /// A verb's name, quoted; `None` is one that no row names.
    pub(super) fn verb(&self, verb: Option<VerbId>) -> &str {
        verb.and_then(|verb| self.verbs.get(verb as usize)).map_or("*", |name| name)
    }

    pub(super) fn verb_id(&self, verb: &str) -> Option<VerbId> {
        let place = self.verbs.iter().position(|known| **known == *verb)?;
        u32::try_from(place).ok()
    }
}

impl Rule {
    pub(super) fn line(&self) -> u32 {
        self.span.line
    }
}

impl Listed {
    /// Whether the verb is one of these; `None` is a verb that no row names.
    pub(super) fn includes(&self, verb: Option<VerbId>) -> bool {
        match self {
            Self::Every => true,
            Self::These(verbs) => verb.is_some_and(|verb| verbs.contains(&verb)),
        }
    }

    pub(super) fn include(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Every, _) => true,
            (Self::These(_), Self::Every) => false,
            (Self::These(ours), Self::These(theirs)) => theirs.iter().all(|v| ours.contains(v)),
        }
    }

    /// The first verb in both; `Some(None)` is one that no row names.
    pub(super) fn shared(&self, other: &Self) -> Option<Option<VerbId>> {
        match (self, other) {
            (Self::Every, Self::Every) => Some(None),
            (Self::These(verbs), Self::Every) | (Self::Every, Self::These(verbs)) => {
                verbs.first().map(|verb| Some(*verb))
            }
            (Self::These(ours), Self::These(theirs)) => {
                ours.iter().find(|verb| theirs.contains(verb)).map(|verb| Some(*verb))
            }
        }
    }

    /// Each verb, `None` standing for all that no row names. Of `*` that one is enough: a row that
    /// covers it covers every verb.
    pub(super) fn each(&self) -> impl Iterator<Item = Option<VerbId>> {
        let (every, these) = match self {
            Self::Every => (Some(None), &[][..]),
            Self::These(verbs) => (None, &verbs[..]),
        };
        every.into_iter().chain(these.iter().map(|verb| Some(*verb)))
    }
}

impl Folk {
    fn of(syntax: &Syntax<'_>, people: &People<'_>) -> Self {
        let count = people.principals.len();
        let mut names: Vec<Box<str>> = vec!["*".into()];
        names.extend(people.principals.iter().map(|name| Box::from(*name)));
        let mut folk = Self { closed: people.closed, ..Self::default() };
        for group in &syntax.groups {
            let Some(name) = group.name else { continue };
            let Some(id) = people.id(&Who::Group(name)) else { continue };
            names.resize(names.len().max(id as usize + 1), "".into());
            names[id as usize] = name.text.into();
            folk.defined.push((id, name.span));
            folk.used.extend(group.members.iter().filter_map(|member| people.id(member)));
        }
        for line in &syntax.keys {
            let id = people.id(&Who::Principal(line.name));
            folk.defined.extend(id.map(|id| (id, line.name.span)));
        }
        let rows = syntax.rows.iter().chain(syntax.nevers.iter().map(|never| &never.row));
        folk.used.extend(rows.filter_map(|row| people.id(&row.who()?)));
        let excepted = syntax.nevers.iter().flat_map(|never| &never.except);
        folk.used.extend(excepted.filter_map(|who| people.id(who)));
        for id in (1..).take(count) {
            let subjects = people.subjects_of(id);
            for group in subjects.iter().filter(|group| **group as usize > count) {
                folk.members.entry(*group).or_default().push(id);
            }
            folk.subjects.push(subjects.into());
        }
        Self { names, ..folk }
    }

    pub(super) fn name(&self, id: SubjectId) -> &str {
        self.names.get(id as usize).map_or("", |name| name)
    }

    /// The principal of this number.
    pub(super) fn asker(&self, id: SubjectId) -> Option<Asker<'_>> {
        let subjects = self.subjects.get((id as usize).checked_sub(1)?)?;
        Some(Asker { name: self.name(id), subjects })
    }

    pub(super) fn named(&self, name: &str) -> Option<Asker<'_>> {
        let place = self.principals().position(|asker| asker.name == name)?;
        self.asker(u32::try_from(place + 1).ok()?)
    }

    /// Every principal that the policy knows.
    pub(super) fn principals(&self) -> impl Iterator<Item = Asker<'_>> {
        self.subjects.iter().zip(&self.names[1..]).map(|(subjects, name)| Asker { name, subjects })
    }

    /// Who stands for all principals that the policy does not know, if there may be any.
    pub(super) fn stranger(&self) -> Option<Asker<'_>> {
        (!self.closed).then_some(Asker { name: "", subjects: &[EVERYONE] })
    }

    /// Everyone of whom a row with this subject speaks.
    pub(super) fn askers(&self, subject: SubjectId) -> Box<dyn Iterator<Item = Asker<'_>> + '_> {
        if subject == EVERYONE {
            return Box::new(self.stranger().into_iter().chain(self.principals()));
        }
        match self.members.get(&subject) {
            Some(members) => Box::new(members.iter().filter_map(|id| self.asker(*id))),
            None => Box::new(self.asker(subject).into_iter()),
        }
    }

    /// Everyone of whom rows with either subject speak.
    pub(super) fn shared_askers(
        &self,
        one: SubjectId,
        two: SubjectId,
    ) -> impl Iterator<Item = Asker<'_>> {
        // The subject that speaks of fewer goes first.
        let size = |id| match self.members.get(&id) {
            Some(members) => members.len(),
            None if id == EVERYONE => usize::MAX,
            None => 1,
        };
        let (few, many) = if size(one) <= size(two) { (one, two) } else { (two, one) };
        self.askers(few).filter(move |asker| asker.subjects.binary_search(&many).is_ok())
    }
}

impl Asker<'_> {
    pub(super) fn is(&self, subject: SubjectId) -> bool {
        self.subjects.binary_search(&subject).is_ok()
    }
}

fn rules(rows: Vec<Row<'_>>, people: &People<'_>) -> (Vec<Rule>, Vec<Box<str>>) {
    let mut numbers: HashMap<&str, VerbId> = HashMap::new();
    let mut verbs: Vec<Box<str>> = Vec::new();
    let mut rules = Vec::with_capacity(rows.len());
    for row in rows {
        let subject = row.who().and_then(|who| people.id(&who));
        let (Some(subject), Some(object), Some(effect)) = (subject, row.pattern(), row.effect)
        else {
            continue;
        };
        let listed = match row.verbs() {
            Verbs::Every => Listed::Every,
            Verbs::Listed(names) => {
                let number = names.iter().map(|name| {
                    *numbers.entry(name.text).or_insert_with(|| {
                        verbs.push(name.text.into());
                        u32::try_from(verbs.len() - 1).unwrap_or(u32::MAX)
                    })
                });
                Listed::These(number.collect())
            }
        };
        rules.push(Rule { subject, object, verbs: listed, effect, span: row.span() });
    }
    (rules, verbs)
}
