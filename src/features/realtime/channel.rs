//! Channels: the grammar of their names, and who may use which.

use super::config::{Audience, Settings};
use super::frames::Refused;
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::Role;
use crate::platform::error::Result;

/// Longest name, in characters.
const NAME: usize = 128;
pub const PRESENCE: &str = "presence";

/// What a client wants of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Subscribe,
    Publish,
}

/// What the name of a channel says about who may use it.
#[derive(Debug, PartialEq, Eq)]
enum Rule<'a> {
    /// Only this user listens.
    User(&'a str),
    /// Its owner listens and publishes.
    Owned {
        resource: &'static str,
        id: &'a str,
    },
    /// Administrators listen.
    Admins,
    Presence,
    /// Every user listens.
    Announcements,
    /// Every user listens and publishes.
    Room,
}

/// Checks the name of a channel.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let valid = (1..=NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:|@-".contains(&b));
    if valid { Ok(()) } else { Err(Refused::InvalidChannel) }
}

/// The channel of a resource that has an owner.
pub fn of_resource(resource: &str, id: &str) -> String {
    format!("{resource}:{id}")
}

/// Returns whether the user may use the channel. Fails if the database does not answer.
pub async fn allows(app: &App, user: &CurrentUser, name: &str, wanted: Use) -> Result<bool> {
    let settings = app.settings::<Settings>();
    let listens = wanted == Use::Subscribe;
    let admin = user.role >= Role::Admin;
    Ok(match rule(app, name) {
        Rule::User(id) => listens && id == user.id.as_str(),
        Rule::Owned { resource, id } => owns(app, user, resource, id).await?,
        Rule::Admins => listens && admin,
        Rule::Presence => listens && may_see_presence(settings.presence, admin),
        Rule::Announcements => listens,
        Rule::Room => settings.open_rooms,
    })
}

fn rule<'a>(app: &App, name: &'a str) -> Rule<'a> {
    match name.split_once(':') {
        Some(("user", id)) => Rule::User(id),
        Some(("admin", _)) => Rule::Admins,
        Some(("system", _)) => Rule::Announcements,
        Some((prefix, id)) => {
            let resource = app.features.iter().flat_map(|feature| feature.resources()).find(|resource| **resource == prefix);
            resource.map_or(Rule::Room, |resource| Rule::Owned { resource, id })
        }
        None => match name {
            "admin" => Rule::Admins,
            PRESENCE => Rule::Presence,
            "notifications" | "system" | "broadcast" => Rule::Announcements,
            _ => Rule::Room,
        },
    }
}

async fn owns(app: &App, user: &CurrentUser, resource: &str, id: &str) -> Result<bool> {
    for feature in &app.features {
        if feature.resources().contains(&resource) {
            return feature.owns(app, &user.id, resource, id).await;
        }
    }
    Ok(false)
}

fn may_see_presence(audience: Audience, admin: bool) -> bool {
    match audience {
        Audience::All => true,
        Audience::Admins => admin,
        Audience::Off => false,
    }
}

/// Whether the right to use a channel can end while its user stays: with their role, or with the resource.
pub fn is_revocable(app: &App, name: &str) -> bool {
    matches!(rule(app, name), Rule::Admins | Rule::Presence | Rule::Owned { .. })
}

/// Whether everybody who may listen to a channel may publish on it, so that a subscription is proof enough.
pub fn is_for_both(app: &App, name: &str) -> bool {
    matches!(rule(app, name), Rule::Owned { .. } | Rule::Room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for name in ["a", "room:lobby", "A_z.0:9|@-", &"x".repeat(128)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "ä", "a/b", "a\0", "a\n", &"x".repeat(129)] {
            assert_eq!(check_name(name), Err(Refused::InvalidChannel), "{name}");
        }
    }
}
