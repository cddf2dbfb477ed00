//! The names of events and commands, as they are in subjects, and the services that they belong to.

use prost::Message;
use protocol::{
    command::OutgoingCommand,
    proto::{CommandEnvelope, engine_event::Kind},
};

use crate::proto::{
    self,
    catalog::catalog_event::Kind as Catalog,
    command::Body as CommandBody,
    event::Body,
    inventory::inventory_event::Kind as Inventory,
    notify::notify_event::Kind as Notify,
    order::order_event::Kind as Order,
    payment::payment_event::Kind as Payment,
    shop::{key_event::Kind as Key, shop_event::Kind as Shop},
};

/// The names of the events that settle an order: it is paid or cancelled.
pub const ORDER_SETTLING_EVENTS: [&str; 2] = ["paid", "cancelled"];

/// The names of the events that end a customer's wait: the order is settled, or it waits for the
/// customer.
pub const ORDER_AWAITED_EVENTS: [&str; 4] =
    ["paid", "cancelled", "payment_failed", "action_required"];

/// The same for an order that is paid when it ships, or on account: that it is confirmed is as far as
/// it comes by itself.
pub const UNPAID_ORDER_AWAITED_EVENTS: [&str; 5] =
    ["confirmed", "paid", "cancelled", "payment_failed", "action_required"];

/// The name of the event in an envelope.
pub fn event_name(body: &Body) -> Option<&'static str> {
    Some(match body {
        Body::Engine(event) => event.kind.as_ref()?.name(),
        Body::Catalog(event) => catalog_event(event.kind.as_ref()?),
        Body::Inventory(event) => inventory_event(event.kind.as_ref()?),
        Body::Order(event) => order_event(event.kind.as_ref()?),
        Body::Payment(event) => payment_event(event.kind.as_ref()?),
        Body::ShopEvent(event) => match event.kind.as_ref()? {
            Shop::Created(_) => "created",
            Shop::Changed(_) => "changed",
            Shop::Suspended(_) => "suspended",
            Shop::Resumed(_) => "resumed",
        },
        Body::Key(event) => match event.kind.as_ref()? {
            Key::Added(_) => "key_added",
            Key::Rotated(_) => "key_rotated",
            Key::Revoked(_) => "key_revoked",
            Key::Used(_) => "key_used",
        },
        Body::Notify(event) => notify_event(event.kind.as_ref()?),
    })
}

fn catalog_event(kind: &Catalog) -> &'static str {
    match kind {
        Catalog::Created(_) => "created",
        Catalog::Updated(_) => "updated",
        Catalog::Archived(_) => "archived",
        Catalog::CategoryCreated(_) => "category_created",
        Catalog::CategoryUpdated(_) => "category_updated",
        Catalog::CategoryMoved(_) => "category_moved",
        Catalog::CategoryDeleted(_) => "category_deleted",
        Catalog::ListingCreated(_) => "listing_created",
        Catalog::ListingUpdated(_) => "listing_updated",
        Catalog::ListingArchived(_) => "listing_archived",
    }
}

fn inventory_event(kind: &Inventory) -> &'static str {
    match kind {
        Inventory::Counted(_) => "counted",
        Inventory::Adjusted(_) => "adjusted",
        Inventory::Short(_) => "short",
        Inventory::Reserved(_) => "reserved",
        Inventory::Refused(_) => "refused",
        Inventory::Allocated(_) => "allocated",
        Inventory::Lost(_) => "lost",
        Inventory::Released(_) => "released",
        Inventory::Shipped(_) => "shipped",
        Inventory::LocationCreated(_) => "location_created",
        Inventory::LocationChanged(_) => "location_changed",
        Inventory::LimitsChanged(_) => "limits_changed",
        Inventory::TransferSent(_) => "transfer_sent",
        Inventory::TransferReceived(_) => "transfer_received",
        Inventory::LinesRejected(_) => "lines_rejected",
        Inventory::LinesRepeated(_) => "lines_repeated",
        Inventory::RejectionsClosed(_) => "rejections_closed",
    }
}

fn order_event(kind: &Order) -> &'static str {
    match kind {
        Order::Placed(_) => "placed",
        Order::PaymentDue(_) => "payment_due",
        Order::PaymentFailed(_) => "payment_failed",
        Order::ActionRequired(_) => "action_required",
        Order::Authorized(_) => "authorized",
        Order::Confirmed(_) => "confirmed",
        Order::PartCaptured(_) => "part_captured",
        Order::Paid(_) => "paid",
        Order::Shipped(_) => "shipped",
        Order::Completed(_) => "completed",
        Order::Refunded(_) => "refunded",
        Order::PutOnHold(_) => "put_on_hold",
        Order::TakenOffHold(_) => "taken_off_hold",
        Order::Cancelled(_) => "cancelled",
    }
}

fn payment_event(kind: &Payment) -> &'static str {
    match kind {
        Payment::AuthorizationPending(_) => "authorization_pending",
        Payment::Authorized(_) => "authorized",
        Payment::Declined(_) => "declined",
        Payment::Failed(_) => "failed",
        Payment::CapturePending(_) => "capture_pending",
        Payment::Captured(_) => "captured",
        Payment::CaptureFailed(_) => "capture_failed",
        Payment::VoidPending(_) => "void_pending",
        Payment::Voided(_) => "voided",
        Payment::RefundPending(_) => "refund_pending",
        Payment::Refunded(_) => "refunded",
        Payment::CancelRequested(_) => "cancel_requested",
        Payment::Uncertain(_) => "uncertain",
        Payment::Stuck(_) => "stuck",
        Payment::SettledByOperator(_) => "settled_by_operator",
        Payment::ActionRequired(_) => "action_required",
        Payment::CaptureRequested(_) => "capture_requested",
        Payment::RefundRequested(_) => "refund_requested",
        Payment::TurnedUp(_) => "turned_up",
        Payment::ChargePending(_) => "charge_pending",
    }
}

fn notify_event(kind: &Notify) -> &'static str {
    match kind {
        Notify::EndpointCreated(_) => "endpoint_created",
        Notify::EndpointChanged(_) => "endpoint_changed",
        Notify::EndpointDisabled(_) => "endpoint_disabled",
        Notify::EndpointEnabled(_) => "endpoint_enabled",
        Notify::EndpointDeleted(_) => "endpoint_deleted",
        Notify::SecretRotated(_) => "secret_rotated",
        Notify::FailureWarned(_) => "failure_warned",
        Notify::Scheduled(_) => "scheduled",
        Notify::Attempted(_) => "attempted",
        Notify::TestScheduled(_) => "test_scheduled",
        Notify::ReplayStarted(_) => "replay_started",
        Notify::ReplayCancelled(_) => "replay_cancelled",
        Notify::DeliveryAborted(_) => "delivery_aborted",
        Notify::Announced(_) => "announced",
        Notify::ValuesRewrapped(_) => "values_rewrapped",
    }
}

/// The id of the command that an event answers, and whether anything followed from that command: nothing does
/// from one that an operator dropped.
pub fn answered_command(event: &proto::Event) -> Option<(&str, bool)> {
    if let Some(Body::Engine(engine)) = &event.body {
        match &engine.kind {
            Some(Kind::Answered(answered)) => {
                return Some((&answered.command_id, answered.has_effect));
            }
            Some(Kind::Dropped(dropped)) if !dropped.command_id.is_empty() => {
                return Some((&dropped.command_id, false));
            }
            _ => {}
        }
    }
    // An event that says what was answered carries the fingerprint of the command.
    let cause = event.cause.as_ref().filter(|cause| !cause.fingerprint.is_empty())?;
    Some((&cause.id, true))
}

/// The services that take commands, in the order of their names.
pub const COMMANDED_SERVICES: [&str; 6] =
    ["catalog", "inventory", "notify", "order", "payment", "shop"];

/// The service that a command is for, and the command's name.
pub fn command_name(body: &CommandBody) -> (&'static str, &'static str) {
    match body {
        CommandBody::PutProducts(_) => ("catalog", "put_products"),
        CommandBody::PutCategory(_) => ("catalog", "put_category"),
        CommandBody::DeleteCategory(_) => ("catalog", "delete_category"),
        CommandBody::PutListing(_) => ("catalog", "put_listing"),
        CommandBody::ArchiveListing(_) => ("catalog", "archive_listing"),
        CommandBody::RecordStock(_) => ("inventory", "record_stock"),
        CommandBody::PutLocation(_) => ("inventory", "put_location"),
        CommandBody::SetStockLimits(_) => ("inventory", "set_stock_limits"),
        CommandBody::RedriveRejections(_) => ("inventory", "redrive_rejections"),
        CommandBody::DropRejections(_) => ("inventory", "drop_rejections"),
        CommandBody::PlaceOrder(_) => ("order", "place_order"),
        CommandBody::CancelOrder(_) => ("order", "cancel_order"),
        CommandBody::RefundPayment(_) => ("payment", "refund_payment"),
        CommandBody::MendPayment(_) => ("payment", "mend_payment"),
        CommandBody::SettlePayment(_) => ("payment", "settle_payment"),
        CommandBody::StartPayment(_) => ("order", "start_payment"),
        CommandBody::ReleaseOrder(_) => ("order", "release_order"),
        CommandBody::CreateShop(_) => ("shop", "create_shop"),
        CommandBody::ChangeShop(_) => ("shop", "change_shop"),
        CommandBody::SuspendShop(_) => ("shop", "suspend_shop"),
        CommandBody::ResumeShop(_) => ("shop", "resume_shop"),
        CommandBody::AddKey(_) => ("shop", "add_key"),
        CommandBody::RotateKey(_) => ("shop", "rotate_key"),
        CommandBody::RevokeKey(_) => ("shop", "revoke_key"),
        CommandBody::NoteKeyUse(_) => ("shop", "note_key_use"),
        CommandBody::ChangeWebhooks(_) => ("notify", "change_webhooks"),
    }
}

/// A command without a body: it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command has no body")]
pub struct EmptyCommand;

impl TryFrom<proto::Command> for OutgoingCommand {
    type Error = EmptyCommand;

    fn try_from(command: proto::Command) -> Result<Self, EmptyCommand> {
        let body = command.body.ok_or(EmptyCommand)?;
        let (service, name) = command_name(&body);
        let aggregate = match &body {
            CommandBody::PlaceOrder(order) => order.order_id.clone(),
            CommandBody::CancelOrder(order) => order.order_id.clone(),
            CommandBody::RefundPayment(refund) => refund.order_id.clone(),
            CommandBody::MendPayment(mend) => mend.operation_id.clone(),
            CommandBody::SettlePayment(settle) => settle.payment_id.clone(),
            CommandBody::StartPayment(payment) => payment.order_id.clone(),
            CommandBody::ReleaseOrder(order) => order.order_id.clone(),
            CommandBody::CreateShop(_)
            | CommandBody::ChangeShop(_)
            | CommandBody::SuspendShop(_)
            | CommandBody::ResumeShop(_) => command.shop.clone(),
            CommandBody::AddKey(key) => key.key_id.clone(),
            CommandBody::RotateKey(key) => key.key_id.clone(),
            CommandBody::RevokeKey(key) => key.key_id.clone(),
            CommandBody::ChangeWebhooks(webhooks) => webhooks.endpoint_id.clone(),
            // Many aggregates at once, or one that nothing else waits for.
            CommandBody::PutProducts(_)
            | CommandBody::PutCategory(_)
            | CommandBody::DeleteCategory(_)
            | CommandBody::PutListing(_)
            | CommandBody::ArchiveListing(_)
            | CommandBody::RecordStock(_)
            | CommandBody::PutLocation(_)
            | CommandBody::RedriveRejections(_)
            | CommandBody::DropRejections(_)
            | CommandBody::NoteKeyUse(_)
            | CommandBody::SetStockLimits(_) => command.id.clone(),
        };
        let body = proto::Command { body: Some(body), ..Default::default() }.encode_to_vec();
        let envelope = CommandEnvelope {
            id: command.id,
            shop: command.shop,
            time: command.time,
            fingerprint: command.fingerprint,
            traceparent: command.traceparent,
            after: command.after,
            actor: command.actor,
            tracestate: command.tracestate,
        };
        Ok(Self { service, name, aggregate, envelope, body })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::{DescriptorPool, DynamicMessage, Value};

    use super::*;

    #[test]
    fn the_services_that_take_commands_are_those_of_the_commands_in_the_contract() {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("it decodes");
        let command = pool.get_message_by_name("tradewind.commands.v1.Command");
        let command = command.expect("the contract has commands");
        let body = command.oneofs().find(|oneof| oneof.name() == "body").expect("it has a body");
        let mut services = BTreeSet::new();
        for field in body.fields() {
            let mut message = DynamicMessage::new(command.clone());
            message.set_field(&field, Value::default_value_for_field(&field));
            let message: proto::Command = message.transcode_to().expect("it is a command");
            let (service, name) = command_name(&message.body.expect("it has one"));
            assert_eq!(name, field.name());
            services.insert(service);
        }
        assert_eq!(services.into_iter().collect::<Vec<_>>(), COMMANDED_SERVICES);
    }

    #[test]
    fn the_awaited_events_bear_their_names() {
        let name = |kind| {
            event_name(&Body::Order(proto::order::OrderEvent { summary: None, kind: Some(kind) }))
        };
        let kinds = [
            Order::Paid(proto::order::Paid::default()),
            Order::Cancelled(proto::order::Cancelled::default()),
            Order::PaymentFailed(proto::order::PaymentFailed::default()),
            Order::ActionRequired(proto::order::ActionRequired::default()),
        ];
        assert_eq!(kinds.map(name), ORDER_AWAITED_EVENTS.map(Some));
        assert_eq!(ORDER_AWAITED_EVENTS[..2], ORDER_SETTLING_EVENTS);
    }

    #[test]
    fn an_outgoing_command_is_the_same_message() {
        let cancel = proto::order::CancelOrder { order_id: "o".into(), note: None };
        let command = proto::Command {
            id: "018f".into(),
            shop: "acme".into(),
            after: [("catalog".to_owned(), 7)].into(),
            body: Some(CommandBody::CancelOrder(cancel)),
            ..Default::default()
        };
        let outgoing = OutgoingCommand::try_from(command.clone()).expect("it has a body");
        assert_eq!((outgoing.service, outgoing.name), ("order", "cancel_order"));
        assert_eq!(outgoing.aggregate, "o");
        assert_eq!(proto::Command::decode(&*outgoing.encode()), Ok(command));
        assert_eq!(OutgoingCommand::try_from(proto::Command::default()), Err(EmptyCommand));
    }
}
