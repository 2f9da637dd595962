//! Implementation of calling Rust-defined functions from components.

use crate::component::concurrent::EnteredHostTask;
#[cfg(feature = "component-model-async")]
use crate::component::concurrent::{self, Accessor, Status};
use crate::component::func::{LiftContext, LowerContext};
use crate::component::matching::InstanceType;
use crate::component::storage::{slice_to_storage, slice_to_storage_mut};
use crate::component::types::ComponentFunc;
use crate::component::{ComponentNamedList, Instance, Lift, Lower, Val};
use crate::prelude::*;
use crate::runtime::vm::component::{
    ComponentInstance, VMComponentContext, VMLowering, VMLoweringCallee,
};
use crate::runtime::vm::{VMOpaqueContext, VMStore};
use crate::store::Asyncness;
use crate::{StoreContextMut, ValRaw};
use alloc::sync::Arc;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
#[cfg(feature = "async")]
use core::pin::Pin;
use core::ptr::NonNull;
use wasmtime_environ::component::{
    CanonicalAbiInfo, InterfaceType, MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS,
    OptionsIndex, TypeFuncIndex,
};

/// A host function suitable for passing into a component.
///
/// This structure represents a monomorphic host function that can only be used
/// in the specific context of a particular store. This is generally not too
/// too safe to use and is only meant for internal use.
pub struct HostFunc {
    /// The actual host function, its type-checking and the conversion of its
    /// parameters and results. All that is not specific to the function's
    /// types is shared by all functions (see `cabi_entrypoint`).
    func: Box<dyn HostFn>,

    /// Whether or not this host function was defined in such a way that async
    /// stack switching is required when calling it.
    asyncness: Asyncness,
}

impl core::fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostFunc").finish_non_exhaustive()
    }
}

enum HostResult<T: 'static, R> {
    Done(Result<R>),
    #[cfg(feature = "component-model-async")]
    Future(Pin<Box<dyn Future<Output = Result<Lowering<T>>> + Send>>),
    #[cfg(not(feature = "component-model-async"))]
    #[expect(dead_code, reason = "keeps the type parameter used")]
    Never(core::convert::Infallible, core::marker::PhantomData<T>),
}

/// The result of a concurrent host function, as what remains to be done with
/// it. This type doesn't depend on the function's types, so that neither does
/// all that polls and stores futures.
#[cfg(feature = "component-model-async")]
type Lowering<T> = Box<
    dyn FnOnce(&mut LowerContext<'_, T>, TypeFuncIndex, Destination<'_>) -> Result<()>
        + Send
        + Sync,
>;

impl HostFunc {
    /// Creates a new host function based on the implementation of `func`.
    ///
    /// The `asyncness` parameter indicates whether the `func` requires
    /// wasm to be on a fiber. This is used to propagate to the `Store` during
    /// instantiation to ensure that this guarantee is met.
    ///
    /// Note that if `asyncness` is mistaken then that'll result in panics
    /// in Wasmtime, but not memory unsafety.
    fn new(asyncness: Asyncness, func: impl HostFn) -> Result<Arc<HostFunc>> {
        let func: Box<dyn HostFn> = try_new::<Box<_>>(func)?;
        Ok(try_new::<Arc<_>>(HostFunc { func, asyncness })?)
    }

    /// Equivalent for `Linker::func_wrap`
    pub(crate) fn func_wrap<T, F, P, R>(func: F) -> Result<Arc<HostFunc>>
    where
        T: 'static,
        F: Fn(StoreContextMut<T>, P) -> Result<R> + Send + Sync + 'static,
        P: ComponentNamedList + Lift + 'static,
        R: ComponentNamedList + Lower + 'static,
    {
        Self::new(
            Asyncness::No,
            StaticHostFn::<T, P, R, _, false>::new(move |store, params| {
                HostResult::Done(func(store, params))
            }),
        )
    }

    /// Equivalent for `Linker::func_wrap_async`
    #[cfg(feature = "async")]
    pub(crate) fn func_wrap_async<T, F, P, R>(func: F) -> Result<Arc<HostFunc>>
    where
        T: 'static,
        F: Fn(StoreContextMut<'_, T>, P) -> Box<dyn Future<Output = Result<R>> + Send + '_>
            + Send
            + Sync
            + 'static,
        P: ComponentNamedList + Lift + 'static,
        R: ComponentNamedList + Lower + 'static,
    {
        Self::new(
            Asyncness::Yes,
            StaticHostFn::<T, P, R, _, false>::new(move |store, params| {
                HostResult::Done(
                    store
                        .block_on(|store| Pin::from(func(store, params)))
                        .and_then(|r| r),
                )
            }),
        )
    }

    /// Equivalent for `Linker::func_wrap_concurrent`
    #[cfg(feature = "component-model-async")]
    pub(crate) fn func_wrap_concurrent<T, F, P, R>(func: F) -> Result<Arc<HostFunc>>
    where
        T: 'static,
        F: Fn(&Accessor<T>, P) -> Pin<Box<dyn Future<Output = Result<R>> + Send + '_>>
            + Send
            + Sync
            + 'static,
        P: ComponentNamedList + Lift + 'static,
        R: ComponentNamedList + Lower + 'static,
    {
        let func = Arc::new(func);
        Self::new(
            Asyncness::Yes,
            StaticHostFn::<T, P, R, _, true>::new(move |store, params| {
                let func = func.clone();
                let future = store.wrap_call(move |accessor| func(accessor, params));
                HostResult::Future(Box::pin(async move {
                    let ret = future.await?;
                    let lowering: Lowering<T> =
                        Box::new(move |cx, ty, dst| lower_static(cx, ty, ret, dst));
                    Ok(lowering)
                }))
            }),
        )
    }

    /// Equivalent of `Linker::func_new`
    pub(crate) fn func_new<T, F>(func: F) -> Result<Arc<HostFunc>>
    where
        T: 'static,
        F: Fn(StoreContextMut<'_, T>, ComponentFunc, &[Val], &mut [Val]) -> Result<()>
            + Send
            + Sync
            + 'static,
    {
        Self::new(
            Asyncness::No,
            DynamicHostFn::<T, _, false>::new(
                move |store, ty, mut params_and_results, result_start| {
                    let (params, results) = params_and_results.split_at_mut(result_start);
                    let result = func(store, ty, params, results).map(move |()| params_and_results);
                    HostResult::Done(result)
                },
            ),
        )
    }

    /// Equivalent of `Linker::func_new_async`
    #[cfg(feature = "async")]
    pub(crate) fn func_new_async<T, F>(func: F) -> Result<Arc<HostFunc>>
    where
        T: 'static,
        F: for<'a> Fn(
                StoreContextMut<'a, T>,
                ComponentFunc,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        Self::new(
            Asyncness::Yes,
            DynamicHostFn::<T, _, false>::new(
                move |store, ty, mut params_and_results, result_start| {
                    let (params, results) = params_and_results.split_at_mut(result_start);
                    let result = store
                        .with_blocking(|store, cx| {
                            cx.block_on(Pin::from(func(store, ty, params, results)))
                        })
                        .and_then(|r| r);
                    let result = result.map(move |()| params_and_results);
                    HostResult::Done(result)
                },
            ),
        )
    }

    /// Equivalent of `Linker::func_new_concurrent`
    #[cfg(feature = "component-model-async")]
    pub(crate) fn func_new_concurrent<T, F>(func: F) -> Result<Arc<HostFunc>>
    where
        T: 'static,
        F: for<'a> Fn(
                &'a Accessor<T>,
                ComponentFunc,
                &'a [Val],
                &'a mut [Val],
            ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>
            + Send
            + Sync
            + 'static,
    {
        let func = Arc::new(func);
        Self::new(
            Asyncness::Yes,
            DynamicHostFn::<T, _, true>::new(
                move |store, ty, mut params_and_results, result_start| {
                    let func = func.clone();
                    let future = store.wrap_call(move |accessor| {
                        Box::pin(async move {
                            let (params, results) = params_and_results.split_at_mut(result_start);
                            func(accessor, ty, params, results).await?;
                            Ok(params_and_results)
                        })
                    });
                    HostResult::Future(Box::pin(async move {
                        let ret = future.await?;
                        let lowering: Lowering<T> =
                            Box::new(move |cx, ty, dst| lower_dynamic(cx, ty, ret, dst));
                        Ok(lowering)
                    }))
                },
            ),
        )
    }

    pub fn typecheck(&self, ty: TypeFuncIndex, types: &InstanceType<'_>) -> Result<()> {
        self.func.typecheck(ty, types)
    }

    /// What compiled code calls, and with what. This `HostFunc` must stay where
    /// it is, in its `Arc`, for as long as the component instance lives.
    pub fn lowering(&self) -> VMLowering {
        VMLowering {
            callee: NonNull::new(cabi_entrypoint as VMLoweringCallee as *mut _)
                .unwrap()
                .into(),
            data: NonNull::from(self).cast().into(),
        }
    }

    pub fn asyncness(&self) -> Asyncness {
        self.asyncness
    }
}

/// Argument to [`HostFn::lift_params`]
enum Source<'a> {
    /// The parameters come from flat wasm arguments which are provided here.
    Flat(&'a [ValRaw]),
    /// The parameters come from linear memory at the provided offset, which is
    /// already validated to be in-bounds.
    Memory(usize),
}

/// Argument to [`HostFn::lower_result`]
enum Destination<'a> {
    /// The result is stored in flat parameters whose storage is provided here.
    Flat(&'a mut [MaybeUninit<ValRaw>]),
    /// The result is stored in linear memory at the provided offset, which is
    /// already validated to be in-bounds.
    Memory(usize),
}

/// A host function as all that's shared among host functions sees it.
///
/// One of these is made for each function that's defined, so what's here is
/// kept to what depends on the function's types: all else is in `Call`.
trait HostFn: Send + Sync + 'static {
    /// Whether or not this is `async` function from the perspective of the
    /// component model.
    fn is_async(&self) -> bool;

    /// Performs a type-check to ensure that this host function can be imported
    /// with the provided signature that a component is using.
    fn typecheck(&self, ty: TypeFuncIndex, types: &InstanceType<'_>) -> Result<()>;

    /// Lifts the parameters, executes this host function, and lowers its
    /// result.
    ///
    /// # Safety
    ///
    /// The store's data has to be of the type that this function was made for,
    /// and `call.storage` as `cabi_entrypoint` demands it.
    unsafe fn call(&self, call: &mut Call<'_>) -> Result<()>;
}

/// Raw entrypoint invoked by Cranelift, for all host functions.
///
/// # Safety
///
/// This function is only safe when called from a trusted source which
/// upholds at least these invariants:
///
/// * `cx` is a valid pointer which comes from calling wasm.
/// * `data` is a valid pointer to a `HostFunc` made for the type of the store
/// * `ty` and `options` are valid within the context of `cx`
/// * `storage` and `storage_len` are valid pointers and correspond to
///   correctly initialized wasm arguments/results according to the
///   canonical ABI specified by `ty` and `options`.
///
/// The code elsewhere in this module is all downstream of this `unsafe`,
/// and upholding this `unsafe` invariant requires Cranelift, function
/// translation, the canonical ABI, and Wasmtime to all stay in sync.
/// Basically we can't statically rule out this `unsafe`, we just gotta
/// not have bugs.
unsafe extern "C" fn cabi_entrypoint(
    cx: NonNull<VMOpaqueContext>,
    data: NonNull<u8>,
    ty: u32,
    options: u32,
    storage: NonNull<MaybeUninit<ValRaw>>,
    storage_len: usize,
) -> bool {
    let cx = unsafe { VMComponentContext::from_opaque(cx) };
    unsafe {
        ComponentInstance::enter_host_from_wasm(cx, |store, instance| {
            let ty = TypeFuncIndex::from_u32(ty);
            let options = OptionsIndex::from_u32(options);
            let storage = NonNull::slice_from_raw_parts(storage, storage_len).as_mut();
            let func = &*data.cast::<HostFunc>().as_ref().func;

            let vminstance = instance.id().get(store.store_opaque());
            let async_ = vminstance.component().env_component().options[options].async_;

            // If this is a synchronous-lower of a host-async function, then the
            // guest is blocking. Test, in the context of the guest task, if
            // that's allowed.
            if !async_ && func.is_async() {
                store.check_blocking()?;
            }
            if async_ && !cfg!(feature = "component-model-async") {
                unreachable!(
                    "async-lowered imports should have failed validation \
                     when `component-model-async` feature disabled"
                );
            }

            let task = store.host_task_create()?;
            func.call(&mut Call {
                store,
                instance,
                ty,
                options,
                storage,
                async_,
                task,
                after_params: 0,
                retptr: 0,
            })
        })
    }
}

/// A call of a host function: what's the same for functions of all types.
struct Call<'a> {
    store: &'a mut dyn VMStore,
    instance: Instance,
    ty: TypeFuncIndex,
    options: OptionsIndex,
    storage: &'a mut [MaybeUninit<ValRaw>],
    /// Whether the guest calls by the "async" ABI, with the `async` option when
    /// the function was lowered. By the "sync" ABI the host function itself can
    /// still be async, in which case the call will block here waiting for it to
    /// finish. By the "async" ABI the host function may be sync as well.
    async_: bool,
    task: EnteredHostTask,
    /// Where in `storage` the return pointer is, if there's one.
    after_params: usize,
    /// By the "async" ABI, where in memory the result belongs.
    retptr: usize,
}

impl Call<'_> {
    /// Where to lift the parameters from: either from flat storage or from
    /// linear memory.
    fn params(&mut self) -> Result<(LiftContext<'_>, Source<'_>)> {
        let max_flat_params = if self.async_ {
            MAX_FLAT_ASYNC_PARAMS
        } else {
            MAX_FLAT_PARAMS
        };
        let lift = LiftContext::new(self.store.store_opaque_mut(), self.options, self.instance)?;
        let fty = &lift.types[self.ty];
        let param_tys = &lift.types[fty.params];
        let src = match param_tys.abi.flat_count(max_flat_params) {
            Some(cnt) => {
                self.after_params = cnt;
                let params = &self.storage[..cnt];
                // SAFETY: due to the contract of `cabi_entrypoint` we are
                // guaranteed that all flat parameters are initialized by
                // compiled wasm.
                Source::Flat(unsafe { mem::transmute::<&[MaybeUninit<ValRaw>], &[ValRaw]>(params) })
            }
            None => {
                self.after_params = 1;
                // SAFETY: due to the contract of `cabi_entrypoint` we are
                // guaranteed that the return pointer is initialized by
                // compiled wasm.
                let ptr = unsafe { self.storage[0].assume_init_ref() };
                Source::Memory(validate_inbounds_dynamic(
                    &param_tys.abi,
                    lift.memory(),
                    ptr,
                )?)
            }
        };
        Ok((lift, src))
    }

    /// Loads/validates the return pointer of the "async" ABI, if present, when
    /// the parameters were lifted.
    fn load_retptr(&mut self) -> Result<()> {
        if !self.async_ {
            return Ok(());
        }
        let (component, store) = self
            .instance
            .component_and_store_mut(self.store.store_opaque_mut());
        let types = component.types();
        let result_tys = &types[types[self.ty].results];
        // If there's no return pointer then the result should have an
        // empty flat representation. In this situation pretend the return
        // pointer was 0 so we have something to shepherd along.
        if !result_tys.types.is_empty() {
            // SAFETY: see `params` above about how the return pointer
            // should be safe to use.
            let ptr = unsafe { self.storage[self.after_params].assume_init_ref() };
            let memory = self.instance.options_memory(store, self.options);
            self.retptr = validate_inbounds_dynamic(&result_tys.abi, memory, ptr)?;
        }
        Ok(())
    }

    /// Ends the host's task, and gives where to lower the result to.
    ///
    /// # Safety
    ///
    /// The store's data has to be a `T`.
    unsafe fn result<T>(&mut self) -> Result<(LowerContext<'_, T>, Destination<'_>)> {
        let store = unsafe { self.store.unchecked_context_mut::<T>() };
        let mut lower = LowerContext::new(store, self.options, self.instance);
        let dst = if self.async_ {
            Destination::Memory(self.retptr)
        } else {
            let result_tys = &lower.types[lower.types[self.ty].results];
            match result_tys.abi.flat_count(MAX_FLAT_RESULTS) {
                Some(cnt) => Destination::Flat(&mut self.storage[..cnt]),
                None => {
                    // SAFETY: due to the contract of `cabi_entrypoint` we know
                    // that the return pointer, located after the parameters, is
                    // initialized by wasm and safe to read.
                    let ptr = unsafe { self.storage[self.after_params].assume_init_ref() };
                    Destination::Memory(validate_inbounds_dynamic(
                        &result_tys.abi,
                        lower.as_slice_mut(),
                        ptr,
                    )?)
                }
            }
        };
        lower.validate_scope_exit()?;
        lower.store.0.host_task_delete(self.task)?;
        Ok((lower, dst))
    }

    /// Tells a guest that called by the "async" ABI that the result is there.
    fn returned(&mut self) {
        #[cfg(feature = "component-model-async")]
        if self.async_ {
            self.storage[0].write(ValRaw::u32(Status::Returned.pack(None)));
        }
    }

    /// Waits for the result of a function that's async, or has it lowered when
    /// it's there, as the guest called.
    ///
    /// # Safety
    ///
    /// The store's data has to be a `T`.
    #[cfg(feature = "component-model-async")]
    unsafe fn wait<T: 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = Result<Lowering<T>>> + Send>>,
    ) -> Result<()> {
        let (ty, options, instance) = (self.ty, self.options, self.instance);
        if !self.async_ {
            let lowering = concurrent::poll_and_block(self.store, self.task, future)?;
            let (mut lower, dst) = unsafe { self.result::<T>()? };
            return lowering(&mut lower, ty, dst);
        }
        let (retptr, task) = (self.retptr, self.task);
        let store = unsafe { self.store.unchecked_context_mut::<T>() };
        let rc = instance.first_poll(store, task, future, move |store, ret, immediate| {
            let mut lower = LowerContext::new(store, options, instance);
            lower.validate_scope_exit()?;
            if immediate {
                lower.store.0.host_task_delete(task)?;
            }
            // FIXME(WebAssembly/component-model#678) the currently
            // running thread for this exit lower is wrong. This happens
            // to pick whatever's in the store at the time of a
            // non-immediate exit which is not correct. There's no real
            // right answer here, hence the upstream issue.
            if let Some(lowering) = ret {
                lowering(&mut lower, ty, Destination::Memory(retptr))?;
            }
            Ok(())
        })?;
        self.storage[0].write(ValRaw::u32(rc));
        Ok(())
    }
}

/// Checks that a host function's `ASYNC`-ness (as encoded by which of
/// `func_new`/`func_new_async`/`func_new_concurrent` — or their `_wrap`
/// counterparts — constructed it) matches whether the component's WIT type
/// for this import is declared `async func`.
///
/// This isn't a case of one or the other being "correct": `func_new_async`/
/// `func_wrap_async` intentionally implement a *sync*-WIT-typed function via
/// blocking/async host code (see their docs), so they can never satisfy an
/// `async func` import — only `func_new_concurrent`/`func_wrap_concurrent`
/// can. The error message names which specific mismatch occurred and points
/// at the API that would work, since "type mismatch with async" alone gives
/// no indication of *why* or what to use instead.
fn typecheck_async(host_async: bool, wit_async: bool) -> Result<()> {
    if host_async == wit_async {
        return Ok(());
    }
    if wit_async {
        bail!(
            "type mismatch with async: this import is declared `async func` in WIT, but was \
             satisfied with a sync-style host function (`func_new`/`func_wrap`, or \
             `func_new_async`/`func_wrap_async` — despite the name, these implement a \
             *sync*-WIT-typed function via blocking host code, not an `async func` import); \
             use `func_new_concurrent`/`func_wrap_concurrent` instead"
        );
    } else {
        bail!(
            "type mismatch with async: this import's WIT type is a plain (non-`async`) \
             function, but was satisfied with `func_new_concurrent`/`func_wrap_concurrent`, \
             which is only for `async func`-typed imports; use `func_new`/`func_wrap` (or \
             `func_new_async`/`func_wrap_async` for blocking host code) instead"
        );
    }
}

/// Implementation of a "static" host function where the parameters and results
/// of a function are known at compile time.
struct StaticHostFn<T, P, R, F, const ASYNC: bool>(F, PhantomData<fn(T, P) -> R>);

impl<T, P, R, F, const ASYNC: bool> StaticHostFn<T, P, R, F, ASYNC>
where
    T: 'static,
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
    F: Fn(StoreContextMut<'_, T>, P) -> HostResult<T, R>,
{
    fn new(func: F) -> Self {
        Self(func, PhantomData)
    }
}

impl<T, P, R, F, const ASYNC: bool> HostFn for StaticHostFn<T, P, R, F, ASYNC>
where
    T: 'static,
    F: Fn(StoreContextMut<'_, T>, P) -> HostResult<T, R> + Send + Sync + 'static,
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
{
    fn is_async(&self) -> bool {
        ASYNC
    }

    fn typecheck(&self, ty: TypeFuncIndex, types: &InstanceType<'_>) -> Result<()> {
        let ty = &types.types[ty];
        typecheck_async(ASYNC, ty.async_)?;
        P::typecheck(&InterfaceType::Tuple(ty.params), types)
            .context("type mismatch with parameters")?;
        R::typecheck(&InterfaceType::Tuple(ty.results), types)
            .context("type mismatch with results")?;
        Ok(())
    }

    unsafe fn call(&self, call: &mut Call<'_>) -> Result<()> {
        let ty = call.ty;
        // Contexts are used where they were returned: moved, each would be
        // copied in each function.
        let params = match call.params() {
            Ok((ref mut lift, src)) => lift_static::<P>(lift, ty, src)?,
            Err(e) => return Err(e),
        };
        call.load_retptr()?;
        // SAFETY: the caller says that the store's data is a `T`.
        match (self.0)(unsafe { call.store.unchecked_context_mut() }, params) {
            HostResult::Done(ret) => {
                let ret = ret?;
                // SAFETY: as above
                match unsafe { call.result::<T>() } {
                    Ok((ref mut lower, dst)) => lower_static(lower, ty, ret, dst)?,
                    Err(e) => return Err(e),
                }
                call.returned();
                Ok(())
            }
            // SAFETY: as above
            #[cfg(feature = "component-model-async")]
            HostResult::Future(future) => unsafe { call.wait(future) },
            #[cfg(not(feature = "component-model-async"))]
            HostResult::Never(never, _) => match never {},
        }
    }
}

/// Performs the lifting operation to convert arguments from the canonical
/// ABI in wasm memory/arguments into their Rust representation.
fn lift_static<P: ComponentNamedList + Lift>(
    cx: &mut LiftContext<'_>,
    ty: TypeFuncIndex,
    src: Source<'_>,
) -> Result<P> {
    let ty = InterfaceType::Tuple(cx.types[ty].params);
    match src {
        Source::Flat(storage) => {
            // SAFETY: the contract of `ComponentType` for `P` means that
            // it's safe to interpret the parameters `storage` as
            // `P::Lower`. The contract of `cabi_entrypoint` is that everything
            // is initialized correctly internally.
            let storage: &P::Lower = unsafe { slice_to_storage(storage) };
            P::linear_lift_from_flat(cx, ty, storage)
        }
        Source::Memory(offset) => {
            P::linear_lift_from_memory(cx, ty, &cx.memory()[offset..][..P::SIZE32])
        }
    }
}

/// Performs the lowering operation to convert the result from its Rust
/// representation to the canonical ABI representation.
fn lower_static<T: 'static, R: ComponentNamedList + Lower>(
    cx: &mut LowerContext<'_, T>,
    ty: TypeFuncIndex,
    ret: R,
    dst: Destination<'_>,
) -> Result<()> {
    let fty = &cx.types[ty];
    let ty = InterfaceType::Tuple(fty.results);
    match dst {
        Destination::Flat(storage) => {
            // SAFETY: the contract of `ComponentType` for `R` means that
            // it's safe to reinterpret `ValRaw` storage to initialize as
            // `R::Lower`.
            let storage: &mut MaybeUninit<R::Lower> = unsafe { slice_to_storage_mut(storage) };
            ret.linear_lower_to_flat(cx, ty, storage)
        }
        Destination::Memory(ptr) => ret.linear_lower_to_memory(cx, ty, ptr),
    }
}

/// Implementation of a "dynamic" host function where the number of parameters,
/// types of parameters, and result type/presence, are all not known at compile
/// time.
///
/// This is intended for more-dynamic use cases than `StaticHostFn` above such
/// as demos, gluing things together quickly, and `wast` testing.
struct DynamicHostFn<T, F, const ASYNC: bool>(F, PhantomData<fn(T)>);

impl<T, F, const ASYNC: bool> DynamicHostFn<T, F, ASYNC>
where
    T: 'static,
    F: Fn(StoreContextMut<'_, T>, ComponentFunc, Vec<Val>, usize) -> HostResult<T, Vec<Val>>,
{
    fn new(func: F) -> Self {
        Self(func, PhantomData)
    }
}

impl<T, F, const ASYNC: bool> HostFn for DynamicHostFn<T, F, ASYNC>
where
    T: 'static,
    F: Fn(StoreContextMut<'_, T>, ComponentFunc, Vec<Val>, usize) -> HostResult<T, Vec<Val>>
        + Send
        + Sync
        + 'static,
{
    fn is_async(&self) -> bool {
        ASYNC
    }

    /// This function performs dynamic type checks on its parameters and
    /// results and subsequently does not need to perform up-front type
    /// checks. However, we _do_ verify async-ness here.
    fn typecheck(&self, ty: TypeFuncIndex, types: &InstanceType<'_>) -> Result<()> {
        let ty = &types.types[ty];
        typecheck_async(ASYNC, ty.async_)
    }

    unsafe fn call(&self, call: &mut Call<'_>) -> Result<()> {
        let ty = call.ty;
        let (mut lift, src) = call.params()?;
        let (func, mut params) = lift_dynamic(&mut lift, ty, src)?;
        call.load_retptr()?;
        let offset = params.len();
        for _ in 0..func.results().len() {
            params.push(Val::Bool(false));
        }
        // SAFETY: the caller says that the store's data is a `T`.
        match (self.0)(
            unsafe { call.store.unchecked_context_mut() },
            func,
            params,
            offset,
        ) {
            HostResult::Done(ret) => {
                let ret = ret?;
                // SAFETY: as above
                let (mut lower, dst) = unsafe { call.result::<T>()? };
                lower_dynamic(&mut lower, ty, ret, dst)?;
                call.returned();
                Ok(())
            }
            // SAFETY: as above
            #[cfg(feature = "component-model-async")]
            HostResult::Future(future) => unsafe { call.wait(future) },
            #[cfg(not(feature = "component-model-async"))]
            HostResult::Never(never, _) => match never {},
        }
    }
}

fn lift_dynamic(
    cx: &mut LiftContext<'_>,
    ty: TypeFuncIndex,
    src: Source<'_>,
) -> Result<(ComponentFunc, Vec<Val>)> {
    let param_tys = &cx.types[cx.types[ty].params];
    let mut params = Vec::new();
    match src {
        Source::Flat(storage) => {
            let mut iter = storage.iter();
            for ty in param_tys.types.iter() {
                params.push(Val::lift(cx, *ty, &mut iter)?);
            }
            assert!(iter.next().is_none());
        }
        Source::Memory(mut offset) => {
            for ty in param_tys.types.iter() {
                let abi = cx.types.canonical_abi(ty);
                let size = usize::try_from(abi.size32).unwrap();
                let memory = &cx.memory()[abi.next_field32_size(&mut offset)..][..size];
                params.push(Val::load(cx, *ty, memory)?);
            }
        }
    }

    Ok((ComponentFunc::from(ty, &cx.instance_type()), params))
}

fn lower_dynamic<T: 'static>(
    cx: &mut LowerContext<'_, T>,
    ty: TypeFuncIndex,
    result_vals: Vec<Val>,
    dst: Destination<'_>,
) -> Result<()> {
    let fty = &cx.types[ty];
    let param_tys = &cx.types[fty.params];
    let result_tys = &cx.types[fty.results];
    let result_vals = &result_vals[param_tys.types.len()..];
    match dst {
        Destination::Flat(storage) => {
            let mut dst = storage.iter_mut();
            for (val, ty) in result_vals.iter().zip(result_tys.types.iter()) {
                val.lower(cx, *ty, &mut dst)?;
            }
            assert!(dst.next().is_none());
        }
        Destination::Memory(mut ptr) => {
            for (val, ty) in result_vals.iter().zip(result_tys.types.iter()) {
                let offset = cx.types.canonical_abi(ty).next_field32_size(&mut ptr);
                val.store(cx, *ty, offset)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn validate_inbounds_dynamic(
    abi: &CanonicalAbiInfo,
    memory: &[u8],
    ptr: &ValRaw,
) -> Result<usize> {
    // FIXME(#4311): needs memory64 support
    let ptr = usize::try_from(ptr.get_u32())?;
    if ptr % usize::try_from(abi.align32)? != 0 {
        bail!("pointer not aligned");
    }
    let end = match ptr.checked_add(usize::try_from(abi.size32).unwrap()) {
        Some(n) => n,
        None => bail!("pointer size overflow"),
    };
    if end > memory.len() {
        bail!("pointer out of bounds")
    }
    Ok(ptr)
}
