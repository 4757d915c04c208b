//! A value as it was given, before it is known what of.

use std::time::Duration;

use toml::de::DeValue;

use super::parse;

/// A value from the command line or the environment, where all is text, or from the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    Texts(&'a [String]),
    Toml(&'a DeValue<'a>),
}

impl Input<'_> {
    pub(super) fn switch(self) -> Result<bool, String> {
        match self {
            Self::Toml(DeValue::Boolean(value)) => Ok(*value),
            Self::Toml(_) => Err(self.unfit()),
            Self::Texts(_) => self.one()?.parse().map_err(|_| self.unfit()),
        }
    }

    /// A text, or a number written as one: what `read` makes of it.
    pub(super) fn read<T>(self, read: fn(&str) -> Result<T, String>) -> Result<T, String> {
        read(&self.one()?)
    }

    /// A whole number of seconds, or a text like `30s`.
    pub(super) fn seconds(self) -> Result<Duration, String> {
        self.read(parse::duration)
    }

    /// A list of texts, at most `most` of them.
    pub(super) fn list<T>(
        self,
        most: usize,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let texts = match self {
            Self::Texts(texts) => texts.to_vec(),
            Self::Toml(DeValue::Array(items)) => {
                let text = |item: &toml::Spanned<DeValue<'_>>| Input::Toml(item.get_ref()).text();
                items.iter().map(text).collect::<Result<_, _>>()?
            }
            Self::Toml(_) => return Err(self.unfit()),
        };
        if texts.len() > most {
            return Err(format!("{} of them are too many, the most are {most}", texts.len()));
        }
        texts.iter().map(|text| read(text)).collect()
    }

    fn text(self) -> Result<String, String> {
        match self {
            Self::Toml(DeValue::String(text)) => Ok(text.clone().into_owned()),
            Self::Toml(_) => Err(self.unfit()),
            Self::Texts(_) => self.one(),
        }
    }

    fn one(self) -> Result<String, String> {
        match self {
            Self::Toml(DeValue::Integer(number)) if number.radix() == 10 => {
                Ok(number.as_str().to_owned())
            }
            Self::Toml(_) => self.text(),
            Self::Texts([text]) => Ok(text.clone()),
            Self::Texts(_) => Err("one value is needed".into()),
        }
    }

    fn unfit(self) -> String {
        match self {
            Self::Toml(value) => format!("this kind of value ({}) does not fit", value.type_str()),
            Self::Texts(texts) => format!("{:?} does not fit", texts.join(",")),
        }
    }
}
