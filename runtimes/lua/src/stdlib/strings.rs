//! The functions of `string` that match patterns, where PUC's own can't be let: for subjects that are too long to be
//! matched without counting. `prelude.lua` chooses.

use std::cell::Cell;

use mlua::{Function, LuaString, MultiValue, Table, Value};

use super::{
    args::Args,
    native::{Answer, Fault, Library, Outcome, STEPS},
    patterns::{Capture, Matcher, Problem, is_plain, reach},
    values,
};
use crate::{limits, world::World};

pub(super) fn open(library: &Library<'_>, natives: &Table) -> mlua::Result<()> {
    let lua = library.lua;
    // What `io` needs of PUC's own.
    lua.set_named_registry_value("tonumber", lua.globals().get::<Value>("tonumber")?)?;
    lua.set_named_registry_value(
        "string.format",
        lua.globals().get::<Table>("string")?.get::<Value>("format")?,
    )?;
    natives.raw_set("reach", lua.create_function(|_, pattern: LuaString| Ok(reach(&pattern.as_bytes())))?)?;
    library.set(natives, "find", |args| find(args, true))?;
    library.set(natives, "match", |args| find(args, false))?;
    library.set(natives, "gsub", replace)?;
    let settle = library.settle.clone();
    library.set(natives, "gmatch", move |args| every(args, &settle))?;
    // What `gsub` is called with, as it is to be understood.
    natives.raw_set(
        "arguments",
        library.raw("gsub", |args| {
            let (subject, pattern) = (args.string(1)?, args.string(2)?);
            let most = args.opt_integer(4)?.unwrap_or(subject.as_bytes().len() as i64 + 1);
            Ok(Answer::Values(values(args.lua, (subject, pattern, most))?))
        })?,
    )?;
    natives.raw_set("next", library.function("gsub", next)?)
}

fn find(args: &Args<'_>, positions: bool) -> Outcome {
    let (subject, pattern) = (args.string(1)?, args.string(2)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let start = start(args.opt_integer(3)?.unwrap_or(1), subject.len());
    if start > subject.len() {
        return Ok(Answer::Values(values(args.lua, Value::Nil)?));
    }
    if positions && (args.truth(4) || is_plain(&pattern)) {
        let found = memchr::memmem::find(&subject[start..], &pattern);
        let found = found.map(|at| (start + at + 1, start + at + pattern.len()));
        let steps = (subject.len() / 8) as u64;
        return Ok(Answer::costing(
            steps,
            match found {
                Some(found) => values(args.lua, found)?,
                None => values(args.lua, Value::Nil)?,
            },
        ));
    }
    let over = || limits::over(args.lua);
    let mut matcher = Matcher::new(&subject, &pattern, true, &over);
    let found = matcher.find(start, None).map_err(|problem| fault(problem, &pattern, &matcher))?;
    let Some((from, to)) = found else {
        return Ok(Answer::costing(matcher.steps, values(args.lua, Value::Nil)?));
    };
    let mut results = captures(args, &matcher, &subject, from, to, !positions)?;
    if positions {
        results.push_front(Value::Integer(to as i64));
        results.push_front(Value::Integer(from as i64 + 1));
    }
    Ok(Answer::costing(matcher.steps, results))
}

/// `gmatch`: the iterator.
fn every(args: &Args<'_>, settle: &Function) -> Outcome {
    let (subject, pattern) = (args.string(1)?, args.string(2)?);
    let from = start(args.opt_integer(3)?.unwrap_or(1), subject.as_bytes().len());
    let (at, last) = (Cell::new(from), Cell::new(None));
    let library = Library { lua: args.lua, world: &World::of(args.lua), settle: settle.clone() };
    let next = library.function("for iterator", move |args| {
        let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
        if at.get() > subject.len() {
            return Ok(Answer::Values(values(args.lua, ())?));
        }
        let over = || limits::over(args.lua);
        let mut matcher = Matcher::new(&subject, &pattern, false, &over);
        let found =
            matcher.find(at.get(), last.get()).map_err(|problem| fault(problem, &pattern, &matcher))?;
        let results = match found {
            Some((from, to)) => {
                at.set(to);
                last.set(Some(to));
                captures(args, &matcher, &subject, from, to, true)?
            }
            None => {
                at.set(usize::MAX);
                values(args.lua, ())?
            }
        };
        Ok(Answer::costing(matcher.steps, results))
    })?;
    Ok(Answer::Values(values(args.lua, next)?))
}

/// `next(subject, pattern, from, except, anchors)`: where the next match begins and where to go on, and its captures.
/// Nothing: there is none.
fn next(args: &Args<'_>) -> Outcome {
    let (subject, pattern) = (args.string(1)?, args.string(2)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let from = args.integer(3)? as usize - 1;
    let except = args.opt_integer(4)?.map(|except| except as usize - 1);
    let over = || limits::over(args.lua);
    let mut matcher = Matcher::new(&subject, &pattern, args.truth(5), &over);
    let found = matcher.find(from, except).map_err(|problem| fault(problem, &pattern, &matcher))?;
    let Some((from, to)) = found else {
        return Ok(Answer::costing(matcher.steps, values(args.lua, ())?));
    };
    let mut results = captures(args, &matcher, &subject, from, to, true)?;
    results.push_front(Value::Integer(to as i64 + 1));
    results.push_front(Value::Integer(from as i64 + 1));
    Ok(Answer::costing(matcher.steps, results))
}

/// `gsub` with a string for what is found.
fn replace(args: &Args<'_>) -> Outcome {
    let (subject_string, pattern) = (args.string(1)?, args.string(2)?);
    let (subject, pattern) = (subject_string.as_bytes(), pattern.as_bytes());
    let replacement = args.string(3)?;
    let replacement = replacement.as_bytes();
    let most = args.opt_integer(4)?.unwrap_or(subject.len() as i64 + 1);
    let room = World::of(args.lua).limits.memory;
    let over = || limits::over(args.lua);
    let mut matcher = Matcher::new(&subject, &pattern, true, &over);
    let (mut out, mut count, mut at, mut last) = (Vec::new(), 0, 0, None);
    while count < most {
        let found = matcher.find(at, last).map_err(|problem| fault(problem, &pattern, &matcher))?;
        let Some((from, to)) = found else { break };
        count += 1;
        out.extend_from_slice(&subject[at..from]);
        expand(&mut out, &matcher, &subject, &replacement, from, to)
            .map_err(|problem| fault(problem, &pattern, &matcher))?;
        if out.len() as u64 > room {
            return Err(Fault::Raise("not enough memory".into()));
        }
        (at, last) = (to, Some(to));
        if matcher.is_anchored() {
            break;
        }
    }
    let result = if count == 0 {
        subject_string.clone()
    } else {
        out.extend_from_slice(&subject[at..]);
        args.lua.create_string(out).map_err(Fault::from)?
    };
    Ok(Answer::costing(matcher.steps, values(args.lua, (result, count))?))
}

fn expand(
    out: &mut Vec<u8>,
    matcher: &Matcher<'_>,
    subject: &[u8],
    replacement: &[u8],
    from: usize,
    to: usize,
) -> Result<(), Problem> {
    let mut rest = replacement;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b'%') => out.push(b'%'),
            Some(b'0') => out.extend_from_slice(&subject[from..to]),
            Some(digit @ b'1'..=b'9') => {
                let index = usize::from(digit - b'1');
                let capture = matcher.capture(index, from, to).map_err(|problem| match problem {
                    Problem::Wrong(words) if words.starts_with("invalid capture") => {
                        Problem::Wrong(format!("{words} in replacement string"))
                    }
                    problem => problem,
                })?;
                match capture {
                    Capture::Text(from, to) => out.extend_from_slice(&subject[from..to]),
                    Capture::Position(at) | Capture::Open(at) => {
                        out.extend_from_slice((at + 1).to_string().as_bytes());
                    }
                }
            }
            _ => return Err(Problem::Wrong("invalid use of '%' in replacement string".into())),
        }
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn captures(
    args: &Args<'_>,
    matcher: &Matcher<'_>,
    subject: &[u8],
    from: usize,
    to: usize,
    whole: bool,
) -> Result<MultiValue, Fault> {
    let count = matcher.captured(whole);
    let mut results = MultiValue::with_capacity(count + 2);
    for index in 0..count {
        let capture = matcher.capture(index, from, to).map_err(|problem| fault(problem, b"", matcher))?;
        results.push_back(match capture {
            Capture::Text(from, to) => Value::String(args.lua.create_string(&subject[from..to])?),
            Capture::Position(at) | Capture::Open(at) => Value::Integer(at as i64 + 1),
        });
    }
    Ok(results)
}

/// `posrelatI`, counted from 0.
fn start(position: i64, length: usize) -> usize {
    match position {
        1.. => position as usize - 1,
        0 => 0,
        _ => length.saturating_sub(position.unsigned_abs() as usize),
    }
}

fn fault(problem: Problem, pattern: &[u8], matcher: &Matcher<'_>) -> Fault {
    match problem {
        Problem::Wrong(words) => Fault::Raise(words),
        Problem::Expensive => {
            let pattern = String::from_utf8_lossy(pattern);
            Fault::Costly(format!("pattern too expensive: '{pattern}'"), matcher.steps / STEPS)
        }
    }
}
