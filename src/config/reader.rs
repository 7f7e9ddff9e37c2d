//! Reads one setting after the other, keeps what was found for printing, and collects every problem.
//!
//! A reader knows no setting by itself: the files of the concerns name key, variables, kind and default in one place, and
//! from what they asked for follows which keys of the file are unknown.

use std::{collections::BTreeMap, fmt, io, path::PathBuf};

use super::{Sources, values::Kind};

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key in the file, with the variable it came from, if any.
    pub key: String,
    /// What is wrong and what is accepted.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Everything that is wrong with the settings; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// A setting as it was found, fit for printing.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    path: &'static str,
    variables: &'static [&'static str],
    shown: Option<String>,
    origin: String,
}

impl Setting {
    /// Section and key; the section of a key on the first level is empty.
    pub(super) fn split(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    #[cfg(test)]
    pub(super) fn shown(&self) -> Option<&str> {
        self.shown.as_deref()
    }

    #[cfg(test)]
    pub(super) fn variables(&self) -> &'static [&'static str] {
        self.variables
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, key) = self.split();
        match &self.shown {
            Some(value) => write!(f, "{key} = {value}  # {}", self.origin),
            None => write!(f, "# {key} is not set; {}", self.variables.join(", ")),
        }
    }
}

pub(super) struct Reader<'a> {
    sources: &'a Sources,
    file_name: PathBuf,
    file: BTreeMap<String, toml::Value>,
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn open(sources: &'a Sources) -> Self {
        let mut reader = Reader {
            sources,
            file_name: PathBuf::new(),
            file: BTreeMap::new(),
            settings: Vec::new(),
            problems: Vec::new(),
        };
        if let Some((path, wanted)) = sources.file() {
            reader.file_name = path;
            match std::fs::read_to_string(&reader.file_name) {
                Ok(text) => reader.parse(&text),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !wanted => {}
                Err(error) => {
                    reader.problem(reader.file_name.display().to_string(), format!("cannot be read: {error}"))
                }
            }
        }
        reader
    }

    /// Takes the file apart into `section.key`. The parser's own message quotes the line, and a line may hold a secret.
    fn parse(&mut self, text: &str) {
        match text.parse::<toml::Table>() {
            Ok(table) => {
                for (name, value) in table {
                    match value {
                        toml::Value::Table(section) => {
                            // The section itself is kept too, so that an empty unknown one is noticed.
                            self.file.insert(format!("{name}."), toml::Value::Boolean(true));
                            for (key, value) in section {
                                self.file.insert(format!("{name}.{key}"), value);
                            }
                        }
                        value => {
                            self.file.insert(name, value);
                        }
                    }
                }
            }
            Err(error) => {
                let line =
                    error.span().and_then(|span| text.get(..span.start)).map_or(1, |head| head.lines().count().max(1));
                self.problem(format!("{}, line {line}", self.file_name.display()), error.message().to_owned());
            }
        }
    }

    pub(super) fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), message: message.into() });
    }

    /// A setting that has a default.
    pub(super) fn value<K: Kind>(
        &mut self,
        path: &'static str,
        variables: &'static [&'static str],
        kind: &K,
        default: K::Value,
    ) -> K::Value {
        let found = self.find(path, variables, kind);
        let (value, origin) = found.unwrap_or_else(|| (default, "default".to_owned()));
        self.settings.push(Setting { path, variables, shown: Some(kind.show(&value)), origin });
        value
    }

    /// A setting that may be absent.
    pub(super) fn optional<K: Kind>(
        &mut self,
        path: &'static str,
        variables: &'static [&'static str],
        kind: &K,
    ) -> Option<K::Value> {
        let found = self.find(path, variables, kind);
        let shown = found.as_ref().map(|(value, _)| kind.show(value));
        let (value, origin) = found.unzip();
        self.settings.push(Setting { path, variables, shown, origin: origin.unwrap_or_default() });
        value
    }

    fn find<K: Kind>(
        &mut self,
        path: &'static str,
        variables: &'static [&'static str],
        kind: &K,
    ) -> Option<(K::Value, String)> {
        let in_file = self.file.remove(path);
        let in_environment = variables.iter().find_map(|name| Some((*name, self.sources.variable(name)?)));
        let (text, key, origin) = if let Some((name, value)) = in_environment {
            let key = format!("{path} ({name})");
            match value.to_str() {
                Some(text) => (text.trim().to_owned(), key, name.to_owned()),
                None => {
                    self.problem(key, "is not valid UTF-8");
                    return None;
                }
            }
        } else {
            let value = in_file?;
            let origin = self.file_name.display().to_string();
            let key = variables.first().map_or_else(|| path.to_owned(), |name| format!("{path} ({name})"));
            match K::FORM.text_of(&value) {
                Some(text) => (text, key, origin),
                None => {
                    let message = format!("must be {} in {origin}, {}", K::FORM, kind.accepts());
                    self.problem(key, message);
                    return None;
                }
            }
        };
        match kind.parse(&text) {
            Ok(value) => Some((value, origin)),
            Err(message) => {
                self.problem(key, message);
                None
            }
        }
    }

    /// What was read, once every concern has asked for its settings: what is then left of the file is unknown.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, Problems> {
        for path in std::mem::take(&mut self.file).into_keys() {
            let (section, key) = path.split_once('.').unwrap_or(("", &path));
            let known: Vec<_> = self.settings.iter().map(Setting::split).filter(|(s, _)| *s == section).collect();
            let file = self.file_name.display().to_string();
            if known.is_empty() {
                self.problem(format!("[{section}]"), format!("is not a section of {file}"));
            } else if !key.is_empty() {
                let keys: Vec<_> = known.iter().map(|(_, key)| *key).collect();
                let place = if section.is_empty() { "the first level".to_owned() } else { format!("[{section}]") };
                self.problem(path.clone(), format!("is not a key of {file}; {place} has: {}", keys.join(", ")));
            }
        }
        self.problems.dedup();
        if self.problems.is_empty() { Ok(self.settings) } else { Err(Problems(self.problems)) }
    }
}
