//! Lists keys with `ListSecrets`.

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};
use kes_store::{Deadline, ListQuery, Page};
use kes_types::KeyName;

use crate::call::AwsCall;
use crate::error::AwsError;
use crate::error::sanitized::SanitizedError;
use crate::key::secrets_manager::{SecretsManager, whole};

/// The maximum number of secrets on one page of `ListSecrets`.
const PAGE_SECRETS: i32 = 100;

impl SecretsManager {
    /// Returns one page of the listing. All pages are loaded from AWS first, because the order in
    /// which AWS lists secrets is unspecified.
    pub(crate) async fn page(
        &self,
        query: &ListQuery,
        deadline: Deadline,
    ) -> Result<Page, AwsError> {
        Ok(Page::select(self.list(&query.prefix, deadline).await?, query))
    }

    /// Returns all keys whose names start with `start`, and possibly more keys: AWS matches a
    /// filter value as a prefix, other implementations match it anywhere in the name.
    async fn list(&self, start: &str, deadline: Deadline) -> Result<Vec<KeyName>, AwsError> {
        let start = self.names.below(start);
        let filter = (!start.is_empty()).then(|| {
            Filter::builder().key(FilterNameStringType::Name).values(start.clone()).build()
        });
        let call = AwsCall::new("secretsmanager:ListSecrets", &start);
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let send = || {
                let request = self.session.secrets.list_secrets().max_results(PAGE_SECRETS);
                let request = request.set_filters(filter.clone().map(|filter| vec![filter]));
                request.set_next_token(next.clone()).send()
            };
            let page = self.session.ask(&call, deadline, send).await?;
            let live = whole(&call, page.secret_list.as_deref())?
                .iter()
                .filter(|entry| entry.deleted_date().is_none());
            keys.extend(live.filter_map(|entry| self.names.key(entry.name()?)));
            match page.next_token {
                Some(token) if next.as_ref() == Some(&token) => {
                    return Err(AwsError::NotUnderstood(
                        call,
                        SanitizedError::new("a page leads to itself"),
                    ));
                }
                Some(token) => next = Some(token),
                None => return Ok(keys),
            }
        }
    }
}
