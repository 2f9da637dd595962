use crate::FieldMap;
use crate::p3::bindings::http::client::{Host, HostWithStore};
use crate::p3::bindings::http::types::{Request, Response};
use crate::p3::body::Body;
use crate::p3::{HttpError, HttpResult};
use crate::{Error, WasiHttp, WasiHttpCtxView};
use core::task::{Context, Poll, Waker};
use std::pin::Pin;
use tokio::sync::oneshot;
use wasmtime::component::{Accessor, Resource};
use wasmtime::error::Context as _;

async fn io_result(
    rx: oneshot::Receiver<Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>>,
) -> Result<(), Error> {
    let Ok(io) = rx.await else {
        return Ok(());
    };
    io.await
}

impl<T> HostWithStore<T> for WasiHttp {
    async fn send(
        store: &Accessor<T, Self>,
        req: Resource<Request>,
    ) -> HttpResult<Resource<Response>> {
        // The I/O future, if it has not ended with the response's head, will be
        // sent on this channel: it is where the guest hears of its result
        let (io_result_tx, io_result_rx) = oneshot::channel();

        // Response processing result will be sent on this channel
        let (res_result_tx, res_result_rx) = oneshot::channel();

        let getter = store.getter();
        let fut = store.with(|mut store| {
            let WasiHttpCtxView { table, .. } = store.get();
            let req = table
                .delete(req)
                .context("failed to delete request from table")
                .map_err(HttpError::trap)?;
            let (req, options) =
                req.into_http_with_getter(&mut store, io_result(io_result_rx), getter)?;
            HttpResult::Ok(store.get().hooks.send_request(
                req,
                options.as_deref().copied(),
                Box::new(async {
                    // Forward the response processing result to `WasiHttpCtx` implementation
                    let Ok(fut) = res_result_rx.await else {
                        return Ok(());
                    };
                    Box::into_pin(fut).await
                }),
            ))
        })?;
        let (res, io) = Box::into_pin(fut)
            .await
            .map_err(|e| store.with(|mut store| store.get().error_to_p3(&e)))?;
        let (
            http::response::Parts {
                status, headers, ..
            },
            body,
        ) = res.into_parts();

        let mut io = Box::into_pin(io);
        let body = match io.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => body,
            Poll::Ready(Err(e)) => {
                return Err(store.with(|mut store| store.get().error_to_p3(&e)).into());
            }
            Poll::Pending => {
                // The embedder drives its own I/O: see `WasiHttpHooks::send_request`.
                _ = io_result_tx.send(io);
                body
            }
        };
        store.with(|mut store| {
            let res = Response {
                status,
                headers: FieldMap::new_immutable(store.get().hooks, headers),
                body: Body::Host {
                    body,
                    result_tx: res_result_tx,
                },
            };
            store
                .get()
                .table
                .push(res)
                .context("failed to push response to table")
                .map_err(HttpError::trap)
        })
    }
}

impl Host for WasiHttpCtxView<'_> {}
