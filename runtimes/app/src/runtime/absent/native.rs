//! In the place of wasmtime, where it was left out: a module with native code beside it is interpreted, and that is said;
//! what can't be is refused.

use std::convert::Infallible;

use lunette_bundle::{Engine, GuestPlan, Payload, Plan};
use lunette_hostcalls::{Ctx, profile};

use super::{Program, Runtime, lacks};
use crate::{Made, Maker, Refusal};

/// Nothing is loaded, and nobody handles requests.
pub(crate) type Loaded = Infallible;
pub(crate) type Handler = Infallible;

pub(crate) fn load(
    maker: &Maker<'_>,
    plan: &GuestPlan,
    payload: &Payload<'static>,
    main: &[u8],
) -> Result<Option<Loaded>, Refusal> {
    if lunette_wasm::is_component(main) {
        let what = "a component, which takes native code, and this image runs none";
        return Err(lacks(plan, what, Runtime::Native));
    }
    match (plan.engine, payload.native(plan)?) {
        (Engine::Wasmtime, _) => {
            Err(lacks(plan, "to run by wasmtime, and this image runs no native code", Runtime::Native))
        }
        (Engine::Auto, Some(_)) => {
            let log = &maker.services.log;
            log.warn(format_args!("{}: this image runs no native code; it is interpreted", plan.main));
            Ok(None)
        }
        _ => Ok(None),
    }
}

pub(crate) fn start(_: &Maker<'_>, _: &GuestPlan, code: Loaded, _: Ctx) -> Result<Made, Refusal> {
    match code {}
}

pub(crate) fn server(
    _: &Maker<'_>,
    plan: &GuestPlan,
    _: Vec<(usize, Handler)>,
    _: &Plan,
) -> Result<Box<dyn Program>, Refusal> {
    Err(lacks(plan, "to answer requests, which takes native code, and this image runs none", Runtime::Native))
}

/// Nobody has to be interrupted by it.
pub(crate) fn ticker() {}

/// Of native code alone.
pub struct Profile;

impl Profile {
    pub fn begin() -> &'static Self {
        &Self
    }

    /// None.
    pub fn samples(&self) -> profile::Profile {
        profile::Profile::default()
    }
}
