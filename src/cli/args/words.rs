//! Arguments spelt out: what was given on the command line and in the environment, as one command
//! line that means the same without the environment.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};

/// What the store keeps to is settled when a daemon starts. In the environment it may be for that
/// daemon, and says nothing to others.
const OF_THE_DAEMON: [&str; 2] = ["limit", "host_share"];

/// The words of a command line, the program's name first.
pub(super) fn of(command: &Command, matches: &ArgMatches) -> Vec<OsString> {
    let mut words = vec![OsString::from(command.get_name())];
    spell(command, matches, &[], &mut words);
    words
}

fn spell(command: &Command, matches: &ArgMatches, above: &[&str], words: &mut Vec<OsString>) {
    let mut positional: Vec<&OsStr> = Vec::new();
    let mut ids = above.to_vec();
    // Flags for all commands are in the matches of each.
    for arg in command.get_arguments().filter(|arg| !above.contains(&arg.get_id().as_str())) {
        let id = arg.get_id().as_str();
        ids.push(id);
        match matches.try_get_raw(id).map(|_| matches.value_source(id)) {
            Ok(None | Some(ValueSource::DefaultValue)) | Err(_) => continue,
            Ok(Some(ValueSource::EnvVariable)) if OF_THE_DAEMON.contains(&id) => continue,
            Ok(_) => {}
        }
        let values = matches.get_raw(id).into_iter().flatten();
        match arg.get_long() {
            None => positional.extend(values),
            Some(flag) if matches!(arg.get_action(), ArgAction::SetTrue) => {
                if matches.get_flag(id) {
                    words.push(format!("--{flag}").into());
                }
            }
            Some(flag) => words.extend(values.map(|value| {
                let mut word = OsString::from(format!("--{flag}="));
                word.push(value);
                word
            })),
        }
    }
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        words.push(name.into());
        spell(command, matches, &ids, words);
    } else if !positional.is_empty() {
        words.push("--".into());
        words.extend(positional.into_iter().map(OsStr::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(words: &[&str]) -> Vec<String> {
        let mut command = super::super::command();
        let words = std::iter::once("offswarm").chain(words.iter().copied());
        let matches = command.try_get_matches_from_mut(words).unwrap();
        of(&command, &matches).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn says_what_was_said_and_no_more() {
        assert_eq!(spelt(&["ls"]), ["offswarm", "ls"]);
        assert_eq!(
            spelt(&["get", "--json", "--output=-x", "u", "--peer", "127.0.0.1:1,127.0.0.1:2"]),
            [
                "offswarm",
                "--json",
                "get",
                "--peer=127.0.0.1:1",
                "--peer=127.0.0.1:2",
                "--output=-x",
                "--",
                "u"
            ]
        );
        assert_eq!(spelt(&["put", "-q", "-"]), ["offswarm", "--quiet", "put", "--", "-"]);
        assert_eq!(spelt(&["cat", "--range", "-5", "u"])[2..], ["--range=-5", "--", "u"]);
        assert_eq!(
            spelt(&["pack", "export", "p", "--urls", "a", "b", "--home", "h"])[1..],
            ["--home=h", "pack", "export", "--urls=a", "--urls=b", "--", "p"]
        );
    }

    #[test]
    fn what_is_spelt_out_means_the_same() {
        let words = spelt(&["rm", "--limit", "5", "--", "-u", "v"]);
        let cli = super::super::parse_words(words.into_iter().map(Into::into).collect()).unwrap();
        assert_eq!(cli.global.limit, Some(5));
        let super::super::Command::Rm(args) = cli.command else { panic!("another command") };
        assert_eq!(args.urls, ["-u", "v"]);
    }
}
