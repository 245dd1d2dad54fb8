//! The scheduler's address may be a name, an IPv4 or an IPv6 address, for clients and for builders.

use crate::farm::{BUILDERS, CLIENT, ClientVariable, Farm, farm};

/// What may follow `https://`. `scheduler6` is a name with an IPv6 address only.
const ADDRESSES: [&str; 4] = ["scheduler:10600", "10.213.0.1", "[fd00:213::1]:10600", "scheduler6"];

#[test]
fn client_reaches_the_scheduler_by_any_address() {
    let farm = farm();
    for address in ADDRESSES {
        let _url = ClientVariable::set(&farm, "FARCC_SCHEDULER_URL", &format!("https://{address}"));
        compile_remotely(&farm, address);
    }
}

#[test]
fn builders_reach_the_scheduler_by_any_address() {
    let farm = farm();
    for address in ADDRESSES {
        let drop_in = DropIn::write(&format!("scheduler_url = \"https://{address}\""));
        farm.wait_until_whole();
        compile_remotely(&farm, address);
        drop(drop_in);
    }
    farm.wait_until_whole();
}

fn compile_remotely(farm: &Farm, what: &str) {
    let before = farm.stats();
    CLIENT.dev("cd && echo 'int x;' >address.c && farcc gcc -c address.c").ok();
    assert_eq!(farm.stats().count("remote"), before.count("remote") + 1, "{what}");
}

/// One more file of configuration at each builder, for as long as this lives.
struct DropIn;

impl DropIn {
    /// Read after `farm.toml`, which `farccctl farm join` has written.
    const PATH: &str = "/etc/farcc/builder.toml.d/zz-address.toml";

    fn write(line: &str) -> Self {
        for builder in BUILDERS {
            builder.run(&format!("mkdir -p \"$(dirname {0})\" && echo '{line}' >{0}", Self::PATH)).ok();
            builder.run("systemctl restart farcc-builder.service").ok();
        }
        Self
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        for builder in BUILDERS {
            builder.run(&format!("rm {} && systemctl restart farcc-builder.service", Self::PATH));
        }
    }
}
