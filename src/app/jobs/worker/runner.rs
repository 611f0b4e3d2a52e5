//! Runner built on apalis: receives one ticket per claimed row through a channel, limits concurrency, opens trace spans, and
//! is restarted if it ends. Storage, heartbeats, retries and time-outs are our own, because those of apalis lose or
//! duplicate jobs when a database or a handler fails.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use apalis::layers::tracing::TraceLayer;
use apalis::prelude::{BoxDynError, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerBuilderExt, WorkerContext};
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tracing::{Span, info_span};

use super::state::{State, Ticket};

/// Processes tickets until the worker is stopped.
pub(super) async fn run(worker: &Arc<State>, tickets: Tickets) -> anyhow::Result<()> {
    let (id, concurrency) = (worker.id.clone(), worker.settings.concurrency);
    let monitor = Monitor::new().register(move |_| {
        WorkerBuilder::new(id.as_str())
            .backend(tickets.clone())
            .layer(TraceLayer::new().make_span_with(span as fn(&Task<Ticket>) -> Span))
            .concurrency(concurrency)
            .build(run_ticket)
    });
    let monitor = monitor.should_restart(|_, error| {
        tracing::error!(%error, "the runner of jobs ended and is started again");
        true
    });
    // No shutdown time-out here: the worker's grace applies, and after it every `run_ticket` ends.
    monitor.run_with_signal(worker.stop.cancelled().map(Ok)).await.map_err(|error| anyhow::anyhow!("the runner of jobs: {error}"))
}

async fn run_ticket(ticket: Ticket) -> Result<(), BoxDynError> {
    if ticket.start.send(Span::current()).is_err() {
        // The row's task no longer waits for this ticket.
        return Ok(());
    }
    match ticket.done.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(reason.into()),
        Err(_) => Err("the task of the job is gone".into()),
    }
}

fn span(task: &Task<Ticket>) -> Span {
    info_span!("job", id = %task.args.id, function = task.args.function, attempt = task.args.attempt)
}

/// The channel's receiver as an apalis backend. Clones share it, so that a restarted runner continues with it.
#[derive(Clone)]
pub(super) struct Tickets(Arc<Mutex<mpsc::Receiver<Ticket>>>);

impl Tickets {
    pub fn new(receiver: mpsc::Receiver<Ticket>) -> Self {
        Self(Arc::new(Mutex::new(receiver)))
    }
}

impl Backend for Tickets {
    type Task = Task<Ticket>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, context: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Ticket>, Infallible>>> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(context);
        next.map(|ticket| {
            ticket.map(|ticket| {
                let id = TaskId::from_string(ticket.id.to_string());
                Ok(TaskBuilder::new(ticket).task_id(id).build())
            })
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Tickets {
    type Args = Ticket;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = tower::layer::util::Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Self::Layer {
        Self::Layer::default()
    }
}
