#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| bailiwick::fuzzing::frame(input));
