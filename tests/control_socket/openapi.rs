//! The OpenAPI document against what the gateway really answers.

#![allow(clippy::unwrap_used, reason = "clippy does not see that these are for tests only")]

use super::gateway::{Gateway, steering};
use super::live::Live;
use natgate::control::client::ClientError;
use natgate::control::state::EventRow;
use natgate::control::{api, filter, openapi};
use natgate::steering::plan::ProofState;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::SystemTime;

fn document() -> Value {
    serde_json::from_str(openapi::document()).unwrap()
}

/// Every operation of the document: path, method, description.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (&**path, &**method, operation))
        })
        .collect()
}

/// Compares answers with their schemas, and notes which fields it met.
struct Checker<'a> {
    document: &'a Value,
    met: BTreeSet<String>,
}

impl<'a> Checker<'a> {
    fn resolve(&self, schema: &'a Value) -> (&'a str, &'a Value) {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let name = reference.rsplit('/').next().unwrap();
                (name, &self.document["components"]["schemas"][name])
            }
            None => ("", schema),
        }
    }

    /// The fields that a schema has, with those that it takes over from others (`allOf`), and whether they must be there.
    fn fields(&self, schema: &'a Value) -> Vec<(&'a str, bool, &'a Value)> {
        let (_, schema) = self.resolve(schema);
        let parts = schema["allOf"].as_array().into_iter().flatten();
        let mut fields: Vec<_> = parts.flat_map(|part| self.fields(part)).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let required = schema["required"].as_array().into_iter().flatten();
            fields.push((name, required.into_iter().any(|required| required == &**name), field));
        }
        fields
    }

    fn check(&mut self, value: &Value, schema: &'a Value) -> Result<(), String> {
        let (name, schema) = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let wrong: Vec<_> = choices.iter().map(|choice| self.check(value, choice)).collect();
            return if wrong.iter().any(Result::is_ok) { Ok(()) } else { Err(format!("{wrong:?}")) };
        }
        let is = |kind: &str| match kind {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => false,
        };
        let fits = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
            Value::String(kind) => is(kind),
            _ => schema["allOf"].is_array(),
        };
        if !fits {
            return Err(format!("{value} is no {schema}"));
        }
        if let Some(rows) = value.as_array() {
            return rows.iter().try_for_each(|row| self.check(row, &schema["items"]));
        }
        let Some(object) = value.as_object() else { return Ok(()) };
        let fields = self.fields(schema);
        for (field, required, inner) in &fields {
            match object.get(*field) {
                Some(value) => {
                    self.check(value, inner).map_err(|wrong| format!("{field}: {wrong}"))?;
                    self.met.insert(format!("{name}.{field}"));
                }
                None if *required => return Err(format!("{field} is missing in {value}")),
                None => {}
            }
        }
        let known = |key: &str| fields.iter().any(|(field, ..)| *field == key);
        let has_any_keys = schema["additionalProperties"].is_object();
        match object.keys().find(|key| !known(key) && !has_any_keys) {
            Some(key) => Err(format!("{key} of {value} is not described")),
            None => Ok(()),
        }
    }
}

/// A gateway whose answers have nothing empty.
fn gateway() -> Gateway {
    let gateway = Gateway::new(2);
    gateway.state.published.steering.publish(steering(ProofState::Waiting));
    gateway.state.published.events.push(EventRow {
        at: SystemTime::UNIX_EPOCH,
        kind: "table_full",
        is_relief: false,
        text: "It is full.".into(),
    });
    gateway.drop_a_packet();
    gateway
}

/// A value for each parameter that some endpoint can not do without.
const NEEDED: [(&str, &str); 4] =
    [("proto", "icmp"), ("src", "192.168.1.10"), ("dst", "198.51.100.9"), ("number", "1")];

/// What to ask an endpoint: with `{number}` filled in, and with all that it needs but `without`.
fn question(path: &str, operation: &Value, without: &str) -> String {
    let mut asked = path.to_owned();
    let mut separator = '?';
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let Some((_, value)) = NEEDED.iter().find(|(needed, _)| *needed == name) else { continue };
        if parameter["in"] == "path" {
            asked = asked.replace(&format!("{{{name}}}"), value);
        } else if parameter["required"] == true && name != without {
            asked.push_str(&format!("{separator}{name}={value}"));
            separator = '&';
        }
    }
    asked
}

#[test]
fn each_answer_has_exactly_the_fields_that_are_described() {
    let gateway = gateway();
    let _server = gateway.start();
    // One that can be reloaded.
    let live = Live::start();
    let document = document();
    let mut checker = Checker { document: &document, met: BTreeSet::new() };
    for (path, method, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let content = &operation["responses"]["200"]["content"];
        let client = if path.starts_with("/v1/config") { live.client() } else { gateway.client() };
        let path = question(path, operation, "");
        if method != "get" {
            // What changes something has tests of its own.
        } else if let Some(stream) = content.get("text/event-stream") {
            let messages = client.follow(&path).unwrap();
            let told = if path.starts_with("/v1/sessions") { gateway.tell_of_sessions() } else { 1 };
            for message in messages.take(told) {
                let message: Value = serde_json::from_str(&message.unwrap().data).unwrap();
                checker.check(&message, &stream["schema"]).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            }
        } else if let Some(line) = content.get("application/x-ndjson") {
            for answer in client.get_lines(&path).unwrap() {
                let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
                checker.check(&answer, &line["schema"]).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            }
        } else if path == "/v1/openapi.json" {
            assert_eq!(client.get_json::<Value>(&path).unwrap(), document);
        } else if content.get("application/json").is_none() {
            assert!(client.get_lines(&path).unwrap().next().is_some(), "{path}: a text");
        } else {
            let schema = &content["application/json"]["schema"];
            let by = [path.clone(), format!("{path}?by=source")];
            let has_by =
                operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "by");
            for path in by.iter().take(if has_by { 2 } else { 1 }) {
                let answer = client.get_json::<Value>(path).unwrap();
                checker.check(&answer, schema).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            }
        }
    }
    // Of what was met, all was met that is not left out for a reason.
    let left_out = |field: &str| field.starts_with("Explanation.") || field.starts_with("Explained");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let fields: Vec<_> =
            checker.fields(schema).into_iter().map(|(field, ..)| format!("{name}.{field}")).collect();
        if fields.iter().any(|field| checker.met.contains(field)) {
            let never: Vec<_> =
                fields.iter().filter(|field| !checker.met.contains(*field) && !left_out(field)).collect();
            assert!(never.is_empty(), "no answer has {never:?}");
        }
    }
    for name in ["Status", "Drops", "Interface", "Steering", "Timers", "Session", "SessionGroup", "Neighbor"]
    {
        assert!(checker.met.iter().any(|field| field.starts_with(&format!("{name}."))), "{name}");
    }
}

#[test]
fn every_type_and_field_of_an_answer_is_explained() {
    let document = document();
    let checker = Checker { document: &document, met: BTreeSet::new() };
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, _, inner) in checker.fields(schema) {
            let explained = inner["description"].is_string()
                || inner["oneOf"].as_array().into_iter().flatten().any(|one| one["description"].is_string())
                || inner["$ref"].is_string();
            assert!(explained, "{name}.{field}: {inner}");
        }
    }
}

#[test]
fn whoever_asks_about_sessions_has_every_parameter_of_the_filter() {
    let document = document();
    let about_sessions: Vec<_> =
        operations(&document).into_iter().filter(|(path, ..)| path.starts_with("/v1/sessions")).collect();
    assert!(about_sessions.len() >= 4);
    for (path, method, operation) in about_sessions {
        let names: Vec<_> =
            operation["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        for parameter in filter::PARAMETERS {
            assert!(names.iter().any(|name| *name == parameter.name), "{method} {path}: {}", parameter.name);
        }
        assert_eq!(
            operation["responses"]["400"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/Failure"
        );
    }
}

#[test]
fn a_parameter_that_is_described_is_taken() {
    let gateway = gateway();
    let _server = gateway.start();
    let document = document();
    for (path, method, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            if parameter["in"] == "path" {
                continue;
            }
            let asked = question(path, operation, name);
            let separator = if asked.contains('?') { '&' } else { '?' };
            let asked = format!("{asked}{separator}{name}=%01");
            let answer = match method {
                "get" => gateway.client().get_json::<Value>(&asked),
                _ => gateway.client().delete_json::<Value>(&asked),
            };
            let Err(ClientError::Refused { status: 400, message, .. }) = answer else {
                panic!("{asked}: {answer:?}");
            };
            assert!(message.contains(name) && !message.contains("no such parameter"), "{asked}: {message}");
        }
    }
}

#[test]
fn every_endpoint_is_in_the_manual() {
    let manual = include_str!("../../docs/control.md");
    let document = document();
    for (path, method, _) in operations(&document) {
        let word = match method {
            "get" => format!("`{path}"),
            method => format!("`{} {path}", method.to_uppercase()),
        };
        assert!(manual.contains(&word), "docs/control.md says nothing of {word}");
    }
}

#[test]
fn an_error_has_the_form_that_is_described() {
    let gateway = gateway();
    let _server = gateway.start();
    let answer = gateway.raw(b"GET /v1/sessions?limit=x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let document = document();
    let mut checker = Checker { document: &document, met: BTreeSet::new() };
    let schema = &document["components"]["schemas"]["Failure"];
    checker.check(&serde_json::from_str(body).unwrap(), schema).unwrap();
    serde_json::from_str::<api::Failure>(body).unwrap();
}
