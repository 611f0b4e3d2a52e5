//! One connection: from the upgraded socket to its close.

mod caller;
mod closing;
mod handle;
mod rate;
mod session;

use std::sync::Arc;

use crate::app::App;
use crate::features::realtime::state::State;
use crate::platform::http::RequestContext;
use crate::platform::http::websocket::Socket;

pub use caller::Offered;
use session::{Ended, Session};

/// Serves a connection until its end. The context keeps the socket's place until then.
pub async fn serve(app: App, context: Arc<RequestContext>, offered: Offered, mut socket: Socket) {
    let _waited_for = app.phase.socket();
    let _counted = app.state::<State>().metrics().connected();
    // Boxed, because an idle connection would keep the size of what runs only at its start.
    match Box::pin(caller::authenticate(&app, &context, offered)).await.and_then(|caller| Session::open(&app, &context, caller)) {
        Ok(mut session) => {
            let ended = session.run(&mut socket).await;
            closing::close(&mut socket, ended, Some(session)).await;
        }
        Err(end) => closing::close(&mut socket, Ended::ByServer(end), None).await,
    }
}

/// Whether a request that opens no socket has valid credentials. A ticket is not tried, because that would use it.
pub async fn is_authentic(app: &App, context: &Arc<RequestContext>, offered: Offered) -> bool {
    matches!(offered, Offered::Ticket(_)) || Box::pin(caller::authenticate(app, context, offered)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the future of a connection, of which an instance has up to 12,288.
    const BUDGET: usize = 3584;

    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn future_of_a_connection_stays_within_its_budget() {
        let size = size(serve);
        assert!(size <= BUDGET, "{size} bytes: box what is rare");
    }
}
