//! What came, written into a case file in the place of what was expected.

use serde_json::Value;
use toml_edit::{DocumentMut, Item as TomlItem, Table, TableLike};

use super::coding::{Coding, Codings};
use super::verdict::{Edit, Item, Target};
use super::{Case, File, Names, Out, Verdict, place, vectors};

/// The file's text with what came of its cases; `verdicts` by case. `None`: there is nothing to change. A failure never
/// becomes the expectation, nor does anything of a step that ended in one.
pub fn update(file: &File, verdicts: &[Verdict], names: &Names) -> Option<String> {
    let edits: Vec<(usize, &Edit)> = verdicts
        .iter()
        .enumerate()
        .flat_map(|(case, verdict)| verdict.differences.iter().filter_map(move |one| Some((case, one.edit.as_ref()?))))
        .collect();
    if edits.is_empty() {
        return None;
    }
    if file.is_vectors() { Some(lines(file, &edits)) } else { toml(file, &edits, names) }
}

fn toml(file: &File, edits: &[(usize, &Edit)], names: &Names) -> Option<String> {
    let mut document: DocumentMut = file.text.parse().ok()?;
    for (case, edit) in edits {
        let case = table_at(document.get_mut("case")?, *case)?;
        match &edit.target {
            Target::Out { step, topic } => {
                let lists = lists(case, *step, "out")?;
                place::write(lists, topic, &edit.items, codings(names.outputs.get(topic)));
            }
            Target::Store { step, name } => {
                let lists = lists(case, *step, "stores")?;
                place::write(lists, name, &edit.items, codings(names.stores.get(name)));
            }
            Target::Dropped => {
                let value = edit.items.iter().find_map(number).and_then(|dropped| i64::try_from(dropped).ok())?;
                let item = case.get_mut("dropped")?.as_value_mut()?;
                let decor = item.decor().clone();
                *item = value.into();
                *item.decor_mut() = decor;
            }
            // Only vectors have them.
            Target::InOrder { .. } | Target::Changelog => {}
        }
    }
    Some(document.to_string())
}

fn codings(found: Option<&Codings>) -> Codings {
    let plain = Coding::declared(None);
    found.copied().unwrap_or(Codings { key: plain, value: plain })
}

fn number(item: &Item) -> Option<u64> {
    match item {
        Item::New { value, .. } => value.as_u64(),
        Item::Keep(_) => None,
    }
}

/// A table of a list, however the list is written.
fn table_at(list: &mut TomlItem, at: usize) -> Option<&mut dyn TableLike> {
    match list {
        TomlItem::ArrayOfTables(tables) => tables.get_mut(at).map(|table| table as &mut dyn TableLike),
        TomlItem::Value(toml_edit::Value::Array(tables)) => {
            tables.get_mut(at)?.as_inline_table_mut().map(|table| table as &mut dyn TableLike)
        }
        _ => None,
    }
}

/// A step's table of lists, made where there is none.
fn lists<'a>(case: &'a mut dyn TableLike, step: usize, key: &str) -> Option<&'a mut dyn TableLike> {
    let step = table_at(case.get_mut("step")?, step)?;
    if !step.contains_key(key) {
        let mut lists = Table::new();
        lists.set_dotted(true);
        step.insert(key, TomlItem::Table(lists));
    }
    step.get_mut(key)?.as_table_like_mut()
}

/// Each case is a line of its own, and those without an edit stay byte for byte.
fn lines(file: &File, edits: &[(usize, &Edit)]) -> String {
    let mut text: Vec<String> = file.text.lines().map(str::to_owned).collect();
    for (at, case) in file.cases.iter().enumerate() {
        let edits = edits.iter().filter(|(of, _)| *of == at).map(|(_, edit)| *edit);
        let Some(line) = text.get_mut(case.line - 1) else { continue };
        let Ok(mut json) = serde_json::from_str::<Value>(line) else { continue };
        let mut touched = false;
        for edit in edits {
            write(&mut json, case, edit);
            touched = true;
        }
        if touched {
            *line = json.to_string();
        }
    }
    text.join("\n") + "\n"
}

fn write(json: &mut Value, case: &Case, edit: &Edit) {
    match &edit.target {
        Target::InOrder { step } => {
            let expected = match &case.steps[*step].out {
                Out::InOrder(expected) => expected.all.as_slice(),
                Out::ByTopic(_) => &[],
            };
            let record = |item: &Item| match item {
                Item::Keep(at) => expected.get(*at).map(vectors::record),
                Item::New { value, .. } => value.as_object().map(vectors::record),
            };
            json["steps"][*step]["out"] = edit.items.iter().filter_map(record).collect::<Vec<_>>().into();
        }
        Target::Dropped => json["dropped_records_total"] = edit.items.iter().find_map(number).into(),
        Target::Changelog => {
            let expected = case.changelog.as_deref().unwrap_or_default();
            let record = |item: &Item| match item {
                Item::Keep(at) => expected.get(*at).cloned(),
                Item::New { value, .. } => Some(value.clone()),
            };
            json["changelog"] = edit.items.iter().filter_map(record).collect::<Vec<_>>().into();
        }
        Target::Out { .. } | Target::Store { .. } => {}
    }
}
