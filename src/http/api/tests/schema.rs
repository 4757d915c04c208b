//! As much of JSON Schema as `openapi.json` uses, to hold answers against it.

use serde_json::Value;

/// What is said about a value that is looked at by nobody here.
const REMARKS: &[&str] = &["description", "default", "pattern", "maxLength", "minLength"];

/// What is wrong with a value; nothing if it is as the schema says.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$ref" => {
                let place = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(document, document.pointer(place).unwrap(), value, at, found);
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|one| is_a(value, one.as_str().unwrap())) {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                found.push(format!("{at}: {value} is none of {rule}"));
            }
            "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                found.push(format!("{at}: {value} is less than {rule}"));
            }
            "maximum" if value.as_f64() > rule.as_f64() => {
                found.push(format!("{at}: {value} is more than {rule}"));
            }
            "minItems" | "maxItems" => check_count(word, rule, value, at, found),
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}[{place}]"), found);
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(document, schema, value, &format!("{at}.{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false));
                for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
                    if schema["properties"].get(name).is_none() {
                        found.push(format!("{at}: {name} is not documented"));
                    }
                }
            }
            "enum" | "minimum" | "maximum" => {}
            remark => assert!(REMARKS.contains(&remark), "{remark} is not known to this validator"),
        }
    }
}

fn check_count(word: &str, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(items) = value.as_array() else { return };
    let (count, limit) = (items.len() as u64, rule.as_u64().unwrap());
    if (word == "minItems" && count < limit) || (word == "maxItems" && count > limit) {
        found.push(format!("{at}: {count} items where {word} is {limit}"));
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{kind} is no type"),
    }
}

#[test]
fn the_validator_would_notice() {
    let document = serde_json::json!({"a": {"type": ["integer", "null"], "minimum": 1}});
    let schema = serde_json::json!({
        "type": "object", "required": ["x"], "additionalProperties": false,
        "properties": {
            "x": {"$ref": "#/a"},
            "y": {"type": "array", "maxItems": 1, "items": {"type": "string", "enum": ["p"]}},
        },
    });
    let wrong = |text: &str| faults(&document, &schema, &serde_json::from_str(text).unwrap()).len();
    assert_eq!(wrong(r#"{"x": 1, "y": ["p"]}"#), 0);
    assert_eq!(wrong(r#"{"x": null}"#), 0);
    assert_eq!(wrong(r#"{"x": 0}"#), 1);
    assert_eq!(wrong(r#"{"x": 1.5}"#), 1);
    assert_eq!(wrong(r#"{"y": ["q", "p"], "z": 1}"#), 4);
    assert_eq!(wrong("3"), 1);
}
