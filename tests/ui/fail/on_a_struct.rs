use bailiwick::rpc_service;

#[rpc_service]
pub struct Table {
    pub size: u64,
}

fn main() {}
