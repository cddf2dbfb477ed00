//! The sums over the orders of a replay.

use std::collections::{HashMap, HashSet};

use events::{
    http::OrderView,
    id::{CustomerId, Sku},
};

use super::plan::Figures;

/// The sums over the orders, as they came back.
#[derive(Debug, Default)]
pub struct OrderSums {
    pub(super) figures: Figures,
    pub(super) customers: HashSet<CustomerId>,
    pub(super) demand: HashMap<Sku, i64>,
}

impl OrderSums {
    /// Takes in an order.
    pub(super) fn add(&mut self, order: &OrderView) {
        let figures = &mut self.figures;
        figures.orders += 1;
        figures.order_total_pence += order.total;
        match &order.customer_id {
            Some(customer) => _ = self.customers.insert(customer.clone()),
            None => figures.guest_orders += 1,
        }
        for line in &order.lines {
            let units = line.quantity.get();
            figures.order_lines += 1;
            figures.order_units += units;
            match self.demand.get_mut(&line.sku) {
                Some(demand) => *demand += units,
                None => _ = self.demand.insert(line.sku.clone(), units),
            }
        }
        for charge in &order.charges {
            figures.charge_lines += 1;
            figures.charge_total_pence += charge.amount;
        }
    }
}
