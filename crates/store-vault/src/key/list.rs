//! Lists the entries of a K/V engine.

use kes_store::{Deadline, ListQuery, Page};
use kes_types::KeyName;
use serde::Deserialize;

use crate::error::VaultError;
use crate::key::{Engine, Kv};

impl Kv {
    /// Returns one page of the listing. Vault returns all names of a folder in one response,
    /// subfolders included.
    pub(crate) async fn list(
        &self,
        query: &ListQuery,
        deadline: Deadline,
    ) -> Result<Page, VaultError> {
        #[derive(Deserialize)]
        struct Names {
            keys: Vec<String>,
        }
        self.mount.ensure_checked(deadline).await?;
        let call = match &self.engine {
            Engine::V1(kv) => kv.list(),
            Engine::V2(kv) => kv.list(),
        }?;
        let mut answer = self.mount.session.ask(&call, deadline).await?;
        if answer.is_absence()
            && let Some(active) = self.mount.confirm(deadline).await?
        {
            answer = active.session.ask(&call, deadline).await?;
        }
        if answer.is_absence() {
            return Ok(Page::default());
        }
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let names: Names = answer.data()?;
        // The name of a folder ends in a slash, which a key name cannot contain.
        let names = names.keys.iter().filter_map(|name| KeyName::parse(name).ok());
        Ok(Page::select(names, query))
    }
}
