//! `--only A,B`: a part of a task.

use clap::Args;
use miette::{Result, miette};

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Only {
    /// Only these parts, separated by commas (an unknown name lists them all). The result is then
    /// not kept in results/.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Option<Vec<String>>,
}

impl Only {
    #[cfg(test)]
    pub(crate) fn these(names: &[&str]) -> Self {
        let names = names.iter().map(|name| name.to_string());
        Self {
            only: Some(names.collect()),
        }
    }

    /// Whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        self.only.is_none()
    }

    /// Whether a part is asked for.
    pub(crate) fn has(&self, name: &str) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|only| only.iter().any(|asked| asked == name))
    }

    /// Checks that every part that is asked for exists.
    pub(crate) fn check(&self, names: &[&str]) -> Result<()> {
        let is_known = |name: &&String| names.contains(&name.as_str());
        match self.only.iter().flatten().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(unknown) => Err(miette!(
                help = format!("the parts are {}", names.join(", ")),
                "there is no part `{unknown}`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_part_is_an_error_that_names_all() {
        let everything = Only::default();
        assert!(everything.has("eval") && everything.is_everything());
        let some = Only::these(&["eval", "lora"]);
        assert!(some.has("eval") && !some.has("full") && !some.is_everything());
        some.check(&["full", "lora", "eval"]).expect("all known");
        let report = some.check(&["full", "eval"]).expect_err("no lora");
        let help = report.help().expect("names").to_string();
        assert!(report.to_string().contains("`lora`") && help.contains("full, eval"));
    }
}
