//! Tests of the configuration.

use super::*;

fn load(text: &str, given: &[Given]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(&file, given)
}

fn given(name: &str, text: &str, origin: Origin) -> Given {
    Given { key: key(name).unwrap(), texts: vec![text.to_owned()], origin }
}

#[test]
fn no_file_is_no_error_and_says_nothing() {
    let config = Config::load(Path::new("/nowhere/config.toml"), &[]).unwrap();
    assert!(KEYS.iter().all(|key| config.origin(key) == Origin::Default));
    assert_eq!(config.values.http_listen.to_string(), "127.0.0.1:23402");
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\n[store]\nlimit_bytes = 5\n";
    let environment = given("http.listen", "127.0.0.1:2", Origin::Environment);
    let config = load(text, &[environment]).unwrap();
    assert_eq!(config.values.http_listen.port(), 2);
    assert_eq!(config.origin(key("http.listen").unwrap()), Origin::Environment);
    assert_eq!(config.origin(key("store.limit_bytes").unwrap()), Origin::File);
    assert_eq!(config.values.limit, Some(5));
    let config = load(text, &[given("http.listen", "127.0.0.1:3", Origin::Flag)]).unwrap();
    assert_eq!(config.values.http_listen.port(), 3);
}

#[test]
fn every_key_can_be_in_the_file_as_it_is_shown() {
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap();
        let value = match key.default() {
            serde_json::Value::Null => match key.name {
                "store.limit_bytes" => "1".to_owned(),
                "peers.listen" | "legacy.address" => "\"0.0.0.0:6881\"".to_owned(),
                _ => "\"1MiB\"".to_owned(),
            },
            // The times are whole seconds.
            serde_json::Value::Number(number) => format!("{}", number.as_f64().unwrap()),
            value => value.to_string(),
        };
        let config = load(&format!("[{section}]\n{name} = {value}\n"), &[]);
        assert_eq!(config.unwrap().origin(key), Origin::File, "{}", key.name);
    }
}

#[test]
fn errors_say_where_and_what_is_allowed() {
    let said = |text: &str| load(text, &[]).unwrap_err().to_string();
    for (text, parts) in [
        ("[store]\n\nlimit = 5\n", ["line 3", "unknown key `store.limit`", "`limit_bytes`"]),
        ("[stores]\nlimit_bytes = 5\n", ["line 1", "unknown section `[stores]`", "`[store]`"]),
        ("limit_bytes = 5\n", ["line 1", "unknown key `limit_bytes`", "`[store]`"]),
        ("[http]\nlisten = 80\n", ["line 2", "`http.listen`", "an address and port"]),
        ("[http]\nhosts = [\"a:80\"]\n", ["line 2", "`http.hosts`", "without ports"]),
        ("[http]\nhosts = \"a\"\n", ["line 2", "`http.hosts`", "string"]),
        ("[dht]\nenabled = \"yes\"\n", ["line 2", "`dht.enabled`", "true or false"]),
        (
            "[native]\nhost_share_percent = 101\n",
            ["line 2", "host_share_percent` is 101", "0 to 100"],
        ),
        ("[peers]\nmax_peers = 0\n", ["line 2", "`peers.max_peers`", "from 1 to 10000"]),
        ("[serve]\ndrain_seconds = 700\n", ["line 2", "`serve.drain_seconds`", "600"]),
        ("[log]\nfilter = \"a=b=c\"\n", ["line 2", "`log.filter`", "offswarm=debug"]),
        ("[store]\nlimit_bytes = -1\n", ["line 2", "`store.limit_bytes`", "10GiB"]),
        ("[store\n", ["config.toml", "line 1", "cannot use"]),
    ] {
        let error = said(text);
        for part in parts.into_iter().chain(["config.toml"]) {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
    let error = load("", &[given("http.listen", "x", Origin::Environment)]).unwrap_err();
    assert!(error.to_string().contains("OFFSWARM_HTTP_LISTEN"), "{error}");
}

#[test]
fn a_share_needs_a_limit() {
    let config = load("[native]\nhost_share_percent = 10\n", &[]).unwrap();
    assert!(config.values.settings().is_err());
    let config = load("[native]\nhost_share_percent = 10\n[store]\nlimit_bytes = 9\n", &[]);
    assert_eq!(config.unwrap().values.settings().unwrap().limit, Some(9));
}

#[test]
fn names_and_flags_are_there_once() {
    for what in [|key: &Key| key.name, |key: &Key| key.flag] {
        let mut all: Vec<_> = KEYS.iter().map(what).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
