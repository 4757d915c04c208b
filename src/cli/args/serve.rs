//! The arguments of the daemon and of the configuration: a flag for every key of the table.

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};

use crate::daemon::config::parse::log_filter;
use crate::daemon::config::{Given, KEYS, Key, Kind, Origin};

#[derive(Debug, Args)]
pub(in crate::cli) struct DaemonArgs {
    #[command(flatten)]
    pub(in crate::cli) keys: KeyFlags,
    /// Let the API make services panic
    #[arg(long, hide = true)]
    pub(in crate::cli) fault_injection: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// What to log from now on, as in `offswarm=debug`
    #[arg(value_name = "FILTER", value_parser = log_filter)]
    pub(in crate::cli) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Show every key and its value: what serve would keep to with these flags
    Show {
        /// Show where each value comes from: a flag, the environment, the file, or the default
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        keys: KeyFlags,
    },
    /// Print where the configuration file is, or would be
    Path,
}

/// The keys that were given on the command line and in the environment.
#[derive(Debug, Clone)]
pub(in crate::cli) struct KeyFlags(pub(in crate::cli) Vec<Given>);

/// Flags that every command has.
const GLOBAL: [&str; 3] = ["limit", "host-share", "log"];

fn id(key: &Key) -> String {
    key.flag.replace('-', "_")
}

fn flag(key: &'static Key) -> Arg {
    let about = match key.kind {
        Kind::Off => format!("Do not: {} [{}]", lower(key.about), key.name),
        _ => format!("{} [{}]", key.about, key.name),
    };
    let arg = Arg::new(id(key)).long(key.flag).help(about);
    let parser = ValueParser::new(move |text: &str| key.check(text).map(|()| text.to_owned()));
    match key.kind {
        Kind::On | Kind::Off => arg.action(ArgAction::SetTrue),
        Kind::One(name) => arg.action(ArgAction::Set).value_name(name).value_parser(parser),
        Kind::Many(name) => arg.action(ArgAction::Append).value_name(name).value_parser(parser),
    }
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

impl Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        let own = KEYS.iter().filter(|key| !GLOBAL.contains(&key.flag));
        command.args(own.map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(KEYS.iter().filter_map(|key| given(key, matches)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn given(key: &'static Key, matches: &ArgMatches) -> Option<Given> {
    let id = id(key);
    let raw = matches.try_get_raw(&id).ok()??;
    let origin = match matches.value_source(&id)? {
        ValueSource::CommandLine => Origin::Flag,
        ValueSource::EnvVariable => Origin::Environment,
        _ => return None,
    };
    let texts = match key.kind {
        // A variable can say no, too: then it goes before a file that says yes.
        Kind::On => vec![matches.get_flag(&id).to_string()],
        Kind::Off => vec![(!matches.get_flag(&id)).to_string()],
        _ => raw.map(|text| text.to_string_lossy().into_owned()).collect(),
    };
    Some(Given { key, texts, origin })
}
