//! The figures once more, from what the installation tells: they must be those of the files.

use std::collections::{HashMap, HashSet};

use events::{
    id::{CustomerId, Sku},
    view::OrderView,
};
use serde_json::{Value, json};

use super::{
    plan::{Figures, Plan, Stock},
    stand::Stand,
};
use crate::audit::Findings;

/// What the orders come to, as they came back.
#[derive(Debug, Default)]
pub struct Told {
    figures: Figures,
    customers: HashSet<CustomerId>,
    demand: HashMap<Sku, i64>,
}

impl Told {
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

    /// The figures of the plan, as the installation tells them. What it never gets to know stays as
    /// it is in the files.
    pub(super) fn figures(&self, plan: &Plan, stock: Stock, stand: &Stand) -> Figures {
        let levels = &stand.levels;
        let products = levels.iter().filter_map(|level| plan.products.get(level.sku.as_str()));
        let opening = products.map(|product| product.opening(stock)).sum::<i64>();
        let files = &plan.figures;
        Figures {
            rows: files.rows,
            invoices: files.invoices,
            order_lines_dropped: files.order_lines_dropped,
            adjustment_invoices: files.adjustment_invoices,
            adjustment_lines: files.adjustment_lines,
            return_invoices: files.return_invoices,
            return_lines: files.return_lines,
            ignored_invoices: files.ignored_invoices,
            customers: self.customers.len() as u64,
            skus: levels.len() as u64,
            sku_demand_max: self.demand.values().copied().max().unwrap_or(0),
            units_adjusted_net: levels.iter().map(|it| it.on_hand).sum::<i64>() - opening,
            ..self.figures.clone()
        }
    }
}

/// The figures in which two accounts differ, by name.
pub(super) fn differences(files: &Figures, told: &Figures) -> Findings {
    let mut findings = Findings::default();
    let (Value::Object(files), told) = (json!(files), json!(told)) else { return findings };
    for (name, figure) in &files {
        let told = &told[name];
        findings.expect(told == figure, || format!("{name} is told as {told}, not {figure}"));
    }
    findings
}
