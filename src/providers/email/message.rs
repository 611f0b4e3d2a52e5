//! A mail, ready to be handed to a vendor.

/// The sender of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The display name; may be empty.
    pub name: String,
    pub address: String,
}

/// One mail to one recipient.
#[derive(Debug, Clone)]
pub struct Email {
    pub from: Sender,
    pub to: String,
    pub subject: String,
    pub html: String,
    pub text: String,
    /// The same for every attempt to send this mail and for no other mail.
    pub key: Option<String>,
    /// The template it was made from, for logs.
    pub template: Option<String>,
}

/// A vendor's receipt for a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub message_id: String,
}
