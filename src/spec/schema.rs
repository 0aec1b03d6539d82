//! A JSON Schema (2020-12) of experiment files, made from the live registry, for editors and other programs.
//!
//! It sees types, ranges, names and keys; what needs more than one value at once (shapes, circles, duplicate names)
//! only `runner check` sees. A file that extends another is a patch, so nothing in it is required.

use super::component::{Components, Kind};
use super::fields::{Field, Presence, Range, Type};
use super::held::parameter_fields;
use super::key::Keys;
use super::keys::{Document, SeedsKeys, SourceKeys, TermKeys, common_fields};
use super::sweep::{RangeKeys, SweepKeys};
use serde_json::{Map, Value as Json, json};

/// The schema of experiment files.
pub fn schema(components: &dyn Components) -> Json {
    let maker = Maker { components };
    let mut whole = maker.object(&Document::fields(), None);
    let mut patch = maker.patch();
    for part in [&mut whole, &mut patch] {
        let properties = part["properties"].as_object_mut();
        if let Some(properties) = properties {
            properties.insert("format".into(), json!({ "const": super::FORMAT }));
            properties.insert("sweep".into(), maker.sweep());
        }
    }
    whole["properties"]["layer"] = maker.layers();
    let mut definitions = Map::new();
    for kind in Kind::ALL {
        for name in components.names(kind) {
            definitions.insert(format!("{kind}.{name}"), maker.definition(kind, name));
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An experiment of runner",
        "if": { "required": ["extends"] },
        "then": patch,
        "else": whole,
        "$defs": definitions,
    })
}

struct Maker<'a> {
    components: &'a dyn Components,
}

impl Maker<'_> {
    fn object(&self, fields: &[Field], kind: Option<&str>) -> Json {
        let mut properties = Map::new();
        let mut required: Vec<&str> = Vec::new();
        if let Some(kind) = kind {
            properties.insert("kind".into(), json!({ "const": kind }));
            required.push("kind");
        }
        for field in fields {
            properties.insert(field.name.clone(), self.field(field));
            if matches!(field.presence, Presence::Required) {
                required.push(&field.name);
            }
        }
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    fn field(&self, field: &Field) -> Json {
        json!({ "description": field.about, "anyOf": [self.ty(&field.ty), formula()] })
    }

    fn ty(&self, ty: &Type) -> Json {
        match ty {
            Type::Bool => json!({ "type": "boolean" }),
            Type::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Type::Number(range) => number(range),
            Type::CountOr(word) => json!({ "anyOf": [{ "const": word }, { "type": "integer", "minimum": 1 }] }),
            Type::Every => json!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 1 }] }),
            Type::Text | Type::Path => json!({ "type": "string" }),
            Type::Name => json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]*$" }),
            Type::Choice(options) => json!({ "enum": options }),
            Type::Parameter => self.parameter(),
            Type::Component(kind) => self.component(*kind),
            Type::Terms(kind) => {
                let one = self.term(*kind);
                json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
            }
            Type::Sources => {
                let one = json!({ "anyOf": [{ "type": "string" }, self.object(&SourceKeys::fields(), None)] });
                json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
            }
            Type::List(inner) => json!({ "type": "array", "items": { "anyOf": [self.ty(inner), formula()] } }),
            Type::Pair(..) => {
                let item = json!({ "anyOf": [number(&Range::ANY), formula()] });
                json!({ "type": "array", "items": item, "minItems": 2, "maxItems": 2 })
            }
            Type::Table(fields) => self.object(fields, None),
            Type::Seeds => {
                let list = json!({ "type": "array", "items": { "type": "integer", "minimum": 0 },
                    "minItems": 1, "uniqueItems": true });
                json!({ "anyOf": [list, self.object(&SeedsKeys::fields(), None)] })
            }
            Type::Free => json!({ "type": "object" }),
        }
    }

    fn parameter(&self) -> Json {
        let table = self.object(&parameter_fields(self.components, true), None);
        json!({ "anyOf": [{ "type": "number" }, table] })
    }

    fn component(&self, kind: Kind) -> Json {
        let names = self.components.names(kind);
        let tables: Vec<Json> = names.iter().map(|name| json!({ "$ref": format!("#/$defs/{kind}.{name}") })).collect();
        json!({ "anyOf": [{ "enum": names }, { "type": "object", "oneOf": tables }] })
    }

    fn term(&self, kind: Kind) -> Json {
        let names = self.components.names(kind);
        let fields = |name: &str| {
            let mut fields = self.components.info(kind, name).map(|info| info.fields.clone()).unwrap_or_default();
            fields.extend(TermKeys::fields());
            self.object(&fields, Some(name))
        };
        let tables: Vec<Json> = names.iter().map(|name| fields(name)).collect();
        json!({ "anyOf": [{ "enum": names }, { "type": "object", "oneOf": tables }] })
    }

    fn definition(&self, kind: Kind, name: &str) -> Json {
        let mut fields = self.components.info(kind, name).map(|info| info.fields.clone()).unwrap_or_default();
        fields.extend(common_fields(kind));
        self.object(&fields, Some(name))
    }

    fn layers(&self) -> Json {
        let names = self.components.names(Kind::Layer);
        let kinds: Vec<Json> =
            names.iter().map(|name| json!({ "$ref": format!("#/$defs/{}.{name}", Kind::Layer) })).collect();
        // A layer whose kind is a formula is checked by the program alone.
        let computed = json!({ "properties": { "kind": formula() }, "required": ["kind", "name"] });
        let choice = json!({ "if": computed, "else": { "oneOf": kinds } });
        json!({ "type": "array", "minItems": 1, "items": { "type": "object", "allOf": [choice] } })
    }

    fn sweep(&self) -> Json {
        let mut sweep = self.object(&SweepKeys::fields(), None);
        let values = json!({ "anyOf": [{ "type": "array", "minItems": 1 }, self.object(&RangeKeys::fields(), None)] });
        sweep["properties"]["over"] = json!({ "type": "object", "additionalProperties": values });
        sweep["properties"]["variants"] = json!({ "type": "object", "additionalProperties": { "type": "object" } });
        sweep
    }

    /// A file with `extends`: known keys, in part, and patches of layers.
    fn patch(&self) -> Json {
        let mut properties = Map::new();
        for field in Document::fields() {
            let partial = match &field.ty {
                Type::Table(fields) => {
                    let mut object = self.object(fields, None);
                    object["required"] = json!([]);
                    object
                }
                Type::Component(_) | Type::Free => json!({ "type": ["object", "string"] }),
                ty => self.ty(ty),
            };
            properties.insert(field.name.clone(), partial);
        }
        let patches = json!({ "type": "object", "additionalProperties": { "type": "object" } });
        properties.insert("layer".into(), json!({ "anyOf": [self.layers(), patches] }));
        properties
            .insert("extends".into(), json!({ "type": "string", "description": "the file that this one changes" }));
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    }
}

/// A string that begins with `=` stands wherever a value does.
fn formula() -> Json {
    json!({ "type": "string", "pattern": "^=" })
}

fn number(range: &Range) -> Json {
    let mut schema = Map::new();
    schema.insert("type".into(), json!("number"));
    if range.min > f64::MIN {
        schema.insert(if range.above { "exclusiveMinimum" } else { "minimum" }.into(), json!(range.min));
    }
    if range.max < f64::MAX {
        schema.insert("maximum".into(), json!(range.max));
    }
    Json::Object(schema)
}
