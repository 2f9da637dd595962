//! New versions of the app, while it runs.
//!
//! Promises: a version that can't run changes nothing, and why is told to whoever sent it; what listens goes on listening.
//! What the network grants, the limits and the guests beside the app stay as they were at the start; files that the app
//! wrote belong to the version that wrote them. A version stays in memory for as long as the app runs: files are read in
//! place.

use std::{future::poll_fn, sync::Arc, task::Poll};

use lunette_bundle::{HELP, Payload, Source};
use lunette_hostcalls::{Ctx, Versions};
use lunette_lua::Reloader;

use crate::{Refusal, Services, files, listen};

/// Takes versions, and has the app go on with them.
pub(crate) struct Follower {
    versions: Arc<dyn Versions>,
    services: Services,
    main: String,
    /// As the app had it when it started.
    ctx: Ctx,
}

impl Follower {
    /// For an app with this script and this world; `None`: no versions can come.
    pub(crate) fn new(services: &Services, main: &str, ctx: &Ctx) -> Option<Self> {
        let versions = services.versions.clone()?;
        Some(Self { versions, services: services.clone(), main: main.to_owned(), ctx: ctx.clone() })
    }

    /// Follows for as long as it is polled.
    pub(crate) async fn follow(&self, reloader: &Reloader) {
        loop {
            let payload = poll_fn(|cx| match self.versions.take() {
                Some(payload) => Poll::Ready(payload),
                None => {
                    self.versions.register(cx.waker());
                    Poll::Pending
                }
            })
            .await;
            let outcome = match self.reload(reloader, payload.leak()) {
                Ok(()) => {
                    let outcome = reloader.started().await;
                    outcome.map_err(|why| format!("{why}{HELP}its own error, on standard error, says why"))
                }
                Err(Refusal(why)) => Err(why),
            };
            self.versions.tell(outcome.as_ref().copied().map_err(String::as_str));
        }
    }

    fn reload(&self, reloader: &Reloader, payload: &'static [u8]) -> Result<(), Refusal> {
        let payload = Payload::parse(payload)?;
        let plan = payload.plan()?;
        plan.allowed()?;
        let app = &plan.app;
        if app.main != self.main {
            let help = "start it again";
            return Err(Refusal(format!("the app was {}, and is {} now{HELP}{help}", self.main, app.main)));
        }
        let bundle = match &payload.source {
            Source::Bundle(bundle) => Some(bundle),
            Source::BareWasm(_) => None,
        };
        let mut env = app.env.clone();
        listen::tell(&mut env, &self.ctx.listeners);
        let ctx = Ctx {
            args: app.args.clone(),
            env,
            preopens: files::preopens(bundle, app, &self.services)?,
            ..self.ctx.clone()
        };
        let text = lunette_lua::without_first_line(payload.main(app)?);
        reloader
            .reload(&app.main, text, ctx)
            .map_err(|problem| Refusal(format!("{problem}{HELP}{}", problem.help())))
    }
}
