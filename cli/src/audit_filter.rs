//! Which records of an audit log are wanted, as `audit query`, `top` and `export` take it.

use std::time::SystemTime;

use bailiwick_acl::audit::{Filter, Outcome};
use bailiwick_acl::policy::object_pattern;
use clap::Args;
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::output::Failure;

/// Only records that fit all that is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which records")]
pub(crate) struct FilterArgs {
    /// Only refusals: denied requests, refused handshakes, sessions ended, and their summaries.
    #[arg(long)]
    denied: bool,
    /// Only requests that were allowed.
    #[arg(long, conflicts_with = "denied")]
    allowed: bool,
    /// Only records of this principal.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Only records with this verb.
    #[arg(long)]
    verb: Option<String>,
    /// Only records on these objects; wildcards as in the policy: `course/**`, `*/notes`. Summaries
    /// name no object.
    #[arg(long, value_name = "PATTERN")]
    object: Option<String>,
    /// Only records from then on: an age such as `30m`, `1h`, `2d`, or `2026-11-22T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records up to then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only records of this event, such as `decision`, `handshake.refused`, `policy.load`.
    #[arg(long)]
    event: Option<String>,
    /// Only records for this reason, such as `row`, `default`, `bad_object`.
    #[arg(long)]
    reason: Option<String>,
    /// Only records about this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only records about this method.
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Only records of this peer: an address, with its port or without.
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<String>,
    /// Only records of this mode: `enforce`, `shadow` or `permissive`.
    #[arg(long)]
    mode: Option<String>,
    /// Only the record with this number.
    #[arg(long, value_name = "NUMBER")]
    seq: Option<u64>,
}

impl FilterArgs {
    /// The filter, with ages counted back from `now`.
    pub(crate) fn filter(&self, now: SystemTime) -> Result<Filter, Failure> {
        let object = match &self.object {
            Some(text) => Some(object_pattern(text).map_err(|errors| {
                let help = errors.errors().first().map_or_else(String::new, |e| e.help.clone());
                Failure::new(format!("--object {text}: {errors}"), help)
            })?),
            None => None,
        };
        let outcome = match (self.denied, self.allowed) {
            (true, _) => Outcome::Refused,
            (false, true) => Outcome::Allowed,
            (false, false) => Outcome::Any,
        };
        let time = |option, text: &Option<String>| {
            text.as_ref().map(|text| time(option, text, now)).transpose()
        };
        Ok(Filter {
            outcome,
            object,
            since: time("--since", &self.since)?,
            until: time("--until", &self.until)?,
            principal: self.principal.clone(),
            verb: self.verb.clone(),
            event: self.event.clone(),
            reason: self.reason.clone(),
            service: self.service.clone(),
            method: self.method.clone(),
            peer: self.peer.clone(),
            mode: self.mode.clone(),
            seq: self.seq,
        })
    }
}

/// The time that `text` means: an age before `now`, or RFC 3339. Days have 24 hours.
fn time(option: &str, text: &str, now: SystemTime) -> Result<SystemTime, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.into());
    }
    let age = text.parse::<Span>().ok().and_then(|age| {
        let age = age.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        now.checked_sub(age.unsigned_abs())
    });
    age.ok_or_else(|| {
        let help = "write an age such as `30m`, `1h` or `2d`, or a time such as \
                    `2026-11-22T12:00:00Z`";
        Failure::new(format!("{option} {text}: not a time"), help)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_ages_or_rfc_3339() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let before = |text: &str| now.duration_since(time("--since", text, now).unwrap()).unwrap();
        assert_eq!(before("30m"), Duration::from_secs(1_800));
        assert_eq!(before("1h"), Duration::from_secs(3_600));
        assert_eq!(before("2d"), Duration::from_secs(172_800));
        assert_eq!(before("1h30m"), Duration::from_secs(5_400));
        assert_eq!(before("2001-09-09T01:46:39Z"), Duration::from_secs(1));
        assert_eq!(before("2001-09-09T03:46:40+02:00"), Duration::ZERO);
        for text in ["", "1", "yesterday", "2001-09-09", "1month", "9999999999h"] {
            assert!(matches!(time("--since", text, now), Err(Failure::Told { .. })), "{text}");
        }
    }
}
