//! As much of JSON Schema as `wit/topology.schema.json` uses, and no more: a keyword that is not known here fails the
//! test that meets it, so that nothing is passed by being ignored.

use serde_json::{Map, Value};

pub struct Schema(Value);

impl Schema {
    pub fn parse(text: &str) -> Schema {
        Schema(serde_json::from_str(text).expect("the schema is JSON"))
    }

    /// Why a document is not valid, with the place in it; empty when it is.
    pub fn errors(&self, document: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check(&self.0, document, "", &mut errors);
        errors
    }

    fn holds(&self, schema: &Value, value: &Value) -> bool {
        let mut errors = Vec::new();
        self.check(schema, value, "", &mut errors);
        errors.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let keywords = match schema {
            Value::Bool(true) => return,
            Value::Bool(false) => return errors.push(format!("{at}: must not be there")),
            schema => schema.as_object().expect("a schema is an object or a boolean"),
        };
        for (keyword, operand) in keywords {
            self.keyword(keyword, operand, keywords, value, at, errors);
        }
    }

    fn keyword(
        &self,
        keyword: &str,
        operand: &Value,
        siblings: &Map<String, Value>,
        value: &Value,
        at: &str,
        errors: &mut Vec<String>,
    ) {
        let list = || operand.as_array().expect("the keyword takes a list");
        let holds = match keyword {
            "$schema" | "title" | "description" | "$defs" | "then" | "else" => true,
            "$ref" => {
                let pointer = operand.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                return self.check(self.0.pointer(pointer).expect("the reference leads somewhere"), value, at, errors);
            }
            "type" => has_type(value, operand.as_str().expect("one type")),
            "const" => value == operand,
            "enum" => list().contains(value),
            "not" => !self.holds(operand, value),
            "oneOf" => list().iter().filter(|schema| self.holds(schema, value)).count() == 1,
            "allOf" => return list().iter().for_each(|schema| self.check(schema, value, at, errors)),
            "if" => {
                let branch = if self.holds(operand, value) { "then" } else { "else" };
                return siblings.get(branch).into_iter().for_each(|schema| self.check(schema, value, at, errors));
            }
            "minimum" => value.as_number().is_none_or(|_| !is_less(value, operand)),
            "maximum" => value.as_number().is_none_or(|_| !is_less(operand, value)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= bound(operand)),
            "pattern" => value.as_str().is_none_or(|text| matches(operand.as_str().expect("a pattern is text"), text)),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= bound(operand)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= bound(operand)),
            "contains" => value.as_array().is_none_or(|items| items.iter().any(|item| self.holds(operand, item))),
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                return items.for_each(|(place, item)| self.check(operand, item, &format!("{at}/{place}"), errors));
            }
            "required" => {
                let has =
                    |name: &Value| value.as_object().is_none_or(|object| object.contains_key(name.as_str().unwrap()));
                list().iter().all(has)
            }
            "properties" => {
                let Some(object) = value.as_object() else { return };
                for (name, schema) in operand.as_object().expect("properties are an object") {
                    if let Some(value) = object.get(name) {
                        self.check(schema, value, &format!("{at}/{name}"), errors);
                    }
                }
                return;
            }
            "additionalProperties" => {
                assert_eq!(operand, false, "only closed objects are known here");
                let known = |name| siblings["properties"].get(name).is_some();
                value.as_object().is_none_or(|object| object.keys().all(known))
            }
            unknown => panic!("the keyword {unknown} is not known here"),
        };
        if !holds {
            errors.push(format!("{at}: {keyword} {operand}"));
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other} is not known here"),
    }
}

fn bound(operand: &Value) -> u64 {
    operand.as_u64().expect("the keyword takes a count")
}

fn is_less(a: &Value, b: &Value) -> bool {
    let exact = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64() < b.as_f64(),
    }
}

/// The one shape of pattern there is: `^[…]{min,max}$` over the letters of names.
fn matches(pattern: &str, text: &str) -> bool {
    let bounds = pattern.strip_prefix("^[A-Za-z0-9._-]{").and_then(|rest| rest.strip_suffix("}$"));
    let (min, max) = bounds.and_then(|bounds| bounds.split_once(',')).expect("a pattern of names");
    let length = min.parse().unwrap()..=max.parse().unwrap();
    length.contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}
