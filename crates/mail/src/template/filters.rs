//! The filters and tests of templates: those of the engine of which it is known how much they make, and a count
//! of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use minijinja::{
    Environment, Error, ErrorKind, State, Value, filters, tests,
    value::{Kwargs, Rest, StringInput},
};

/// The most bytes that the filters of a template may make together.
const MAX_MADE_BYTES: usize = 4 << 20;
/// The most bytes of a text that a filter takes: one that makes a list of its characters needs some fifty times as much.
const MAX_TAKEN_BYTES: usize = 256 << 10;
/// What one character becomes at most where it is escaped: `&#x27;`.
const MAX_ESCAPED_BYTES: usize = 6;

/// How much the filters of a template have made.
#[derive(Debug, Default)]
struct Made(AtomicUsize);

impl Made {
    fn add(&self, made: &Value) -> Result<(), Error> {
        let items = || made.len().unwrap_or(0).saturating_mul(size_of::<Value>());
        let bytes = made.as_str().map_or_else(items, str::len);
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        limit(before.saturating_add(bytes))
    }
}

fn limit(bytes: usize) -> Result<(), Error> {
    (bytes <= MAX_MADE_BYTES).then_some(()).ok_or_else(too_much)
}

fn too_much() -> Error {
    Error::new(ErrorKind::WriteFailure, "the filters of the template take or make too much")
}

/// Adds them to an environment that has none.
///
/// All others are left out: some make as much as an argument says (`indent`, `batch`), and what one makes can be more
/// by a factor than what it is given, and is given to it again (`list` and `string` of a text).
pub(super) fn add(environment: &mut Environment<'_>) {
    add_tests(environment);
    let made = Arc::new(Made::default());
    let all = [
        ("abs", Value::from_function(filters::abs)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("count", Value::from_function(filters::length)),
        ("d", Value::from_function(filters::default)),
        ("default", Value::from_function(filters::default)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("first", Value::from_function(filters::first)),
        ("float", Value::from_function(filters::float)),
        ("int", Value::from_function(filters::int)),
        ("join", Value::from_function(join)),
        ("last", Value::from_function(filters::last)),
        ("length", Value::from_function(filters::length)),
        ("lower", Value::from_function(filters::lower)),
        ("map", Value::from_function(|value: &Value, all: Kwargs| map(value, &all))),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("replace", Value::from_function(replace)),
        ("reverse", Value::from_function(reverse)),
        ("round", Value::from_function(filters::round)),
        ("safe", Value::from_function(filters::safe)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("sort", Value::from_function(filters::sort)),
        ("sum", Value::from_function(filters::sum)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
    ];
    for (name, filter) in all {
        let made = made.clone();
        let counted = move |state: &State<'_, '_>, arguments: Rest<Value>| {
            if arguments.iter().filter_map(Value::as_str).any(|it| it.len() > MAX_TAKEN_BYTES) {
                return Err(too_much());
            }
            let value = filter.call(state, &arguments)?;
            made.add(&value)?;
            Ok::<_, Error>(value)
        };
        environment.add_filter(name, counted);
    }
}

fn add_tests(environment: &mut Environment<'_>) {
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("divisibleby", is_divisible);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("escaped", tests::is_safe);
    environment.add_test("even", tests::is_even);
    environment.add_test("false", tests::is_false);
    environment.add_test("float", tests::is_float);
    environment.add_test("in", tests::is_in);
    environment.add_test("iterable", tests::is_iterable);
    environment.add_test("lower", tests::is_lower);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("safe", tests::is_safe);
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("string", tests::is_string);
    environment.add_test("true", tests::is_true);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("upper", tests::is_upper);
    for name in ["int", "integer"] {
        environment.add_test(name, tests::is_integer);
    }
    for name in ["eq", "equalto", "==", "sameas"] {
        environment.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        environment.add_test(name, tests::is_ne);
    }
    for name in ["lt", "lessthan", "<"] {
        environment.add_test(name, tests::is_lt);
    }
    for name in ["le", "<="] {
        environment.add_test(name, tests::is_le);
    }
    for name in ["gt", "greaterthan", ">"] {
        environment.add_test(name, tests::is_gt);
    }
    for name in ["ge", ">="] {
        environment.add_test(name, tests::is_ge);
    }
}

/// The engine's own divides by zero.
fn is_divisible(value: i64, by: i64) -> bool {
    value.checked_rem(by) == Some(0)
}

/// Looks how much it makes before it makes it: the same text may stand between thousands of items.
fn join(
    state: &State<'_, '_>,
    value: &Value,
    between: Option<StringInput<'_>>,
) -> Result<Value, Error> {
    let between_bytes = between.as_ref().map_or(0, |it| it.as_str().len());
    let of = |item: Value| item.as_str().map_or_else(|| item.to_string().len(), str::len);
    let bytes = defined(value)?
        .try_iter()?
        .fold(0_usize, |bytes, item| bytes.saturating_add(of(item)).saturating_add(between_bytes));
    limit(bytes.saturating_mul(MAX_ESCAPED_BYTES))?;
    filters::join(state, value, between)
}

/// Looks how much it makes before it makes it. What it makes is escaped where it is shown.
fn replace(value: &str, from: &str, to: &str) -> Result<Value, Error> {
    let added = value.matches(from).count().saturating_mul(to.len());
    limit(value.len().saturating_add(added))?;
    Ok(Value::from(value.replace(from, to)))
}

/// The attribute of each; with a filter or a default in its place, one list could hold another many times.
fn map(value: &Value, arguments: &Kwargs) -> Result<Value, Error> {
    let attribute = arguments.get::<&str>("attribute")?;
    arguments.assert_all_used()?;
    let attributes = defined(value)?.try_iter()?.map(|item| {
        let found = item.get_attr(attribute)?;
        defined(&found).cloned()
    });
    Ok(Value::from(attributes.collect::<Result<Vec<_>, _>>()?))
}

/// The engine's own list is made when it is read, and that of a list so made nests in it.
fn reverse(value: &Value) -> Result<Value, Error> {
    let reversed = filters::reverse(defined(value)?)?;
    if reversed.as_str().is_some() {
        return Ok(reversed);
    }
    Ok(Value::from(reversed.try_iter()?.collect::<Vec<_>>()))
}

/// What is not there would be read as an empty list.
fn defined(value: &Value) -> Result<&Value, Error> {
    let is_defined = !value.is_undefined();
    is_defined.then_some(value).ok_or_else(|| Error::from(ErrorKind::UndefinedError))
}
