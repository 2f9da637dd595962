//! `http.router()`: which handler a request is for.
//!
//! Promises: a pattern's parts are whole (`:name` is one part of the path, `*rest` all that is left), and the most exact
//! pattern wins; `HEAD` is answered where `GET` is, `OPTIONS` everywhere, and a path that has other methods says which.
//! What a router or a group uses (`r:use`) runs before each of its handlers, wherever it stands in the script; what the
//! router itself uses also before its answers to what it does not have.

use std::{cell::RefCell, rc::Rc};

use http::{HeaderValue, Method, Response, StatusCode, header};
use lunette_http::Body;
use mlua::{
    AnyUserData, Function, IntoLuaMulti, Lua, MetaMethod, MultiValue, Table, UserData, UserDataMethods,
    UserDataRef, Value, Variadic, WeakLua,
};

use super::{Http, answer, answer::Answer, files, files::Dir, request::Request, text, websocket};
use crate::world::World;

/// All routes of one router.
pub(super) struct Root {
    lua: WeakLua,
    routes: RefCell<Vec<Route>>,
    /// By method; `None`: any. Values are numbers of routes.
    trees: RefCell<Vec<Tree>>,
    /// The router's own.
    scope: Rc<Scope>,
    /// For what it does not have: what was asked for, and that with all that is used before it.
    missing: RefCell<(Option<Function>, Option<Function>)>,
}

type Tree = (Option<Method>, matchit::Router<usize>);

/// A router, or a group within one.
struct Scope {
    prefix: String,
    outer: Option<Rc<Scope>>,
    uses: RefCell<Vec<Function>>,
}

struct Route {
    scope: Rc<Scope>,
    /// What runs before this one only.
    before: Vec<Function>,
    target: Target,
    /// With all that runs before.
    made: Option<Target>,
}

#[derive(Clone)]
pub(super) enum Target {
    Lua(Function),
    Files(Rc<Dir>),
}

pub(super) type Params = Vec<(String, String)>;

pub(super) enum Found {
    Route(Target, Params),
    /// What the router itself answers.
    Ours(Response<Body>),
}

/// `r`
pub(super) struct Router {
    root: Rc<Root>,
    scope: Rc<Scope>,
}

impl Scope {
    /// What is used, the outermost first.
    fn all_uses(&self) -> Vec<Function> {
        let mut uses = self.outer.as_ref().map(|outer| outer.all_uses()).unwrap_or_default();
        uses.extend(self.uses.borrow().iter().cloned());
        uses
    }
}

/// A path as patterns are matched with it: escapes are undone, but for a slash that is none.
fn plain(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        match (byte, tail) {
            (b'%', [a, b, after @ ..]) if !matches!((a, b), (b'2', b'F' | b'f') | (b'2', b'5')) => {
                bytes.extend_from_slice(&text::unescape(&[b'%', *a, *b]));
                rest = after;
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What was found for a part of a pattern: the last escapes are undone.
fn part(value: &str) -> String {
    String::from_utf8_lossy(&text::unescape(value.as_bytes())).into_owned()
}

impl Root {
    /// The route for a request, and what its pattern names.
    pub(super) fn find(&self, method: &Method, path: &str) -> Found {
        let decoded = path.contains('%').then(|| plain(path));
        let path = decoded.as_deref().unwrap_or(path);
        let head = (*method == Method::HEAD).then_some(&Method::GET);
        let found = self.look(Some(method), path).or_else(|| self.look(Some(head?), path));
        if let Some((route, params)) = found.or_else(|| self.look(None, path)) {
            return match self.made(route) {
                Ok(target) => Found::Route(target, params),
                Err(_) => Found::Ours(answer::bare(StatusCode::INTERNAL_SERVER_ERROR)),
            };
        }
        self.not_found(method, path)
    }

    fn look(&self, method: Option<&Method>, path: &str) -> Option<(usize, Params)> {
        let trees = self.trees.borrow();
        let (_, tree) = trees.iter().find(|(of, _)| of.as_ref() == method)?;
        let found = tree.at(path).ok()?;
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), part(value))).collect();
        Some((*found.value, params))
    }

    fn not_found(&self, method: &Method, path: &str) -> Found {
        let mut allowed: Vec<Method> = Vec::new();
        for (of, tree) in &*self.trees.borrow() {
            if let (Some(of), Ok(_)) = (of, tree.at(path)) {
                allowed.push(of.clone());
                if of == Method::GET && !allowed.contains(&Method::HEAD) {
                    allowed.push(Method::HEAD);
                }
            }
        }
        let response = match (allowed.is_empty(), *method == Method::OPTIONS) {
            (true, _) => match self.missing() {
                Some(function) => return Found::Route(Target::Lua(function), Vec::new()),
                None => return Found::Ours(answer::bare(StatusCode::NOT_FOUND)),
            },
            (false, true) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            (false, false) => answer::bare(StatusCode::METHOD_NOT_ALLOWED),
        };
        allowed.push(Method::OPTIONS);
        let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
        let mut response = response;
        if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert(header::ALLOW, names);
        }
        // What is used (an answer to preflights, say) has its go with these too.
        let uses = self.scope.all_uses();
        if uses.is_empty() {
            return Found::Ours(response);
        }
        let made = self.lua.try_upgrade().and_then(|lua| {
            let answer = lua.create_userdata(Answer::from(response)).ok()?;
            let handler = lua.create_function(move |_, ()| Ok(answer.clone())).ok()?;
            compose(&lua, uses, handler).ok()
        });
        match made {
            Some(function) => Found::Route(Target::Lua(function), Vec::new()),
            None => Found::Ours(answer::bare(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }

    fn missing(&self) -> Option<Function> {
        let (own, made) = &mut *self.missing.borrow_mut();
        if made.is_none() {
            let uses = self.scope.all_uses();
            if own.is_none() && uses.is_empty() {
                return None;
            }
            let lua = self.lua.try_upgrade()?;
            let handler = match own {
                Some(own) => own.clone(),
                None => lua.load("return 404, 'Not Found\\n'").set_name("=http").into_function().ok()?,
            };
            *made = Some(compose(&lua, uses, handler).ok()?);
        }
        made.clone()
    }

    /// A route with all that runs before it; made once.
    fn made(&self, route: usize) -> mlua::Result<Target> {
        let route = &mut self.routes.borrow_mut()[route];
        if let Some(made) = &route.made {
            return Ok(made.clone());
        }
        let mut uses = route.scope.all_uses();
        uses.extend(route.before.iter().cloned());
        let made = if uses.is_empty() {
            route.target.clone()
        } else {
            let lua = self.lua.upgrade();
            let handler = match &route.target {
                Target::Lua(function) => function.clone(),
                Target::Files(dir) => {
                    let dir = dir.clone();
                    lua.create_function(move |_, request: UserDataRef<Request>| {
                        let call = &request.0;
                        let rest =
                            call.params.borrow().last().map(|(_, rest)| rest.clone()).unwrap_or_default();
                        Ok(Answer::from(files::serve(call, &dir, &rest)))
                    })?
                }
            };
            Target::Lua(compose(&lua, uses, handler)?)
        };
        route.made = Some(made.clone());
        Ok(made)
    }

    /// What was made is no longer right.
    fn unmake(&self) {
        self.routes.borrow_mut().iter_mut().for_each(|route| route.made = None);
        self.missing.borrow_mut().1 = None;
    }

    fn add(
        &self,
        scope: &Rc<Scope>,
        method: Option<Method>,
        pattern: &str,
        route: Route,
    ) -> mlua::Result<()> {
        let wrong = |why: String| mlua::Error::runtime(format!("the pattern {pattern:?} {why}"));
        let full = format!("{}{pattern}", scope.prefix);
        if !full.starts_with('/') {
            return Err(wrong("does not begin with a /".into()));
        }
        let translated = translate(&full).map_err(|why| wrong(why.into()))?;
        let mut trees = self.trees.borrow_mut();
        let i = trees.iter().position(|(of, _)| *of == method).unwrap_or_else(|| {
            trees.push((method.clone(), matchit::Router::new()));
            trees.len() - 1
        });
        let mut routes = self.routes.borrow_mut();
        trees[i].1.insert(translated, routes.len()).map_err(|error| match error {
            matchit::InsertError::Conflict { .. } => {
                let method = method.as_ref().map_or("any method", Method::as_str);
                wrong(format!("is one that {method} has already, or one can't tell them apart"))
            }
            error => wrong(format!("can't be: {error}")),
        })?;
        routes.push(route);
        Ok(())
    }
}

/// `/users/:id/*rest` as matchit has it: `/users/{id}/{*rest}`.
fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut names: Vec<&str> = Vec::new();
    let parts: Vec<&str> = pattern.split('/').collect();
    let mut translated = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let (name, rest) = match (part.strip_prefix(':'), part.strip_prefix('*')) {
            (Some(name), _) => (name, false),
            (None, Some(name)) => (name, true),
            (None, None) => {
                translated.push(part.replace('{', "{{").replace('}', "}}"));
                continue;
            }
        };
        let name = if rest && name.is_empty() { "rest" } else { name };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("has a part whose name is none: letters, digits and _ after its : or *");
        }
        if rest && i + 1 < parts.len() {
            return Err("goes on after a *");
        }
        if names.contains(&name) {
            return Err("has two parts of one name");
        }
        names.push(name);
        translated.push(if rest { format!("{{*{name}}}") } else { format!("{{{name}}}") });
    }
    Ok(translated.join("/"))
}

/// A handler behind what runs before it: each is called with the request, and a function that goes on.
fn compose(lua: &Lua, uses: Vec<Function>, handler: Function) -> mlua::Result<Function> {
    let compose = Http::of(lua).compose(lua)?;
    uses.into_iter().rev().try_fold(handler, |next, this| compose.call((this, next)))
}

impl Router {
    pub(super) fn new(lua: &Lua) -> Self {
        let scope = Rc::new(Scope { prefix: String::new(), outer: None, uses: RefCell::default() });
        let root = Root {
            lua: lua.weak(),
            routes: RefCell::default(),
            trees: RefCell::default(),
            scope: scope.clone(),
            missing: RefCell::default(),
        };
        Self { root: Rc::new(root), scope }
    }

    pub(super) fn root(&self) -> Rc<Root> {
        self.root.clone()
    }

    fn route(
        &self,
        methods: &[Option<Method>],
        pattern: &str,
        before: Vec<Function>,
        target: Target,
    ) -> mlua::Result<()> {
        for method in methods {
            let route = Route {
                scope: self.scope.clone(),
                before: before.clone(),
                target: target.clone(),
                made: None,
            };
            self.root.add(&self.scope, method.clone(), pattern, route)?;
        }
        Ok(())
    }
}

/// The names of the methods that make routes.
const METHODS: &[(&str, Option<Method>)] = &[
    ("get", Some(Method::GET)),
    ("post", Some(Method::POST)),
    ("put", Some(Method::PUT)),
    ("delete", Some(Method::DELETE)),
    ("patch", Some(Method::PATCH)),
    ("head", Some(Method::HEAD)),
    ("options", Some(Method::OPTIONS)),
    ("any", None),
];

impl UserData for Router {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for (name, method) in METHODS {
            methods.add_function(
                *name,
                move |_, (this, pattern, handlers): (AnyUserData, String, Variadic<Value>)| {
                    let wrong = |why: String| mlua::Error::runtime(format!("r:{name} {pattern:?}: {why}"));
                    let functions = handlers.iter().map(|value| match value {
                        Value::Function(function) => Ok(function.clone()),
                        other => Err(wrong(format!("a handler can't be a {}", other.type_name()))),
                    });
                    let mut before = functions.collect::<mlua::Result<Vec<_>>>()?;
                    let last = before.pop().ok_or_else(|| wrong("there is no handler".into()))?;
                    let router = this.borrow::<Self>()?;
                    router.route(std::slice::from_ref(method), &pattern, before, Target::Lua(last))?;
                    Ok(this.clone())
                },
            );
        }
        methods.add_function("use", |_, (this, middleware): (AnyUserData, Function)| {
            let router = this.borrow::<Self>()?;
            router.scope.uses.borrow_mut().push(middleware);
            router.root.unmake();
            Ok(this.clone())
        });
        methods.add_function(
            "group",
            |lua, (this, prefix, fill): (AnyUserData, String, Option<Function>)| {
                let router = this.borrow::<Self>()?;
                if !prefix.starts_with('/') {
                    return Err(mlua::Error::runtime(format!(
                        "r:group: the prefix {prefix:?} does not begin with a /"
                    )));
                }
                let scope = Scope {
                    prefix: format!("{}{}", router.scope.prefix, prefix.trim_end_matches('/')),
                    outer: Some(router.scope.clone()),
                    uses: RefCell::default(),
                };
                let group = Self { root: router.root.clone(), scope: Rc::new(scope) };
                let group = lua.create_userdata(group)?;
                if let Some(fill) = fill {
                    fill.call::<()>(group.clone())?;
                }
                Ok(group)
            },
        );
        methods.add_function("missing", |_, (this, handler): (AnyUserData, Function)| {
            let router = this.borrow::<Self>()?;
            router.root.missing.replace((Some(handler), None));
            Ok(this.clone())
        });
        methods.add_function(
            "static",
            |lua, (this, prefix, dir, options): (AnyUserData, String, String, Option<Table>)| {
                let router = this.borrow::<Self>()?;
                let dir = Target::Files(Rc::new(Dir::new(lua, &World::of(lua), &dir, options)?));
                let prefix = prefix.trim_end_matches('/');
                let get = [Some(Method::GET)];
                // matchit's rest is never empty.
                router.route(&get, &format!("{prefix}/"), Vec::new(), dir.clone())?;
                router.route(&get, &format!("{prefix}/*rest"), Vec::new(), dir.clone())?;
                if !prefix.is_empty() {
                    router.route(&get, prefix, Vec::new(), dir)?;
                }
                Ok(this.clone())
            },
        );
        methods.add_function(
            "ws",
            |lua, (this, pattern, handler, options): (AnyUserData, String, Function, Option<Table>)| {
                let router = this.borrow::<Self>()?;
                let handler = websocket::handler(lua, handler, options)?;
                router.route(&[Some(Method::GET)], &pattern, Vec::new(), Target::Lua(handler))?;
                Ok(this.clone())
            },
        );
        methods.add_function("sse", |lua, (this, pattern, handler): (AnyUserData, String, Function)| {
            let router = this.borrow::<Self>()?;
            let handler: Function = Http::of(lua).events(lua)?.call(handler)?;
            router.route(&[Some(Method::GET)], &pattern, Vec::new(), Target::Lua(handler))?;
            Ok(this.clone())
        });
        // A router is a handler: what it gives back can be given back.
        methods.add_async_meta_method(MetaMethod::Call, |lua, this, request: AnyUserData| async move {
            let call = request.borrow::<Request>()?.0.clone();
            match this.root.find(&call.parts.method, call.parts.uri.path()) {
                Found::Route(Target::Lua(function), params) => {
                    call.params.replace(params);
                    function.call_async::<MultiValue>(request).await
                }
                Found::Route(Target::Files(dir), params) => {
                    let rest = params.into_iter().last().map(|(_, rest)| rest).unwrap_or_default();
                    let answer = Answer::from(files::serve(&call, &dir, &rest));
                    answer.into_lua_multi(&lua)
                }
                Found::Ours(response) => Answer::from(response).into_lua_multi(&lua),
            }
        });
    }
}
