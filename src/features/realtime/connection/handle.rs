//! What frames of a client do.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::caller;
use super::session::Session;
use crate::features::realtime::bridge::Target;
use crate::features::realtime::channel::{self, Use};
use crate::features::realtime::config::Settings;
use crate::features::realtime::frames::{Frame, Kind, Refused};
use crate::features::realtime::outbox::End;
use crate::features::realtime::request::{Read, Request};
use crate::platform::id::UserId;
use crate::platform::usage::Metric;

/// What subscribers get of a message.
#[derive(Serialize)]
struct Content<'a> {
    from_user_id: &'a UserId,
    content: &'a RawValue,
}

impl Session {
    /// Handles a frame. Only a failed renewal ends the connection.
    pub(super) async fn handle(&mut self, text: &str) -> Result<(), End> {
        if !self.is_within_rate() {
            return Ok(());
        }
        let Read { request, about } = Read::of(text);
        self.state.metrics().received(request.as_ref().map_or("other", Request::name));
        let done = match request {
            Ok(Request::Auth { token }) => return self.authenticate(&token).await,
            Ok(request) => self.answer(request).await,
            Err(refused) => Err(refused),
        };
        if let Err(refused) = done {
            self.state.hub().send(&self.connection, &refused.frame(about, self.app.clock.now()));
        }
        Ok(())
    }

    pub(super) fn refuse_binary(&mut self) {
        if self.is_within_rate() {
            self.state.metrics().received("other");
            let refused = Refused::InvalidRequest("Send text, not binary frames");
            self.state.hub().send(&self.connection, &refused.frame(serde_json::Value::Null, self.app.clock.now()));
        }
    }

    /// Delivers a message that arrives after the close frame was sent. There is no reply any more.
    pub(super) async fn deliver_last(&mut self, text: &str) {
        if let Ok(request @ Request::Message { .. }) = Read::of(text).request
            && self.rate.take(Instant::now())
        {
            // A refusal cannot be told.
            let _ = self.answer(request).await;
        }
    }

    fn is_within_rate(&mut self) -> bool {
        let now = Instant::now();
        let within = self.rate.take(now);
        if !within {
            self.state.metrics().received("other");
            if self.rate.notices(now) {
                let refused = Refused::RateLimited(self.rate.per_second());
                self.state.hub().send(&self.connection, &refused.frame(serde_json::Value::Null, self.app.clock.now()));
            }
        }
        within
    }

    async fn answer(&mut self, request: Request<'_>) -> Result<(), Refused> {
        let name = request.name();
        match request {
            // Handled before: it may end the connection.
            Request::Auth { .. } => {}
            Request::Ping => self.send_about(Kind::Pong, serde_json::Value::Null, None),
            Request::Subscribe { channel } => self.subscribe(&channel).await?,
            Request::Unsubscribe { channel } => {
                channel::check_name(&channel)?;
                self.leave(&channel);
            }
            Request::Message { channel, data, id } => self.publish(&channel, data, id).await?,
        }
        if let Some(labels) = self.state.labels(name) {
            self.app.usage.record(self.user.account(), Metric::WebsocketMessages, 1, labels);
        }
        Ok(())
    }

    /// Renews the connection by another token of the same user.
    async fn authenticate(&mut self, token: &str) -> Result<(), End> {
        let claims = caller::by_token(&self.app, token).await?;
        if claims.subject != self.user.id {
            return Err(End::Unauthorized);
        }
        let expires = caller::expiry(&claims);
        let user = caller::readmit(&self.app, claims, &self.context).await?;
        self.renew(user, expires);
        Ok(())
    }

    async fn subscribe(&mut self, name: &str) -> Result<(), Refused> {
        channel::check_name(name)?;
        self.require(name, Use::Subscribe).await?;
        let most = self.app.settings::<Settings>().subscriptions;
        let known = self.channels.contains(name);
        if !known && self.channels.len() >= most {
            return Err(Refused::SubscriptionLimit(most));
        }
        // Otherwise messages of other instances could be missed after the reply.
        self.state.running().bridge.armed().await;
        let reply = Frame::new(Kind::Subscribed, json!({"channel": name}), Some(name), self.app.clock.now());
        self.state.hub().subscribe(&self.connection, name, &reply);
        if !known {
            self.channels.insert(name.into());
        }
        Ok(())
    }

    /// Ends a subscription, if there is one, and tells the client.
    pub(super) fn leave(&mut self, name: &str) {
        self.channels.remove(name);
        self.state.hub().unsubscribe(&self.connection, name);
        self.send_about(Kind::Unsubscribed, json!({"channel": name}), Some(name));
    }

    async fn publish(&mut self, name: &str, data: &RawValue, id: Option<String>) -> Result<(), Refused> {
        channel::check_name(name)?;
        let subscribed = self.channels.contains(name);
        if !(subscribed && channel::is_for_both(&self.app, name)) {
            self.require(name, Use::Publish).await?;
        }
        if !subscribed {
            return Err(Refused::NotSubscribed);
        }
        let content = Content { from_user_id: &self.user.id, content: data };
        let frame = Frame::new(Kind::Message, content, Some(name), self.app.clock.now());
        self.state.running().bridge.send_in_turn(&Target::Channel(name.to_owned()), &frame, Some(&self.user.id)).await;
        if let Some(id) = id {
            self.send(Kind::Ack, json!({"id": id}));
        }
        Ok(())
    }

    async fn require(&self, name: &str, wanted: Use) -> Result<(), Refused> {
        match channel::allows(&self.app, &self.user, name, wanted).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::Forbidden),
            Err(error) => {
                tracing::warn!(%error, "whether a user may use a channel cannot be told");
                Err(Refused::Unavailable)
            }
        }
    }
}
