//! A topic read as a table, tables made of it, and a stream that looks keys up in it.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let prices = app.table::<String, i64>("prices", "prices");
    prices.to_stream().to("price-changes");
    prices.filter(|_, price| *price > 10).to_stream().to("dear");
    prices.filter(|_, price| *price > 10).materialized("dear-prices").to_stream().to("dear-kept");
    prices.filter_not(|_, price| *price > 10).to_stream().to("cheap");
    prices.map_values(|price| price * 2).to_stream().to("doubled");
    prices.map_values_with_key(|name, price| format!("{name} {price}")).materialized("tags").to_stream().to("tagged");

    let known = prices.store();
    let orders = app.stream::<String, i64>("orders");
    orders.process("bill", |init| Bill { prices: init.store(&known) }).to("bills");
}

/// What an order costs by the price its article has at that moment.
struct Bill {
    prices: KeyValueStore<String, i64>,
}

impl Processor<String, i64, String, Option<i64>> for Bill {
    fn process(&mut self, order: Record<String, i64>, ctx: &mut Context<String, Option<i64>>) -> Result<(), Failure> {
        let price = self.prices.get(&order.key)?;
        let total = price.map(|price| price * order.value);
        ctx.forward(order.with_value(total));
        Ok(())
    }
}
