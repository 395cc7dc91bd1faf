//! Joins with tables by their own and by a foreign key, grouped tables, cogroups, and streams read as tables.

use millstream_sdk::prelude::*;

pub fn topology(app: &mut Topology) {
    let users = app.table::<String, String>("users", "users");
    let clicks = app.stream::<String, String>("clicks");
    clicks.join(&users, |page, city| format!("{page} from {city}")).to("located");
    let foreign = users.filter(|_, city| city != "rome").map_values(|city| format!("<{city}>"));
    clicks.left_join(&foreign, |page, city| format!("{page} {}", city.as_deref().unwrap_or("?"))).to("foreign-clicks");

    let history = Materialized::named("tariffs").retention(Duration::from_secs(60));
    let tariffs = app.versioned_table::<String, String>("tariffs", history);
    let priced = |order: String, price: String| format!("{order} {price}");
    let requests = app.stream::<String, String>("requests");
    requests.join_with_grace(&tariffs, priced, Duration::from_millis(10)).named("priced").to("priced-requests");

    let shops = app.global_table::<String, String>("shops", "shops");
    let shop = |_: &String, sale: &String| sale.split_once('|').map(|(shop, _)| shop.to_owned());
    let sales = app.stream::<String, String>("sales");
    sales.join_global(&shops, shop, |sale, city| format!("{sale} {city}")).to("placed-sales");
    let all = |sale: String, city: Option<String>| format!("{sale} {}", city.as_deref().unwrap_or("?"));
    sales.left_join_global(&shops, shop, all).to("all-sales");

    sales.process("placer", |init| Placer { shops: init.global_store(&shops) }).to("read-sales");

    let ages = app.table::<String, i64>("ages", "ages");
    let person = |city: Option<String>, age: Option<i64>| {
        format!("{} {}", city.as_deref().unwrap_or("?"), age.map_or("?".to_owned(), |age| age.to_string()))
    };
    users.outer_join(&ages, person).materialized("people").to_stream().to("people-changes");
    users.join(&ages, move |city, age| person(Some(city), Some(age))).to_stream().to("known-people");

    let cities = app.table::<String, String>("cities", "cities");
    let homes = users.foreign_key_join(&cities, |_, city| Some(city), |city, country| format!("{city} in {country}"));
    homes.named("homes").materialized("homes").to_stream().to("home-changes");

    let dwellers = users.group_by(|user, city| (city, user.clone()));
    dwellers.count("dwellers").to_stream().to("dweller-counts");
    let left = |so_far: String, user: String| so_far.replacen(&user, "", 1);
    dwellers.reduce(|so_far, user| so_far + &user, left, "dweller-names").to_stream().to("dweller-changes");

    let clicked = clicks.group_by_key().cogroup(|_, page, so_far: String| so_far + "+" + &page);
    let ended = app.stream::<String, String>("logouts").group_by(|_, user| user.clone());
    let both = clicked.cogroup(&ended, |_, _, so_far| so_far + ".");
    both.aggregate(String::new, "gatherings").to_stream().to("session-changes");

    clicks.to_table("last-pages").to_stream().to("last-page-changes");
}

/// Looks a sale's shop up by itself, and says what the table has beside it.
struct Placer {
    shops: ReadOnlyKeyValueStore<String, String>,
}

impl Processor<String, String, String, String> for Placer {
    fn process(&mut self, sale: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let shop = sale.value.split('|').next().unwrap_or_default().to_owned();
        let city = self.shops.get(&shop)?.unwrap_or("?".to_owned());
        let all = self.shops.all()?.map(|row| row.map(|(shop, _)| shop)).collect::<Result<Vec<_>, _>>()?;
        let text = format!("{} of {} {city}", sale.value, all.join(","));
        ctx.forward(sale.with_value(text));
        Ok(())
    }
}
