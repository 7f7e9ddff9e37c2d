//! Where settings come from. The only place that touches the process environment.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// The environment as a map, and the settings file to look for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    variables: BTreeMap<String, OsString>,
    default_file: Option<PathBuf>,
}

impl Sources {
    /// The environment of this process, and `ragboard.toml` in the working directory if it is there.
    #[must_use]
    pub fn process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Sources { variables, default_file: Some(PathBuf::from("ragboard.toml")) }
    }

    /// Exactly these variables, and no file unless `RAGBOARD_CONFIG` is among them.
    pub fn from_variables<K: Into<String>, V: Into<OsString>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Sources { variables, default_file: None }
    }

    /// Sets a variable, over what the environment says: how flags of the command line become settings.
    pub fn set(&mut self, variable: &str, value: impl Into<OsString>) {
        self.variables.insert(variable.to_owned(), value.into());
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name).filter(|value| !value.is_empty())
    }

    /// The settings file, and whether it was asked for by name, so that its absence is an error.
    pub(super) fn file(&self) -> Option<(PathBuf, bool)> {
        match self.variable("RAGBOARD_CONFIG") {
            Some(path) => Some((PathBuf::from(path), true)),
            None => self.default_file.clone().map(|path| (path, false)),
        }
    }
}
