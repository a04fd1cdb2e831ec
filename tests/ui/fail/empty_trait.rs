use bailiwick::rpc_service;

#[rpc_service]
trait Table {}

fn main() {}
