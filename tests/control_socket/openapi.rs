//! The OpenAPI document against what the gateway really answers.

#![allow(clippy::unwrap_used, reason = "clippy does not see that these are for tests only")]

use super::gateway::{Gateway, steering};
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

/// What an explanation can not be asked without.
const QUESTION: &str = "proto=tcp src=192.168.1.10 sport=1 dst=198.51.100.1 dport=2";

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
    gateway
}

/// A new flow that is forwarded, and one that is dropped.
const EXPLAINED: [&str; 2] = [
    "/v1/explain?proto=tcp&src=192.168.1.10&sport=4000&dst=198.51.100.7&dport=443",
    "/v1/explain?proto=udp&src=198.51.100.7&sport=53&dst=203.0.113.2&dport=4000",
];

#[test]
fn each_answer_has_exactly_the_fields_that_are_described() {
    let gateway = gateway();
    let _server = gateway.start();
    let client = gateway.client();
    let document = document();
    let mut checker = Checker { document: &document, met: BTreeSet::new() };
    for (path, method, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let content = &operation["responses"]["200"]["content"];
        let path = &path.replace("{number}", "1") as &str;
        if method != "get" {
            // Nobody carries changes out here: see `live.rs`.
            let error = match method {
                "delete" => client.delete_json::<Value>(path).unwrap_err(),
                _ => client.post_json::<Value>(path, &"no object").unwrap_err(),
            };
            // What takes no body can not be wrong, and fails for want of a file.
            assert!(matches!(error, ClientError::Refused { status: 400 | 409, .. }), "{path}: {error}");
        } else if let Some(line) = content.get("application/x-ndjson") {
            for answer in client.get_lines(path).unwrap() {
                let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
                checker.check(&answer, &line["schema"]).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            }
        } else if path == "/v1/openapi.json" {
            assert_eq!(client.get_json::<Value>(path).unwrap(), document);
        } else if content.get("application/json").is_none() {
            assert!(client.get_lines(path).unwrap().next().is_some(), "{path}: a text");
        } else {
            let schema = &content["application/json"]["schema"];
            let question = if path == "/v1/explain" {
                format!("?{}", QUESTION.replace(' ', "&"))
            } else {
                String::new()
            };
            let by = [format!("{path}{question}"), format!("{path}?by=source")];
            let has_by =
                operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "by");
            let asked = match path {
                "/v1/explain" => &EXPLAINED.map(ToOwned::to_owned)[..],
                _ if has_by => &by[..],
                _ => &by[..1],
            };
            for path in asked {
                let answer = client.get_json::<Value>(path).unwrap();
                checker.check(&answer, schema).unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            }
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let described = schemas.keys().flat_map(|name| {
        let fields = checker.fields(&schemas[name]);
        fields.into_iter().map(move |(field, ..)| format!("{name}.{field}"))
    });
    // `null` without a management core, the answer to a deletion, the error itself, a type that is a part of others; and what
    // is asked and answered when the config changes: see `reload.rs`.
    let apart = ["Pressure.", "Toll.", "Deleted.", "Failure.", "Counts.", "WorkerTimers."];
    let of_changes = [
        "Reload",
        "Options.",
        "EditRequest.",
        "RollbackRequest.",
        "Change.",
        "Restart.",
        "Finding.",
        "SessionEffect.",
        "Took.",
    ];
    let apart: Vec<&str> = apart.into_iter().chain(of_changes).collect();
    let never_met: Vec<_> = described
        .filter(|field| !checker.met.contains(field))
        .filter(|field| !apart.iter().any(|apart| field.starts_with(apart)))
        .collect();
    assert!(never_met.is_empty(), "no answer has {never_met:?}");
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
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let others: Vec<&str> = QUESTION
                .split(' ')
                .filter(|pair| path == "/v1/explain" && pair.split('=').next() != Some(name))
                .collect();
            let asked = format!("{path}?{name}=%01&{}", others.join("&"));
            let asked = asked.trim_end_matches('&').to_owned();
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
        let path = path.replace("{number}", "N");
        let word = match method {
            "get" => format!("`{path}"),
            // Several are in one row.
            "post" if manual.contains(&format!("`, `{path}`")) || manual.contains(&format!(", `{path}`")) => {
                continue;
            }
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
