//! What the demo's shop sells: a small shop by the sea for the house, the kitchen and the garden.

/// A product and the units that the ERP counts before the shop opens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    /// The stock keeping unit.
    pub(super) sku: &'static str,
    /// The title.
    pub(super) title: &'static str,
    /// The price in pence.
    pub(super) price: i64,
    /// The units on hand in the morning of a day of 2,500 orders.
    pub(super) opening: i64,
}

/// The product that everybody wants: few units, many customers at once. It is ordered in the race
/// only.
pub(super) const RACE_SKU: &str = "LAMP-STORM";
/// A product that the shop no longer sells, and that somebody still asks for.
pub(super) const DISCONTINUED_SKU: &str = "CUP-OLD-QUAY";
/// A SKU that the ERP knows and the catalogue does not.
pub(super) const UNKNOWN_SKU: &str = "CRATE-UNLISTED";
/// The product that the warehouse finds missing at midday: the first, so the best-selling one.
pub(super) const SHORT_SKU: &str = "MUG-TIDE-BLUE";

const fn product(sku: &'static str, title: &'static str, price: i64, opening: i64) -> Product {
    Product { sku, title, price, opening }
}

/// All that is sold, the best-selling first.
pub(super) const PRODUCTS: [Product; 84] = [
    product("MUG-TIDE-BLUE", "Tide mug, blue glaze", 1250, 900),
    product("CANDLE-PINE", "Pillar candle, pine and resin", 895, 800),
    product("TOWEL-LINEN-SAND", "Linen tea towel, sand", 995, 800),
    product("SOAP-KELP", "Soap bar with kelp and sea salt", 550, 900),
    product("MUG-TIDE-GREY", "Tide mug, grey glaze", 1250, 500),
    product("BISCUIT-OAT", "Oat biscuits in a tin", 695, 800),
    product("TEA-MORNING", "Morning tea, loose leaf, 125 g", 725, 700),
    product("CANDLE-FIG", "Pillar candle, fig leaf", 895, 400),
    product("HONEY-HEATHER", "Heather honey, 340 g", 850, 420),
    product("CARD-GULLS", "Greeting card, three gulls", 295, 900),
    product("BASKET-WILLOW-S", "Willow basket, small", 2400, 180),
    product("SALT-FLAKES", "Sea salt flakes, 200 g", 475, 600),
    product("TOWEL-LINEN-RUST", "Linen tea towel, rust", 995, 350),
    product("BOWL-PEBBLE-M", "Pebble bowl, medium", 1650, 260),
    product("JAM-DAMSON", "Damson jam, 340 g", 525, 420),
    product("PEG-BEECH-24", "Beech clothes pegs, 24", 650, 400),
    product("BRUSH-POT", "Pot brush, beech and bristle", 795, 300),
    product("SPOON-OLIVE", "Olive-wood cooking spoon", 850, 320),
    product("COASTER-SLATE-4", "Slate coasters, set of four", 1495, 220),
    product("MATCHES-LONG", "Long matches in a jar", 750, 380),
    product("TWINE-JUTE", "Garden twine, jute, 120 m", 525, 420),
    product("CANDLE-RAIN", "Pillar candle, rain on stone", 895, 260),
    product("BOWL-PEBBLE-S", "Pebble bowl, small", 1150, 260),
    product("TEA-EVENING", "Evening tea, camomile, 80 g", 725, 300),
    product("GLOVES-GARDEN-M", "Garden gloves, medium", 1295, 200),
    product("JUG-MILK", "Milk jug, half a pint", 1450, 190),
    product("TOWEL-BATH-FOG", "Bath towel, fog", 2250, 170),
    product("SOAP-OAT", "Soap bar with oats", 550, 380),
    product("CARD-BOATS", "Greeting card, boats at low water", 295, 500),
    product("BOARD-ASH-M", "Chopping board, ash, medium", 2850, 130),
    product("SEEDS-POPPY", "Field poppy seeds", 325, 420),
    product("LANTERN-TIN", "Tin lantern for a tealight", 1895, 150),
    product("CUSHION-HERRING", "Cushion, herringbone wool", 3400, 110),
    product("NAPKIN-LINEN-4", "Linen napkins, set of four", 2600, 120),
    product("MUG-HARBOUR", "Harbour mug, two bands", 1350, 180),
    product("CHUTNEY-APPLE", "Apple and ale chutney", 575, 260),
    product("TROWEL-STEEL", "Hand trowel, forged steel", 1750, 120),
    product("PLATE-PEBBLE", "Pebble plate, side", 1350, 180),
    product("THROW-WOOL-MOSS", "Wool throw, moss", 6900, 60),
    product("VASE-BUD", "Bud vase, salt glaze", 1595, 130),
    product("TEALIGHT-24", "Tealights, 24", 695, 300),
    product("CARAFE-GLASS", "Carafe with a tumbler lid", 2450, 90),
    product("DOORMAT-COIR", "Coir doormat, plain border", 2950, 80),
    product("HOOK-BRASS-2", "Brass hooks, pair", 1350, 140),
    product("BASKET-WILLOW-L", "Willow basket, large", 3900, 70),
    product("SOAP-DISH-OAK", "Soap dish, oak", 995, 170),
    product("APRON-CANVAS", "Canvas apron, ink", 3200, 80),
    product("TIN-BREAD", "Bread tin, enamel", 3600, 60),
    product("SEEDS-CORNFLOWER", "Cornflower seeds", 325, 280),
    product("TEAPOT-TWO", "Teapot for two, blue glaze", 3450, 70),
    product("CANDLESTICK-IRON", "Candlestick, black iron", 1850, 90),
    product("TRAY-BIRCH", "Serving tray, birch", 2750, 70),
    product("SOCKS-BOOT-M", "Wool boot socks, medium", 1695, 120),
    product("CLOTH-DISH-3", "Cotton dish cloths, set of three", 995, 170),
    product("MIRROR-PORT", "Porthole mirror, 30 cm", 5400, 40),
    product("CLOCK-KITCHEN", "Kitchen clock, white face", 4200, 40),
    product("BOTTLE-FLASK", "Steel flask, half a litre", 2350, 90),
    product("GLASS-TUMBLER-4", "Tumblers, set of four", 2200, 80),
    product("BLANKET-PICNIC", "Picnic blanket, waxed back", 5200, 45),
    product("FRAME-OAK-A4", "Oak frame, A4", 2150, 80),
    product("HOLDER-KITCHEN", "Kitchen roll holder, ash", 1950, 70),
    product("OIL-RAPE", "Rapeseed oil, 500 ml", 795, 160),
    product("MUSTARD-GRAIN", "Grain mustard", 425, 200),
    product("STOOL-MILK", "Milking stool, beech", 5900, 30),
    product("POT-TERRACOTTA-3", "Terracotta pots, set of three", 1650, 90),
    product("CAN-WATER", "Watering can, galvanised, 5 l", 3250, 45),
    product("BIRD-FEEDER", "Bird feeder, copper lid", 2650, 60),
    product("SHELL-HOOK", "Scallop wall hook, cast iron", 895, 110),
    product("BOOK-TIDES", "A year of tides, notebook", 1150, 120),
    product("PENCIL-6", "Cedar pencils, six", 650, 170),
    product("INK-SLATE", "Ink, slate, 30 ml", 995, 90),
    product("PRINT-HEADLAND", "Linocut print, headland", 4500, 30),
    product("BAG-CANVAS", "Canvas shopping bag", 1495, 140),
    product("PUZZLE-CHART", "Sea chart puzzle, 500 pieces", 1995, 60),
    product("KITE-SLED", "Sled kite, red", 2650, 40),
    product("BUCKET-ENAMEL", "Enamel bucket, 10 l", 2950, 40),
    product("LAMP-READING", "Reading lamp, brass arm", 8900, 20),
    product("CHAIR-DECK", "Deck chair, striped", 7800, 18),
    product("RUG-RAG", "Rag rug, 60 by 90 cm", 4900, 25),
    product("KNIFE-OYSTER", "Oyster knife, oak handle", 1850, 50),
    product("KETTLE-STOVE", "Stove-top kettle, steel", 4600, 24),
    product("BLANKET-BABY", "Baby blanket, lambswool", 4400, 24),
    product(RACE_SKU, "Storm lamp, numbered edition", 12500, 0),
    product(DISCONTINUED_SKU, "Old Quay cup", 1100, 0),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::id::Sku;

    use super::*;

    #[test]
    fn every_sku_is_valid_and_there_once() {
        let skus: BTreeSet<_> = PRODUCTS.iter().map(|product| product.sku).collect();
        assert_eq!(skus.len(), PRODUCTS.len());
        for product in &PRODUCTS {
            assert!(Sku::parse(product.sku).is_ok(), "{}", product.sku);
            assert!(product.price > 0 && product.opening >= 0, "{}", product.sku);
        }
        assert!(skus.contains(RACE_SKU) && skus.contains(DISCONTINUED_SKU));
        assert!(!skus.contains(UNKNOWN_SKU));
        assert_eq!(PRODUCTS[0].sku, SHORT_SKU);
    }
}
