//! Prints the C header: `cargo run -p sanproxy-header > include/sanproxy.h`.

fn main() {
    print!("{}", sanproxy_header::render());
}
