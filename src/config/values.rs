//! The kinds of values a setting may have: how each is read from text, what it accepts, and how it is printed.

use std::{
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

/// How a value is written in TOML. In the environment everything is text, lists are separated by commas.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text,
    Number,
    Switch,
    List,
}

impl Form {
    /// The text the environment would hold for this value, if it is of this form.
    pub(super) fn text_of(self, value: &toml::Value) -> Option<String> {
        match (self, value) {
            (Form::Text | Form::List, toml::Value::String(text)) => Some(text.clone()),
            (Form::Number, toml::Value::Integer(number)) => Some(number.to_string()),
            (Form::Number, toml::Value::Float(number)) => Some(number.to_string()),
            (Form::Switch, toml::Value::Boolean(on)) => Some(on.to_string()),
            (Form::List, toml::Value::Array(items)) => {
                items.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>().map(|items| items.join(","))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Text => "a string",
            Form::Number => "a number",
            Form::Switch => "true or false",
            Form::List => "an array of strings",
        })
    }
}

/// One kind of value.
pub(super) trait Kind {
    type Value;
    const FORM: Form;

    /// Completes "give …".
    fn accepts(&self) -> String;

    /// The value, or a message that says what is accepted and repeats nothing secret.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;

    /// As TOML, secrets hidden.
    fn show(&self, value: &Self::Value) -> String;

    /// Repeats the value, unless it looks like a URL with credentials.
    fn refuse(&self, text: &str) -> String {
        if text.contains('@') {
            return format!("this value is not accepted, {}", self.accepts());
        }
        format!("{text:?} is not accepted, {}", self.accepts())
    }
}

/// A string as TOML, whose escapes are those of JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A whole number in a range.
pub(super) struct Whole<T>(pub(super) RangeInclusive<T>);

impl<T: FromStr + PartialOrd + fmt::Display> Kind for Whole<T> {
    type Value = T;
    const FORM: Form = Form::Number;

    fn accepts(&self) -> String {
        format!("give a whole number from {} to {}", self.0.start(), self.0.end())
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        text.parse().ok().filter(|number| self.0.contains(number)).ok_or_else(|| self.refuse(text))
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A time in seconds, fractions allowed.
pub(super) struct Seconds(pub(super) RangeInclusive<f64>);

impl Kind for Seconds {
    type Value = Duration;
    const FORM: Form = Form::Number;

    fn accepts(&self) -> String {
        format!("give seconds from {} to {}, such as 30 or 0.5", self.0.start(), self.0.end())
    }

    fn parse(&self, text: &str) -> Result<Duration, String> {
        let seconds = text.parse().ok().filter(|seconds| self.0.contains(seconds));
        seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| self.refuse(text))
    }

    fn show(&self, value: &Duration) -> String {
        value.as_secs_f64().to_string()
    }
}

/// On or off.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;
    const FORM: Form = Form::Switch;

    fn accepts(&self) -> String {
        "give true or false".to_owned()
    }

    fn parse(&self, text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(self.refuse(text)),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One word of a closed list.
pub(super) struct Word<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Word<T> {
    pub(super) fn name_of(&self, value: T) -> &'static str {
        self.0.iter().find(|(_, other)| *other == value).map_or("", |(name, _)| name)
    }
}

impl<T: Copy + PartialEq> Kind for Word<T> {
    type Value = T;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        format!("give one of {}", names.join(", "))
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or_else(|| self.refuse(text))
    }

    fn show(&self, value: &T) -> String {
        quoted(self.name_of(*value))
    }
}

/// Text without a further form, at most 1,000 bytes.
pub(super) struct Text;

impl Kind for Text {
    type Value = String;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        "give a text of 1 to 1000 bytes".to_owned()
    }

    fn parse(&self, text: &str) -> Result<String, String> {
        if (1..=1000).contains(&text.len()) { Ok(text.to_owned()) } else { Err(self.accepts()) }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A secret: neither messages nor the printed settings repeat it.
pub(super) struct Secret;

impl Kind for Secret {
    type Value = SecretString;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        "give a secret text of 1 to 4096 bytes".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, String> {
        if (1..=4096).contains(&text.len()) { Ok(text.to_owned().into()) } else { Err(self.accepts()) }
    }

    fn show(&self, _: &SecretString) -> String {
        quoted("***")
    }
}

/// A folder. It need not exist yet.
pub(super) struct Folder;

impl Kind for Folder {
    type Value = PathBuf;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        "give the path of a folder".to_owned()
    }

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.contains('\0') { Err(self.accepts()) } else { Ok(Path::new(text).to_owned()) }
    }

    fn show(&self, value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

/// An address to listen on.
pub(super) struct ListenAddress;

impl Kind for ListenAddress {
    type Value = SocketAddr;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        "give ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:8080".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| self.refuse(text))
    }

    fn show(&self, value: &SocketAddr) -> String {
        quoted(&value.to_string())
    }
}

/// Something that reads and prints itself; the text completes "give …".
pub(super) struct Parsed<T> {
    accepts: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Parsed<T> {
    pub(super) const fn new(accepts: &'static str, parse: fn(&str) -> Option<T>) -> Self {
        Parsed { accepts, parse }
    }
}

impl<T: fmt::Display> Kind for Parsed<T> {
    type Value = T;
    const FORM: Form = Form::Text;

    fn accepts(&self) -> String {
        format!("give {}", self.accepts)
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        (self.parse)(text).ok_or_else(|| self.refuse(text))
    }

    fn show(&self, value: &T) -> String {
        quoted(&value.to_string())
    }
}

/// Any number of values of one kind.
pub(super) struct List<K>(pub(super) K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;
    const FORM: Form = Form::List;

    fn accepts(&self) -> String {
        format!("for each item {}", self.0.accepts())
    }

    fn parse(&self, text: &str) -> Result<Vec<K::Value>, String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| self.0.parse(item)).collect()
    }

    fn show(&self, values: &Vec<K::Value>) -> String {
        let items: Vec<_> = values.iter().map(|value| self.0.show(value)).collect();
        format!("[{}]", items.join(", "))
    }
}
