//! Settles the guard: the variable, the file, or the original's canaries with its database.
//!
//! Owns: that order. Without canaries there is no guard: an engine that watches only its own
//! network asks nobody outside.

use super::{Database, GuardPlan, Layers, Refusal, Settings, Source, unfit};
use crate::config::guard::CANARIES_ORIGINAL;

/// Canaries between commas, or `none`.
const VARIABLE: &str = "ENGINE_GUARD_CANARIES";

impl Layers<'_> {
    /// What the guard is to do.
    pub(super) fn guard(
        &mut self,
        file: &Settings,
        database: &Database,
    ) -> Result<Option<GuardPlan>, Refusal> {
        let plan = |names: &[String]| {
            GuardPlan::with_canaries(names).map_err(|error| unfit(format!("{VARIABLE}: {error}")))
        };
        let (plan, from) = match (self.env.value(VARIABLE), self.variable(VARIABLE)) {
            (Some("none"), Some(from)) => (None, from),
            (Some(names), Some(from)) => {
                let names: Vec<String> = names.split(',').map(str::to_owned).collect();
                (Some(plan(&names)?), from)
            }
            _ if file.guard.is_some() => (file.guard.clone(), Source::File),
            _ if self.original.in_use && *database != Database::Sqlite => {
                (Some(plan(&CANARIES_ORIGINAL.map(str::to_owned))?), Source::Default)
            }
            _ => (None, Source::Default),
        };
        let shown = plan.as_ref().map_or("none".to_owned(), |plan| {
            let names: Vec<&str> = plan.canaries.iter().map(|canary| &*canary.name).collect();
            names.join(", ")
        });
        self.show("guard_canaries", shown, from);
        Ok(plan)
    }
}
