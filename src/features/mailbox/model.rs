//! Query parameters and JSON body of the mailbox.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::platform::text::fold_email;
use crate::providers::email::mailbox_store::Kept;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only mails to this address, however it is spelled.
    pub to: Option<String>,
    #[serde(default = "all")]
    #[param(minimum = 1, maximum = 200, default = 200)]
    pub limit: usize,
}

fn all() -> usize {
    200
}

#[derive(Debug, Serialize)]
pub struct Mails {
    pub items: Vec<Kept>,
    /// Total number of matching mails, ignoring the limit.
    pub total: usize,
}

impl Wanted {
    pub fn of(&self, mut mails: Vec<Kept>) -> Mails {
        if let Some(to) = &self.to {
            let to = fold_email(to);
            mails.retain(|mail| fold_email(&mail.to) == to);
        }
        let total = mails.len();
        mails.truncate(self.limit);
        Mails { items: mails, total }
    }
}

/// How one mail is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum View {
    #[default]
    Html,
    Text,
    Source,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Shown {
    #[serde(default)]
    #[param(inline)]
    pub view: View,
}
