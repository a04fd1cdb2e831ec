//! What becomes of changes of a policy, in words for people.

use miette::Report;

use super::reload::{Outcomes, ReloadError, Reloaded};

impl Outcomes {
    /// Gives `tell` the words for each outcome to come, until the server is gone: what is doubtful about a
    /// policy that came into force, or all that is wrong with one that did not, as a [`miette::Report`] of
    /// this program shows it (with lines and mends if it has miette's feature `fancy`), and which one is in
    /// force now.
    ///
    /// ```no_run
    /// # fn tell(server: &bailiwick::Server) {
    /// tokio::spawn(server.policy_handle().outcomes().tell(|words| eprintln!("{words}")));
    /// # }
    /// ```
    pub async fn tell(mut self, tell: impl Fn(&str)) {
        while let Some(outcome) = self.next().await {
            words(outcome).iter().for_each(|words| tell(words));
        }
    }
}

fn words(outcome: Result<Reloaded, ReloadError>) -> Vec<String> {
    let mut words = Vec::new();
    match outcome {
        Ok(Reloaded { revision, warnings }) => {
            let warnings = warnings.into_iter().map(Report::new);
            words.extend(warnings.map(|warning| format!("{warning:?}")));
            words.push(format!("policy: now in force: {revision}"));
        }
        Err(error) => {
            words.push(format!("{:?}", Report::new(error)));
            let stays = "policy: the one before stays in force: mend the file and save it";
            words.push(stays.to_owned());
        }
    }
    words
}
