//! What the API server refuses of a pool: what the address daemons refuse of one pool (`ipamd/core`), but for a pool in
//! which no address is left, which only counting says.
//!
//! CEL knows whether a subnet has an address, and not which of two addresses comes first. [`key`] makes numbers of them.

use serde_json::{Value, json};

use crate::rule::{DURATION, held, rule, rule_saying};

/// A text that is an address in its one form.
const IS_ADDRESS: &str = "isIP(a) && ip.isCanonical(a)";

/// Of the subnet. An underlay's subnet is neither everything nor loopback, link-local or multicast.
pub(super) fn subnet() -> Value {
    json!([
        rule(
            "self == oldSelf",
            "the subnet of a pool cannot be changed; make another pool"
        ),
        rule("isCIDR(self)", "is not a CIDR such as 10.20.1.0/24"),
        rule(
            "!isCIDR(self) || cidr(self) == cidr(self).masked()",
            "has host bits set; write its first address"
        ),
        rule(
            "!isCIDR(self) || cidr(self).ip().isGlobalUnicast() && cidr(self).prefixLength() >= (self.contains(':') ? 32 : 8)",
            "is not the subnet of one rack: loopback, link-local, multicast, or wider than /8 (IPv6: /32)"
        ),
    ])
}

/// Of the gateway.
pub(super) fn gateway() -> Value {
    json!([rule(
        format!("[self].all(a, {IS_ADDRESS})"),
        "is not an address in its shortest form"
    )])
}

/// Of a list of ranges.
pub(super) fn ranges() -> Value {
    let form = form("r");
    let ordered = format!(
        "!r.contains('-') || [{}, {}].exists(a, !({IS_ADDRESS})) || {}.all(e, {})",
        first("r"),
        last("r"),
        keys("r"),
        not_after("e[0]", "e[1]")
    );
    json!([
        rule_saying(
            format!("self.all(r, {form})"),
            format!(
                "'not FIRST-LAST, an address or a CIDR without host bits, in their shortest form: ' + self.filter(r, !({form}))[0]"
            )
        ),
        rule_saying(
            format!("self.all(r, {ordered})"),
            format!("'begins after its end: ' + self.filter(r, !({ordered}))[0]")
        ),
    ])
}

/// Of a route alone.
pub(super) fn route() -> Value {
    json!([
        rule_saying(
            "isCIDR(self.dst) && cidr(self.dst) == cidr(self.dst).masked()",
            "'dst is not a CIDR without host bits: ' + self.dst"
        ),
        rule_saying(
            "!isCIDR(self.dst) || cidr(self.dst).prefixLength() > 0",
            "self.dst + ' is a default route; the gateway and the network\\'s place in the Pod make those'"
        ),
        rule_saying(
            format!("!has(self.via) || [self.via].all(a, {IS_ADDRESS})"),
            "'via is not an address in its shortest form: ' + self.via"
        ),
        rule(
            "!self.dst.contains(':') || !has(self.mtu) || self.mtu >= 1280",
            "IPv6 needs an mtu of at least 1280"
        ),
    ])
}

/// Of the time an address rests.
pub(super) fn quarantine() -> Value {
    json!([rule(
        format!("self.matches('{DURATION}')"),
        "is not \"forever\", \"none\" or a duration such as \"10m\""
    )])
}

/// Of the whole.
pub(super) fn spec() -> Value {
    let mut rules = vec![
        router("gateway", "has(self.gateway)", "[self.gateway]"),
        router(
            "via",
            "has(self.routes)",
            "self.routes.filter(r, has(r.via)).map(r, r.via)",
        ),
        unassignable("gateway", "has(self.gateway)", "[self.gateway]"),
        unassignable(
            "via",
            "has(self.routes)",
            "self.routes.filter(r, has(r.via)).map(r, r.via)",
        ),
    ];
    rules.extend(["ranges", "exclude"].map(inside));
    rules.push(no_overlap());
    rules.push(rule(
        "!has(self.routes) || self.routes.all(r, r.dst.contains(':') == self.subnet.contains(':'))",
        "routes: one leads to another family than the subnet's; dual stack is two pools of one network",
    ));
    rules.push(rule(
        "!has(self.routes) || has(self.gateway) || self.routes.all(r, has(r.via))",
        "routes: one has no next hop (via), and the pool has no gateway",
    ));
    Value::Array(rules)
}

/// Routers are in the subnet.
fn router(field: &str, there: &str, all: &str) -> Value {
    let inside = "!isIP(a) || cidr(self.subnet).containsIP(a)";
    rule_saying(
        held(
            &[there, "isCIDR(self.subnet)"],
            &format!("{all}.all(a, {inside})"),
        ),
        format!(
            "'{field}: not inside subnet ' + self.subnet + ': ' + {all}.filter(a, !({inside}))[0]"
        ),
    )
}

/// No router has an address that no host may have: of IPv4 the first and the last, which /31 and /32 do not have; of IPv6 the
/// first, which /127 and /128 do not have.
fn unassignable(field: &str, there: &str, all: &str) -> Value {
    let subnet = "cidr(self.subnet)";
    // 2 to the number of host bits, by that number: a subnet is not wider than /8.
    let powers: Vec<_> = (0..=24).map(|bits| (1_u32 << bits).to_string()).collect();
    let last = format!(
        "[a.split('.', 4).map(o, int(o))].exists(o, (((o[0] * 256 + o[1]) * 256 + o[2]) * 256 + o[3] + 1) % [{}][32 - {subnet}.prefixLength()] == 0)",
        powers.join(", ")
    );
    let fine = format!(
        "!isIP(a) || !{subnet}.containsIP(a) || {subnet}.prefixLength() > (a.contains(':') ? 126 : 30) \
         || !(ip(a) == {subnet}.masked().ip()) && (a.contains(':') || !{last})"
    );
    rule_saying(
        held(
            &[
                there,
                "isCIDR(self.subnet)",
                &format!("{subnet}.prefixLength() >= 8"),
            ],
            &format!("{all}.all(a, {fine})"),
        ),
        format!(
            "'{field}: no host may have this address of subnet ' + self.subnet + ': ' + {all}.filter(a, !({fine}))[0]"
        ),
    )
}

/// Every range lies in the subnet.
fn inside(field: &str) -> Value {
    let subnet = "cidr(self.subnet)";
    let inside = format!(
        "r.contains('/') ? !isCIDR(r) || {subnet}.containsCIDR(r) : [{}, {}].all(a, !isIP(a) || {subnet}.containsIP(a))",
        first("r"),
        last("r")
    );
    let all = format!("self.{field}");
    rule_saying(
        held(
            &[&format!("has({all})"), "isCIDR(self.subnet)"],
            &format!("{all}.all(r, {inside})"),
        ),
        format!(
            "'{field}: not inside subnet ' + self.subnet + ': ' + {all}.filter(r, !({inside}))[0]"
        ),
    )
}

/// In every range lies the beginning of one range, its own.
fn no_overlap() -> Value {
    let begins = format!("self.ranges.map(r, {}).map(a, {})", begin("r"), key("a"));
    let alone = format!(
        "(r.contains('/') ? self.ranges.filter(y, cidr(r).containsIP({})).size() : {}.map(e, begins.filter(k, {} && {}).size())[0]) <= 1",
        begin("y"),
        keys("r"),
        not_after("e[0]", "k"),
        not_after("k", "e[1]"),
    );
    rule_saying(
        held(
            &[
                "has(self.ranges)",
                &format!("self.ranges.all(r, {})", form("r")),
            ],
            &format!("[{begins}].all(begins, self.ranges.all(r, {alone}))"),
        ),
        format!(
            "'ranges: another one begins inside ' + [{begins}].map(begins, self.ranges.filter(r, !({alone}))[0])[0]"
        ),
    )
}

/// It is a `FIRST-LAST`, an address or a CIDR.
fn form(range: &str) -> String {
    format!(
        "{range}.contains('/') ? isCIDR({range}) && cidr({range}) == cidr({range}).masked() : [{}, {}].all(a, {IS_ADDRESS})",
        first(range),
        last(range),
    )
}

/// The first address of a `FIRST-LAST` or an address.
fn first(range: &str) -> String {
    format!("({range}.contains('-') ? {range}.substring(0, {range}.indexOf('-')) : {range})")
}

/// The last address of a `FIRST-LAST` or an address.
fn last(range: &str) -> String {
    format!("{range}.substring({range}.indexOf('-') + 1)")
}

/// The first address of any range.
fn begin(range: &str) -> String {
    format!(
        "({range}.contains('/') ? {range}.substring(0, {range}.indexOf('/')) : {})",
        first(range)
    )
}

/// A list with the keys of the ends of a range.
fn keys(range: &str) -> String {
    format!("[[{}, {}].map(a, {})]", first(range), last(range), key("a"))
}

/// Two numbers, which compare as addresses of one family do. `address` is a variable.
fn key(address: &str) -> String {
    format!(
        "{address}.contains(':') ? {} : {}",
        key_v6(address),
        key_v4(address)
    )
}

fn key_v4(address: &str) -> String {
    format!(
        "[{address}.split('.', 4).map(o, uint(o))].map(o, [0u, ((o[0] * 256u + o[1]) * 256u + o[2]) * 256u + o[3]])[0]"
    )
}

/// What stands before and after `::`, zeros between, so that there are eight groups; each a number; four of them one number.
fn key_v6(address: &str) -> String {
    let digit = |place: u8| format!("'0123456789abcdef'.indexOf(p.charAt({place}))");
    let [a, b, c, d] = [0, 1, 2, 3].map(digit);
    let half = |i: u8| {
        let [a, b, c, d] = [i, i + 1, i + 2, i + 3];
        format!("((n[{a}] * 65536u + n[{b}]) * 65536u + n[{c}]) * 65536u + n[{d}]")
    };
    format!(
        "[({address} + '::').split('::', 3).map(h, h.split(':', 8).filter(g, g != ''))]\
         .map(h, h[0] + [0, 1, 2, 3, 4, 5, 6, 7].filter(i, i < 8 - size(h[0]) - size(h[1])).map(i, '0') + h[1])\
         .map(all, all.map(g, '000' + g).map(p, p.substring(size(p) - 4)).map(p, uint((({a} * 16 + {b}) * 16 + {c}) * 16 + {d})))\
         .map(n, [{}, {}])[0]",
        half(0),
        half(4)
    )
}

/// One key is not greater than another.
fn not_after(one: &str, other: &str) -> String {
    format!("({one}[0] < {other}[0] || {one}[0] == {other}[0] && {one}[1] <= {other}[1])")
}
